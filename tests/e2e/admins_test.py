"""Who may administer, and the trace of it: admins with roles and sessions, tokens, the audit trail.

Walks every route that the OpenAPI document names, as each role. Logs in by the API and makes the first
admin by the command line; shows that sessions hold at every replica and end where they must, that
guesses wait, that a body is read only from who may send it, and that each kind of change leaves its
entry while no secret leaves anything: canaries are searched for in answers, trail, logs and files.
"""
import base64
import concurrent.futures
import http.client
import json
import subprocess
import urllib.parse

import harness
from harness import ADMIN_KEY

PASSWORD = "canary password of ada 7f3a"
UPSTREAM = "sk-canary-upstream-5d1c0000000000001"
REDIS_ENV = {"ENCRYPTION_KEY": "an-encryption-key-of-the-tests-0001"}


class Admins(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.secrets = [PASSWORD, UPSTREAM]

    def call(self, proxy, method, path, body=None, status=None, **headers):
        """A request with these credentials and no others; underscores stand for dashes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = proxy.request(method, path, body, headers={"authorization": None, **given})
        if status is not None:
            self.assertEqual(answer.status, status, f"{method} {path} -> {answer}")
        return answer

    def owner(self, proxy, method, path, body=None, status=None):
        return self.call(proxy, method, path, body, status, x_admin_key=ADMIN_KEY)

    def bearer(self, proxy, text, method, path, body=None, status=None):
        return self.call(proxy, method, path, body, status, authorization=f"Bearer {text}")

    def make_admin(self, proxy, name, role="operator"):
        body = {"name": name, "role": role, "password": PASSWORD, "email": f"{name}@example.com"}
        return self.owner(proxy, "POST", "/admin/admins", body, 201).json()["data"]

    def log_in(self, proxy, name="ada", password=PASSWORD, cookie=False, status=200, **headers):
        body = {"name": name, "password": password, "cookie": cookie}
        answer = self.call(proxy, "POST", "/admin/login", body, status, **headers)
        if status != 200:
            return answer
        if not cookie:
            self.secrets.append(answer.json()["data"]["token"])
        return answer.json()["data"]["token"] if not cookie else answer

    def token(self, proxy, role, **more):
        made = self.owner(proxy, "POST", "/admin/tokens", {"name": f"t-{role}", "role": role, **more}, 201)
        self.secrets.append(made.json()["data"]["token"])
        return made.json()["data"]

    def entries(self, proxy, **query):
        found = self.owner(proxy, "GET", "/admin/audit?" + urllib.parse.urlencode({"limit": 1000, **query}), status=200)
        return [row["entry"] for row in found.json()["data"]["entries"]]

    # ---- the walk

    def test_every_route_asks_who_calls(self):
        proxy = self.keywheel()
        roles = ("viewer", "operator", "owner")
        tokens = {role: self.token(proxy, role)["token"] for role in roles}
        document = self.owner(proxy, "GET", "/admin/openapi.json", status=200).json()
        checked = 0
        takes_body = []
        for path, operations in document["paths"].items():
            concrete = path.replace("{id}", "none-such")
            methods = {name.upper() for name in operations if name != "parameters"}
            for method in sorted(methods):
                operation = operations[method.lower()]
                body = {"surprise_field": 1} if "requestBody" in operation else None
                if operation.get("security") == []:
                    self.assertEqual((method, path), ("POST", "/admin/login"))
                    answer = self.call(proxy, method, concrete, body, 400)
                    self.assertIn("surprise_field", answer.json()["message"])
                    continue
                self.call(proxy, method, concrete, body, 401)
                self.call(proxy, method, concrete, body, 401, cookie="kw_session=none")
                least = operation["x-keywheel-role"]
                for role in roles[:roles.index(least)]:
                    refused = self.bearer(proxy, tokens[role], method, concrete, body, 403)
                    self.assertIn(f"role {least}", refused.json()["message"])
                    checked += 1
                unknown = self.owner(proxy, method, concrete + "?surprise_parameter=1", body, 400)
                self.assertIn('"surprise_parameter" is unknown', unknown.json()["message"])
                if body is not None and "{id}" not in path:
                    takes_body.append((method, concrete, least))
                checked += 3
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                # Another route may stand where this one has its literal.
                answer = self.owner(proxy, method, concrete)
                if answer.status == 405:
                    self.assertTrue(methods <= set(answer.headers["Allow"].split(", ")), answer)
                    checked += 1
                else:
                    self.assertTrue("none-such" in concrete or any("{id}" in p for p in document["paths"]), answer)
        for method, path, least in takes_body:
            refused = self.bearer(proxy, tokens[least], method, path, {"surprise_field": 1}, 400)
            self.assertIn("surprise_field", refused.json()["message"], path)
            checked += 1
        for path in ("/admin", "/admin/nothing", "/admin/keys/a/b/c"):
            self.owner(proxy, "GET", path, status=404)
            self.call(proxy, "GET", path, status=401)
        self.assertGreater(checked, 150)
        print(f"figure: admin routes walked: {len(document['paths'])} paths, {checked} refusals")

    def test_a_body_is_read_only_from_who_may_send_it(self):
        proxy = self.keywheel()
        viewer = self.token(proxy, "viewer")["token"]
        for header in ("x-admin-key: wrong-admin-key-000001", f"authorization: Bearer {viewer}", "x-nothing: 1"):
            got = proxy.raw(f"POST /admin/keys HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Type: application/json\r\n"
                            "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n".encode())
            self.assertRegex(got, rb"^HTTP/1.1 40[13] ")
            self.assertNotIn(b"100 Continue", got)
        got = proxy.raw(b"POST /admin/login HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
        self.assertRegex(got, rb"^HTTP/1.1 413 ")
        ok = proxy.raw(f"POST /admin/access-keys HTTP/1.1\r\nHost: a\r\nx-admin-key: {ADMIN_KEY}\r\nExpect: 100-continue\r\n"
                       "Content-Length: 12\r\nConnection: close\r\n\r\n{\"name\":\"n\"}".encode())
        self.assertRegex(ok, rb"^HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")

    # ---- sessions

    def test_the_first_admin_by_the_command_line(self):
        proxy = self.keywheel()
        env = {"PATH": "/usr/bin:/bin", "ADMIN_ACCESS_KEY": ADMIN_KEY, "PORT": str(proxy.port), "ADMIN_EMAIL": "ada@example.com"}

        def run(*words, text=PASSWORD + "\n", **more):
            return subprocess.run([harness.PROGRAM, "admin", *words], env={**env, **more}, cwd=self.folder, input=text,
                                  capture_output=True, text=True, timeout=60, check=False)
        made = run("create", "--name", "ada")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("made ada (owner)", made.stdout)
        listed = run("list")
        self.assertRegex(listed.stdout, r"ada +owner +false +ada@example.com")
        self.assertEqual(json.loads(run("list", "--json").stdout)["data"]["pagination"]["total"], 1)
        text = self.log_in(proxy)
        self.bearer(proxy, text, "GET", "/admin/admins", status=200)
        for words, more, why in ((("create", "--name", "ada"), {}, "that name"), (("create", "--name", "a b"), {}, "name"),
                                 (("create", "--name", "x", "--role", "king"), {}, "role"),
                                 (("list",), {"ADMIN_ACCESS_KEY": "wrong-admin-key-000001"}, "wrong"),
                                 (("list", "--url", "http://127.0.0.1:1"), {}, "is the server running"),
                                 (("list", "--url", "http://192.0.2.1:8080"), {}, "without TLS")):
            failed = run(*words, **more)
            self.assertNotEqual(failed.returncode, 0, words)
            self.assertIn(why, failed.stderr)
            self.assertNotIn(PASSWORD, failed.stderr + failed.stdout)
        short = run("create", "--name", "b", text="short\n")
        self.assertIn("12 characters", short.stderr)

    def test_a_browser_s_session(self):
        proxy = self.keywheel(env={"KEYWHEEL_SERVER_TRUSTED_PROXIES": "127.0.0.0/8"})
        self.make_admin(proxy, "ada")
        answer = self.log_in(proxy, cookie=True)
        cookie = answer.headers["Set-Cookie"]
        self.assertRegex(cookie, r"^kw_session=kws-\S+; Path=/admin; HttpOnly; SameSite=Strict; Max-Age=43200$")
        self.assertNotIn("token", answer.json()["data"])
        secure = self.log_in(proxy, cookie=True, x_forwarded_proto="https")
        self.assertIn("; Secure", secure.headers["Set-Cookie"])
        session = cookie.split(";")[0]
        self.secrets.append(session.split("=")[1])
        csrf = answer.json()["data"]["csrf_token"]
        host = f"127.0.0.1:{proxy.port}"

        def change(status, **headers):
            self.call(proxy, "POST", "/admin/access-keys", {"name": "n"}, status, cookie="a=b; " + session, **headers)
        self.call(proxy, "GET", "/admin/stats", status=200, cookie=session)
        change(403)
        change(403, x_csrf_token="x" + csrf)
        change(403, x_csrf_token=csrf, origin="https://evil.example")
        change(403, x_csrf_token=csrf, origin="null")
        change(201, x_csrf_token=csrf, origin="http://" + host)
        me = self.call(proxy, "GET", "/admin/me", status=200, cookie=session).json()["data"]
        self.assertEqual((me["name"], me["role"], me["csrf_token"]), ("ada", "operator", csrf))
        self.call(proxy, "POST", "/admin/login", {"name": "ada", "password": PASSWORD}, 403, origin="https://evil.example")
        # The session is for nothing but /admin, and the data path takes no session for a key.
        self.assertEqual(self.call(proxy, "GET", "/v1/models", authorization="Bearer " + session.split("=")[1]).status, 401)
        gone = self.call(proxy, "POST", "/admin/logout", None, 200, cookie=session, x_csrf_token=csrf)
        self.assertIn("Max-Age=0", gone.headers["Set-Cookie"])
        self.call(proxy, "GET", "/admin/stats", status=401, cookie=session)

    def test_sessions_have_a_true_lifetime(self):
        proxy = self.keywheel(env={"KEYWHEEL_ADMIN_SESSION_LIFETIME": "5s"})
        self.make_admin(proxy, "ada")
        text = self.log_in(proxy)
        used = 0

        def ended():
            nonlocal used
            status = self.bearer(proxy, text, "GET", "/admin/me").status
            used += status == 200
            return status == 401
        harness.wait_until("the session ends although it is used", ended, 40, 0.1)
        self.assertGreater(used, 0)

    def test_replicas_share_sessions(self):
        redis = self.redis()
        env = {"REDIS_URL": redis.url, **REDIS_ENV}
        one = self.keywheel(name="one", env=env)
        two = self.keywheel(name="two", env=env)
        ada = self.make_admin(one, "ada")
        for _ in range(5):
            text = self.log_in(one)
            self.bearer(two, text, "GET", "/admin/me", status=200)  # at once
            self.bearer(two, text, "POST", "/admin/logout", status=200)
            self.bearer(one, text, "GET", "/admin/me", status=401)
        text = self.log_in(two)
        self.bearer(one, text, "POST", "/admin/access-keys", {"name": "n"}, 201)
        self.owner(one, "PUT", "/admin/admins/" + ada["id"], {"disabled": True}, 200)
        self.bearer(two, text, "GET", "/admin/me", status=401)
        self.log_in(two, status=401)
        self.owner(two, "PUT", "/admin/admins/" + ada["id"], {"disabled": False}, 200)
        text = self.log_in(one)
        self.bearer(two, text, "PUT", "/admin/me/password", {"current": PASSWORD, "password": PASSWORD + " next"}, 200)
        self.log_in(one, status=401)
        self.log_in(one, password=PASSWORD + " next")
        token = self.token(one, "viewer")
        self.bearer(two, token["token"], "GET", "/admin/stats", status=200)
        self.owner(two, "DELETE", "/admin/tokens/" + token["id"], status=200)
        self.bearer(one, token["token"], "GET", "/admin/stats", status=401)
        # One trail of both.
        self.assertEqual(len(self.entries(one, event="login")), len(self.entries(two, event="login")))
        self.assertEqual({e["actor"]["name"] for e in self.entries(two, subject="access_key", event="change")
                          if e["operation"] == "create" and e["actor"]["kind"] == "admin"}, {"ada"})
        self.search(redis.command("KEYS", "*"))

    def test_every_change_of_a_race_has_its_entry(self):
        redis = self.redis()
        env = {"REDIS_URL": redis.url, **REDIS_ENV}
        both = [self.keywheel(name=name, env=env) for name in ("one", "two")]
        self.make_admin(both[0], "ada")
        texts = [self.log_in(proxy) for proxy in both]
        key = self.bearer(both[0], texts[0], "POST", "/admin/keys", {"key": UPSTREAM}, 201).json()["data"]["id"]

        def change(n):
            return self.bearer(both[n % 2], texts[n % 2], "PATCH", f"/admin/keys/{key}/notes", {"notes": f"n{n}"}).status
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(change, range(300)))
        self.assertEqual(set(statuses) - {200, 409}, set())
        entries = [e for e in self.entries(both[1], subject=key) if e["operation"] == "update"]
        self.assertEqual(len(entries), statuses.count(200))
        # Oldest first they are a chain: each begins where the one before ended.
        values = [e["changes"]["notes"] for e in reversed(entries) if "notes" in e["changes"]]
        for before, after in zip(values, values[1:]):
            self.assertEqual(before["after"], after["before"])
        # Without the store nothing changes, and nothing is shown that cannot be written down.
        redis.kill()
        for method, path, body in (("GET", "/admin/keys/export", None), ("POST", "/admin/keys", {"key": UPSTREAM + "x"}),
                                   ("POST", "/admin/login", {"name": "ada", "password": PASSWORD})):
            refused = self.owner(both[0], method, path, body, 503)
            self.assertNotIn(UPSTREAM, refused.body.decode())
        self.bearer(both[0], texts[0], "GET", "/admin/health", status=200)
        print(f"figure: changes raced: {len(entries)} of 300 made, each with its entry")

    def test_guesses_wait(self):
        proxy = self.keywheel(env={"KEYWHEEL_SERVER_TRUSTED_PROXIES": "127.0.0.0/8"})
        self.make_admin(proxy, "ada")
        wrong = self.log_in(proxy, password="canary wrong password", status=401, x_forwarded_for="192.0.2.1")
        nobody = self.log_in(proxy, name="nobody", password="canary wrong password", status=401, x_forwarded_for="192.0.2.1")
        self.assertEqual(wrong.body, nobody.body)
        statuses = [self.call(proxy, "POST", "/admin/login", {"name": "ada", "password": "canary wrong"},
                              x_forwarded_for="192.0.2.1").status for _ in range(8)]
        self.assertIn(429, statuses)
        held = self.log_in(proxy, status=429, x_forwarded_for="192.0.2.1")
        self.assertGreaterEqual(int(held.headers["Retry-After"]), 1)
        self.log_in(proxy, x_forwarded_for="192.0.2.2")
        for kind in ("x-admin-key", "authorization"):
            source = "192.0.2.3" if kind == "authorization" else "192.0.2.4"
            answers = [self.call(proxy, "GET", "/admin/stats", x_forwarded_for=source,
                                 **{kind: "Bearer canary-guess-of-a-token" if kind == "authorization" else "canary-guess-of-key"})
                       for _ in range(8)]
            self.assertEqual([a.status for a in answers][:5], [401] * 5, kind)
            self.assertEqual(answers[-1].status, 429)
        rows = self.owner(proxy, "GET", "/admin/refusals?limit=1000", status=200).json()["data"]["refusals"]
        self.assertTrue({"192.0.2.1", "192.0.2.3", "192.0.2.4"} <= {row["source"] for row in rows})
        self.assertIn('keywheel_admin_refused_total{reason="login"}', proxy.get("/metrics").body.decode())
        # A flood of logins: each gets an answer, and the proxy goes on.
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            flood = list(pool.map(lambda n: self.call(proxy, "POST", "/admin/login", {"name": f"n{n}", "password": "wrong"},
                                                      x_forwarded_for=f"198.51.100.{n}").status, range(64)))
            self.owner(proxy, "GET", "/admin/stats", status=200)
        self.assertEqual(set(flood) - {401, 429}, set())
        self.search(rows, proxy.log(), "canary wrong", "canary-guess")
        print(f"figure: 64 logins at once: {flood.count(401)} compared, {flood.count(429)} told to wait")

    # ---- the trail

    def search(self, *where):
        """No secret of this test in any of these, in any form."""
        for secret in self.secrets:
            for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex(),
                         json.dumps(secret)[1:-1]):
                for text in where:
                    self.assertNotIn(form, text if isinstance(text, str) else str(text))

    def test_each_change_leaves_an_entry_and_no_secret(self):
        mock = self.mock()
        proxy = self.keywheel(mock, env={"LOG_LEVEL": "debug"})
        ada = self.make_admin(proxy, "ada", "owner")
        text = self.log_in(proxy)

        def act(method, path, body=None, status=200):
            return self.bearer(proxy, text, method, path, body, status)
        key = act("POST", "/admin/keys", {"key": UPSTREAM, "alias": "one"}, 201).json()["data"]["id"]
        act("PATCH", f"/admin/keys/{key}/notes", {"notes": "spare"})
        act("PATCH", f"/admin/keys/{key}/toggle")
        act("POST", f"/admin/keys/{key}/test")
        act("POST", "/admin/keys/batch", {"text": "\n".join(f"sk-canary-batch-{n:020}" for n in range(50))})
        act("POST", "/admin/pool-groups", {"id": "g", "base_url": "http://127.0.0.1:9/v1",
                                           "egress_proxy": "http://u:canary-egress-password@127.0.0.1:1"}, 201)
        act("DELETE", "/admin/pool-groups/g")
        access = act("POST", "/admin/access-keys", {"name": "team"}, 201).json()["data"]
        again = act("POST", f"/admin/access-keys/{access['id']}/regenerate", {}).json()["data"]
        act("DELETE", f"/admin/access-keys/{access['id']}")
        act("PUT", "/admin/config", {"limits": {"default_output_tokens": 5000}})
        token = act("POST", "/admin/tokens", {"name": "ci", "role": "viewer"}, 201).json()["data"]
        act("DELETE", f"/admin/tokens/{token['id']}")
        act("PUT", f"/admin/admins/{ada['id']}", {"email": "other@example.com"})
        exported = act("GET", "/admin/keys/export")
        self.assertIn(UPSTREAM, exported.body.decode())
        act("DELETE", f"/admin/keys/{key}")
        act("POST", "/admin/logout")
        self.secrets += [access["key"], again["key"], token["token"], "canary-egress-password", "sk-canary-batch-"]

        mine = self.entries(proxy, actor="ada")
        routes = {(e["method"], e["route"]) for e in mine}
        for route in (("POST", "/admin/keys"), ("PATCH", "/admin/keys/{id}/notes"), ("PATCH", "/admin/keys/{id}/toggle"),
                      ("POST", "/admin/keys/{id}/test"), ("POST", "/admin/keys/batch"), ("POST", "/admin/pool-groups"),
                      ("DELETE", "/admin/pool-groups/{id}"), ("POST", "/admin/access-keys"),
                      ("POST", "/admin/access-keys/{id}/regenerate"), ("DELETE", "/admin/access-keys/{id}"),
                      ("PUT", "/admin/config"), ("POST", "/admin/tokens"), ("DELETE", "/admin/tokens/{id}"),
                      ("PUT", "/admin/admins/{id}"), ("GET", "/admin/keys/export"), ("DELETE", "/admin/keys/{id}"),
                      ("POST", "/admin/logout"), ("POST", "/admin/login")):
            self.assertIn(route, routes)
        self.assertEqual(len([e for e in mine if e["route"] == "/admin/keys/batch"]), 50)
        for entry in mine:
            self.assertEqual((entry["source"], entry["role"]), ("127.0.0.1", "owner"))
            self.assertTrue(entry["request_id"].startswith("req_"))
        notes = [e for e in mine if e["route"].endswith("/notes")]
        self.assertEqual([e["changes"] for e in notes], [{"notes": {"before": "", "after": "spare"}}])
        by_subject = self.entries(proxy, subject=key)
        self.assertEqual({e["operation"] for e in by_subject if "operation" in e}, {"create", "update", "delete"})
        # Logged in and refused: each change has an entry, and each entry its time; newest first.
        rows = self.owner(proxy, "GET", "/admin/audit?limit=1000", status=200).json()["data"]["entries"]
        self.assertEqual([r["at"] for r in rows], sorted((r["at"] for r in rows), reverse=True))
        log = proxy.log()
        proxy.stop()
        files = [path.read_bytes().decode("latin-1") for path in self.folder.rglob("*")
                 if path.is_file() and path.suffix != ".pem" and path.name != "mock.log"]
        self.assertTrue(any("adm_" in text for text in files))
        self.search(rows, log, *files)
        print(f"figure: audit trail: {len(rows)} entries searched for {len(self.secrets)} secrets, with {len(files)} files")

    # ---- where from

    def test_a_listener_of_its_own_and_allowed_networks(self):
        port = harness.free_port()
        proxy = self.keywheel(env={"KEYWHEEL_ADMIN_PORT": str(port), "KEYWHEEL_ADMIN_ALLOW_IPS": "127.0.0.0/8"})
        self.owner(proxy, "GET", "/admin/stats", status=404)

        def ask(path, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path, headers={"x-admin-key": ADMIN_KEY, **headers})
            got = connection.getresponse()
            got.read()
            connection.close()
            return got.status
        self.assertEqual([ask("/admin/stats"), ask("/readyz"), ask("/v1/models"), ask("/metrics")], [200, 200, 404, 404])
        closed = self.keywheel(name="closed", env={"KEYWHEEL_ADMIN_ALLOW_IPS": "10.0.0.0/8"})
        self.owner(closed, "GET", "/admin/stats", status=403)
        self.call(closed, "POST", "/admin/login", {"name": "a", "password": "b"}, 403)

    def test_the_admin_secret(self):
        off = self.keywheel(name="off", env={"ADMIN_ACCESS_KEY": None})
        self.assertIn("ADMIN_ACCESS_KEY", self.owner(off, "GET", "/admin/stats", status=403).json()["message"])
        self.call(off, "POST", "/admin/login", {"name": "a", "password": "b"}, 403)
        weak = self.keywheel(name="weak", env={"HOST": "0.0.0.0", "ADMIN_ACCESS_KEY": "short"}, wait=False)
        harness.wait_until("a weak secret is refused", lambda: not weak.alive())
        self.assertIn("16 characters", weak.log())
        # Another one counts after a reload, the one before no more.
        secret = self.folder / "admin.secret"
        secret.write_text("first-admin-secret-0001")
        config = f"auth: {{admin_key: 'file:{secret}'}}\n"
        proxy = self.keywheel(name="reloaded", config=config, env={"ADMIN_ACCESS_KEY": None})
        self.call(proxy, "GET", "/admin/stats", status=200, x_admin_key="first-admin-secret-0001")
        secret.write_text("other-admin-secret-0002")
        proxy.signal(harness.signal.SIGHUP)
        harness.wait_until("the other secret counts", lambda: self.call(
            proxy, "GET", "/admin/stats", x_admin_key="other-admin-secret-0002").status == 200, 10, 2.0)
        self.call(proxy, "GET", "/admin/stats", status=401, x_admin_key="first-admin-secret-0001")


if __name__ == "__main__":
    harness.main()
