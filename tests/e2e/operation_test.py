"""What an operator sees from outside: health on a port of its own, a first start without the store."""
import copy

import harness

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


class Operation(harness.EndToEnd):
    def test_health_and_metrics_on_a_port_of_their_own(self):
        upstream = self.mock(tls=False)
        health = harness.free_port()
        proxy = self.keywheel(upstream, env={"KEYWHEEL_SERVER_HEALTH_PORT": health})
        self.assertEqual(proxy.get("/metrics").status, 404)
        self.assertEqual(proxy.get("/healthz").status, 200)
        own = copy.copy(proxy)
        own.port = health
        for path in ("/healthz", "/readyz", "/livez", "/health", "/health/liveliness", "/health/readiness", "/"):
            self.assertEqual(own.get(path).status, 200, path)
        self.assertIn(b"keywheel_", own.get("/metrics").body)
        for path in ("/v1/models", "/admin/health", "/admin/keys"):
            answer = own.request("GET", path, headers={"x-admin-key": harness.ADMIN_KEY})
            self.assertEqual(answer.status, 404, path)
        self.assertEqual(proxy.post("/v1/chat/completions", CHAT).status, 200)

    def test_a_first_start_without_the_store_waits_for_it(self):
        upstream = self.mock(tls=False)
        redis = self.redis()
        redis.kill()
        proxy = self.keywheel(upstream, wait=False, env={"REDIS_URL": redis.url, "ENCRYPTION_KEY": "e" * 43,
                                                         "KEYWHEEL_STORE_REDIS_TIMEOUT": "500ms"})
        proxy.wait_ready("/healthz")
        self.assertEqual(proxy.get("/readyz").status, 503)
        answer = proxy.post("/v1/chat/completions", CHAT)
        self.assertEqual([answer.status, answer.json()["error"]["code"]], [503, "store_unavailable"])
        redis.start()
        proxy.wait_ready("/readyz")
        harness.wait_until("an answer", lambda: proxy.post("/v1/chat/completions", CHAT).status == 200)
        self.assertEqual(proxy.request("POST", "/v1/chat/completions", CHAT,
                                       headers={"authorization": "Bearer sk-unknown"}).status, 401)


if __name__ == "__main__":
    harness.main()
