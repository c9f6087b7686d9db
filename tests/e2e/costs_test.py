"""What requests cost: by id for the holder of the access key, by id and in sums for the operator.

The sums by key, model, group and day are those of the mock's own books, and each price is what the
table says for the counts.
"""
import asyncio
import datetime
import time
from collections import Counter

import harness
from books import CLASSES, Load, booked_by_mock, entries, records, settle, usage

MODELS = {"mock-tokens-20-alpha": (1, 2), "mock-tokens-7-reason-beta": (3, 15), "mock-tokens-12-free": (0, 0)}
KEYS = ("sk-costs-of-a-key-number-0001", "sk-costs-of-a-key-number-0002", "sk-costs-of-a-key-number-0003")
CONFIG = """
groups:
  - {{id: one, base_url: "{url}/v1", keys: [{keys[0]}, {keys[1]}], models: ["mock-tokens-20-alpha", "mock-tokens-7-*"]}}
  - {{id: two, base_url: "{url}/v1", keys: [{keys[2]}], models: ["mock-tokens-12-*"], multiplier: 1.5}}
access_keys:
  - {{name: other, key: another-access-key-of-the-test-01}}
prices:
  - {{model: mock-tokens-20-alpha, input: 1, output: 2}}
  - {{model: mock-tokens-7-reason-beta, input: 3, output: 15}}
  - {{model: mock-tokens-12-free, input: 0.5, output: 0}}
"""
OTHER = {"authorization": "Bearer another-access-key-of-the-test-01"}


class Costs(harness.EndToEnd):
    def start(self, env):
        mock = self.mock()
        config = CONFIG.format(url=mock.url, keys=KEYS)
        return mock, self.keywheel(config=config, env={"SSL_CERT_FILE": mock.ca, **env})

    def check_sums(self, store, env):
        mock, proxy = self.start(env)
        begun = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        loads = [Load(proxy, 8, name=model, model=model) for model in MODELS]

        async def all_of_them():
            await asyncio.gather(*(load.run(lambda load: load.until(60)) for load in loads))

        asyncio.run(all_of_them())
        self.assertEqual([shot for load in loads for shot in load.failed], [])
        settle(proxy, mock)
        ended = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        theirs = entries(mock)
        keys = {k["id"]: k for k in proxy.admin("GET", "/admin/keys?limit=100").json()["data"]["keys"]}
        secret_of = {id: next(s for s in KEYS if s[-4:] == k["key"][-4:]) for id, k in keys.items()}

        def sums(selected):
            total = Counter()
            for entry in selected:
                total.update(booked_by_mock(entry))
                total["requests"] += 1
            return {name: total[name] for name in (*CLASSES, "requests")}

        def ours(cell):
            return {**{name: cell["tokens"][name] for name in CLASSES}, "requests": cell["requests"]}

        def check(by, select):
            cells, totals = usage(proxy, by=by)
            self.assertEqual(ours(totals), sums(theirs), by)
            for (_, subject), cell in cells.items():
                self.assertEqual(ours(cell), sums(e for e in theirs if select(e, subject)), (by, subject))
            return cells

        self.assertEqual(len(check("upstream_key", lambda e, s: e["key"] == secret_of[s])), len(KEYS))
        cells = check("model", lambda e, s: e["model"] == s)
        self.assertEqual({subject for _, subject in cells}, set(MODELS))
        check("group", lambda e, s: (s == "two") == ("12-free" in e["model"]))
        check("access_key", lambda e, s: True)
        check("provider", lambda e, s: True)
        for span in ("hour", "day", "month"):
            cells, totals = usage(proxy, span=span)
            self.assertEqual(ours(totals), sums(theirs), span)
            for bucket, _ in cells:
                self.assertTrue(begun[:7] <= bucket[:7] <= ended[:7] and bucket[:10] <= ended, bucket)
        # Nano-dollars a million tokens: exact sums.
        def cost(entry):
            in_price, out_price = {"mock-tokens-20-alpha": (1000, 2000), "mock-tokens-7-reason-beta": (3000, 15000),
                                   "mock-tokens-12-free": (500, 0)}[entry["model"]]
            return entry["input_tokens"] * in_price + entry["output_tokens"] * out_price
        _, totals = usage(proxy)
        self.assertEqual(totals["cost"]["nanodollars"], sum(map(cost, theirs)))
        rated = sum(cost(e) * (3 if "free" in e["model"] else 2) for e in theirs)
        self.assertAlmostEqual(totals["rated_cost"]["nanodollars"], rated / 2, delta=len(theirs))
        self.assertEqual((totals["estimated"], totals["unpriced"], totals["errors"]), (0, 0, 0))
        self.assertEqual(sum(r["cost"]["nanodollars"] for r in records(proxy)), totals["cost"]["nanodollars"])
        print(f"figure: usage_sums_{store}: {len(theirs)} requests, by key, model, group, access key and time equal to "
              f"the mock's books, {totals['cost']['dollars']} dollars", flush=True)

    def test_sums_embedded(self):
        self.check_sums("embedded", {})

    def test_sums_redis(self):
        self.check_sums("redis", {"REDIS_URL": self.redis().url, "ENCRYPTION_KEY": "k" * 40})

    def test_cost_of_a_stream_by_its_id(self):
        mock, proxy = self.start({})
        connection, response = proxy.open_stream("/v1/chat/completions", {
            "model": "mock-tokens-20-alpha", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
        self.assertIn(b"data: [DONE]", response.read())
        connection.close()
        ended = time.monotonic()
        id = response.headers["x-keywheel-request-id"]
        path = f"/v1/keywheel/requests/{id}"
        harness.wait_until("its record", lambda: proxy.get(path).status == 200, 20)
        seconds = time.monotonic() - ended
        entry = entries(mock)[0]
        expected = entry["input_tokens"] * 1000 + entry["output_tokens"] * 2000
        mine = proxy.get(path).json()
        self.assertEqual((mine["id"], mine["outcome"], mine["cost"]["nanodollars"]), (id, "exact", expected))
        self.assertEqual({name: mine["tokens"][name] for name in CLASSES}, booked_by_mock(entry))
        theirs = proxy.get(path, headers=OTHER)
        self.assertEqual((theirs.status, theirs.json()["error"]["code"]), (404, "not_found"))
        # Another's id and one that there never was look the same.
        never = proxy.get("/v1/keywheel/requests/req_00000000000000000000", headers=OTHER)
        self.assertEqual((never.status, never.json()), (404, theirs.json()))
        self.assertEqual(proxy.get(path, headers={"authorization": None}).status, 401)
        self.assertEqual(proxy.post(path, {}).status, 405)
        admin = proxy.admin("GET", f"/admin/requests/{id}").json()["data"]
        self.assertEqual((admin["id"], admin["cost"]["nanodollars"], admin["stream"]), (id, expected, True))
        self.assertEqual(proxy.admin("GET", "/admin/requests/req_00000000000000000000").status, 404)
        # A whole answer says its cost at once.
        answer = proxy.post("/v1/chat/completions", {"model": "mock-tokens-20-alpha", "messages": []})
        spent = answer.json()["usage"]
        told = round(float(answer.headers["x-keywheel-cost"]) * 1e9)
        self.assertEqual(told, spent["prompt_tokens"] * 1000 + spent["completion_tokens"] * 2000)
        print(f"figure: cost_of_a_stream: {expected} nano-dollars by its id, {seconds:.2f} s after its end", flush=True)


if __name__ == "__main__":
    harness.main()
