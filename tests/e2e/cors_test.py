"""Pages of browsers by their origin: a preflight is answered without a credential and never reaches the
upstream, answers, streams, refusals and WebSockets of an allowed origin can be read by its page, those of
another cannot; an access key narrows; without the setting nothing changes."""
import json

import harness
from websocket import Refused, Socket

PAGE, OTHER = "https://app.example.com", "https://evil.example.com"


class Cors(harness.EndToEnd):
    def start(self, origins=PAGE + ",http://localhost:3000"):
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream, env={"KEYWHEEL_SERVER_CORS_ORIGINS": origins})

    def preflight(self, origin, path="/v1/chat/completions",
                  wants="authorization,content-type,x-stainless-retry-count"):
        return self.proxy.request("OPTIONS", path, headers={
            "authorization": None, "origin": origin, "access-control-request-method": "POST",
            "access-control-request-headers": wants})

    def chat(self, origin, stream=False, key=None, model="m"):
        headers = {"origin": origin}
        if key:
            headers["authorization"] = f"Bearer {key}"
        return self.proxy.post("/v1/chat/completions", {"model": model, "stream": stream, "messages": []},
                               headers=headers)

    def readable(self, answer, origin):
        """Whether a browser lets a page of that origin see the answer."""
        found = answer.headers.get_all("access-control-allow-origin") or []
        self.assertLessEqual(len(found), 1, answer)
        self.assertNotIn("*", found)
        self.assertIsNone(answer.headers["access-control-allow-credentials"])
        return found == [origin]

    def test_an_allowed_page_may_and_another_may_not(self):
        self.start()
        for path in ("/v1/chat/completions", "/v1/files/file-1", "/api-keys/allocate", "/release", "/v1beta/models"):
            yes = self.preflight(PAGE, path)
            self.assertEqual(yes.status, 204)
            self.assertTrue(self.readable(yes, PAGE))
            self.assertEqual(yes.headers["access-control-allow-headers"],
                             "authorization,content-type,x-stainless-retry-count")
            self.assertIn("POST", yes.headers["access-control-allow-methods"])
            self.assertEqual(yes.headers["vary"], "Origin")
            no = self.preflight(OTHER, path)
            self.assertEqual((no.status, no.json()["error"]["code"]), (403, "origin_not_allowed"))
            self.assertFalse(self.readable(no, OTHER))
        self.assertEqual(self.upstream.books()["total"]["requests"], 0)
        self.assertIsNone(self.preflight(PAGE, wants="x: y<z>").headers["access-control-allow-headers"])

        for stream in (False, True):
            for model, status in (("m", 200), ("mock-status-400", 400)):
                answer = self.chat(PAGE, stream, model=model)
                self.assertEqual(answer.status, status)
                self.assertTrue(self.readable(answer, PAGE), answer)
                self.assertEqual(answer.headers["access-control-expose-headers"], "*")
                self.assertFalse(self.readable(self.chat(OTHER, stream, model=model), OTHER))
        # Our own refusals can be read, too, and so can what the holder asks.
        refused = self.chat(PAGE, key="sk-wrong-key-of-a-client")
        self.assertEqual(refused.status, 401)
        self.assertTrue(self.readable(refused, PAGE))
        me = self.proxy.get("/v1/keywheel/me", headers={"origin": PAGE})
        self.assertTrue(self.readable(me, PAGE), me)
        self.assertFalse(self.readable(self.proxy.get("/healthz", headers={"origin": PAGE}), PAGE))
        # Who is no browser is not asked.
        self.assertEqual(self.proxy.post("/v1/chat/completions", {"model": "m", "messages": []}).status, 200)
        # The upstream's own opinion stays there.
        answer = self.proxy.get("/v1/models", headers={"origin": PAGE})
        self.assertTrue(self.readable(answer, PAGE))

    def test_websockets_are_refused_by_us_since_no_browser_asks(self):
        self.start()
        offer = [("Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{self.proxy.access_key}")]
        s = Socket(self.proxy.port, headers=[*offer, ("Origin", PAGE)])
        self.assertEqual(json.loads(s.read())["type"], "session.created")
        s.close()
        with self.assertRaises(Refused) as refused:
            Socket(self.proxy.port, headers=[*offer, ("Origin", OTHER)])
        self.assertEqual((refused.exception.status, refused.exception.json()["error"]["code"]),
                         (403, "origin_not_allowed"))
        Socket(self.proxy.port, headers=offer).close()

    def test_an_access_key_narrows_any(self):
        self.start("*")
        made = self.proxy.admin("POST", "/admin/access-keys", {"name": "page", "origins_allow": [PAGE]})
        self.assertEqual(made.status, 201, made)
        data = made.json()["data"]
        self.assertEqual(data["origins_allow"], [PAGE])
        harness.wait_until("the key is known", lambda: self.chat(PAGE, key=data["key"]).status == 200)
        self.assertTrue(self.readable(self.chat(PAGE, key=data["key"]), PAGE))
        other = self.chat(OTHER, key=data["key"])
        self.assertEqual((other.status, other.json()["error"]["code"]), (403, "client_not_allowed"))
        self.assertTrue(self.readable(self.chat(OTHER), OTHER))

    def test_without_the_setting_nothing_changes(self):
        self.start("")
        preflight = self.preflight(PAGE)
        self.assertFalse(self.readable(preflight, PAGE))
        self.assertFalse(self.readable(self.chat(PAGE), PAGE))


if __name__ == "__main__":
    harness.main()
