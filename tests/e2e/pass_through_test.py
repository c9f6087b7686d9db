"""Clients that bring their own upstream credential: refused unless the listener lets them through; then it goes to
the one upstream that is named for it, with no other key, and is booked apart. Whatever is or was an access key
of ours, or looks like one, never leaves."""
import socket

import harness
from wire import ScriptedUpstream

CONFIG = """
server:
  workers: 1
{server}
groups:
  - id: own
    base_url: {own}/v1
    keys: [sk-mock-pool-0001]
  - id: pool
    base_url: {pool}/v1
    keys: [sk-mock-pool-0002]
    priority: 1
access_keys:
  - {{name: gone, key: declared-text-0001, disabled: true}}
"""
FOREIGN = "sk-proj-a-clients-own-credential-0001"


class PassThrough(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.pool = self.mock(tls=False, name="pool")

    def start(self, on=True):
        return self.keywheel(config=CONFIG.format(own=self.upstream.url, pool=self.pool.url,
                                                  server="  pass_through: own" if on else ""),
                             env={"WORKERS": None})

    def ask(self, proxy, credential, model="gpt-4o-mini", header="authorization", **more):
        value = f"Bearer {credential}" if header == "authorization" else credential
        return proxy.post("/v1/chat/completions", {"model": model, "messages": [], **more},
                          headers={"authorization": None, header: value})

    def code(self, answer):
        return [answer.status, answer.json()["error"]["code"]]

    @staticmethod
    def sent_to(*mocks):
        return {key for mock in mocks for key in mock.books()["keys"]}

    def sent(self):
        return self.sent_to(self.upstream, self.pool)

    def test_off_it_is_refused(self):
        proxy = self.start(on=False)
        self.assertEqual(self.code(self.ask(proxy, FOREIGN)), [401, "invalid_api_key"])
        self.assertEqual(self.sent(), set())

    def test_it_goes_as_it_is_and_is_booked_apart(self):
        proxy = self.start()
        answer = self.ask(proxy, FOREIGN)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["x-keywheel-key"], "pass-through")
        stream = self.ask(proxy, FOREIGN, stream=True)
        self.assertIn(b"[DONE]", stream.body)
        seen = self.upstream.seen(last=1)[0]
        self.assertIn(["Authorization", f"Bearer {FOREIGN}"], [[n.title(), v] for n, v in seen["head"]])
        self.assertEqual(self.sent(), {FOREIGN})

        def booked():
            rows = proxy.admin("GET", "/admin/usage?by=access_key&subject=pass-through").json()["data"]["usage"]
            return rows and rows[0]["requests"] == 2 and rows[0]
        row = harness.wait_until("the books", booked)
        total = self.upstream.books()["total"]
        self.assertEqual([row["tokens"]["input"], row["tokens"]["output"]],
                         [total["input_tokens"], total["output_tokens"]])
        # What the holders of access keys may ask about themselves is not for strangers.
        record = answer.headers["x-keywheel-request-id"]
        self.assertEqual(proxy.get(f"/v1/keywheel/requests/{record}",
                                   headers={"authorization": f"Bearer {FOREIGN}"}).status, 401)
        # The pool's own clients go on as before.
        self.assertEqual(self.ask(proxy, proxy.access_key).status, 200)
        self.assertNotIn(FOREIGN, proxy.log())
        files = [p for p in self.folder.rglob("*") if p.is_file() and "mock" not in p.name and "pool" not in p.name]
        for path in files:
            self.assertNotIn(FOREIGN.encode(), path.read_bytes(), path)

    def test_it_is_never_tried_with_another_key(self):
        proxy = self.start()
        for fault, status in (("status-401", 401), ("status-429", 429), ("status-500", 500), ("status-503", 503),
                              ("reset", 502), ("close", 502)):
            before = self.upstream.books()["total"]["requests"]
            answer = self.ask(proxy, FOREIGN, f"mock-{fault}")
            self.assertEqual(answer.status, status, fault)
            self.assertNotIn(FOREIGN.encode(), answer.body)
            # A kept connection that breaks says nothing: then once more on a fresh one.
            most = 2 if fault in ("reset", "close") else 1
            self.assertLessEqual(self.upstream.books()["total"]["requests"] - before, most, fault)
        self.assertEqual(self.sent() - {FOREIGN}, set())
        # The pool's keys have not suffered.
        self.assertEqual(proxy.admin("GET", "/admin/stats").json()["data"]["active"], 2)
        self.assertNotIn(FOREIGN, proxy.log())

    def test_an_answer_that_is_malformed_is_one_requests_trouble(self):
        def serve(connection, head, _body):
            status = b"200 OK" if b"/lies" in head else b"400 Bad Request"
            connection.sendall(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"no size\r\n" % status)
            connection.shutdown(socket.SHUT_WR)
        self.upstream = ScriptedUpstream(serve)
        self.addCleanup(self.upstream.close)
        proxy = self.start()
        for path in ("/v1/lies", "/v1/refusals"):
            answer = proxy.get(path, headers={"authorization": f"Bearer {FOREIGN}"})
            self.assertEqual(self.code(answer), [502, "upstream_malformed"], path)
        self.assertTrue(proxy.alive())
        self.assertEqual(self.sent_to(self.pool), set())

    def test_what_is_ours_never_leaves(self):
        proxy = self.start()
        made = [proxy.admin("POST", "/admin/access-keys", {"name": "k"}).json()["data"] for _ in range(3)]
        disabled, expired, deleted = made
        proxy.admin("PATCH", f"/admin/access-keys/{disabled['id']}/toggle")
        proxy.admin("PUT", f"/admin/access-keys/{expired['id']}", {"expires_at": "2020-01-01"})
        proxy.admin("DELETE", f"/admin/access-keys/{deleted['id']}")
        harness.wait_until("the changes", lambda: self.ask(proxy, deleted["key"]).status == 401)
        self.assertEqual(self.code(self.ask(proxy, disabled["key"])), [401, "key_disabled"])
        self.assertEqual(self.code(self.ask(proxy, expired["key"])), [401, "key_expired"])
        self.assertEqual(self.code(self.ask(proxy, "declared-text-0001")), [401, "key_disabled"])
        before = self.sent()
        for text in (deleted["key"], expired["key"][:-1], expired["key"] + "x", "sk-kw-anything", "kwt-anything-at-all", "kws-anything-at-all", expired["key"][:30],
                     harness.ADMIN_KEY, "x" * 600):
            self.assertEqual(self.code(self.ask(proxy, text)), [401, "invalid_api_key"], text)
        # Only as Bearer, and only where something was sent.
        self.assertEqual(self.code(self.ask(proxy, FOREIGN, header="x-api-key")), [401, "invalid_api_key"])
        self.assertEqual(self.code(self.ask(proxy, "")), [401, "missing_api_key"])
        self.assertEqual(self.sent(), before)


if __name__ == "__main__":
    harness.main()
