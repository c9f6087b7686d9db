"""Redis stopped under load, Redis frozen under load, and a start without Redis.

No request fails for want of the store and none is taken for a stranger's; afterwards every request is
booked exactly once and the sums are those of the mock's own books. `KW_OUTAGE_SECONDS` is the length
of the first outage.
"""
import asyncio
import os
import signal

import harness
from books import Compared, Load, in_thread, kill_and_restart, metric, settle

OUTAGE = float(os.environ.get("KW_OUTAGE_SECONDS", "12"))
FREEZE = float(os.environ.get("KW_FREEZE_SECONDS", "10"))
TOGETHER = 16
SETTINGS = {"ENCRYPTION_KEY": "a master key of the test, long enough"}


class Outages(harness.EndToEnd):
    def start(self, **env):
        mock = self.mock()
        redis = self.redis(persistent=True)
        redis.command("CONFIG", "SET", "appendfsync", "always")
        return mock, redis, self.keywheel(mock, env={"REDIS_URL": redis.url, **SETTINGS, **env})

    def check(self, what, proxy, mock, load, seconds):
        settle(proxy, mock)
        self.assertEqual([shot for shot in load.shots if not shot.whole or shot.status != 200], [])
        compared = Compared(self, proxy, mock, load.shots)
        compared.each_once()
        count, tokens = compared.exact_equal()
        self.assertEqual((count, len(compared.entries)), (len(load.shots), len(load.shots)))
        self.assertEqual(len(compared.records), count)
        print(f"figure: {what}: {seconds:g} s, {count} requests, 0 failed, each booked once; "
              f"{tokens['input']} in + {tokens['output']} out, equal in both books", flush=True)

    async def paced(self, load, seconds):
        await asyncio.sleep(seconds)
        done = len(load.done)
        await load.until(done + 2 * TOGETHER)  # it goes on, whatever the store does

    def test_redis_stopped_under_load(self):
        mock, redis, proxy = self.start()
        load = Load(proxy, TOGETHER, model="mock-tokens-20-pace-10")

        async def script(load):
            await self.paced(load, 1)
            redis.kill()
            await self.paced(load, OUTAGE)
            self.assertEqual(await in_thread(metric, proxy, "keywheel_store_up"), 0)
            self.assertGreater(await in_thread(metric, proxy, "keywheel_journal_backlog_records"), 0)
            ready = await in_thread(proxy.get, "/readyz")
            self.assertEqual(ready.status, 200, "without its store it still serves")
            redis.start()
            await self.paced(load, 2)

        asyncio.run(load.run(script))
        self.check("redis_stopped", proxy, mock, load, OUTAGE)

    def test_redis_frozen_under_load(self):
        mock, redis, proxy = self.start()
        load = Load(proxy, TOGETHER, model="mock-tokens-20-pace-10")

        async def script(load):
            await self.paced(load, 1)
            redis.signal(signal.SIGSTOP)
            await self.paced(load, FREEZE)
            redis.signal(signal.SIGCONT)  # runs what dead connections asked meanwhile, too
            await self.paced(load, 2)

        asyncio.run(load.run(script))
        self.check("redis_frozen", proxy, mock, load, FREEZE)

    def test_start_without_redis(self):
        mock, redis, proxy = self.start()
        load = Load(proxy, TOGETHER, model="mock-tokens-20")
        asyncio.run(load.run(lambda load: load.until(50)))
        made = proxy.admin("POST", "/admin/access-keys", {"name": "made by hand"}).json()["data"]
        harness.wait_until("the new access key serves", lambda: self.ask(proxy, made["key"]).status == 200)
        settle(proxy, mock)
        before = len(load.shots)
        proxy.stop()
        redis.kill()
        # What came through the API and what is declared both serve from the sealed snapshot.
        proxy.start()
        proxy.wait_ready("/readyz")
        self.assertEqual(metric(proxy, "keywheel_store_up"), 0)
        self.assertEqual(self.ask(proxy, made["key"]).status, 200)
        stranger = self.ask(proxy, "a-key-that-nobody-made-000")
        self.assertEqual((stranger.status, stranger.json()["error"]["code"]), (503, "store_unavailable"))
        load.stopping = False
        asyncio.run(load.run(lambda load: load.until(before + 50)))
        self.assertEqual([shot for shot in load.shots if not shot.whole or shot.status != 200], [])
        self.assertGreater(metric(proxy, "keywheel_journal_backlog_records"), 0)
        redis.start()
        settle(proxy, mock)
        harness.wait_until("the store's answer replaces the snapshot",
                           lambda: self.ask(proxy, "a-key-that-nobody-made-000").status == 401)
        compared = Compared(self, proxy, mock, load.shots)
        compared.each_once()
        count, tokens = compared.exact_equal()
        self.assertEqual(count, len(load.shots))
        _, snapshot = proxy.folder, (proxy.folder / "keywheel-data" / "snapshot.sealed").read_bytes()
        for secret in (b"sk-mock", made["key"].encode(), harness.ACCESS_KEY.encode()):
            self.assertNotIn(secret, snapshot)
        print(f"figure: start_without_redis: {len(load.shots) - before} requests served from the sealed snapshot, "
              f"booked afterwards; {tokens['input']} in + {tokens['output']} out, equal in both books", flush=True)

    def test_killed_while_redis_is_away(self):
        mock, redis, proxy = self.start(WORKERS=2)
        load = Load(proxy, TOGETHER, model="mock-tokens-20-pace-10")

        async def script(load):
            await load.until(30)
            redis.kill()
            for _ in range(2):
                await load.until(len(load.done) + 60)
                await kill_and_restart(proxy)
            await load.until(len(load.done) + 60)
            redis.start()

        asyncio.run(load.run(script))
        settle(proxy, mock)
        compared = Compared(self, proxy, mock, load.shots)
        compared.each_once()
        count, tokens = compared.exact_equal()
        self.assertEqual(count, len(load.done))
        self.assertFalse({shot.status for shot in load.failed} - {0, 200})
        died = [r for r in compared.records if r["error_code"] == "process_died"]
        self.assertGreaterEqual(len(compared.records), len(compared.entries))
        print(f"figure: killed_without_redis: 2 kills, {count} finished and {len(died)} open, each booked once; "
              f"{tokens['input']} in + {tokens['output']} out, equal in both books", flush=True)

    @staticmethod
    def ask(proxy, key):
        return proxy.post("/v1/chat/completions", {"model": "m", "messages": []},
                          headers={"authorization": f"Bearer {key}"})

    def test_first_start_without_redis(self):
        mock, redis, proxy = self.start()
        proxy.stop()
        redis.kill()
        fresh = self.keywheel(mock, name="fresh", wait=False, env={"REDIS_URL": redis.url, **SETTINGS})
        fresh.wait_ready("/healthz")
        self.assertEqual(fresh.get("/readyz").status, 503)
        answer = self.ask(fresh, harness.ACCESS_KEY)
        self.assertEqual((answer.status, answer.json()["error"]["code"]), (503, "store_unavailable"))
        redis.start()
        fresh.wait_ready("/readyz")
        self.assertEqual(self.ask(fresh, harness.ACCESS_KEY).status, 200)
        settle(fresh, mock)


if __name__ == "__main__":
    harness.main(together=2)
