"""Requests that wait for a slot of their access key: the line's size, order and time limit, clients that go
away, a graceful stop, statistics; in one process of two workers and in three processes that share one Redis.
Never more than the limit is at the upstream, and no slot is lost."""
import concurrent.futures
import contextlib
import json
import socket
import threading
import time

import harness

CONFIG = """
server:
  workers: {workers}
limits:
  queue_size: {size}
  queue_timeout: 20s
groups:
  - id: g
    base_url: {url}/v1
    keys: [sk-mock-a, sk-mock-b]
"""


class Queue(harness.EndToEnd):
    def start(self, number=0, workers=2, size=0, **env):
        return self.keywheel(name=f"keywheel-{number}",
                             config=CONFIG.format(url=self.upstream.url, workers=workers, size=size),
                             env={"WORKERS": None, **env})

    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)

    def key(self, proxies, cap, **more):
        answer = proxies[0].admin("POST", "/admin/access-keys", {
            "name": "limited", "limits": [{"unit": "concurrent", "cap": cap}], **more})
        self.assertEqual(answer.status, 201, answer)
        data = answer.json()["data"]
        for name, value in more.items():
            self.assertEqual(data[name], value)
        for proxy in proxies:
            harness.wait_until("the key is known", lambda: proxy.get(
                "/v1/keywheel/requests/none", headers={"authorization": f"Bearer {data['key']}"}).status == 404)
        return data

    def queue(self, proxy, key):
        seen = proxy.admin("GET", f"/admin/queue?access_key={key['id']}")
        self.assertEqual(seen.status, 200, seen)
        rows = seen.json()["data"]["access_keys"]
        return rows[0] if rows else {"waiting": 0, "entered": 0}

    def send(self, proxy, key, model, number=0):
        """A request whose answer is not awaited: its socket."""
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": f"number {number}"}]}).encode()
        s = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key["key"].encode() +
                  b"\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) +
                  body)
        return s

    def read(self, s):
        with contextlib.closing(s):
            text = b""
            while piece := s.recv(65536):
                text += piece
        head, _, body = text.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode().lower(), body

    def blocked(self, proxy, key, model="mock-delay-60000"):
        """A request that keeps a slot until its socket is closed."""
        before = self.upstream.books()["active"]
        s = self.send(proxy, key, model)
        harness.wait_until("the slot is taken", lambda: self.upstream.books()["active"] > before)
        return s

    def waiting(self, proxy, key, count):
        harness.wait_until(f"{count} wait", lambda: self.queue(proxy, key)["waiting"] == count)

    def slots_free(self, proxy, key):
        def used():
            mine = proxy.get("/v1/keywheel/me", headers={"authorization": f"Bearer {key['key']}"}).json()
            return mine["limits"][-1]["used"] == 0
        harness.wait_until("no slot is held", used)

    def test_one_runs_two_wait_one_is_refused(self):
        proxy = self.start(size=2)
        key = self.key([proxy], 1)
        running = self.blocked(proxy, key)
        first = self.send(proxy, key, "gpt-4o-mini", 1)
        self.waiting(proxy, key, 1)
        second = self.send(proxy, key, "gpt-4o-mini", 2)
        self.waiting(proxy, key, 2)
        status, head, body = self.read(self.send(proxy, key, "gpt-4o-mini", 3))
        self.assertEqual([status, json.loads(body)["error"]["code"]], [429, "queue_full"])
        self.assertIn("\r\nretry-after: ", head)
        running.close()
        self.assertEqual(self.read(first)[0], 200)
        self.assertEqual(self.read(second)[0], 200)
        seen = self.queue(proxy, key)
        self.assertEqual({k: seen[k] for k in ("entered", "success", "timeout", "cancelled", "refused", "rejected",
                                               "waiting")},
                         {"entered": 2, "success": 2, "timeout": 0, "cancelled": 0, "refused": 0, "rejected": 1,
                          "waiting": 0})
        self.assertGreater(seen["wait_ms"]["p50"], 0)
        self.assertLessEqual(seen["wait_ms"]["p50"], seen["wait_ms"]["p99"])
        total = proxy.admin("GET", "/admin/queue").json()["data"]["total"]
        self.assertEqual(total["entered"], 2)
        metrics = proxy.get("/metrics").body.decode()
        self.assertIn(f'keywheel_queue_success_total{{access_key="{key["id"]}"}} 2', metrics)
        self.assertIn(f'keywheel_queue_rejected_total{{access_key="{key["id"]}"}} 1', metrics)
        self.assertIn(f'keywheel_queue_wait_seconds_count{{access_key="{key["id"]}"}} 2', metrics)
        self.slots_free(proxy, key)

    def test_the_line_is_off_unless_asked_for_and_a_key_may_have_its_own(self):
        proxy = self.start()
        plain = self.key([proxy], 1)
        with contextlib.closing(self.blocked(proxy, plain)):
            status, _, body = self.read(self.send(proxy, plain, "gpt-4o-mini"))
            self.assertEqual([status, json.loads(body)["error"]["code"]], [429, "concurrency_limit_exceeded"])
        own = self.key([proxy], 1, queue_size=1, queue_timeout_seconds=1)
        with contextlib.closing(self.blocked(proxy, own)):
            waiting = self.send(proxy, own, "gpt-4o-mini")
            self.waiting(proxy, own, 1)
            self.assertEqual(self.read(self.send(proxy, own, "gpt-4o-mini"))[0], 429)
            status, head, body = self.read(waiting)
            self.assertEqual([status, json.loads(body)["error"]["code"]], [429, "queue_timeout"])
            self.assertIn("\r\nretry-after: ", head)
        self.assertEqual(self.queue(proxy, own)["timeout"], 1)
        self.slots_free(proxy, own)
        changed = proxy.admin("PUT", f"/admin/access-keys/{own['id']}", {"queue_size": None})
        self.assertIsNone(changed.json()["data"]["queue_size"])
        self.assertIn("queue_size", proxy.admin("PUT", f"/admin/access-keys/{own['id']}",
                                                {"queue_size": -1}).json()["message"])

    def test_who_hangs_up_leaves_the_line(self):
        proxy = self.start(size=2)
        key = self.key([proxy], 1)
        running = self.blocked(proxy, key)
        first = self.send(proxy, key, "gpt-4o-mini", 1)
        self.waiting(proxy, key, 1)
        second = self.send(proxy, key, "gpt-4o-mini", 2)
        self.waiting(proxy, key, 2)
        first.close()
        self.waiting(proxy, key, 1)
        third = self.send(proxy, key, "gpt-4o-mini", 3)
        self.waiting(proxy, key, 2)
        running.close()
        self.assertEqual([self.read(second)[0], self.read(third)[0]], [200, 200])
        self.assertEqual(self.queue(proxy, key)["cancelled"], 1)
        self.slots_free(proxy, key)

    def test_first_come_first_served_over_workers(self):
        proxy = self.start(size=20)
        key = self.key([proxy], 1)
        running = self.blocked(proxy, key)
        waiting = []
        for number in range(12):
            waiting.append(self.send(proxy, key, f"gpt-4o-mini-{number}", number))
            self.waiting(proxy, key, number + 1)
        running.close()
        self.assertEqual([self.read(s)[0] for s in waiting], [200] * 12)
        served = [e["model"] for e in self.upstream.books()["entries"] if e["model"].startswith("gpt-4o-mini-")]
        self.assertEqual(served, [f"gpt-4o-mini-{number}" for number in range(12)])
        self.slots_free(proxy, key)

    def test_a_stop_sends_away_who_waits_and_finishes_what_runs(self):
        proxy = self.start(size=4)
        key = self.key([proxy], 1)
        running = self.send(proxy, key, "mock-delay-1500")
        harness.wait_until("the slot is taken", lambda: self.upstream.books()["active"] == 1)
        waiting = [self.send(proxy, key, "gpt-4o-mini", n) for n in range(2)]
        self.waiting(proxy, key, 2)
        stopping = threading.Thread(target=proxy.stop)
        stopping.start()
        for s in waiting:
            status, _, body = self.read(s)
            self.assertEqual([status, json.loads(body)["error"]["code"]], [503, "shutting_down"])
        self.assertEqual(self.read(running)[0], 200)
        stopping.join()

    def test_large_bodies_in_line_leave_memory_to_others(self):
        proxy = self.keywheel(config=CONFIG.format(url=self.upstream.url, workers=1, size=50),
                              env={"WORKERS": None, "KEYWHEEL_SERVER_MAX_KEPT_BYTES": "4MiB",
                                   "KEYWHEEL_SERVER_MAX_KEPT_BODY_BYTES": "1MiB"})
        key, other = self.key([proxy], 1), self.key([proxy], 1)
        running = self.blocked(proxy, key)
        large = "x" * 700_000
        waiting = []
        for number in range(8):
            s = self.send(proxy, key, "gpt-4o-mini", large)
            waiting.append(s)
            harness.wait_until("in line, or not", lambda: sum(
                self.queue(proxy, key).get(n, 0) for n in ("waiting", "rejected")) == number + 1)
        seen = self.queue(proxy, key)
        self.assertGreater(seen["waiting"], 0)
        self.assertLess(seen["waiting"], 5)
        self.assertEqual(self.read(self.send(proxy, other, "gpt-4o-mini", large))[0], 200)
        small = self.send(proxy, key, "gpt-4o-mini")
        self.waiting(proxy, key, seen["waiting"] + 1)
        running.close()
        got = sorted(self.read(s)[0] for s in [*waiting, small])
        self.assertEqual(got, [200] * (seen["waiting"] + 1) + [429] * seen["rejected"])
        self.slots_free(proxy, key)

    def test_many_keys_at_once_lose_no_slot(self):
        proxy = self.start(size=100)
        keys = [self.key([proxy], cap) for cap in (1, 2, 3, 5)]

        def one(number):
            s = self.send(proxy, keys[number % 4], f"mock-delay-5-k{number % 4}", number)
            if number % 7 == 0:
                time.sleep(0.002 * (number % 13))
                s.close()
                return None
            return self.read(s)[0]
        with concurrent.futures.ThreadPoolExecutor(48) as pool:
            got = list(pool.map(one, range(1200)))
        self.assertEqual({s for s in got if s is not None}, {200})
        for key in keys:
            self.slots_free(proxy, key)
            self.assertEqual(self.queue(proxy, key)["waiting"], 0)
        total = proxy.admin("GET", "/admin/queue").json()["data"]["total"]
        self.assertEqual(total["entered"], total["success"] + total["cancelled"])
        self.assertGreater(total["success"], 100)
        self.assertLessEqual(self.upstream.books()["total"]["max_concurrent"], 11)
        print(f"figure: requests that waited for one of 11 slots: {total['entered']} entered, {total['success']} served, "
              f"{total['cancelled']} gone; wait ms {total['wait_ms']}")

    def test_three_processes_share_two_slots(self):
        store = self.redis()
        shared = {"REDIS_URL": store.url, "ENCRYPTION_KEY": "e" * 43}
        proxies = [self.start(n, workers=1, size=40, **shared) for n in range(3)]
        key = self.key(proxies, 2)
        begun = time.monotonic()

        def one(number):
            return self.read(self.send(proxies[number % 3], key, "mock-delay-100", number))[0]
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            got = list(pool.map(one, range(40)))
        took = time.monotonic() - begun
        self.assertEqual(got, [200] * 40)
        peak = self.upstream.books()["total"]["max_concurrent"]
        self.assertLessEqual(peak, 2)
        self.slots_free(proxies[0], key)
        rows = [self.queue(proxy, key) for proxy in proxies]
        for row in rows:
            self.assertEqual([row["waiting"], row["timeout"]], [0, 0])
            self.assertGreater(row["success"], 0)
        print(f"figure: 40 requests of 100 ms through 2 slots of 3 processes: {took:.1f} s (2.0 s at best), "
              f"{peak} at most at the upstream, waited {[row['success'] for row in rows]}")

        # A line that is always full in one process does not keep the others waiting.
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                self.read(self.send(proxies[0], key, "mock-delay-30"))
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            for _ in range(10):
                pool.submit(busy)
            harness.wait_until("a line", lambda: self.queue(proxies[0], key)["waiting"] >= 6)
            try:
                waits = []
                for number in range(8):
                    at = time.monotonic()
                    self.assertEqual(self.read(self.send(proxies[1], key, "mock-delay-30", number))[0], 200)
                    waits.append(time.monotonic() - at)
            finally:
                stop.set()
        print(f"figure: wait of another process beside a line that never ends: "
              f"{sorted(waits)[4] * 1000:.0f} ms in the middle, {max(waits) * 1000:.0f} ms at most")


if __name__ == "__main__":
    harness.main()
