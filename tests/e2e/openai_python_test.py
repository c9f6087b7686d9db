"""The official openai Python SDK against keywheel; skipped, and said so, where pip brought none."""
import os
import pathlib
import sys

import harness


class OpenAIPython(harness.EndToEnd):
    def run_suite(self, name, **more):
        mock = self.mock()
        proxy = self.keywheel(mock, **more)
        self.run_child([PYTHON, "-B", harness.ROOT / "tests/e2e/sdk/openai_python.py", name],
                       {"BASE_URL": proxy.url + "/v1", "ACCESS_KEY": harness.ACCESS_KEY})

    def test_calls(self):
        self.run_suite("Calls")

    def test_exceptions(self):
        self.run_suite("Exceptions",
                       env={"KEYWHEEL_POOL_RETRY": "false", "KEYWHEEL_POOL_AUTO_BAN": "false"})

    def test_objects_of_three_accounts(self):
        """Each call goes to the other replica; in the middle of each flow one of them is killed and comes back."""
        kills = calls = 0
        for strategy in harness.STRATEGIES:
            with self.subTest(strategy):
                mock, replicas = self.three_accounts(strategy)
                with self.restart_url(replicas[0]) as (url, uses):
                    self.run_child([PYTHON, "-B", "-W", "ignore", harness.ROOT / "tests/e2e/sdk/objects_python.py"],
                                   {"BASE_URLS": ",".join(p.url + "/v1" for p in replicas),
                                    "ACCESS_KEY": harness.ACCESS_KEY, "RESTART_URL": url})
                books = mock.books(limit=0)
                self.assertGreater(len(books["keys"]), 2, "more than one account was asked")
                kills += len(uses)
                calls += books["total"]["requests"]
                for process in replicas:
                    process.stop()
        print(f"figure: flows of the Python SDK under six strategies: 72, upstream requests {calls}, kills in the "
              f"middle {kills}, not found 0")


PYTHON = pathlib.Path(os.environ.get("KEYWHEEL_VENV", harness.ROOT / "build/venv")) / "bin/python"

if __name__ == "__main__":
    if not PYTHON.exists():
        print(f"SKIPPED: no Python SDK at {PYTHON}")
        sys.exit(harness.SKIPPED)
    harness.main()
