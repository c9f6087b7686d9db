"""The official openai Node SDK against keywheel and a mock upstream over TLS."""
import harness


class OpenAINode(harness.EndToEnd):
    def run_suite(self, script, **env):
        modules = harness.ROOT / "tests/e2e/node_modules"
        self.assertTrue(modules.is_dir(), "no SDK: run npm ci in tests/e2e")
        self.run_child(["node", "--test", harness.ROOT / "tests/e2e/sdk" / script],
                       {"ACCESS_KEY": harness.ACCESS_KEY, **env})

    def test_calls(self):
        mock = self.mock()
        proxy = self.keywheel(mock)
        self.run_suite("calls.test.mjs", BASE_URL=proxy.url + "/v1")
        entries = mock.books()
        self.assertEqual(entries["active"], 0)

    def test_large_bodies(self):
        mock = self.mock()
        proxy = self.keywheel(mock)
        # What one small request needs is not growth.
        proxy.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
        self.run_suite("large.test.mjs", BASE_URL=proxy.url + "/v1", PROXY_PID=str(proxy.pid))

    def test_exceptions(self):
        # Without retries and bans the upstream's own status reaches the client.
        mock = self.mock()
        proxy = self.keywheel(mock, env={"KEYWHEEL_POOL_RETRY": "false", "KEYWHEEL_POOL_AUTO_BAN": "false"})
        self.run_suite("exceptions.test.mjs", BASE_URL=proxy.url + "/v1")

    def test_objects_of_three_accounts(self):
        """Each call goes to the other replica; in the middle of each flow one of them is killed and comes back."""
        kills = calls = 0
        for strategy in harness.STRATEGIES:
            with self.subTest(strategy):
                mock, replicas = self.three_accounts(strategy)
                with self.restart_url(replicas[0]) as (url, uses):
                    self.run_suite("objects.test.mjs", BASE_URLS=",".join(p.url + "/v1" for p in replicas),
                                   RESTART_URL=url)
                kills += len(uses)
                calls += mock.books(limit=0)["total"]["requests"]
                for process in replicas:
                    process.stop()
        print(f"figure: flows of the SDK under six strategies: 36, upstream requests {calls}, kills in the middle "
              f"{kills}, not found 0")


if __name__ == "__main__":
    harness.main()
