"""Backup and restore of all data: under load from a running server, then everything lost, then back to the same state;
another master key, a damaged or cut file, a running server and a store with data are refused before anything is touched,
and a restore that was broken off keeps the store shut until one ends well."""
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import harness

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
SECRET = "sk-mock-canary-of-the-backup"
MASTER = "master-key-of-the-backup-" + "x" * 20


class Backup(harness.EndToEnd):
    def verb(self, proxy, *words, code=0, env=None):
        done = subprocess.run([harness.PROGRAM, *map(str, words)], text=True, timeout=120, cwd=self.folder,
                              env={**proxy.env, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def data(self, proxy, method, path, body=None, status=200):
        answer = proxy.admin(method, path, body)
        self.assertEqual(answer.status, status, answer)
        return answer.json()["data"]

    def fill(self, proxy):
        """Records of each kind, a secret, books; the access key."""
        self.data(proxy, "POST", "/admin/pool-groups", {"id": "main", "base_url": self.upstream.url + "/v1"}, 201)
        self.data(proxy, "POST", "/admin/keys", {"key": SECRET, "poolGroup": "main", "notes": "made here"}, 201)
        self.data(proxy, "PUT", "/admin/config", {"pool.retry_max": 4})
        key = self.data(proxy, "POST", "/admin/access-keys",
                        {"name": "client", "limits": [{"unit": "requests", "per": "1h", "cap": 500}]}, 201)["key"]
        for _ in range(20):
            self.assertEqual(self.ask(proxy, key), 200)
        return key

    def ask(self, proxy, key):
        return proxy.post("/v1/chat/completions", CHAT, headers={"authorization": f"Bearer {key}"}).status

    def settled(self, proxy):
        """Waits until all is in the store."""
        harness.wait_until("the books are in the store", lambda: re.search(
            r"^keywheel_journal_backlog_records 0$", proxy.get("/metrics").body.decode(), re.MULTILINE), 30)

    def state(self, proxy):
        """All that an operator can see of what is stored, but for what this look itself adds."""
        records = self.data(proxy, "POST", "/admin/export", {"mode": "decrypted", "admin_key": harness.ADMIN_KEY})["records"]
        usage = {by: self.data(proxy, "GET", f"/admin/usage?by={by}&span=day")
                 for by in ("all", "model", "access_key", "upstream_key")}
        log = self.data(proxy, "GET", "/admin/requests?limit=500")
        audit = self.data(proxy, "GET", "/admin/audit?event=change&limit=500")["entries"]
        return {"records": records, "usage": usage, "log": log, "audit": audit}

    def damaged(self, file):
        """The same file with a byte changed, with its end cut off, and with a line gone."""
        text = file.read_bytes()
        lines = text.splitlines(keepends=True)
        broken = {"changed": text[:len(text) // 2] + bytes([text[len(text) // 2] ^ 1]) + text[len(text) // 2 + 1:],
                  "cut": text[:-40], "short": b"".join(lines[:-1]), "other": b"not a backup\n", "empty": b""}
        for name, content in broken.items():
            path = self.folder / f"{name}.kwbackup"
            path.write_bytes(content)
            yield path

    def refusals(self, proxy, file, look):
        """What must not be restored is refused, and changes nothing."""
        before = look()
        said = self.verb(proxy, "restore", file, "--replace", code=1,
                         env={"ENCRYPTION_KEY": "another-master-key-" + "y" * 20})
        self.assertIn("another encryption key", said)
        for path in self.damaged(file):
            self.verb(proxy, "restore", path, "--replace", code=1)
            self.verb(proxy, "restore", path, "--check", code=1)
        self.assertIn("--replace", self.verb(proxy, "restore", file, code=1))
        self.assertEqual(look(), before)

    def drill(self, proxy, wipe, look):
        key = self.fill(proxy)
        self.settled(proxy)
        stop = threading.Event()
        statuses = []

        def load():
            while not stop.is_set():
                statuses.append(self.ask(proxy, key))

        thread = threading.Thread(target=load)
        thread.start()
        harness.wait_until("the load runs", lambda: len(statuses) > 20)
        begun = time.monotonic()
        self.verb(proxy, "backup", "--out", self.folder / "under-load.kwbackup")
        took = time.monotonic() - begun
        stop.set()
        thread.join()
        self.assertEqual(set(statuses), {200})
        print(f"figure: backup: under load: {took * 1000:.0f} ms", flush=True)

        self.settled(proxy)
        wanted = self.state(proxy)
        self.assertIn(SECRET, str(wanted["records"]))
        file = self.folder / "quiet.kwbackup"
        self.assertIn("wrote", self.verb(proxy, "backup", "--out", file))
        self.verb(proxy, "backup", "--out", file, code=1)  # never over one that is there
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        for text in (SECRET, key, MASTER, "gpt-4o-mini", "client"):
            self.assertNotIn(text.encode(), file.read_bytes())
        self.assertIn("whole", self.verb(proxy, "restore", file, "--check"))
        self.assertIn("stop", self.verb(proxy, "restore", file, "--replace", code=1))  # it runs
        self.assertEqual(self.ask(proxy, key), 200)
        proxy.stop()
        self.refusals(proxy, file, look)

        wipe()
        begun = time.monotonic()
        self.assertIn("restored", self.verb(proxy, "restore", file))
        print(f"figure: backup: restore: {(time.monotonic() - begun) * 1000:.0f} ms", flush=True)
        proxy.start()
        proxy.wait_ready("/readyz")
        self.settled(proxy)
        self.assertEqual(self.state(proxy), wanted)
        self.assertEqual(self.ask(proxy, key), 200)

        # What a backup under load has is of one moment: as many records as its sums tell.
        proxy.stop()
        wipe()
        self.verb(proxy, "restore", self.folder / "under-load.kwbackup")
        proxy.start()
        proxy.wait_ready("/readyz")
        self.settled(proxy)
        sums = self.data(proxy, "GET", "/admin/usage?by=all&span=all")["totals"]
        log = self.data(proxy, "GET", "/admin/requests?limit=1000")["requests"]
        self.assertEqual(sums["requests"], len(log))
        self.assertGreaterEqual(len(log), 20)
        return file

    def test_embedded(self):
        self.upstream = self.mock(tls=False)
        proxy = self.keywheel(self.upstream, keys=(), env={"ENCRYPTION_KEY": MASTER})
        home = pathlib.Path(proxy.env["DATA_DIR"])

        def wipe():
            shutil.rmtree(home)

        def look():
            return {name: (home / name).read_bytes() for name in ("keywheel.db", "objects.db")}

        file = self.drill(proxy, wipe, look)
        proxy.stop()
        said = self.verb(proxy, "restore", file, "--replace")
        aside = pathlib.Path(re.search(r"what was there is in (\S+)", said).group(1))
        self.assertTrue((aside / "keywheel.db").exists())
        # Broken off: no server works on half of it.
        (home / "restore.unfinished").write_text("x")
        (home / "keywheel.db").unlink()
        proxy.start()
        self.assertEqual(proxy.child.wait(30), 1)
        self.assertIn("has not ended", proxy.log())
        self.verb(proxy, "restore", file)
        proxy.start()
        proxy.wait_ready("/readyz")
        # So many are kept.
        for keep in (2, 2, 2):
            self.verb(proxy, "backup", "--keep", keep)
            harness.wait_until("another second", lambda now=int(time.time()): int(time.time()) != now)
        self.assertEqual(len(list((home / "backups").glob("keywheel-*.kwbackup"))), 2)
        self.assertEqual([p.name for p in home.iterdir() if "staged" in p.name or "work" in p.name], [])

    def test_own_master_key(self):
        """The key that the embedded store made itself: without its file the backup is of no use, and says so."""
        self.upstream = self.mock(tls=False)
        proxy = self.keywheel(self.upstream, keys=())
        key = self.fill(proxy)
        home = pathlib.Path(proxy.env["DATA_DIR"])
        file = self.folder / "one.kwbackup"
        self.verb(proxy, "backup", "--out", file)
        master = (home / "encryption.key").read_bytes()
        proxy.stop()
        # The wrong key at hand: no backup that nobody could open.
        (home / "encryption.key").write_bytes(b"z" * 43)
        self.assertIn("not this store's", self.verb(proxy, "backup", "--out", self.folder / "two.kwbackup", code=1))
        self.assertFalse((self.folder / "two.kwbackup").exists())
        shutil.rmtree(home)
        self.assertIn("put your copy back", self.verb(proxy, "restore", file, code=1))
        self.assertFalse((home / "keywheel.db").exists())
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "encryption.key").write_bytes(master)
        os.chmod(home / "encryption.key", 0o600)
        self.verb(proxy, "restore", file)
        proxy.start()
        proxy.wait_ready("/readyz")
        self.assertEqual(self.ask(proxy, key), 200)

    def test_redis(self):
        self.upstream = self.mock(tls=False)
        redis = self.redis(persistent=True)
        proxy = self.keywheel(self.upstream, keys=(), env={"REDIS_URL": redis.url, "ENCRYPTION_KEY": MASTER})
        redis.command("SET", "others:key", "untouched")

        def wipe():
            redis.command("FLUSHALL")
            shutil.rmtree(proxy.env["DATA_DIR"])

        def look():
            script = ("local all = redis.call('KEYS', 'kw:*') table.sort(all) for i, k in ipairs(all) do "
                      "all[i] = k .. redis.sha1hex(redis.call('DUMP', k)) end return redis.sha1hex(table.concat(all))")
            return redis.command("EVAL", script, 0)

        file = self.drill(proxy, wipe, look)
        # Killed in the middle: no server works on half of it, and the next restore needs no --replace.
        proxy.stop()
        redis.command("SET", "kw:{m}:schema", "1000000000")
        proxy.start()
        harness.wait_until("it says why", lambda: "restore" in proxy.log().rsplit("server.stopped", 1)[-1], 20)
        proxy.stop()
        self.assertIn("restored", self.verb(proxy, "restore", file))
        redis.command("SET", "others:key", "untouched")
        self.verb(proxy, "restore", file, "--replace")
        self.assertIn(b"untouched", redis.command("GET", "others:key"))
        proxy.start()
        proxy.wait_ready("/readyz")
        # A backup of one kind of store is none for the other.
        home = self.folder / "elsewhere"
        said = self.verb(proxy, "restore", file, code=1, env={"REDIS_URL": "", "DATA_DIR": str(home)})
        self.assertIn("backup of Redis", said)
        self.assertFalse((home / "keywheel.db").exists())


if __name__ == "__main__":
    harness.main()
