"""A thousand clients go away at random points of their answers: each request is booked exactly once.

With `drain` the upstream's answer is read to its end, so the sums are those of the mock's own books.
With `cancel` the upstream is left, and what was cut is booked as an estimate, apart from the exact.
"""
import asyncio
from collections import Counter

import harness
from books import Compared, Load, booked_by_mock, metric, settle, sum_up, tokens_of, usage

CLIENTS = 1000
TOGETHER = 100
TOKENS = 30
MODEL = f"mock-tokens-{TOKENS}-pace-4"


def counts(tokens):
    return tuple(tokens.values())


class Aborts(harness.EndToEnd):
    def run_clients(self, policy):
        mock = self.mock()
        proxy = self.keywheel(mock, env={"KEYWHEEL_DISCONNECT_POLICY": policy, "KEYWHEEL_POOL_AUTO_BAN": "false"})
        load = Load(proxy, TOGETHER, model=MODEL)
        print(f"figure: abort_seed_{policy}: {load.seed}", flush=True)
        places = asyncio.Semaphore(TOGETHER)

        async def client():
            async with places:
                # At any time from before the head to after the end, at any byte of it.
                seconds = load.random.uniform(0, 0.5)
                size = load.random.choice([1 << 30, load.random.randrange(1, TOKENS * 260)])
                await load.shoot((seconds, size, load.random.random() < 0.5))

        async def all_of_them():
            await asyncio.gather(*(client() for _ in range(CLIENTS)))

        asyncio.run(all_of_them())
        settle(proxy, mock)
        left = sum(shot.left for shot in load.shots)
        self.assertGreater(left, CLIENTS / 3, "most clients did not go away")
        compared = Compared(self, proxy, mock, load.shots)
        compared.each_once()
        # Whoever left before the head was read whole has no record; all others have theirs.
        self.assertEqual(len(compared.records), sum(not r["operator_cost"] for r in compared.records))
        self.assertLessEqual(len(compared.records), CLIENTS)
        known = sum(bool(shot.request_id) for shot in load.shots)
        self.assertGreaterEqual(len(compared.records), known)
        # The mock was never asked without a record, and never twice for one client.
        self.assertEqual(max(map(len, compared.by_test.values())), 1)
        self.assertGreaterEqual(len(compared.records), len(compared.entries))
        compared.exact_equal()
        self.assertEqual(metric(proxy, "keywheel_exchanges_running"), 0)
        for key in proxy.admin("GET", "/admin/keys").json()["data"]["keys"]:
            self.assertEqual(key["in_flight"], 0, key)
        print(f"figure: aborts_{policy}: {CLIENTS} clients, {left} left early, {len(compared.records)} records, "
              f"{len(compared.entries)} upstream, 0 slots left", flush=True)
        return proxy, compared

    def test_drain_learns_the_true_usage(self):
        proxy, compared = self.run_clients("drain")
        self.assertEqual({e["outcome"] for e in compared.entries}, {"completed"}, "every answer was read to its end")
        theirs = sum_up(map(booked_by_mock, compared.entries))
        self.assertEqual(sum_up(map(tokens_of, compared.records)), theirs)
        _, totals = usage(proxy)
        self.assertEqual(totals["estimated"], 0)
        print(f"figure: drain_tokens: {theirs['input']} in + {theirs['output']} out, equal in both books", flush=True)

    def test_cancel_books_estimates_apart(self):
        proxy, compared = self.run_clients("cancel")
        self.assertIn("aborted", {e["outcome"] for e in compared.entries}, "the upstream was left")
        exact = [r for r in compared.records if r["usage"] == "exact"]
        estimated = [r for r in compared.records if r["usage"] == "estimated"]
        self.assertTrue(estimated)
        self.assertEqual({r["end"] for r in estimated}, {"client_closed"})
        _, totals = usage(proxy)
        self.assertEqual(totals["estimated"], len(estimated))
        # What is exact has its entry in the mock's books; clients that left at once know no id, so
        # that theirs are looked for by their counts. The estimates are told apart.
        tests = {shot.request_id: shot.test_id for shot in compared.shots if shot.request_id}
        loose = Counter(counts(booked_by_mock(got[0])) for name, got in compared.by_test.items()
                        if name not in tests.values())
        for record in exact:
            if record["id"] in tests:
                entry = compared.by_test[tests[record["id"]]][0]
                self.assertEqual(tokens_of(record), booked_by_mock(entry), record)
            else:
                self.assertGreater(loose[counts(tokens_of(record))], 0, record)
                loose[counts(tokens_of(record))] -= 1
        apart = totals["estimated_part"]
        ours = sum_up(map(tokens_of, estimated))
        self.assertEqual((apart["input"], apart["output"]), (ours["input"], ours["output"]))
        print(f"figure: cancel_records: {len(exact)} exact, {len(estimated)} estimated", flush=True)


if __name__ == "__main__":
    harness.main()
