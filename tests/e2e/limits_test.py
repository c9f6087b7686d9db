"""Limits of access keys under parallel load, in one process of several workers and in three processes
that share one Redis: windows let exactly their
cap through, concurrency is never passed, budgets by at most one request, what is cut gives its slot back."""
import concurrent.futures
import contextlib
import json
import os
import time

import harness

SCALE = int(os.environ.get("KW_LIMITS_SCALE", "1"))  # of the numbers of requests
CONFIG = """
prices:
  - {{model: mock-priced, input: 1000, output: 10000}}
server:
  workers: {workers}
groups:
  - id: g
    base_url: {url}/v1
    keys: [sk-mock-a, sk-mock-b]
"""


def chat(connection, key, **body):
    body.setdefault("model", "gpt-4o-mini")
    body["messages"] = [{"role": "user", "content": "hello"}]
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {
        "authorization": f"Bearer {key}", "content-type": "application/json"})
    got = connection.getresponse()
    return harness.Answer(got.status, got.headers, got.read())


def without_countdown(limits):
    return [{field: value for field, value in entry.items() if field != "reset_in_seconds"} for entry in limits]


class OneProcess(harness.EndToEnd):
    """The embedded store, four workers."""

    replicas, per_process = 1, 4

    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.shared = self.share()
        self.proxies = [self.start(n) for n in range(self.replicas)]
        self.proxy = self.proxies[0]

    def share(self):
        return {}

    def start(self, number):
        return self.keywheel(name=f"keywheel-{number}",
                             config=CONFIG.format(url=self.upstream.url, workers=self.per_process),
                             env={"WORKERS": None, **self.shared})

    def key(self, *limits, **more):
        answer = self.proxy.admin("POST", "/admin/access-keys", {"name": "limited", "limits": list(limits), **more})
        self.assertEqual(answer.status, 201, answer)
        data = answer.json()["data"]
        self.assertEqual(data["limits"], list(limits))
        for proxy in self.proxies:
            harness.wait_until("the key is known", lambda: proxy.get(
                "/v1/keywheel/requests/none", headers={"authorization": f"Bearer {data['key']}"}).status == 404)
        return data

    def many(self, count, clients, key, **body):
        """The answers to `count` calls by so many clients at once, spread over the replicas."""
        def run(number):
            with contextlib.closing(self.proxies[number % self.replicas].connection(60)) as connection:
                return [chat(connection, key, **body) for _ in range(number, count, clients)]
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            return [answer for answers in pool.map(run, range(clients)) for answer in answers]

    def one(self, key, **body):
        return self.many(1, 1, key, **body)[0]

    def test_a_window_lets_exactly_its_cap_through(self):
        for window in ("sliding", "fixed"):
            limit = {"unit": "requests", "per": "1h", "cap": 200 * SCALE}
            if window == "fixed":
                limit["window"] = window
            answers = self.many(1000 * SCALE, 64, self.key(limit)["key"])
            by_status = {s: sum(a.status == s for a in answers) for s in {a.status for a in answers}}
            self.assertEqual(by_status, {200: 200 * SCALE, 429: 800 * SCALE}, window)
            refused = next(a for a in answers if a.status == 429)
            self.assertEqual(refused.json()["error"]["code"], "rate_limit_exceeded")
            self.assertIn(f"{200 * SCALE} of {200 * SCALE}", refused.json()["error"]["message"])
            self.assertGreater(int(refused.headers["retry-after"]), 0)
            for answer in answers:
                self.assertEqual(answer.headers["x-ratelimit-limit-requests"], str(200 * SCALE))
            self.assertEqual(refused.headers["x-ratelimit-remaining-requests"], "0")
        print(f"figure: window of {200 * SCALE} requests: {200 * SCALE} of {1000 * SCALE} let through "
              f"({self.replicas} processes)")

    def test_concurrency_is_never_passed(self):
        data = self.key({"unit": "concurrent", "cap": 10})
        answers = self.many(3000 * SCALE, 64, data["key"], model="mock-delay-5")
        served = sum(a.status == 200 for a in answers)
        for answer in answers:
            self.assertIn(answer.status, (200, 429))
            if answer.status == 429:
                self.assertEqual(answer.json()["error"]["code"], "concurrency_limit_exceeded")
        peak = self.upstream.books()["total"]["max_concurrent"]
        self.assertLessEqual(peak, 10)
        self.assertGreater(served, 10)
        print(f"figure: concurrency of 10: at most {peak} at the upstream, {served} of {3000 * SCALE} served "
              f"({self.replicas} processes)")

    def test_a_budget_is_passed_by_at_most_one_request(self):
        for stream in (False, True):
            data = self.key({"unit": "cost", "per": "day", "cap": "1"})
            answers = self.many(100, 100, data["key"], model="mock-priced", max_tokens=8, stream=stream)
            refused = [a for a in answers if a.status != 200]
            for answer in refused:
                self.assertEqual([answer.status, answer.json()["error"]["code"]], [402, "insufficient_quota"])

            def booked():
                rows = self.proxy.admin("GET", f"/admin/usage?by=access_key&subject={data['id']}").json()["data"]["usage"]
                return rows and rows[0]["requests"] == 100 and rows[0]
            row = harness.wait_until("the books", booked)
            spent = row["rated_cost"]["nanodollars"] / 1e9
            each = spent / (100 - len(refused))
            self.assertGreater(len(refused), 0)
            self.assertLessEqual(spent, 1 + each)
            print(f"figure: budget of 1 USD: {spent:.4f} USD spent, {each:.4f} USD each, {len(refused)} refused, "
                  f"stream {stream}")

    def test_what_was_cut_gives_its_slot_back(self):
        data = self.key({"unit": "concurrent", "cap": 1})
        for _ in range(20):
            connection, _ = self.proxy.open_stream(
                "/v1/chat/completions", {"model": "mock-pace-50", "stream": True, "messages": []},
                headers={"authorization": f"Bearer {data['key']}"})
            busy = self.one(data["key"])
            self.assertEqual(busy.status, 429)
            connection.sock.close()
            connection.close()
            harness.wait_until("the slot", lambda: self.one(data["key"]).status == 200)

    def test_holders_and_operators_see_what_is_left(self):
        limits = [{"unit": "tokens", "per": "day", "cap": 1000}, {"unit": "cost", "per": "total", "cap": "2.5"},
                  {"unit": "requests", "per": "1m", "cap": 5}, {"unit": "concurrent", "cap": 2}]
        data = self.key(*limits)
        self.assertEqual(self.one(data["key"], model="mock-priced", max_tokens=8).status, 200)

        def mine():
            return self.proxy.get("/v1/keywheel/me", headers={"authorization": f"Bearer {data['key']}"}).json()
        harness.wait_until("the settlement", lambda: mine()["limits"][3]["used"] == 0)
        seen = mine()
        self.assertEqual(seen["id"], data["id"])
        used = {(entry["unit"], entry.get("per")): (entry["used"], entry["remaining"]) for entry in seen["limits"]}
        self.assertEqual(used[("requests", "1m")], (1, 4))
        self.assertEqual(used[("concurrent", None)], (0, 2))
        tokens, left = used[("tokens", "day")]
        self.assertEqual(tokens + left, 1000)
        self.assertGreater(tokens, 8)
        spent = float(used[("cost", "total")][0])
        self.assertAlmostEqual(spent, ((tokens - 8) * 1000 + 8 * 10000) / 1e6, places=9)
        shown = self.proxy.admin("GET", f"/admin/access-keys/{data['id']}").json()["data"]
        self.assertEqual(shown["limits"], limits)
        # The two answers may lie in different seconds: everything but the countdown is equal.
        self.assertEqual(without_countdown(shown["limit_usage"]), without_countdown(seen["limits"]))
        free = self.key()
        mine = self.proxy.get("/v1/keywheel/me", headers={"authorization": f"Bearer {free['key']}"}).json()
        self.assertEqual(mine["limits"], [])
        listed = self.proxy.admin("GET", "/admin/access-keys").json()["data"]["access_keys"]
        self.assertEqual([("limit_usage" in key) for key in listed if key["id"] in (data["id"], free["id"])].count(True), 1)
        self.assertNotIn(data["key"], json.dumps(seen) + json.dumps(shown))

    def test_budgets_outlive_the_process(self):
        data = self.key({"unit": "tokens", "per": "month", "cap": 100})
        self.assertEqual(self.one(data["key"], max_tokens=100).status, 200)
        self.proxy.restart()
        refused = self.proxy.post("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": []},
                                  headers={"authorization": f"Bearer {data['key']}"})
        self.assertEqual([refused.status, refused.json()["error"]["code"]], [402, "insufficient_quota"])


class ThreeProcesses(OneProcess):
    """One Redis, one worker each."""

    replicas, per_process = 3, 1

    def share(self):
        self.store = self.redis()
        return {"REDIS_URL": self.store.url, "ENCRYPTION_KEY": "e" * 43}

    def test_a_killed_process_frees_its_slots_and_no_others(self):
        data = self.key({"unit": "concurrent", "cap": 2})
        body = {"model": "mock-pace-100-tokens-600", "stream": True, "messages": []}
        headers = {"authorization": f"Bearer {data['key']}"}
        kept, _ = self.proxies[0].open_stream("/v1/chat/completions", body, headers=headers, timeout=60)
        lost, _ = self.proxies[1].open_stream("/v1/chat/completions", body, headers=headers, timeout=60)
        self.assertEqual(self.proxies[2].post("/v1/chat/completions", body, headers=headers).status, 429)
        self.proxies[1].kill()
        lost.close()
        begun = time.monotonic()
        other, _ = harness.wait_until("the slot of the killed process", lambda: self.stream_or_none(body, headers), 40)
        print(f"figure: slot of a killed process free after {time.monotonic() - begun:.0f} s")
        # The other process' stream still holds its own.
        self.assertEqual(self.proxies[2].post("/v1/chat/completions", body, headers=headers).status, 429)
        kept.close()
        other.close()

    def stream_or_none(self, body, headers):
        connection, response = self.proxies[2].open_stream("/v1/chat/completions", body, headers=headers, timeout=60)
        if response.status == 200:
            return connection, response
        connection.close()
        return None


if __name__ == "__main__":
    harness.main()
