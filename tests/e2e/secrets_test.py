"""No secret shows where it should not: canaries in every place that takes one, and a search of all that comes out.

Every kind of error is provoked on the way, with the log at its most talkative. Searched are all answers
(heads and bodies; every route of the admin API is called well and badly), the logs and the live log, the
metrics, the files of the data directory and what the other verbs print; for each canary as it is, in
base64, in hexadecimal and percent-encoded.
"""
import base64
import contextlib
import http.client
import pathlib
import re
import socket
import subprocess
import threading
import urllib.parse

import books
import harness
from wire import ScriptedUpstream, Wire

CANARY = "canary-%s-0123456789abcdef-0123456789abcdef"


def canary(name):
    return CANARY % name


UPSTREAM = ("up-one", "up-two", "up-echo", "up-tls", "up-dns", "up-refused", "up-added", "up-batch", "up-raw",
            "imp-litellm", "imp-plain", "imp-csv", "imp-json", "imp-pool", "imp-bad")
OURS = ("access-env", "access-file", "access-limited", "admin", "master", "egress-password")
CLIENTS = ("bearer", "x-api-key", "api-key", "x-goog-api-key", "query-key", "cookie", "basic", "proxy-authorization",
           "wrong-admin", "batch-invalid", "password", "wrong-password", "login-name", "admin-bearer", "admin-cookie", "csrf", "body", "broken-body", "query",
           "imp-access", "passphrase", "wrong-passphrase", "group-proxy", "lease-body",
           "notify-url", "notify-key", "notify-auth", "notify-bot", "notify-mail")

CONFIG = """
log: {{level: debug, http_heads: true}}
pool: {{auto_ban: true}}
groups:
  - id: main
    base_url: {main}/v1
    keys: [{up_one}, {up_two}]
    models: ["m*"]
  - id: echo
    base_url: {echo}/v1
    keys: [{up_echo}]
    models: ["echo*"]
    pool: {{auto_ban: false}}
  - id: tls
    base_url: {untrusted}/v1
    keys: [{up_tls}]
    models: ["tls*"]
  - id: dns
    base_url: http://no-such-host.invalid/v1
    keys: [{up_dns}]
    models: ["dns*"]
  - id: refused
    base_url: http://127.0.0.1:1/v1
    keys: [{up_refused}]
    models: ["refused*"]
access_keys:
  - {{name: file, key: {access_file}}}
  - {{name: limited, key: {access_limited}, models_deny: ["*"]}}
"""


def echo(connection, head, _body):
    """Quotes the key it was given, wherever an error can hold text."""
    found = re.search(rb"(?i)\r\nauthorization: bearer (\S+)", head)
    key = found.group(1) if found else head.split()[1]
    asked = re.search(rb"(?i)\r\nx-status: (\d+)", head)
    status = asked.group(1) if asked else b"401"
    body = (b'{"error":{"message":"Incorrect API key provided: %s.","type":"%s","param":"%s","code":"%s"}}'
            % (key, key, key, key))
    connection.sendall(b"HTTP/1.1 %s No %s\r\nContent-Type: application/json\r\nX-Key: %s\r\n"
                       b"Content-Length: %d\r\n\r\n" % (status, key, key, len(body)) + body)


class Secrets(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.shown = []  # (what, bytes)
        self.made = []  # texts that keywheel made for admins
        self.upstream = self.mock(tls=False)
        echoing = self.echoing = ScriptedUpstream(echo)
        self.addCleanup(echoing.close)
        config = CONFIG.format(main=self.upstream.url, echo=echoing.url, untrusted=self.mock(name="untrusted").url,
                               **{name.replace("-", "_"): canary(name) for name in UPSTREAM + OURS})
        self.proxy = self.keywheel(config=config, env={
            "API_ACCESS_KEY": canary("access-env"), "ADMIN_ACCESS_KEY": canary("admin"),
            "ENCRYPTION_KEY": canary("master"), "LOG_LEVEL": "debug"})

    def show(self, what, answer):
        self.shown.append((what, f"{answer.status} {answer.headers}".encode() + answer.body))
        return answer

    def call(self, model, key="access-env", path="/v1/chat/completions", headers=None):
        sent = {"authorization": f"Bearer {canary(key)}", **(headers or {})}
        answer = self.proxy.post(path, {"model": model, "messages": []}, headers=sent)
        return self.show(f"{model} {path}", answer)

    def admin(self, method, path, body=None, key="admin"):
        answer = self.proxy.request(method, path, body, headers={"authorization": None, "x-admin-key": canary(key)})
        return self.show(f"{method} {path}", answer)

    def search(self, secrets, also=()):
        forms = []
        for secret in secrets:
            raw = secret.encode()
            forms += [(secret, raw), (secret, base64.b64encode(raw).rstrip(b"=")), (secret, raw.hex().encode()),
                      (secret, urllib.parse.quote(secret, safe="").encode())]
        found = []
        for what, data in [*self.shown, *also]:
            found += [(what, secret) for secret, form in forms if form in data]
        self.assertEqual(found, [])

    def provoke_errors(self):
        """One of each kind; the statuses tell that it was the one that was meant."""
        self.assertEqual(self.call("m").status, 200)
        self.assertEqual(self.call("m", key="access-file").status, 200)
        self.assertEqual(self.call("m", key="access-limited").status, 403)
        self.assertEqual(self.call("nobody-serves-this").status, 503)
        self.assertEqual(self.call("tls").status, 502)
        self.assertEqual(self.call("dns").status, 502)
        self.assertEqual(self.call("refused").status, 502)
        for fault, status in (("status;404", 404), ("status;400", 400), ("status;403", 403), ("malformed;nul", 502),
                              ("reset", 502), ("status;500", 500), ("invalid_key", 401)):
            self.assertIn(self.call("m", headers={"x-mock-fault": fault}).status, (status, 429, 502, 503), fault)
        self.assertIn(self.call("m", headers={"x-mock-fault": "status;429"}).status, (429, 503))
        for status in (400, 401, 402, 403, 404, 429, 500, 503):
            self.assertEqual(self.call("echo", headers={"x-status": str(status)}).status, status)

    def provoke_refusals(self):
        """Credentials of every form that are not ours."""
        self.assertEqual(self.call("m", key="bearer").status, 401)
        for name in ("x-api-key", "api-key", "x-goog-api-key"):
            self.assertEqual(self.call("m", headers={"authorization": None, name: canary(name)}).status, 401)
        basic = base64.b64encode(("user:" + canary("basic")).encode()).decode()
        self.assertEqual(self.call("m", headers={"authorization": "Basic " + basic}).status, 401)
        path = "/v1beta/models/gemini-2.5-flash:generateContent?key=" + canary("query-key")
        self.assertEqual(self.call("m", path=path, headers={"authorization": None}).status, 401)
        self.call("m", headers={"cookie": "session=" + canary("cookie"),
                                "proxy-authorization": "Bearer " + canary("proxy-authorization")})
        self.assertEqual(self.admin("GET", "/admin/keys", key="wrong-admin").status, 401)
        for line in (b"GET /v1/models?key=%s HTTP/9.9", b"GET /v1/models?key=%s\x01 HTTP/1.1"):
            with Wire(self.proxy.port) as wire:
                wire.send(line % canary("query-key").encode() + b"\r\nHost: a\r\nAuthorization: Bearer "
                          + canary("bearer").encode() + b"\r\nX-Bad\x00: 1\r\n\r\n")
                answer = wire.answer()
                self.assertGreaterEqual(answer.status, 400)
                self.shown.append((line.decode("latin-1"), repr(answer).encode()))

    def use_admin(self):
        """Writes and every reading route; the text of an access key made here."""
        added = self.admin("POST", "/admin/keys", {"key": canary("up-added"), "group": "main", "alias": "added"})
        self.assertIn(added.status, (200, 201), added)
        twice = self.admin("POST", "/admin/keys", {"key": canary("up-added"), "group": "main"})
        self.assertEqual(twice.status, 409)
        text = f"{canary('up-batch')}\n{canary('batch-invalid')} with blanks\x01in it\n{canary('up-added')}\n"
        self.admin("POST", "/admin/keys/batch", {"text": text, "poolGroup": "main"})
        self.admin("POST", "/admin/keys", {"key": canary("up-added"), "unknown_field": canary("up-added")})
        made = self.proxy.request("POST", "/admin/access-keys", {"name": "made"},
                                  headers={"authorization": None, "x-admin-key": canary("admin")})
        self.assertIn(made.status, (200, 201), made)
        self.use_admins()
        for path in ("audit?limit=1000", "refusals", "admins", "tokens", "me", "stats", "health", "prices", "keys", "keys?limit=1000", "pool-groups", "pool-groups/main", "access-keys",
                     "usage", "usage?by=upstream_key", "usage?by=access_key", "requests", "requests?limit=1000", "nothing"):
            self.admin("GET", "/admin/" + path)
        for path in ("/metrics", "/healthz", "/readyz", "/", "/v1/models", "/v1/keywheel/requests/req_none"):
            self.show(path, self.proxy.get(path, headers={"authorization": f"Bearer {canary('access-env')}"}))
        data = made.json()["data"]
        return max((value for value in data.values() if isinstance(value, str)), key=len)

    def use_admins(self):
        """Accounts, logins good and bad, sessions and tokens: what may be shown once is a secret from then on."""
        def send(method, path, body=None, show=True, **headers):
            answer = self.proxy.request(method, path, body, headers={"authorization": None, **headers})
            return self.show(f"{method} {path}", answer) if show else answer
        admin = {"x-admin-key": canary("admin")}
        account = {"name": "ada", "role": "owner", "password": canary("password")}
        self.assertEqual(send("POST", "/admin/admins", account, **admin).status, 201)
        self.assertEqual(send("POST", "/admin/admins", account, **admin).status, 409)
        self.assertEqual(send("POST", "/admin/admins", {**account, canary("password")[:60]: 1, "role": canary("password")},
                              show=False, **admin).status, 400)
        for name, password in (("ada", "wrong-password"), (canary("login-name"), "password")):
            login = {"name": name, "password": canary(password)}
            self.assertEqual(send("POST", "/admin/login", login).status, 401)
        login = {"name": "ada", "password": canary("password")}
        self.assertEqual(send("POST", "/admin/login", {**login, "cookie": canary("password")}).status, 400)
        bearer = send("POST", "/admin/login", {**login, "cookie": False}, show=False).json()["data"]["token"]
        opened = send("POST", "/admin/login", login, show=False)
        cookie = opened.headers["Set-Cookie"].split(";")[0]
        made = send("POST", "/admin/tokens", {"name": "t", "role": "owner"}, show=False, authorization="Bearer " + bearer)
        self.made += [bearer, cookie.split("=")[1], opened.json()["data"]["csrf_token"], made.json()["data"]["token"]]
        self.assertEqual(send("GET", "/admin/admins", cookie=cookie).status, 200)
        self.assertEqual(send("GET", "/admin/stats", authorization="Bearer " + self.made[-1]).status, 200)
        for headers in ({"authorization": "Bearer " + canary("admin-bearer")}, {"cookie": "kw_session=" + canary("admin-cookie")}):
            self.assertEqual(send("GET", "/admin/stats", **headers).status, 401)
        self.assertEqual(send("POST", "/admin/logout", **{"cookie": cookie, "x-csrf-token": canary("csrf")}).status, 403)
        self.assertEqual(send("PUT", "/admin/me/password", {"current": canary("wrong-password"), "password": canary("password")},
                              authorization="Bearer " + bearer).status, 400)

    def use_transfers(self):
        """Good and bad imports of each format, exports with and without passphrase."""
        def take(body, status=200, query="?group=main"):
            answer = self.admin("POST", "/admin/import" + query, body)
            self.assertEqual(answer.status, status, answer)
            return answer.json()["data"]
        proxy = f"http://user:{canary('group-proxy')}@127.0.0.1:9"
        self.assertEqual(self.admin("POST", "/admin/pool-groups", {
            "id": "raw", "base_url": self.upstream.url + "/v1", "lease_raw": True, "models": ["raw*"],
            "egress_proxy": proxy}).status, 201)
        self.assertEqual(self.admin("PUT", "/admin/pool-groups/raw", {"egress_proxy": proxy + "/%00"}).status, 400)
        self.assertEqual(self.admin("POST", "/admin/keys", {"key": canary("up-raw"), "poolGroup": "raw"}).status, 201)
        lite = (f"model_list:\n  - model_name: lite\n    litellm_params: {{model: openai/lite, "
                f"api_key: {canary('imp-litellm')}, api_base: '{self.upstream.url}/v1'}}\n")
        self.assertGreaterEqual(take(lite.encode())["created"], 1)
        self.assertEqual(take(f"{canary('imp-plain')}\n{canary('imp-bad')} and more\n".encode())["created"], 1)
        self.assertEqual(take(f"notes,key\nn,{canary('imp-csv')}\nn,{canary('imp-bad')} b\n".encode())["created"], 1)
        self.assertEqual(take([canary("imp-json"), {"key": canary("imp-bad") + " b"}])["created"], 1)
        self.assertEqual(take({"poolGroups": [{"id": "vip", "name": "v", "baseUrl": self.upstream.url + "/v1"}],
                               "keys": [{"key": canary("imp-pool"), "poolGroup": "vip"}]})["created"], 2)
        # One without a text gets one of ours, which is shown this once.
        made = self.proxy.request("POST", "/admin/import?format=access_keys", [{"name": "team", "apiKey": canary("imp-access")}, {"name": "fresh"}],
                                  headers={"authorization": None, "x-admin-key": canary("admin")})
        self.assertEqual([made.status, made.json()["data"]["created"]], [200, 2], made)
        self.assertNotIn(canary("imp-access").encode(), made.body)
        ours = re.findall(rb"sk-kw-[A-Za-z0-9_-]{20,}", made.body)
        self.assertEqual(len(ours), 1)
        self.made.append(ours[0].decode())
        self.assertEqual(self.call("m", key="imp-access").status, 200)
        for broken in (lite.encode() + b"  - [" + canary("imp-bad").encode(),
                       {"document": canary("imp-bad"), "passphrase": canary("wrong-passphrase")},
                       {"keys": {canary("imp-bad"): canary("imp-bad")}}, [{"name": "x", "apiKey": [canary("imp-bad")]}],
                       {"model_list": [{"litellm_params": {"api_key": [canary("imp-bad")], "model": canary("imp-bad")}}]}):
            for query in ("", "?dry_run=true", "?format=" + canary("query")):
                self.admin("POST", "/admin/import" + query, broken)
        for mode in ({}, {"mode": "encrypted", "passphrase": "short"}, {"mode": "decrypted", "admin_key": canary("wrong-admin")}):
            self.admin("POST", "/admin/export", mode)
        sealed = self.admin("POST", "/admin/export", {"mode": "encrypted", "passphrase": canary("passphrase")}).json()["data"]
        take({"document": sealed, "passphrase": canary("wrong-passphrase")}, 400, "")
        self.assertEqual(take({"document": sealed, "passphrase": canary("passphrase")}, query="?mode=overwrite")["refused"], 0)
        clear = self.proxy.request("POST", "/admin/export", {"mode": "decrypted", "admin_key": canary("admin")},
                                   headers={"authorization": None, "x-admin-key": canary("admin")})
        for name in ("imp-litellm", "imp-plain", "imp-csv", "imp-json", "imp-pool", "group-proxy"):
            self.assertIn(canary(name).encode(), clear.body, "it was stored, so the search means something")
        take({"document": clear.json()["data"]}, query="?mode=overwrite")

    def use_leases(self):
        """What a lease hands out is in that answer and nowhere else."""
        made = self.proxy.request("POST", "/admin/access-keys", {"name": "holder", "permissions": ["lease"]},
                                  headers={"authorization": None, "x-admin-key": canary("admin")})
        self.assertEqual(made.status, 201, made)
        self.made.append(made.json()["data"]["key"])
        holder = {"authorization": "Bearer " + self.made[-1]}

        def post(path, body, show=True):
            answer = self.proxy.request("POST", path, body, headers=holder)
            return self.show(path, answer) if show else answer
        harness.wait_until("the holder", lambda: post("/release", {"lease_id": "ls_none"}).status == 404)
        raw = post("/api-keys/allocate", {"group": "raw"}, show=False)
        self.assertEqual([raw.status, raw.json()["key"]], [200, canary("up-raw")], raw)
        own = post("/api-keys/allocate", {"group": "main"}, show=False)
        self.assertEqual(own.status, 200, own)
        self.made.append(own.json()["key"])
        for body in ({"group": canary("lease-body")}, {"ttl_s": canary("lease-body")},
                     b'{"group": "' + canary("lease-body").encode()):
            self.assertGreaterEqual(post("/api-keys/allocate", body).status, 400)
        for body in ({"lease_id": canary("lease-body")}, {"key": canary("lease-body")}):
            self.assertGreaterEqual(post("/release", body).status, 400)
        # Who sends a field that there is not is told its name; nobody else is.
        for path in ("/api-keys/allocate", "/release"):
            self.assertEqual(post(path, {canary("lease-body"): 1}, show=False).status, 400)
        self.admin("GET", "/admin/leases?q=" + canary("query"))
        self.assertEqual(post("/release", {"key": own.json()["key"]}).status, 200)
        self.assertEqual(post("/release", {"key": canary("up-raw")}).status, 200)
        self.show("/metrics", self.proxy.get("/metrics"))

    def use_notifications(self):
        """Channels of each kind: taken, shown, changed, refused, and tested where nobody listens or all is quoted back."""
        url = f"http://127.0.0.1:{self.echoing.port}/{canary('notify-url')}?t={canary('notify-url')}"
        channels = [{"id": "hook", "type": "webhook", "url": url, "key": canary("notify-key"),
                     "authorization": "Bearer " + canary("notify-auth")},
                    {"id": "bot", "type": "telegram", "url": "http://127.0.0.1:1", "chat": "1", "key": canary("notify-bot")},
                    {"id": "mail", "type": "email", "url": "smtp://127.0.0.1:1", "user": "u", "key": canary("notify-mail"),
                     "from": "a@example.com", "to": ["b@example.com"]},
                    {"id": "ding", "type": "dingtalk", "url": url, "key": canary("notify-key")}]
        for channel in channels:
            at = "/admin/notifications/" + channel["id"]
            self.assertEqual(self.admin("POST", "/admin/notifications", channel).status, 201)
            self.assertEqual(self.admin("POST", "/admin/notifications", channel).status, 409)
            self.assertEqual(self.admin("GET", at).status, 200)
            self.assertEqual(self.admin("PUT", at, {"name": "n", "key": channel["key"]}).status, 200)
            for field in ("url", "key"):
                wrong = {field: channel[field] + "\n" + canary("notify-url")}
                self.assertEqual(self.admin("PUT", at, wrong).status, 400)
            self.assertFalse(self.admin("POST", at + "/test", {}).json()["data"]["delivered"])
        self.admin("GET", "/admin/notifications")
        self.admin("POST", "/admin/export", {})

    # Whose good answer is a secret; what they refuse is searched.
    REVEAL = {("get", "/admin/keys/export"), ("post", "/admin/export")}

    def watch_log(self):
        """The live log from now on, as an operator's browser sees it."""
        connection = self.proxy.connection(60)
        connection.request("GET", "/admin/logs/stream", headers={"x-admin-key": canary("admin")})
        socket_of = connection.sock
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        seen = []

        def read():
            with contextlib.suppress(OSError, http.client.HTTPException):
                while piece := response.read1(65536):
                    seen.append(piece)
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return socket_of, thread, seen

    def every_route(self):
        """Each route of the document, well and badly called, with a canary in each place that a caller fills."""
        document = self.admin("GET", "/admin/openapi.json").json()
        calls = 0
        for path, methods in document["paths"].items():
            for method in methods:
                if method not in ("get", "post", "put", "patch", "delete") or path == "/admin/logs/stream":
                    continue
                calls += 1
                verb = method.upper()
                for place in ("main", "no-such-id", canary("path")):
                    if method == "delete" and place == "main":
                        continue
                    at = path.replace("{id}", place)
                    if method == "get":
                        if (method, path) not in self.REVEAL:
                            self.admin(verb, at)
                        bad = self.admin(verb, at + "?nobody_knows=" + canary("query"))
                        self.assertIn(bad.status, (400, 404), (verb, at, bad))
                    else:
                        answers = [self.admin(verb, at, {"nobody_knows": canary("body")}),
                                   self.admin(verb, at, b'{"name": "' + canary("broken-body").encode())]
                        for bad in answers if method != "delete" else ():
                            self.assertIn(bad.status, (400, 404, 409), (verb, at, bad))
                    if "{id}" not in path:
                        break
        self.assertGreater(calls, 60)
        # What stood in a path is not repeated; only the log of heads, where it is switched on, holds the path.
        self.assertEqual([what for what, answer in self.shown if canary("path").encode() in answer], [])
        sealed = self.admin("POST", "/admin/export", {})
        self.assertIn(sealed.status, (200, 400), sealed)
        return calls

    def files(self):
        return [(str(path.relative_to(self.folder)), path.read_bytes())
                for path in self.folder.rglob("*") if path.is_file() and path.suffix not in (".yaml", ".pem")
                and path.name not in ("mock.log", "untrusted.log")]

    def test_nothing_shows(self):
        live_socket, thread, live = self.watch_log()
        self.provoke_errors()
        self.provoke_refusals()
        made = self.use_admin()
        self.use_transfers()
        self.use_leases()
        self.use_notifications()
        routes = self.every_route()
        self.assertGreaterEqual(len(made), 20, "the text of the new access key")
        harness.wait_until("all is stored", lambda: books.metric(self.proxy, "keywheel_journal_backlog_records") == 0)
        self.proxy.signal(harness.signal.SIGHUP)
        self.assertEqual(self.call("m", headers={"x-api-key": canary("x-api-key")}).status, 200)
        live_socket.shutdown(socket.SHUT_RDWR)
        thread.join(20)
        self.shown.append(("live log", b"".join(live)))
        self.assertIn(b"request.done", self.shown[-1][1])
        self.proxy.stop()
        # All of it was looked at: the search finds what is meant to be there.
        log = self.proxy.log()
        for word in ("request.done", "attempt.failed", "http.request"):
            self.assertIn(word, log)
        secrets = [canary(name) for name in UPSTREAM + OURS + CLIENTS] + [made, *self.made]
        files = self.files()
        self.assertTrue(any("data" in name for name, _ in files))
        self.search(secrets, files)
        print(f"figure: secrets searched for: {len(secrets)} in {len(self.shown)} answers of "
              f"{routes} admin routes and others, and {len(files)} files")

    def run_verb(self, *words, env=None):
        got = subprocess.run([harness.PROGRAM, *map(str, words)], env={"PATH": "/usr/bin:/bin", **(env or {})},
                             cwd=self.folder, capture_output=True, timeout=30, check=False)
        self.shown.append((" ".join(map(str, words)), got.stdout + got.stderr))
        return got

    def test_verbs_show_nothing(self):
        env = {"API_ACCESS_KEY": canary("access-env"), "ADMIN_ACCESS_KEY": canary("admin"),
               "ENCRYPTION_KEY": canary("master"), "OPENAI_API_KEY": canary("up-one"),
               "HTTPS_PROXY": f"http://user:{canary('egress-password')}@127.0.0.1:9",
               "REDIS_URL": f"redis://user:{canary('egress-password')}@127.0.0.1:1/0", "DATA_DIR": str(self.folder / "d")}
        self.assertEqual(self.run_verb("check-config", env=env).returncode, 0)
        self.assertEqual(self.run_verb("version", env=env).returncode, 0)
        self.run_verb("healthcheck", env=env)
        for number, broken in enumerate((
                "auth: {{admin_key: {0}", "auth:\n  admin_key: [{0}]\n", "auth:\n  admin_kee: {0}\n", "{0}\n", "port: {0}\n",
                "auth:\n\tadmin_key: {0}\n", "store:\n  redis_url: {0}\n", "store:\n  encryption_key: {{{0}: {0}}}\n",
                "groups:\n  - id: a\n    base_url: https://user:{0}@host/v1\n    keys: [{0}]\n",
                "groups:\n  - id: a\n    base_url: ftp://{0}\n    keys: [{0}]\n", "groups:\n  - keys: {0}\n",
                "groups:\n  - id: a\n    base_url: http://h/v1\n    keys: ['{0}\x01', \"{0} \"]\n",
                "access_keys:\n  - {{name: a, key: '{0}'}}\n  - {{name: a, key: '{0}'}}\n",
                "access_keys:\n  - {{name: a, key: {0}, expires_at: {0}}}\n", "upstream:\n  egress_proxy: 'socks9://u:{0}@h'\n",
                "auth: {{admin_key: 'env:NOT_SET', access_keys: [{0}, {0}]}}\n", "auth: {{access_keys: {{{0}: 1}}}}\n")):
            path = pathlib.Path(self.folder, f"broken-{number}.yaml")
            path.write_text(broken.format(canary("up-two")))
            self.run_verb("check-config", "--config", path)
            self.run_verb("serve", "--config", path, env={"DATA_DIR": str(self.folder / "d2"), "PORT": "1", "HOST": "203.0.113.1"})
        for name, value in (("ENCRYPTION_KEY", "short-" + canary("up-two")[:20]), ("REDIS_URL", "http://" + canary("up-two")),
                            ("OPENAI_BASE_URL", f"https://u:{canary('up-two')}@h/v1"), ("HTTPS_PROXY", canary("up-two")),
                            ("KEYWHEEL_ACCESS_KEYS", "[{name: x, key: " + canary("up-two")),
                            ("KEYWHEEL_GROUPS", "{{" + canary("up-two"))):
            self.run_verb("check-config", env={**env, name: value})
        self.search([canary(name) for name in UPSTREAM + OURS])


if __name__ == "__main__":
    harness.main()
