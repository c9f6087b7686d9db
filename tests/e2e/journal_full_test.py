"""A journal without room: what costs money is refused, or served with a warning, as set; nothing that
was taken is lost, and once there is room again all is as before.

The room is that of a 1 MiB disk (a tmpfs in a mount namespace of the test's own); Redis is away
meanwhile, so that the journal cannot be emptied.
"""
import asyncio
import ctypes
import os

import harness
from books import Compared, Load, in_thread, metric, records, settle

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
# Model names are written down twice a record: long ones fill the journal sooner.
MODEL = "mock-tokens-5-" + "x" * 200
SLOW = "mock-tokens-60-pace-100"
TOGETHER = 8


def private_mounts():
    """What is mounted from here on is this process' and its children's, and goes with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        return None
    return libc


class JournalFull(harness.EndToEnd):
    def start(self, env):
        libc = private_mounts()
        if libc is None:
            self.skipTest("mounting is not permitted here; the journal's unit tests show the limit in the settings")
        data = self.folder / "small"
        (data / "journal").mkdir(parents=True)
        os.chmod(data, 0o700)
        place = str(data / "journal").encode()
        self.assertEqual(libc.mount(b"tmpfs", place, b"tmpfs", 0, b"size=1m,mode=700"), 0)
        mock, redis = self.mock(), self.redis(persistent=True)
        return mock, redis, self.keywheel(mock, env={"REDIS_URL": redis.url, "ENCRYPTION_KEY": "k" * 40,
                                                     "DATA_DIR": data, **env})

    def fill(self, what, env):
        mock, redis, proxy = self.start(env)
        load = Load(proxy, TOGETHER, model=MODEL)
        slow = Load(proxy, 0, name="slow", model=SLOW, stream_share=1)
        refused = []

        def is_refused(shot):
            return shot.status == 503 and b"journal_unavailable" in shot.body

        async def script(load):
            await load.until(20)
            redis.kill()
            while not any(map(is_refused, load.shots)):
                await asyncio.sleep(0.05)
            self.assertEqual((await in_thread(proxy.get, "/v1/models")).status, 200, "what costs nothing is served")
            health = await in_thread(lambda: proxy.admin("GET", "/admin/health").json()["data"])
            self.assertFalse(health["journal"]["writable"], health)

        async def all_of_it():
            streams = [asyncio.create_task(slow.shoot()) for _ in range(4)]
            for stream in streams:
                await asyncio.wait([stream], timeout=0)
            await load.run(script)
            for stream in streams:
                self.assertTrue((await stream).whole, "what was taken before is served to its end")
            refused.extend(shot for shot in load.shots if is_refused(shot))
            redis.start()
            await in_thread(settle, proxy, mock)

            async def served_again():
                while not (await load.shoot()).whole:
                    await asyncio.sleep(0.2)
            await asyncio.wait_for(served_again(), 30)

        asyncio.run(all_of_it())
        self.assertIn(b"retry-after", refused[0].head.lower())
        others = [s for s in load.shots if s.status not in (200, 503) or (s.status == 503 and not is_refused(s))]
        self.assertEqual(others, [])
        settle(proxy, mock)
        shots = [shot for shot in load.shots + slow.shots if shot.status == 200]
        compared = Compared(self, proxy, mock, shots)
        compared.each_once()
        count, tokens = compared.exact_equal()
        self.assertEqual(count, len(shots))
        self.assertEqual(len(compared.entries), len(shots) + 1, "a refused request reached the upstream")  # and the list
        self.assertNotIn("journal.corrupt", proxy.log())
        print(f"figure: journal_full_{what}: {count} booked, {len(refused)} refused, {tokens['input']} in + "
              f"{tokens['output']} out, equal in both books; serves again", flush=True)

    def test_refuse(self):
        self.fill("refuse", {})

    def test_serve_goes_on(self):
        mock, redis, proxy = self.start({"KEYWHEEL_STORE_JOURNAL_FULL": "serve"})
        load = Load(proxy, TOGETHER, model=MODEL)

        async def script(load):
            await load.until(20)
            redis.kill()
            while "journal.full" not in proxy.log():
                await asyncio.sleep(0.1)
            await load.until(len(load.done) + 1000)

        asyncio.run(load.run(script))
        self.assertEqual(load.failed, [])
        redis.start()
        settle(proxy, mock)
        lost = len(load.shots) - len(records(proxy))
        self.assertGreater(lost, 0, "the journal was not full")
        self.assertEqual(metric(proxy, "keywheel_records_lost_total"), lost)
        print(f"figure: journal_full_serve: {len(load.shots)} served, {lost} of them without books, as told", flush=True)


if __name__ == "__main__":
    harness.main()
