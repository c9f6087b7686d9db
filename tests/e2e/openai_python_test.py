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


PYTHON = pathlib.Path(os.environ.get("KEYWHEEL_VENV", harness.ROOT / "build/venv")) / "bin/python"

if __name__ == "__main__":
    if not PYTHON.exists():
        print(f"SKIPPED: no Python SDK at {PYTHON}")
        sys.exit(harness.SKIPPED)
    harness.main()
