"""How many keys one process bears: an import of 10,000 upstream keys, lists of 100,000 access keys, a start
with a million of them.

The access keys beyond the first are put straight into the embedded store, since making a million by the
API is not what is measured; the first one, made by the API, must work among them. Prints figures and fails
above the limits.

    ./dev soak scale
"""
import hashlib
import os
import pathlib
import sqlite3
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402

MANY = int(os.environ.get("KEYWHEEL_SOAK_KEYS", "1000000"))
LISTED = 100_000
IMPORTED = 10_000
LIMITS = {"import of 10,000 upstream keys": 2.0, "list page of 100,000 access keys": 0.05,
          "start with all access keys": 5.0}  # seconds
MEMORY_MIB = 600


def fill(folder, have, want):
    """Copies of the first access key, each with a name and hash of its own."""
    with sqlite3.connect(folder / "keywheel.db") as db:
        row = db.execute("SELECT id, json FROM records WHERE kind='access_key' AND json LIKE '%scale-first%'")
        first, text = row.fetchone()
        before = next(part for part in text.split('"') if len(part) == 64)
        revision, = db.execute("SELECT value FROM meta WHERE name='revision'").fetchone()

        def copies():
            for i in range(have, want):
                mark = f"{i:08x}"
                hashed = hashlib.sha256(mark.encode()).hexdigest()
                other = text.replace(before, hashed).replace("scale-first", f"scale-{i}")
                name = f"ak_scale{mark}"
                yield "access_key", name, revision + 1 + i - have, 0, other.replace(first, name)
        db.executemany("INSERT INTO records VALUES (?,?,?,?,?)", copies())
        db.execute("UPDATE meta SET value=? WHERE name='revision'", (revision + want - have,))
    db.close()


class Scale(harness.EndToEnd):
    def figure(self, what, seconds):
        print(f"figure: {what}: {seconds * 1000:.0f} ms")
        self.assertLess(seconds, LIMITS[what], what)

    def timed(self, proxy, method, path, body=None, status=200):
        began = time.monotonic()
        answer = proxy.admin(method, path, body)
        took = time.monotonic() - began
        self.assertEqual(answer.status, status, answer)
        return took, answer.json()["data"]

    def test_scale(self):
        mock = self.mock()
        proxy = self.keywheel(mock)
        data = self.folder / "keywheel-data"
        lines = "\n".join(f"sk-scale-{i:08d}-abcdefghijklmnop" for i in range(IMPORTED))
        took, told = self.timed(proxy, "POST", "/admin/keys/batch", {"text": lines, "poolGroup": "openai"})
        self.assertEqual(told["added"], IMPORTED)
        self.figure("import of 10,000 upstream keys", took)
        for key in ("/admin/keys?limit=100&page=50", "/admin/keys?q=openai-1&limit=100"):
            took = statistics.median(self.timed(proxy, "GET", key)[0] for _ in range(10))
            print(f"figure: {key} of {IMPORTED}: {took * 1000:.1f} ms")
        _, made = self.timed(proxy, "POST", "/admin/access-keys", {"name": "scale-first"}, 201)
        one = next(k for k in self.timed(proxy, "GET", "/admin/keys?limit=1")[1]["keys"])
        took = statistics.median(self.timed(proxy, "PATCH", f"/admin/keys/{one['id']}/notes", {"notes": f"{i}"})[0]
                                 for i in range(5))
        print(f"figure: one edit among {IMPORTED} upstream keys: {took * 1000:.1f} ms")

        proxy.stop()
        fill(data, 1, LISTED)
        proxy.start()
        proxy.wait_ready("/readyz")
        list_of = "/admin/access-keys?limit=100"
        pages = [self.timed(proxy, "GET", f"{list_of}&page={page}")[0] for page in range(1, 1000, 50)]
        self.figure("list page of 100,000 access keys", statistics.median(pages))
        took = statistics.median(self.timed(proxy, "GET", f"{list_of}&q=scale-99")[0] for _ in range(10))
        print(f"figure: search in {LISTED} access keys: {took * 1000:.1f} ms")

        proxy.stop()
        fill(data, LISTED, MANY)
        began = time.monotonic()
        proxy.start()
        proxy.wait_ready("/readyz", 120)
        took = time.monotonic() - began
        print(f"figure: memory with {MANY} access keys: {proxy.status_kib() / 1024:.0f} MiB")
        self.figure("start with all access keys", took)
        self.assertLess(proxy.status_kib() / 1024, MEMORY_MIB)
        chat = {"model": "gpt-4o", "messages": []}
        for text in (made["key"], proxy.access_key):
            answer = proxy.post("/v1/chat/completions", chat, headers={"authorization": f"Bearer {text}"})
            self.assertEqual(answer.status, 200, answer)
        took = self.timed(proxy, "POST", "/admin/access-keys", {"name": "one more"}, 201)[0]
        print(f"figure: one access key more: {took * 1000:.0f} ms")
        took = statistics.median(
            self.timed(proxy, "PATCH", f"/admin/access-keys/{made['id']}/toggle", {"disabled": bool(i % 2)})[0]
            for i in range(6))
        print(f"figure: one edit among {MANY} access keys: {took * 1000:.1f} ms")
        print(f"figure: memory after that: {proxy.status_kib() / 1024:.0f} MiB")


if __name__ == "__main__":
    harness.main()
