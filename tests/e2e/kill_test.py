"""`kill -9` under load, three times: what was finished is booked exactly once, what was open as well.

An open one is booked as an estimate that says why. Shown with the embedded store and with Redis.
"""
import asyncio

import harness
from books import Compared, Load, kill_and_restart, settle

KILLS = 3
CUTS = 2 * KILLS - 1  # with those in the middle of a start
TOGETHER = 24


class KillUnderLoad(harness.EndToEnd):
    def kill_three_times(self, store, env):
        mock = self.mock()
        proxy = self.keywheel(mock, env={"WORKERS": 2, **env})
        load = Load(proxy, TOGETHER)
        print(f"figure: kill_seed_{store}: {load.seed}", flush=True)

        async def kills(load):
            for number in range(KILLS):
                await load.until(len(load.done) + 150)
                await asyncio.sleep(load.random.uniform(0, 0.2))
                # The first kill alone; the others are followed by one in the middle of the new start.
                await kill_and_restart(proxy, load.random.uniform(0, 0.4) if number else None)
            await load.until(len(load.done) + 150)

        asyncio.run(load.run(kills))
        settle(proxy, mock)
        compared = Compared(self, proxy, mock, load.shots)
        compared.each_once()
        finished, tokens = compared.exact_equal()
        self.assertEqual(finished, len(load.done))
        self.assertGreaterEqual(finished, 150 * (KILLS + 1))

        # The others: cut by a kill, or refused by nobody being there.
        open_at_kill = [r for r in compared.records if r["error_code"] == "process_died"]
        self.assertEqual({(r["usage"], r["end"]) for r in open_at_kill}, {("estimated", "failed")})
        self.assertGreaterEqual(len(open_at_kill), KILLS)
        self.assertLessEqual(len(open_at_kill), CUTS * TOGETHER)
        finished_ids = {shot.request_id for shot in load.done}
        self.assertFalse(finished_ids & {r["id"] for r in open_at_kill})
        # A record beside both: its end was written down, its last bytes did not arrive any more.
        between = [r for r in compared.records if r["id"] not in finished_ids and r["error_code"] != "process_died"]
        self.assertLessEqual(len(between), CUTS * TOGETHER)
        # Whatever the upstream did was for a request that is booked, and for one only.
        self.assertEqual(max(map(len, compared.by_test.values())), 1)
        self.assertGreaterEqual(len(compared.records), len(compared.entries))
        self.assertGreaterEqual(len(compared.entries), len(compared.records) - CUTS * TOGETHER)
        refused = {shot.status for shot in load.failed} - {0, 200}
        self.assertFalse(refused, "answers that are no answers")
        print(f"figure: kill_{store}: {KILLS} kills, {finished} finished and {len(open_at_kill)} open at a kill, "
              f"each booked once; {tokens['input']} in + {tokens['output']} out, equal in both books", flush=True)

    def test_embedded_store(self):
        self.kill_three_times("embedded", {})

    def test_redis(self):
        self.kill_three_times("redis", {"REDIS_URL": self.redis().url, "ENCRYPTION_KEY": "k" * 40})


if __name__ == "__main__":
    harness.main()
