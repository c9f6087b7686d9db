"""The command line against a running server: `keys`, `access-keys`, `usage`, with tables and --json.

Adds, imports, lists, tests, bans and unbans upstream keys; makes an access key whose limits hold and
revokes it; shows the books. No secret is taken from or shown in arguments, tables or errors.
"""
import json
import subprocess

import harness

SECRETS = ["sk-canary-of-the-verbs-0001", "sk-canary-of-the-verbs-0002", "sk-canary-of-the-verbs-0003"]


class Verbs(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock()
        self.proxy = self.keywheel(self.upstream)
        self.shown = ""

    def run_verb(self, *words, text="", code=0):
        done = subprocess.run([harness.PROGRAM, *words, "--url", self.proxy.url], input=text, text=True,
                              env={"ADMIN_ACCESS_KEY": harness.ADMIN_KEY}, cwd=self.folder, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        self.shown += done.stdout + done.stderr
        return done.stdout

    def rows(self, text):
        """A table's lines as dictionaries; columns are two spaces apart."""
        lines = text.rstrip("\n").split("\n")
        titles = lines[0].split("  ")
        titles = [t.strip() for t in titles if t.strip()]
        at = [lines[0].index(t) for t in titles] + [None]
        return [{t: line[at[i]:at[i + 1]].strip() for i, t in enumerate(titles)} for line in lines[1:]]

    def test_upstream_keys(self):
        self.run_verb("keys", "add", "--group", "openai", "--alias", "one", text=SECRETS[0] + "\n")
        listed = self.folder / "keys.txt"
        listed.write_text("\n".join([SECRETS[1], SECRETS[2], SECRETS[1], "no key at all", ""]))
        self.run_verb("keys", "import", str(listed), "--group", "openai", "--notes", "bought in May", code=1)
        self.assertIn("keys.txt:4: ", self.shown)
        self.assertIn("2 added, 1 known already, 1 invalid", self.shown)

        rows = self.rows(self.run_verb("keys", "list", "--group", "openai"))
        self.assertEqual(len(rows), 5)
        self.assertEqual(sum(row["NOTES"] == "bought in May" for row in rows), 2)
        one = next(row["ID"] for row in rows if row["ALIAS"] == "one")

        self.run_verb("keys", "ban", one)
        banned = self.rows(self.run_verb("keys", "list", "--status", "banned"))
        self.assertEqual([row["ID"] for row in banned], [one])
        self.run_verb("keys", "unban", one)
        self.run_verb("keys", "disable", one)
        data = json.loads(self.run_verb("keys", "list", "--search", "one", "--json"))
        self.assertEqual([k["status"] for k in data["data"]["keys"]], ["disabled"])
        self.run_verb("keys", "enable", one)
        self.run_verb("keys", "test", one)
        self.run_verb("keys", "test-all")
        self.assertIn("5 tested: 5 good, 0 failed", self.shown)
        self.run_verb("keys", "delete", one)
        self.run_verb("keys", "test", one, code=1)
        self.run_verb("keys", "list", "--status", "sleepy", code=1)
        for secret in SECRETS:
            self.assertNotIn(secret, self.shown)

    def test_access_keys_and_usage(self):
        limits = json.dumps([{"unit": "requests", "per": "1h", "cap": 2}])
        text = self.run_verb("access-keys", "create", "--name", "team é", "--models", "gpt-4o,mock-*", "--limits",
                             limits).strip()
        chat = {"model": "gpt-4o", "messages": []}
        bearer = {"authorization": f"Bearer {text}"}
        got = [self.proxy.post("/v1/chat/completions", chat, headers=bearer).status for _ in range(3)]
        self.assertEqual(got, [200, 200, 429])
        denied = self.proxy.post("/v1/chat/completions", {"model": "o3", "messages": []}, headers=bearer)
        self.assertEqual(denied.status, 403)

        made = next(row for row in self.rows(self.run_verb("access-keys", "list")) if row["NAME"] == "team é")
        left = self.rows(self.run_verb("access-keys", "limits", made["ID"]))
        self.assertEqual([(row["CAP"], row["USED"], row["REMAINING"]) for row in left], [("2", "2", "0")])
        self.run_verb("access-keys", "limits", made["ID"], "--set", "[]")

        def allowed():
            return self.proxy.post("/v1/chat/completions", chat, headers=bearer).status == 200
        harness.wait_until("the limit is gone", allowed)
        self.run_verb("access-keys", "limits", made["ID"], "--set", "{", code=1)
        self.run_verb("access-keys", "revoke", made["ID"])

        def refused():
            return self.proxy.post("/v1/chat/completions", chat, headers=bearer).status == 401
        harness.wait_until("the key is revoked", refused)

        def booked():
            rows = self.rows(self.run_verb("usage", "--by", "model").rsplit("in all", 1)[0])
            return next((row for row in rows if row["SUBJECT"] == "gpt-4o" and int(row["REQUESTS"]) >= 3), None)
        row = harness.wait_until("the books have them", booked)
        self.assertGreater(float(row["COST USD"]), 0)

    def test_export_and_import(self):
        secret, sealed, wrong = (self.folder / name for name in ("passphrase", "sealed.json", "wrong"))
        secret.write_text("a passphrase of the verbs\n")
        wrong.write_text("another passphrase of them\n")
        self.run_verb("keys", "add", "--group", "openai", text=SECRETS[0] + "\n")
        plain = json.loads(self.run_verb("export"))
        self.assertEqual(plain["mode"], "sanitized")
        self.run_verb("export", "--encrypted", "--secret-file", str(secret), "--out", str(sealed))
        self.assertEqual(sealed.stat().st_mode & 0o777, 0o600)
        self.run_verb("export", "--out", str(sealed), code=1)
        self.assertIn("name another file", self.shown)
        self.run_verb("export", "--decrypted", text="not the admin secret\n", code=1)
        for made in (json.dumps(plain), sealed.read_text(), self.shown):
            self.assertNotIn(SECRETS[0], made)

        first = self.proxy
        self.proxy = self.keywheel(name="second", env={"ENCRYPTION_KEY": "another-encryption-key-of-the-tests"})
        try_it = ("import", str(sealed), "--overwrite")
        self.run_verb(*try_it, "--secret-file", str(wrong), code=1)
        self.run_verb(*try_it, "--secret-file", str(secret), "--dry-run")
        self.assertEqual(json.loads(self.run_verb("keys", "list", "--json"))["data"]["keys"], [])
        self.run_verb(*try_it, "--secret-file", str(secret))
        self.assertEqual(len(json.loads(self.run_verb("keys", "list", "--json"))["data"]["keys"]), 3)
        self.assertIn("0 refused", self.shown)

        def served():
            answer = self.proxy.post("/v1/chat/completions", {"model": "gpt-4o", "messages": []},
                                     headers={"authorization": f"Bearer {first.access_key}"})
            return answer.status == 200
        harness.wait_until("keys of both kinds work at the other", served)

    def test_what_cannot_be_asked(self):
        done = subprocess.run([harness.PROGRAM, "keys", "list", "--url", self.proxy.url], text=True, env={},
                              cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ADMIN_ACCESS_KEY", done.stderr)
        self.proxy.stop()
        self.run_verb("usage", code=1)
        self.assertIn("is the server running?", self.shown)


if __name__ == "__main__":
    harness.main()
