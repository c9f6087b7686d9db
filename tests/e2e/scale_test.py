"""50,000 access keys in the embedded store: a start, its memory, a page of the list, one change. The keys are
written into the store's file, as copies of one that the API made; that one works among them, and a disable counts
at once. The bounds are generous, since what is measured here shares its machine; `./dev soak scale` has a million.
"""
import pathlib
import statistics
import sys
import time

import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "soak"))
from scale_soak import fill  # noqa: E402

MANY = 50_000
MOST = {"start": 20.0, "page": 1.0, "change": 1.0}  # seconds
MOST_MIB = 150  # of access keys


class Scale(harness.EndToEnd):
    def timed(self, method, path, body=None, status=200):
        began = time.monotonic()
        answer = self.proxy.admin(method, path, body)
        took = time.monotonic() - began
        self.assertEqual(answer.status, status, answer)
        return took, answer.json()["data"]

    def chat(self, key):
        return self.proxy.post("/v1/chat/completions", {"model": "gpt-4o", "messages": []},
                               headers={"authorization": f"Bearer {key}"}).status

    def test_many_access_keys(self):
        self.proxy = self.keywheel(self.mock(tls=False))
        _, made = self.timed("POST", "/admin/access-keys", {"name": "scale-first"}, 201)
        before = self.proxy.status_kib()
        self.proxy.stop()
        fill(self.folder / "keywheel-data", 1, MANY)
        began = time.monotonic()
        self.proxy.start()
        self.proxy.wait_ready("/readyz", 60)
        start = time.monotonic() - began
        first, _ = self.timed("GET", "/admin/access-keys?limit=1")
        pages = [self.timed("GET", f"/admin/access-keys?limit=100&page={n}") for n in range(1, 500, 50)]
        for _, page in pages:
            self.assertEqual(len(page["access_keys"]), 100)
        page = statistics.median(took for took, _ in pages)
        self.assertEqual(self.chat(made["key"]), 200)
        toggle = f"/admin/access-keys/{made['id']}/toggle"
        changes = []
        for disabled in (True, False) * 3:
            changes.append(self.timed("PATCH", toggle, {"disabled": disabled})[0])
            harness.wait_until("the change is known",
                               lambda: self.chat(made["key"]) == (401 if disabled else 200))
        change = statistics.median(changes)
        grown = (self.proxy.status_kib() - before) / 1024
        print(f"figure: scale: start with {MANY} access keys: {start:.2f} s", flush=True)
        print(f"figure: scale: memory of {MANY} access keys: {grown:.0f} MiB", flush=True)
        print(f"figure: scale: first look at their list: {first * 1000:.0f} ms", flush=True)
        print(f"figure: scale: a page of their list: {page * 1000:.1f} ms", flush=True)
        print(f"figure: scale: a change of one: {change * 1000:.1f} ms", flush=True)
        self.assertLess(start, MOST["start"])
        self.assertLess(page, MOST["page"])
        self.assertLess(change, MOST["change"])
        self.assertLess(grown, MOST_MIB)


if __name__ == "__main__":
    harness.main()
