"""What keywheel takes before it has anything to do: memory when idle, and time from exec to ready.

Idle memory is VmRSS half a second after a handful of requests, with one worker, the embedded store
and everything that is on by default. The bound is 20 MiB for a program as it is released; one that
is built for debugging, with sanitizers or without optimisation, maps far more code of its own and
is measured without bound beyond three times that. What is its own, not mapped from files, is bounded for
all but sanitized ones.

Cold start is the time from exec to the first 200 of /readyz with 1,000 upstream keys in the store,
the best of five, because a busy machine only ever adds to it. Here too the bound is that of a program
as it is released; ten times that is for all others.
"""
import http.client
import pathlib
import time

import harness

KEYS = 1000
IDLE_MIB = 20
OWN_MIB = 8
START_MS = 300


def is_released() -> bool:
    """Optimised and not sanitized, by what CMake says of the build that the program lies in."""
    cache = pathlib.Path(harness.PROGRAM).resolve().parent / "CMakeCache.txt"
    return cache.exists() and "CMAKE_BUILD_TYPE:STRING=Release" in cache.read_text()


def is_sanitized() -> bool:
    return b"__sanitizer_" in pathlib.Path(harness.PROGRAM).read_bytes()


class Footprint(harness.EndToEnd):
    def test_idle_memory(self):
        mock = self.mock()
        proxy = self.keywheel(mock)
        for _ in range(5):
            self.assertEqual(proxy.post("/v1/chat/completions", {"model": "mock", "messages": []}).status, 200)
        time.sleep(0.5)
        used = proxy.status_kib() / 1024
        own = proxy.status_kib("RssAnon") / 1024
        print(f"figure: idle memory: {used:.1f} MiB ({own:.1f} of its own)", flush=True)
        self.assertLess(own, OWN_MIB if not is_sanitized() else 1024)
        self.assertLess(used, IDLE_MIB if is_released() else 3 * IDLE_MIB if not is_sanitized() else 1024)

    def test_cold_start_with_many_keys(self):
        mock = self.mock()
        proxy = self.keywheel(mock)
        text = "\n".join(f"sk-mock-many-{n:04}" for n in range(KEYS))
        added = proxy.admin("POST", "/admin/keys/batch", {"text": text})
        self.assertEqual(added.json()["data"]["added"], KEYS, added)
        taken = []
        for _ in range(5):
            proxy.stop()
            taken.append(self.time_to_ready(proxy))
        print(f"figure: cold start to ready with {KEYS} keys: {min(taken) * 1000:.0f} ms", flush=True)
        kept = proxy.admin("GET", "/admin/keys?limit=1").json()["data"]["pagination"]["total"]
        self.assertGreaterEqual(kept, KEYS)
        self.assertLess(min(taken) * 1000, START_MS if is_released() else 10 * START_MS)

    def time_to_ready(self, proxy):
        begin = time.monotonic()
        proxy.start()
        while time.monotonic() - begin < 20:
            try:
                if proxy.get("/readyz", timeout=2).status == 200:
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.001)
        raise AssertionError("not ready in 20 s")


if __name__ == "__main__":
    harness.main()
