"""Caps of upstream keys over all replicas: however many requests come through however many processes or
workers, the upstream never sees more than a key's cap; a killed process frees its part; who finds every key at
its cap waits a while or is told so."""
import concurrent.futures
import time

import harness

LEASE = 10.0  # seconds until a process that died is given up
CONFIG = """
server:
  workers: {workers}
pool: {{retry_wait_max: {wait}s}}
groups:
  - id: g
    base_url: {url}/v1
    keys: [sk-capped-by-all-of-us]
"""


def chat(proxy, model, **more):
    return proxy.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}], **more},
                      timeout=60)


class OneProcess(harness.EndToEnd):
    """The embedded store, four workers."""

    replicas, per_process, wait = 1, 4, 2

    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.shared = self.share()
        self.proxies = [self.keywheel(name=f"keywheel-{n}", env={"WORKERS": None, **self.shared}, config=CONFIG.format(
            url=self.upstream.url, workers=self.per_process, wait=self.wait)) for n in range(self.replicas)]

    def share(self):
        return {}

    def key(self, proxy):
        return proxy.admin("GET", "/admin/keys").json()["data"]["keys"][0]

    def cap(self, **caps):
        answer = self.proxies[0].admin("PUT", f"/admin/keys/{self.key(self.proxies[0])['id']}", {"caps": caps})
        self.assertEqual(answer.status, 200, answer)
        for proxy in self.proxies:
            harness.wait_until("the caps are known", lambda: all(
                self.key(proxy)["caps"][name] == value for name, value in caps.items()))
        time.sleep(1)  # each holds its part

    def spent(self):
        """Tokens of the key in the books, when they have stood still for a while."""
        def booked():
            rows = self.proxies[0].admin("GET", "/admin/usage?by=upstream_key").json()["data"]["usage"]
            return sum(row["tokens"]["input"] + row["tokens"]["output"] for row in rows)
        before = -1
        while before != (before := booked()):
            time.sleep(1.5)
        return before

    def many(self, count, model, clients=30, **more):
        def run(number):
            return chat(self.proxies[number % self.replicas], model, **more)
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            return list(pool.map(run, range(count)))

    def peak(self):
        return self.upstream.books(limit=0)["total"]["max_concurrent"]

    def test_concurrency(self):
        self.cap(concurrency=2)
        begun = time.monotonic()
        answers = self.many(30, "mock-delay-300")
        seconds = time.monotonic() - begun
        self.assertLessEqual(self.peak(), 2)
        served = sum(a.status == 200 for a in answers)
        self.assertGreaterEqual(served, 6)
        for answer in answers:
            self.assertIn(answer.status, (200, 429), answer)
            if answer.status == 429:
                self.assertEqual(answer.json()["error"]["code"], "upstream_keys_rate_limited")
                self.assertIn("retry-after", answer.headers)
        print(f"figure: cap of 2, 30 slow requests at once: at most {self.peak()} at the upstream, {served} served "
              f"in {seconds:.1f} s, the others 429 ({self.replicas} processes, {self.per_process} workers each)", flush=True)

    def test_a_larger_cap_is_used_where_the_requests_come(self):
        self.cap(concurrency=12)
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: chat(self.proxies[0], "mock-delay-300"), range(120)))
        self.assertLessEqual(self.peak(), 12)
        self.assertGreaterEqual(self.peak(), 8)
        served = sum(a.status == 200 for a in answers)
        print(f"figure: cap of 12, requests through one of {self.replicas}: at most {self.peak()} at the upstream, "
              f"{served} of 120 served", flush=True)

    def test_requests_a_minute(self):
        self.cap(rpm=20)
        answers = self.many(60, "mock-tokens-1")
        served = sum(a.status == 200 for a in answers)
        seen = self.upstream.books(limit=0)["total"]["requests"]
        self.assertEqual(seen, served)
        self.assertLessEqual(seen, 20)
        self.assertGreaterEqual(seen, 15)
        self.assertEqual({a.status for a in answers}, {200, 429})
        print(f"figure: cap of 20 requests a minute: {seen} of 60 reached the upstream ({self.replicas} processes)", flush=True)

    def test_tokens(self):
        for unit in ("tpm", "tokens_per_day"):
            # What was spent before a cap a day was set counts too.
            before = self.spent() if unit == "tokens_per_day" else 0
            cap = before + 600
            self.cap(**{name: cap if name == unit else 0 for name in ("tpm", "tokens_per_day")})
            answers = self.many(60, "mock-tokens-50", max_tokens=50)
            served = [a for a in answers if a.status == 200]
            spent = sum(a.json()["usage"]["total_tokens"] for a in served)
            each = max(a.json()["usage"]["total_tokens"] for a in served)
            self.assertEqual({a.status for a in answers}, {200, 429})
            self.assertLess(before + spent, cap + self.replicas * each)
            self.assertGreater(spent, 300)
            print(f"figure: cap of {cap} {unit}: {before + spent} spent, {each} each ({self.replicas} processes)", flush=True)


class ThreeProcesses(OneProcess):
    """One Redis, two workers each."""

    replicas, per_process = 3, 2

    def share(self):
        self.store = self.redis()
        return {"REDIS_URL": self.store.url, "ENCRYPTION_KEY": "e" * 43}

    def test_a_killed_process_frees_its_part(self):
        self.cap(concurrency=3)
        streams = []
        for proxy in self.proxies:
            connection, response = proxy.open_stream("/v1/chat/completions", {
                "model": "mock-pace-100-tokens-600", "stream": True, "messages": []}, timeout=60)
            self.assertEqual(response.status, 200)
            streams.append(connection)
        self.proxies[1].kill()
        begun = time.monotonic()
        streams[1].close()

        def taken():
            connection, response = self.proxies[2].open_stream("/v1/chat/completions", {
                "model": "mock-pace-100-tokens-600", "stream": True, "messages": []}, timeout=60)
            if response.status == 200:
                return connection
            connection.close()
            return None
        streams[1] = harness.wait_until("the part of the killed process", taken, LEASE + 20)
        print(f"figure: part of a killed process taken over after {time.monotonic() - begun:.0f} s, "
              f"lease {LEASE:.0f} s", flush=True)
        self.assertLessEqual(self.peak(), 3)
        for connection in streams:
            connection.close()

    def test_without_redis_each_keeps_its_part(self):
        self.cap(concurrency=3)
        self.store.signal(19)  # SIGSTOP: it neither answers nor refuses
        answers = self.many(12, "mock-delay-200")
        self.store.signal(18)
        self.assertLessEqual(self.peak(), 3)
        served = sum(a.status == 200 for a in answers)
        self.assertGreaterEqual(served, 3)
        print(f"figure: Redis away, cap of 3: at most {self.peak()} at the upstream, {served} of 12 served", flush=True)


if __name__ == "__main__":
    harness.main(together=3)
