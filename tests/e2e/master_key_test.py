"""Another master key takes over while requests are served: embedded store and three replicas on one Redis.

Under load from several clients no request fails; all access keys go on working; the store holds no secret
in clear and nothing that the old key sealed; a kill -9 in the middle loses nothing and the rest is done
after the restart, or by another replica; a replica without the new key stops it before anything has
changed; the old key, a wrong one and half of the two are refused at the start with what to do, and change
nothing; a secret that does not open is never sent.
"""
import json
import sqlite3
import subprocess
import threading
import time

import harness

SECRET = "sk-canary-of-the-master-key-%05d"
OLD, NEW, WRONG = ("%s-master-key-0123456789abcdef0123456789" % name for name in ("old", "new", "wrong"))


class Load:
    """Clients that ask again and again until they are stopped."""

    def __init__(self, proxies, keys, clients=3):
        self.failed, self.good, self.ended = [], 0, False
        self.threads = [threading.Thread(target=self.run, args=(proxies[i % len(proxies)], keys[i % len(keys)]))
                        for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, proxy, key):
        while not self.ended:
            try:
                answer = proxy.post("/v1/chat/completions", {"model": "m", "messages": []},
                                    headers={"authorization": f"Bearer {key}"})
                if answer.status == 200:
                    self.good += 1
                else:
                    self.failed.append(repr(answer))
            except OSError as e:
                self.failed.append(repr(e))
            time.sleep(0.005)

    def stop(self):
        self.ended = True
        for thread in self.threads:
            thread.join()


class MasterKey(harness.EndToEnd):
    def add_keys(self, proxy, count, group="openai"):
        text = "\n".join(SECRET % i for i in range(count))
        got = proxy.admin("POST", "/admin/keys/batch", {"text": text, "poolGroup": group})
        self.assertEqual(got.json()["data"]["added"], count, got)

    def access_keys(self, proxy, count=4):
        made = [proxy.admin("POST", "/admin/access-keys", {"name": f"team-{i}"}).json()["data"]["key"]
                for i in range(count)]
        return made + [harness.ACCESS_KEY]

    def all_work(self, proxy, keys):
        for key in keys:
            answer = proxy.post("/v1/chat/completions", {"model": "m", "messages": []},
                                headers={"authorization": f"Bearer {key}"})
            self.assertEqual(answer.status, 200, answer)

    def state(self, proxy):
        return proxy.admin("GET", "/admin/master-key").json()["data"]

    def rotate(self, proxy, code=0):
        done = subprocess.run([harness.PROGRAM, "keys", "rotate-master", "--url", proxy.url], text=True, timeout=120,
                              env={"ADMIN_ACCESS_KEY": harness.ADMIN_KEY}, cwd=self.folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def refused(self, process):
        """A start that must fail; what it says."""
        self.assertEqual(process.child.wait(60), 1)
        return process.log()

    def search(self, dump, old_id, count):
        self.assertNotIn(SECRET[:-4], dump)
        for text in (OLD, NEW):
            self.assertNotIn(text, dump)
        self.assertEqual(dump.count(f"kw1.{old_id}."), 0)
        self.assertGreaterEqual(dump.count("kw1."), count)

    def embedded_dump(self, proxy):
        with sqlite3.connect(f"file:{proxy.env['DATA_DIR']}/keywheel.db?mode=ro", uri=True) as db:
            return "\n".join(str(row) for (table,) in db.execute("select name from sqlite_master where type='table'")
                             for row in db.execute(f'select * from "{table}"'))

    def redis_dump(self, redis):
        """Everything that is in there, as text."""
        script = ("local out={} for _,k in ipairs(redis.call('KEYS','*')) do local t=redis.call('TYPE',k).ok "
                  "local v if t=='string' then v={redis.call('GET',k)} elseif t=='hash' then v=redis.call('HGETALL',k) "
                  "elseif t=='list' then v=redis.call('LRANGE',k,0,-1) elseif t=='set' then v=redis.call('SMEMBERS',k) "
                  "elseif t=='zset' then v=redis.call('ZRANGE',k,0,-1) else v={cjson.encode(redis.call('XRANGE',k,'-','+'))} "
                  "end out[#out+1]=k..' '..table.concat(v,' ') end return table.concat(out,'\\n')")
        done = subprocess.run(["redis-cli", "-u", redis.url, "--raw", "EVAL", script, "0"], stdout=subprocess.PIPE,
                              timeout=60, check=True)
        return done.stdout.decode(errors="replace")

    def test_embedded_under_load(self):
        proxy = self.keywheel(self.mock(), env={"WORKERS": 2})
        self.add_keys(proxy, 300)
        keys = self.access_keys(proxy)
        file = self.folder / "keywheel-data/encryption.key"
        before, old_id = file.read_text(), self.state(proxy)["active"]
        load = Load([proxy], keys)
        said = self.rotate(proxy)
        time.sleep(1)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertGreater(load.good, 20)
        after = self.state(proxy)
        self.assertEqual((after["state"], after["remaining"], after["unreadable"]), ("done", 0, 0))
        self.assertNotEqual(after["active"], old_id)
        self.assertIn(after["active"], said)
        harness.wait_until("the new key takes the old one's place", lambda: file.read_text() != before)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.all_work(proxy, keys)
        self.search(self.embedded_dump(proxy), old_id, 303)
        audit = proxy.admin("GET", "/admin/audit").json()["data"]["entries"]
        self.assertTrue(any(e["entry"].get("route") == "/admin/master-key/rotate" for e in audit), audit[:3])
        print(f"figure: requests answered while 303 secrets were sealed anew, none failed: {load.good} requests")

        proxy.restart()
        self.all_work(proxy, keys)
        new = file.read_text()
        proxy.stop()
        dump = self.embedded_dump(proxy)
        for wrong in (before, WRONG):
            file.write_text(wrong)
            proxy.start()
            said = self.refused(proxy)
            self.assertIn(after["active"], said[said.rindex("keywheel: "):])
            self.assertIn("ENCRYPTION_KEY", said[said.rindex("keywheel: "):])
        self.assertEqual(self.embedded_dump(proxy), dump)
        file.write_text(new)
        proxy.restart()
        self.all_work(proxy, keys)

    def test_killed_in_the_middle(self):
        proxy = self.keywheel(self.mock())
        self.add_keys(proxy, 5000)
        keys = self.access_keys(proxy, 1)
        old_id = self.state(proxy)["active"]
        self.assertEqual(proxy.admin("POST", "/admin/master-key/rotate").status, 202)

        def in_the_middle():
            now = self.state(proxy)
            self.assertNotEqual(now["state"], "done", "it was too fast for this test")
            return 0 < now["remaining"] < now["total"] and now["state"] == "resealing"
        harness.wait_until("some are sealed anew", in_the_middle, 60, 0.005)
        proxy.kill()
        dump = self.embedded_dump(proxy)
        self.assertIn(f"kw1.{old_id}.", dump)
        left = dump.count(f"kw1.{old_id}.")
        self.assertLess(left, 5000)
        # with half of the keys it does not start, and changes nothing
        own, coming = self.folder / "keywheel-data/encryption.key", self.folder / "keywheel-data/encryption.key.next"
        texts = own.read_text(), coming.read_text()
        coming.unlink()
        for text, hint in ((texts[0], "sealed with"), (texts[1], "ENCRYPTION_KEY_OLD")):
            own.write_text(text)
            proxy.start()
            said = self.refused(proxy)
            self.assertIn(hint, said[said.rindex("keywheel: "):])
        self.assertEqual(self.embedded_dump(proxy), dump)
        own.write_text(texts[0])
        coming.write_text(texts[1])
        coming.chmod(0o600)
        proxy.restart()
        self.all_work(proxy, keys)
        harness.wait_until("the rest is sealed", lambda: self.state(proxy)["state"] == "done", 90, 0.1)
        harness.wait_until("the file is replaced", lambda: not coming.exists())
        self.assertEqual(own.read_text(), texts[1])
        self.search(self.embedded_dump(proxy), old_id, 5003)
        self.all_work(proxy, keys)
        listed = proxy.admin("GET", "/admin/keys?status=active&limit=1").json()["data"]["pagination"]["total"]
        self.assertEqual(listed, 5002)
        print(f"figure: left with the old key when it was killed, all sealed after the restart: {left} secrets")

    def test_three_replicas_on_one_redis(self):
        redis, upstream = self.redis(), self.mock()
        proxies = []
        for i in range(3):
            for name, text in (("new", OLD), ("old", OLD)):
                (self.folder / f"{i}-{name}").write_text(text)
            proxies.append(self.keywheel(upstream, name=f"replica-{i}", env={
                "REDIS_URL": redis.url, "ENCRYPTION_KEY": f"file:{self.folder}/{i}-new",
                "ENCRYPTION_KEY_OLD": f"file:{self.folder}/{i}-old"}))
        self.add_keys(proxies[0], 2500)
        keys = self.access_keys(proxies[0])
        for proxy in proxies:
            harness.wait_until("all keys are known everywhere", lambda p=proxy: p.get(
                "/v1/keywheel/me", headers={"authorization": f"Bearer {keys[-2]}"}).status == 200)
        old_id = self.state(proxies[0])["active"]
        load = Load(proxies, keys)
        self.assertIn("ENCRYPTION_KEY_OLD", self.rotate(proxies[0], code=1))  # there is no other key yet
        # Two of three get the new key, without a restart.
        for i in (0, 1):
            (self.folder / f"{i}-new").write_text(NEW)
        for i in (0, 1):
            harness.wait_until("the file is read", lambda i=i: len(self.state(proxies[i])["known"]) == 2, 30)
        self.assertIn("does not have master key", self.rotate(proxies[0], code=1))
        self.assertEqual(self.redis_dump(redis).count("kw1."), self.redis_dump(redis).count(f"kw1.{old_id}."))
        (self.folder / "2-new").write_text(NEW)
        harness.wait_until("the file is read", lambda: len(self.state(proxies[2])["known"]) == 2, 30)
        # Who began it is killed in the middle; another goes on.
        load.stop()
        self.assertEqual(load.failed, [])
        good = load.good
        load = Load(proxies[1:], keys)
        self.assertEqual(proxies[0].admin("POST", "/admin/master-key/rotate").status, 202)
        harness.wait_until("it has begun", lambda: self.state(proxies[0])["state"] == "resealing", 30, 0.005)
        proxies[0].kill()
        done = [harness.wait_until("another goes on", lambda p=p: self.state(p)["state"] == "done", 90, 0.1)
                for p in proxies[1:]]
        self.assertEqual(done, [True, True])
        load.stop()
        self.assertEqual(load.failed, [])
        self.search(self.redis_dump(redis), old_id, 2503)
        proxies[0].start()
        proxies[0].wait_ready("/readyz")
        for proxy in proxies:
            self.assertNotEqual(self.state(proxy)["active"], old_id)
            self.all_work(proxy, keys)
        print(f"figure: requests over three replicas while the key changed, none failed: {good + load.good} requests")

        # The old key alone is refused; the new one alone serves.
        (self.folder / "1-new").write_text(OLD)
        proxies[1].stop()
        proxies[1].start()
        self.assertIn("sealed with master key", self.refused(proxies[1]))
        (self.folder / "2-old").write_text(NEW)
        proxies[2].restart()
        self.assertEqual(len(self.state(proxies[2])["known"]), 1)
        self.all_work(proxies[2], keys)

    def test_a_secret_that_does_not_open_is_never_sent(self):
        proxy = self.keywheel(self.mock())
        self.add_keys(proxy, 2)
        one, other = [k["id"] for k in proxy.admin("GET", "/admin/keys").json()["data"]["keys"] if not k["declared"]]
        proxy.stop()
        with sqlite3.connect(f"{proxy.env['DATA_DIR']}/keywheel.db") as db:
            table = next(t for (t,) in db.execute("select name from sqlite_master where type='table'")
                         if {"kind", "id", "json"} <= {c[1] for c in db.execute(f'pragma table_info("{t}")')})
            rows = {i: json.loads(j) for i, j in db.execute(f'select id, json from "{table}" where kind="upstream_key"')}
            rows[one]["sealed"] = rows[other]["sealed"]  # good, but another record's
            db.execute(f'update "{table}" set json = ? where kind = "upstream_key" and id = ?',
                       (json.dumps(rows[one], separators=(",", ":")), one))
        proxy.restart()
        self.all_work(proxy, [harness.ACCESS_KEY] * 12)
        keys = {k["id"]: k for k in proxy.admin("GET", "/admin/keys").json()["data"]["keys"]}
        self.assertEqual((keys[one]["status"], keys[one]["uses"]), ("disabled", 0), keys[one])
        self.assertIn("does not open", keys[one]["reason"])
        self.assertGreater(keys[other]["uses"], 0)


if __name__ == "__main__":
    harness.main(together=3)
