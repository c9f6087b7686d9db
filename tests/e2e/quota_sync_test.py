"""What a provider tells of its keys' quotas is asked for, shown, and goes into the choice of keys.

Real processes; the mock upstream tells allowances at `/v1/key`. Keys of unequal quotas under
`max-remaining`: the richest serves until it is no longer that; a key that is told to be empty serves
nothing; `POST /admin/token/sync` asks at once; two replicas ask once between them.
"""
import harness

CONFIG = """
quota: {{interval: {interval}, jitter: 100ms}}
groups:
  - id: main
    base_url: "{url}/v1"
    keys: [sk-poor, sk-rich, sk-empty]
    quota_url: /key
    quota_tokens_per_unit: 1
    pool: {{strategy: max-remaining}}
"""
BODY = {"model": "mock-tokens-5", "messages": [{"role": "user", "content": "x"}]}


class QuotaSync(harness.EndToEnd):
    def start(self, interval, **options):
        mock = self.mock()
        for key, left in (("sk-poor", 2_000), ("sk-rich", 900_000), ("sk-empty", 0)):
            mock.control(key=key, quota_tokens=left)
        config = CONFIG.format(url=mock.url, interval=interval)
        return mock, config, {"SSL_CERT_FILE": mock.ca, **options}

    def keys(self, proxy):
        rows = proxy.admin("GET", "/admin/keys?limit=100&sort=alias").json()["data"]["keys"]
        return [row["quota"] for row in rows]

    def told(self, proxy):
        return all(self.keys(proxy)) and self.keys(proxy)

    def test_quotas_are_asked_for_and_used(self):
        mock, config, env = self.start("2s")
        proxy = self.keywheel(config=config, env=env)
        quotas = harness.wait_until("three readings", lambda: self.told(proxy), 20)
        self.assertEqual([quota["remaining"] for quota in quotas], [2_000, 900_000, 0])
        self.assertEqual(quotas[0]["allowance"], 2_000)
        self.assertIn("last_sync", quotas[0])
        accounts = set()
        for _ in range(20):
            accounts.add(proxy.post("/v1/chat/completions", BODY).headers["x-keywheel-key"])
        self.assertEqual(len(accounts), 1, "the richest alone")
        richest = accounts.pop()
        # Another is the richest now.
        mock.control(key="sk-rich", quota_tokens=500)

        def another():
            return proxy.post("/v1/chat/completions", BODY).headers["x-keywheel-key"] != richest
        harness.wait_until("another key serves", another, 20, 0.1)
        # The provider's page is away: the last word holds for a while, and nothing fails.
        mock.control(path="/v1/key", fault="status;500")
        self.assertEqual(proxy.post("/v1/chat/completions", BODY).status, 200)
        harness.wait_until("told", lambda: any(e["event"] == "quota.not_told" for e in proxy.events()), 20)

    def test_asked_for_by_a_person_and_once_by_two(self):
        mock, config, env = self.start("0s", REDIS_URL=self.redis().url, ENCRYPTION_KEY="k" * 40)
        first = self.keywheel(config=config, env=env)
        second = self.keywheel(config=config, env=env, name="second")
        self.assertEqual(self.keys(first), [None, None, None])
        asked = first.admin("POST", "/admin/token/sync", {})
        self.assertEqual((asked.status, asked.json()["data"]), (202, {"asked": 3}))
        harness.wait_until("readings at the one that asked", lambda: self.told(first), 20)
        harness.wait_until("readings at the other", lambda: self.told(second), 20)
        refused = first.admin("POST", "/admin/token/sync", {"surprise": 1})
        self.assertEqual(refused.status, 400)


if __name__ == "__main__":
    harness.main()
