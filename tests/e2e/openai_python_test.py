"""The official openai Python SDK against keywheel; skipped, and said so, where pip brought none."""
import os
import pathlib
import sys

import harness
from books import records, settle


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


    def test_sockets(self):
        """Two replicas, three accounts: sockets are at what others have made, and cost what the mock says."""
        mock, replicas = self.three_accounts()
        self.run_child([PYTHON, "-B", harness.ROOT / "tests/e2e/sdk/sockets_python.py"],
                       {"BASE_URLS": ",".join(p.url + "/v1" for p in replicas), "ACCESS_KEY": harness.ACCESS_KEY})
        for process in replicas:
            settle(process, mock)
        ours = [r for r in records(replicas[0]) if r["status"] == 200 and r["usage"] != "none"]
        theirs = [e for e in mock.books()["entries"] if e["status"] == 200 and e["input_tokens"]]
        exact = [r for r in ours if r["usage"] == "exact"]
        whole = [e for e in theirs if e["outcome"] == "completed"]

        def ours_of(r):
            return tuple(r["tokens"][name] for name in ("input", "output", "cached_read", "audio_in", "audio_out"))

        def theirs_of(e):
            return tuple(e[name + "_tokens"] for name in ("input", "output", "cached", "audio_input", "audio_output"))
        self.assertEqual(sorted(map(ours_of, exact)), sorted(map(theirs_of, whole)))
        # The response that the client left, on both sides.
        self.assertEqual((len(ours) - len(exact), len(theirs) - len(whole)), (1, 1))
        books = mock.books(limit=0)
        refused = sum(count for by in books["total"]["by"].values() for status, count in by.items() if status == "404")
        self.assertEqual(refused, 0)
        print(f"figure: sockets of the Python SDK: {len(whole)} responses and transcriptions booked as the mock has "
              f"them, 1 MB of audio both ways; 6 calls of the realtime API joined elsewhere, not found {refused}")


PYTHON = pathlib.Path(os.environ.get("KEYWHEEL_VENV", harness.ROOT / "build/venv")) / "bin/python"

if __name__ == "__main__":
    if not PYTHON.exists():
        print(f"SKIPPED: no Python SDK at {PYTHON}")
        sys.exit(harness.SKIPPED)
    harness.main()
