"""Three processes on one Redis, the clock of one 5 s ahead and of another 5 s behind: limits hold as if there were one clock.

A library loaded before the C library moves what these processes see as the time of day. Windows let no more
through than their cap in any stretch of their length, and exactly their cap at first; concurrency is never
passed, nor taken away from a long stream; a budget is passed by at most one request; what all three
processes tell of a limit is the same.
"""
import concurrent.futures
import contextlib
import datetime
import subprocess
import time

import harness
import limits_test

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long offset(void) {
    const char* text = getenv("SHIFT_SECONDS");
    return text ? strtol(text, 0, 10) : 0;
}
int clock_gettime(clockid_t id, struct timespec* out) {
    static int (*real)(clockid_t, struct timespec*);
    if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
    int got = real(id, out);
    if (got == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) out->tv_sec += offset();
    return got;
}
int gettimeofday(struct timeval* out, void* zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t* out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


class ShiftedClocks(harness.EndToEnd):
    replicas, per_process = 3, 1
    shifts = (0, 5, -5)
    key, many, one = limits_test.OneProcess.key, limits_test.OneProcess.many, limits_test.OneProcess.one

    def setUp(self):
        super().setUp()
        source, self.shim = self.folder / "shift.c", self.folder / "shift.so"
        source.write_text(SHIM)
        subprocess.run(["clang-19", "-O1", "-shared", "-fPIC", "-o", self.shim, source, "-ldl"], check=True, timeout=60)
        self.upstream, store = self.mock(tls=False), self.redis()
        self.proxies = [
            self.keywheel(name=f"keywheel-{shift}", env={
                "WORKERS": None, "REDIS_URL": store.url, "ENCRYPTION_KEY": "e" * 43,
                **({"LD_PRELOAD": self.shim, "SHIFT_SECONDS": shift} if shift else {})},
                config=limits_test.CONFIG.format(url=self.upstream.url, workers=1)) for shift in self.shifts]
        self.proxy = self.proxies[0]

    def test_clocks_differ(self):
        """Else the rest would show nothing."""
        def now(proxy):
            proxy.admin("POST", "/admin/access-keys", {"name": "when"})
            said = harness.wait_until("the line", lambda: [e for e in proxy.events() if e["event"] == "admin.change"])
            return datetime.datetime.fromisoformat(said[-1]["ts"]).timestamp()
        behind, ahead = now(self.proxies[2]), now(self.proxies[1])
        self.assertGreaterEqual(ahead - behind, 9.9)

    def test_windows(self):
        for window in ("sliding", "fixed"):
            limit = {"unit": "requests", "per": "6s", "cap": 30, **({"window": window} if window == "fixed" else {})}
            data = self.key(limit)
            served, end = [], time.monotonic() + 9

            def client(number, key=data["key"], end=end, served=served):
                with contextlib.closing(self.proxies[number % 3].connection(60)) as connection:
                    while time.monotonic() < end:
                        sent = time.monotonic()
                        if limits_test.chat(connection, key).status == 200:
                            served.append((sent, time.monotonic()))
                        time.sleep(0.02)
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                list(pool.map(client, range(6)))
            # Surely admitted within that stretch, wherever in between it was.
            length = 6 - 0.1 - 0.01 if window == "sliding" else 6
            most = max(sum(sent >= begin and got <= begin + length for sent, got in served) for begin, _ in served)
            self.assertGreaterEqual(len(served), 30)
            # A fixed window ends somewhere in such a stretch, once.
            self.assertLessEqual(most, 30 if window == "sliding" else 60)
            self.assertLessEqual(len(served), 90)
            print(f"figure: {window} window of 30 in 6 s with clocks 10 s apart: at most {most} in {length} s, "
                  f"{len(served)} in 9 s")
        exact = self.key({"unit": "requests", "per": "1h", "cap": 90})
        answers = self.many(300, 30, exact["key"])
        self.assertEqual(sum(a.status == 200 for a in answers), 90)
        seen = [proxy.get("/v1/keywheel/me", headers={"authorization": f"Bearer {exact['key']}"}).json()["limits"][0]
                for proxy in self.proxies]
        self.assertEqual({(entry["used"], entry["remaining"]) for entry in seen}, {(90, 0)})
        resets = [entry["reset_in_seconds"] for entry in seen]
        self.assertLess(max(resets) - min(resets), 5)

    def test_concurrency(self):
        data = self.key({"unit": "concurrent", "cap": 4})
        body = {"model": "mock-pace-100-tokens-600", "stream": True, "messages": []}
        headers = {"authorization": f"Bearer {data['key']}"}
        # One long stream by each process; one slot is left, for longer than a lease that is not renewed lasts.
        streams = [proxy.open_stream("/v1/chat/completions", body, headers=headers, timeout=60)
                   for proxy in self.proxies]
        self.assertEqual([response.status for _, response in streams], [200] * 3)
        end = time.monotonic() + 18

        def client(number):
            got = 0
            with contextlib.closing(self.proxies[number % 3].connection(60)) as connection:
                while time.monotonic() < end:
                    got += limits_test.chat(connection, data["key"], model="mock-delay-5").status == 200
            return got
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            served = sum(pool.map(client, range(4)))
        peak = self.upstream.books()["total"]["max_concurrent"]
        self.assertLessEqual(peak, 4)
        self.assertGreater(served, 10)
        for connection, _ in streams:
            connection.close()
        print(f"figure: concurrency of 4 with clocks 10 s apart: at most {peak} at the upstream in 18 s, {served} served")

    def test_budget(self):
        data = self.key({"unit": "cost", "per": "day", "cap": "1"})
        answers = self.many(60, 60, data["key"], model="mock-priced", max_tokens=8)
        good = sum(a.status == 200 for a in answers)

        def booked():
            rows = self.proxy.admin("GET", f"/admin/usage?by=access_key&subject={data['id']}").json()["data"]["usage"]
            return rows and sum(row["requests"] for row in rows) == 60 and rows
        rows = harness.wait_until("the books", booked, 30)
        spent = sum(row["rated_cost"]["nanodollars"] for row in rows) / 1e9
        self.assertLess(good, 60)
        self.assertLessEqual(spent, 1 + spent / good)
        print(f"figure: budget of 1 USD with clocks 10 s apart: {spent:.4f} USD spent by {good} requests")


if __name__ == "__main__":
    harness.main(together=3)
