"""What an operator reads of the past: trend, use by key, summary, the request log as a table.

All of them are views of one set of books, so their sums must be those of the mock upstream; and what one
view takes apart (time, keys, single requests) must add up to the same.
"""
import csv
import io

import books
import harness

REQUESTS = 60
CLASSES = ("input", "output")


class Reading(harness.EndToEnd):
    def data(self, path, method="GET", status=200):
        answer = self.proxy.admin(method, path)
        self.assertEqual(answer.status, status, answer)
        return answer.json()["data"]

    def test_views_agree(self):
        mock = self.mock(tls=False)
        self.proxy = self.keywheel(mock)
        for number in range(REQUESTS):
            model = f"mock-tokens-{number % 7 + 1}"
            answer = self.proxy.post("/v1/chat/completions", {"model": model, "messages": [], "user": "u" * number})
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.proxy.post("/v1/chat/completions", {"model": "mock-status-400", "messages": []}).status,
                         400)
        books.settle(self.proxy, mock)
        theirs = mock.books(limit=0)["total"]
        wanted = {"input": theirs["input_tokens"], "output": theirs["output_tokens"]}

        def tokens(sums):
            return {name: sums["tokens"][name] for name in CLASSES}

        for span in ("hour", "day"):
            trend = self.data(f"/admin/stats/trend?span={span}")
            self.assertEqual(trend["totals"]["requests"], REQUESTS + 1)
            self.assertEqual(sum(point["requests"] for point in trend["trend"]), REQUESTS + 1)
            self.assertEqual(tokens(trend["totals"]), wanted)
        used = self.data("/admin/token/usage?period=all&forceRefresh=1")
        self.assertEqual(len(used["usage"]), 2)
        self.assertEqual(tokens(used["totals"]), wanted)
        by_key = {row["id"]: row for row in used["usage"]}
        # The mock knows the keys by their texts, the books by their ids: the amounts are the same.
        self.assertEqual(sorted(row["tokens"]["output"] for row in by_key.values()),
                         sorted(sums["output_tokens"] for sums in mock.books(limit=0)["keys"].values()))
        summary = self.data("/admin/token/summary")
        for period in ("today", "month", "all"):
            self.assertEqual(tokens(summary[period]), wanted, period)
        self.assertEqual(sum(row["requests"] for row in summary["top_models"]), REQUESTS + 1)

        rows, cursor, pages = [], "", 0
        while True:
            answer = self.proxy.admin("GET", f"/admin/requests?format=csv&limit=25&cursor={cursor.replace('|', '%7C')}")
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/csv; charset=utf-8"))
            rows += csv.DictReader(io.StringIO(answer.body.decode()))
            pages += 1
            cursor = answer.headers.get("x-keywheel-next")
            if not cursor:
                break
        self.assertEqual((len(rows), len({row["id"] for row in rows}), pages), (REQUESTS + 1, REQUESTS + 1, 3))
        self.assertEqual({name: sum(int(row[f"{name}_tokens"]) for row in rows) for name in CLASSES}, wanted)
        self.assertEqual({row["upstream_key"] for row in rows if row["status"] == "200"}, set(by_key))
        one = self.data(f"/admin/requests?request_id={rows[0]['id']}")["requests"]
        self.assertEqual([r["id"] for r in one], [rows[0]["id"]])
        self.assertEqual(len(self.data("/admin/requests?status=400")["requests"]), 1)

        self.assertEqual(self.data("/admin/token/cleanup", "POST"), {"removed": 0, "complete": True})
        self.assertEqual(tokens(self.data("/admin/token/summary")["all"]), wanted)
        caches = {cache["name"]: cache for cache in self.data("/admin/cache/stats")["caches"]}
        self.assertEqual(caches["upstream_keys"]["entries"], 2)
        connections = caches["upstream_connections"]
        self.assertGreaterEqual(connections["hits"] + connections["misses"], REQUESTS + 1)
        print(f"figure: upstream connections taken from the cache: {connections['hits']} of "
              f"{connections['hits'] + connections['misses']}")


if __name__ == "__main__":
    harness.main()
