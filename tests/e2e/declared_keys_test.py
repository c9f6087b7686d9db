"""Declared access keys may carry all that those of the API may, and defaults hold for who names none.

Real processes: keys from a file and from the environment with limits, lists, permissions and a time
from the first use; the environment names DEFAULT_RATE_LIMIT, RATE_LIMIT_WINDOW and MAX_TOKEN_AGE;
what is wrong is refused at start by its name.
"""
import datetime
import json
import subprocess

import harness
from books import settle

BODY = {"model": "mock-tokens-5", "messages": [{"role": "user", "content": "x"}]}
CONFIG = """
access_keys:
  - name: few
    key: declared-access-key-few-01
    limits: [2 requests per 1h, 5 concurrent]
    owner_name: Ada
    tags: [team]
  - name: chat-only
    key: declared-access-key-chat-01
    endpoints: [chat]
    clients_allow: ["good/*"]
  - name: free
    key: declared-access-key-free-01
    limits: [unlimited]
  - name: begins
    key: declared-access-key-begins-01
    expires_after: 1h
    permissions: [lease]
"""


class DeclaredKeys(harness.EndToEnd):
    def ask(self, proxy, key, path="/v1/chat/completions", **headers):
        return proxy.post(path, BODY, headers={"authorization": f"Bearer {key}", **headers})

    def statuses(self, proxy, key, times):
        return [self.ask(proxy, key).status for _ in range(times)]

    def records(self, proxy):
        rows = proxy.admin("GET", "/admin/access-keys?limit=1000").json()["data"]["access_keys"]
        return {row["name"]: row for row in rows}

    def test_file(self):
        proxy = self.keywheel(self.mock(), config=CONFIG,
                              env={"DEFAULT_RATE_LIMIT": 3, "RATE_LIMIT_WINDOW": 3600})
        self.assertEqual(self.statuses(proxy, "declared-access-key-few-01", 4), [200, 200, 429, 429])
        refused = self.ask(proxy, "declared-access-key-few-01")
        self.assertGreater(int(refused.headers["retry-after"]), 0)
        agent = {"user-agent": "good/1"}
        self.assertEqual(self.ask(proxy, "declared-access-key-chat-01", **agent).status, 200)
        self.assertEqual(self.ask(proxy, "declared-access-key-chat-01").status, 403)
        self.assertEqual(self.ask(proxy, "declared-access-key-chat-01", "/v1/embeddings", **agent).status, 403)
        # By default three; who says so has none.
        self.assertEqual(self.statuses(proxy, harness.ACCESS_KEY, 5), [200, 200, 200, 429, 429])
        self.assertEqual(self.statuses(proxy, "declared-access-key-free-01", 5), [200] * 5)
        found = self.records(proxy)
        self.assertEqual({name: found[name]["limits_from"] for name in ("few", "free", "chat-only")},
                         {"few": "own", "free": "own", "chat-only": "default"})
        self.assertEqual((found["few"]["owner_name"], found["few"]["tags"]), ("Ada", ["team"]))
        self.assertIsNone(found["begins"]["expires_at"])
        self.assertEqual(self.ask(proxy, "declared-access-key-begins-01").status, 200)
        harness.wait_until("its time began", lambda: self.records(proxy)["begins"]["expires_at"])
        lease = proxy.post("/api-keys/allocate", {}, headers={"authorization": "Bearer declared-access-key-begins-01"})
        self.assertEqual(lease.status, 200, lease)
        # A start later all is as it was: no record was written for a default.
        revisions = {name: row["revision"] for name, row in self.records(proxy).items()}
        proxy.restart()
        self.assertEqual({name: row["revision"] for name, row in self.records(proxy).items()}, revisions)
        # Another default counts at once.
        done = proxy.admin("PUT", "/admin/config", {"limits.default_requests": 1000000})
        self.assertEqual(done.status, 200, done)
        harness.wait_until("the default is another", lambda: self.ask(proxy, harness.ACCESS_KEY).status == 200)

    def test_environment(self):
        declared = [{"name": "one", "key": "declared-access-key-env-01", "limits": ["1 requests per 1h"],
                     "models_allow": ["mock-*"], "queue_size": 3}]
        proxy = self.keywheel(self.mock(), env={"KEYWHEEL_ACCESS_KEYS": json.dumps(declared), "MAX_TOKEN_AGE": 2})
        self.assertEqual(self.statuses(proxy, "declared-access-key-env-01", 2), [200, 429])
        self.assertEqual(self.records(proxy)["one"]["queue_size"], 3)
        made = proxy.admin("POST", "/admin/access-keys", {"name": "made"}).json()["data"]
        ends = datetime.datetime.fromisoformat(made["expires_at"].replace("Z", "+00:00"))
        left = ends - datetime.datetime.now(datetime.timezone.utc)
        self.assertTrue(datetime.timedelta(days=1.9) < left <= datetime.timedelta(days=2.1), left)
        refused = proxy.admin("PUT", f"/admin/access-keys/{made['id']}", {"expires_at": "2100-01-01"})
        self.assertEqual(refused.status, 400)
        self.assertIn("expires_at", refused.json()["message"])

    def test_a_budget_by_default_survives_a_restart(self):
        proxy = self.keywheel(self.mock(), env={"KEYWHEEL_LIMITS_DEFAULTS": "3 requests per total"})
        self.assertEqual(self.statuses(proxy, harness.ACCESS_KEY, 2), [200, 200])
        settle(proxy)
        proxy.restart()
        self.assertEqual(self.statuses(proxy, harness.ACCESS_KEY, 3), [200, 402, 402])

    def test_what_is_wrong_is_named(self):
        for entry, word in (('limits: ["10 apples per 1m"]', "access_keys.a.limits"),
                            ("permissions: [everything]", "access_keys.a.permissions"),
                            ("ips_allow: [10.0.0.1/8]", "access_keys.a.ips_allow"),
                            ("expires_after: 1h, expires_at: 2099-01-01", "access_keys.a.expires_after"),
                            ("queue_size: many", "queue_size")):
            path = self.folder / "wrong.yaml"
            path.write_text(f"access_keys:\n  - {{name: a, key: declared-access-key-01, {entry}}}\n")
            done = subprocess.run([harness.PROGRAM, "check-config", "--config", path], text=True, capture_output=True,
                                  cwd=self.folder, env={"PATH": "/usr/bin:/bin"}, timeout=30)
            self.assertNotEqual(done.returncode, 0, entry)
            self.assertIn(word, done.stdout + done.stderr)
        done = subprocess.run([harness.PROGRAM, "check-config"], text=True, capture_output=True, cwd=self.folder,
                              env={"PATH": "/usr/bin:/bin", "KEYWHEEL_LIMITS_DEFAULTS": "10 apples"}, timeout=30)
        self.assertIn("limits.defaults", done.stdout + done.stderr)


if __name__ == "__main__":
    harness.main()
