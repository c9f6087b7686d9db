"""Operators are told: signed webhooks, chat tools, mail by SMTP, once for many equal events and many replicas, and not again after a restart.

Receivers are real servers of the test: one that checks signatures, one that fails at first, one that never
answers, a mail server with STARTTLS and login. Shown: 100 equal events are one delivery with count 100, also
where two replicas see them; what fails is tried again under the same id; a receiver that hangs delays no
request; secrets of channels are never shown; budgets near their end and guesses are told of.
"""
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time

import harness
import receiver

SIGNING = "canary-signing-key-0123456789"
WINDOW = 2


class Hook(receiver.Receiver):
    def of(self, event):
        return [json.loads(body) for _, headers, body in self.got if headers.get("X-Keywheel-Event") == event]


class MailServer:
    """As much of SMTP as a sender of mail needs, by STARTTLS and with a login, or without both."""

    def __init__(self, certificate=None, key=None):
        self.mails, self.logins, self.encrypted = [], [], []
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: connection.close())  # the one that it is by then
            file, secure = connection.makefile("rb"), False

            def say(text):
                connection.sendall(text.encode() + b"\r\n")
            say("220 test ESMTP")
            while line := file.readline():
                verb = line.decode().rstrip("\r\n")
                if verb.startswith("EHLO"):
                    offer = "STARTTLS" if self.context and not secure else "AUTH PLAIN"
                    say(f"250-test\r\n250-8BITMIME\r\n250 {offer}")
                elif verb == "STARTTLS":
                    say("220 go on")
                    connection = self.context.wrap_socket(connection, server_side=True)
                    file, secure = connection.makefile("rb"), True
                elif verb.startswith("AUTH PLAIN "):
                    self.logins.append(base64.b64decode(verb[11:]).decode().split("\0")[1:])
                    say("235 welcome")
                elif verb == "RCPT TO:<gone@example.com>":
                    say("550 no such mailbox")
                elif verb.startswith(("MAIL FROM:", "RCPT TO:")):
                    say("250 fine")
                elif verb == "DATA":
                    say("354 tell")
                    text = b""
                    while (row := file.readline()) != b".\r\n":
                        text += row[1:] if row.startswith(b"..") else row
                    self.mails.append(text.decode())
                    self.encrypted.append(secure)
                    say("250 taken")
                elif verb == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("500 what?")


class Notifications(harness.EndToEnd):
    def hook(self):
        made = Hook()
        self.addCleanup(made.server_close)
        self.addCleanup(made.shutdown)
        return made

    def make(self, proxy, **fields):
        answer = proxy.admin("POST", "/admin/notifications", fields)
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["data"]["id"]

    def ask(self, proxy, model, **headers):
        return proxy.post("/v1/chat/completions", {"model": model, "messages": []}, headers=headers)

    def check_signature(self, headers, body):
        expected = hmac.new(SIGNING.encode(), headers["X-Keywheel-Timestamp"].encode() + b"." + body, hashlib.sha256)
        self.assertEqual(headers["X-Keywheel-Signature"], "v1=" + expected.hexdigest())
        self.assertLess(abs(time.time() - int(headers["X-Keywheel-Timestamp"])), 120)

    def test_replicas_tell_once(self):
        mock, redis, hook = self.mock(tls=False), self.redis(), self.hook()
        config = (f"notifications: {{dedup_window: {WINDOW}s, retry_delay: 100ms, suspicious_access: 20}}\n"
                  f"groups:\n  - {{id: g, base_url: {mock.url}/v1, models: [mock*], keys: [sk-mock-a, sk-mock-b]}}\n")
        one, two = (self.keywheel(name=f"keywheel-{i}", config=config,
                                  env={"ENCRYPTION_KEY": "e" * 43, "REDIS_URL": redis.url}) for i in (1, 2))
        hook.answers = [503]  # the first try of all fails
        self.make(one, id="hook", type="webhook", url=hook.url + "/path?token=canary-token", key=SIGNING,
                  authorization="Bearer canary-auth")
        harness.wait_until("the other replica knows", lambda: two.admin("GET", "/admin/notifications/hook").status == 200)

        started = time.monotonic()
        for number in range(200):  # a hundred at each, all within one window or two of a slow machine
            self.assertEqual(self.ask(one if number % 2 else two, "no-such-model").status, 503)
        took = time.monotonic() - started
        harness.wait_until("it is told of", lambda: hook.of("unknown_model"), 30)
        time.sleep(2 * WINDOW + 1)  # whoever else would tell has told
        told = hook.of("unknown_model")
        ids = {t["id"] for t in told}
        for path, headers, body in hook.got:
            self.assertEqual(path, "/path?token=canary-token")
            self.assertEqual(headers["Authorization"], "Bearer canary-auth")
            self.check_signature(headers, body)
        if took < WINDOW:
            self.assertEqual([len(ids), {t["count"] for t in told}], [1, {100}], told)
        self.assertEqual(len(told), len(ids) + 1, "the one that got a 503 came again under its id")
        self.assertLessEqual(sum({t["id"]: t["count"] for t in told}.values()), 200)
        self.assertEqual(told[0]["subject"], "no-such-model")
        print(f"figure: notifications: {len(ids)} deliveries of 200 equal events at two replicas, count "
              f"{sorted({t['count'] for t in told})}", flush=True)

        # A key that is out of service is every replica's, and one tells.
        self.assertEqual(self.ask(one, "mock-model", **{"x-mock-fault": "invalid_key"}).status in (200, 401, 429, 503), True)
        harness.wait_until("the key's end is told", lambda: hook.of("key_banned"), 30)
        for number in range(27):  # which of the paths is asked makes no difference: it takes all three
            method, path = (("GET", "/v1/models"), ("GET", "/v1/keywheel/me"),
                            ("POST", "/api-keys/allocate"))[number % 3]
            refused = one.request(method, path, headers={"authorization": "Bearer sk-wrong"})
            self.assertEqual(refused.status, 401)
        harness.wait_until("the guesses are told", lambda: hook.of("suspicious_access"), 30)
        time.sleep(WINDOW + 1)
        subjects = [(t["id"], t["subject"]) for t in hook.of("key_banned")]
        self.assertEqual(len(subjects), len({subject for _, subject in subjects}), subjects)
        self.assertEqual({t["subject"] for t in hook.of("suspicious_access")}, {"127.0.0.1"})

        # What an operator is shown holds no secret, and sending it back changes none.
        shown = one.admin("GET", "/admin/notifications/hook")
        for secret in (SIGNING, "canary-token", "canary-auth"):
            self.assertNotIn(secret.encode(), shown.body)
        data = shown.json()["data"]
        self.assertEqual([data["url"], data["key"]], [hook.url + "/***", "***"])
        put = one.admin("PUT", "/admin/notifications/hook",
                        {name: data[name] for name in ("url", "key", "authorization", "name", "revision")})
        self.assertEqual(put.status, 200, put)
        before = len(hook.got)
        tested = one.admin("POST", "/admin/notifications/hook/test", {})
        self.assertEqual(tested.json()["data"], {"delivered": True, "message": "the receiver took it"})
        self.assertEqual(len(hook.got), before + 1)
        self.check_signature(*hook.got[-1][1:])
        # Somebody else's server does not get the key with which this one's are signed.
        moved = one.admin("PUT", "/admin/notifications/hook", {"url": self.hook().url})
        self.assertEqual([moved.status, "key" in moved.json()["message"]], [400, True])
        unknown = one.admin("PUT", "/admin/notifications/hook", {"colour": 1})
        self.assertEqual([unknown.status, "colour" in unknown.json()["message"]], [400, True])
        listed = one.admin("GET", "/admin/notifications?q=WEB").json()["data"]
        self.assertEqual([n["id"] for n in listed["notifications"]], ["hook"])
        # What waits leaves before the process does.
        self.ask(two, "last-words")
        self.assertEqual(two.stop(), 0)
        self.assertIn("last-words", [t["subject"] for t in hook.of("unknown_model")])
        # It travels: with its secrets where they are asked for.
        document = one.admin("POST", "/admin/export", {"mode": "encrypted", "passphrase": "a long passphrase"}).json()["data"]
        self.assertEqual(one.admin("DELETE", "/admin/notifications/hook").status, 200)
        self.assertEqual(one.admin("GET", "/admin/notifications/hook").status, 404)
        taken = one.admin("POST", "/admin/import", {"document": document, "passphrase": "a long passphrase"})
        self.assertEqual(taken.status, 200, taken)
        self.assertTrue(one.admin("POST", "/admin/notifications/hook/test", {}).json()["data"]["delivered"])
        self.assertIn("token=canary-token", hook.got[-1][0])
        self.assertIn("keywheel_notifications_total", one.get("/metrics").body.decode())

    def test_channels(self):
        mock, chat = self.mock(tls=False), self.hook()
        pair = [self.folder / "mail.crt", self.folder / "mail.key"]
        subprocess.run([harness.PROGRAM, "self-signed", "--cert", pair[0], "--key", pair[1]], check=True,
                       stdout=subprocess.DEVNULL)
        mails, plain = MailServer(*pair), MailServer()
        self.addCleanup(mails.listener.close)
        self.addCleanup(plain.listener.close)
        silent = socket.create_server(("127.0.0.1", 0))  # takes connections and never answers
        self.addCleanup(silent.close)
        config = (f"notifications: {{dedup_window: 0s, timeout: 20s, budget_warning: 50}}\n"
                  f"groups:\n  - {{id: g, base_url: {mock.url}/v1, models: [mock*], keys: [sk-mock-a]}}\n"
                  f"channels:\n  - {{id: declared, type: slack, url: {chat.url}/declared, events: [budget_warning]}}\n"
                  f"access_keys:\n  - {{name: team, key: team-key-0123456789-0123456789, limits: ['4 requests per day']}}\n")
        proxy = self.keywheel(config=config, env={"SSL_CERT_FILE": pair[0]})
        only = {"events": ["unknown_model"]}
        self.make(proxy, id="feishu", type="feishu", url=chat.url + "/feishu", key="demo", **only)
        self.make(proxy, id="telegram", type="telegram", url=chat.url, key="1:t", chat="-5", **only)
        self.make(proxy, id="sms", type="webhook", url=chat.url + "/sms", content_type="application/x-www-form-urlencoded",
                  body="to=1&text={{text}}&n={{count}}", **only)
        mail = {"type": "email", "from": "keywheel@example.com", "to": ["gone@example.com", "ops@example.com"], **only}
        self.make(proxy, id="mail", url=f"smtp://127.0.0.1:{mails.port}", user="login", key="canary-password", **mail)
        self.make(proxy, id="plain", url=f"smtp+plain://127.0.0.1:{plain.port}", **mail)
        self.make(proxy, id="silent", type="slack", url=f"http://127.0.0.1:{silent.getsockname()[1]}/x", **only)
        self.assertEqual(self.ask(proxy, "no-such").status, 503)

        def arrived():
            return (len(chat.got) >= 3 and mails.mails and plain.mails and
                    proxy.admin("GET", "/admin/notifications/silent").json()["data"]["deliveries"]["waiting"])
        harness.wait_until("all but the silent one have it", arrived, 30)
        # The silent one still holds its message; requests do not notice.
        slowest = 0
        for _ in range(50):
            began = time.monotonic()
            self.assertEqual(self.ask(proxy, "mock-model").status, 200)
            slowest = max(slowest, time.monotonic() - began)
        self.assertLess(slowest, 10)  # the silent receiver is waited for twice as long
        print(f"figure: notifications: slowest of 50 requests beside a receiver that never answers: {slowest * 1000:.1f} ms",
              flush=True)
        bodies = {path: body for path, _, body in chat.got}
        self.assertEqual(json.loads(bodies["/feishu"])["msg_type"], "text")
        self.assertEqual(json.loads(bodies["/bot1:t/sendMessage"])["chat_id"], "-5")
        self.assertIn(b"to=1&text=no%20group%20serves", bodies["/sms"])
        self.assertEqual([mails.logins, mails.encrypted, plain.encrypted], [[["login", "canary-password"]], [True], [False]])
        head, _, text = mails.mails[0].partition("\r\n\r\n")
        self.assertIn("Subject: keywheel: unknown_model no-such", head)
        self.assertIn("no group serves this model", base64.b64decode(text).decode())
        self.assertNotIn("canary-password", proxy.log())

        # Half of a budget of four, seen when the third request asks.
        for _ in range(3):
            answer = proxy.post("/v1/chat/completions", {"model": "mock-model", "messages": []},
                                headers={"authorization": "Bearer team-key-0123456789-0123456789"})
            self.assertEqual(answer.status, 200, answer)
        harness.wait_until("the budget is told of", lambda: any(path == "/declared" for path, _, _ in chat.got), 30)
        told = next(body for path, _, body in chat.got if path == "/declared")
        self.assertIn(b"access key team has used", told)
        harness.wait_until("the gauge", lambda: 'keywheel_budgets_near_end{per="day"} 1' in proxy.get("/metrics").body.decode())
        # The next process finds the budget without a request, and knows that it was told of.
        self.assertEqual(proxy.stop(), 0)
        proxy.start()
        proxy.wait_ready("/readyz")
        harness.wait_until("the gauge", lambda: 'keywheel_budgets_near_end{per="day"} 1' in proxy.get("/metrics").body.decode())
        self.assertEqual(self.ask(proxy, "no-such-either").status, 503)
        harness.wait_until("the next message", lambda: any(b"no-such-either" in body for _, _, body in chat.got), 30)
        self.assertEqual([path for path, _, _ in chat.got].count("/declared"), 1)
        changed = proxy.admin("PUT", "/admin/notifications/declared", {"disabled": True})
        self.assertEqual([changed.status, changed.json()["data"]["code"]], [409, "declared"])
        wrong = proxy.admin("POST", "/admin/notifications", {"type": "slack", "url": "http://169.254.169.254/latest"})
        self.assertEqual([wrong.status, "url" in wrong.json()["message"]], [400, True])
        refused = proxy.admin("POST", "/admin/notifications", {**mail, "id": "gone", "url": "smtp://127.0.0.1:1"})
        self.assertEqual(refused.status, 201)
        failed = proxy.admin("POST", "/admin/notifications/gone/test", {}).json()["data"]
        self.assertEqual([failed["delivered"], "not delivered" in failed["message"]], [False, True])


if __name__ == "__main__":
    harness.main()
