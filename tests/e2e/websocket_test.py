"""WebSockets through keywheel, with a client of the standard library: the realtime API and the
responses socket hold sessions, every response and transcription has its record and the records equal
the mock's books, class by class; keys in headers and in the subprotocol are replaced and never
written down; a megabyte goes both ways; close codes pass, breaks stay breaks; refusals before the
upgrade are HTTP, with tries at other keys; limits hold at the opening and before each response; a
key that is disabled ends its sockets; a graceful stop lets responses end; 1,000 sockets at once."""
import asyncio
import hashlib
import json
import os
import struct
import time

import harness
from books import entries, metric, records, settle
from websocket import CLOSE, PING, TEXT, Refused, Socket, accept_of, frame, fresh_key, opening, read_answer

SOCKETS = int(os.environ.get("KW_SOCKETS", "1000"))
CONFIG = """
prices:
  - {{model: mock-realtime, input: 4, output: 16, cached_read: "0.4", audio_in: 32, audio_out: 64}}
  - {{model: gpt-4o-transcribe, input: "2.5", output: 10, audio_in: 6}}
  - {{model: mock-m, input: 1000, output: 10000}}
aliases:
  short: {{model: mock-m}}
groups:
  - id: g
    base_url: {url}/v1
    keys: [sk-mock-a, sk-mock-b]
"""
OURS = {"input": "input_tokens", "output": "output_tokens", "cached_read": "cached_tokens",
        "reasoning": "reasoning_tokens", "audio_in": "audio_input_tokens", "audio_out": "audio_output_tokens"}


class WebSockets(harness.EndToEnd):
    def start(self, env=None, **mock):
        self.upstream = self.mock(tls=False, **mock)
        self.proxy = self.keywheel(config=CONFIG.format(url=self.upstream.url), env=env)

    def open(self, path="/v1/realtime?model=mock-realtime", key=None, headers=(), **more):
        key = key or self.proxy.access_key
        return Socket(self.proxy.port, path, [("Authorization", f"Bearer {key}"), *headers], **more)

    def settled(self):
        settle(self.proxy, self.upstream)
        self.assertEqual(metric(self.proxy, "keywheel_websockets_open"), 0)

    def books(self):
        """Records of sockets and of responses; the mock's likewise."""
        self.settled()
        ours, theirs = records(self.proxy), entries(self.upstream)
        self.assertEqual(len({r["id"] for r in ours}), len(ours))
        return ([r for r in ours if r["status"] == 101], [r for r in ours if r["status"] == 200],
                [e for e in theirs if e["status"] == 101], [e for e in theirs if e["status"] == 200])

    def equal(self, responses, theirs):
        """Records that are exact say what the mock's whole responses say."""
        exact = [r for r in responses if r["usage"] == "exact"]
        whole = [e for e in theirs if e["outcome"] == "completed"]

        def one(tokens):
            return tuple(tokens[name] for name in OURS)
        self.assertEqual(sorted(one(r["tokens"]) for r in exact),
                         sorted(tuple(e[theirs_] for theirs_ in OURS.values()) for e in whole))
        return len(exact)

    def key(self, *limits, **more):
        answer = self.proxy.admin("POST", "/admin/access-keys", {"name": "limited", "limits": list(limits), **more})
        self.assertEqual(answer.status, 201, answer)
        data = answer.json()["data"]
        harness.wait_until("the key is known", lambda: self.proxy.get(
            "/v1/keywheel/requests/none", headers={"authorization": f"Bearer {data['key']}"}).status == 404)
        return data

    def test_every_response_is_booked_at_its_price(self):
        self.start()
        s = self.open()
        self.assertTrue(s.headers["x-keywheel-request-id"].startswith("req_"))
        first = s.event()
        self.assertEqual(first["type"], "session.created")  # before the client says anything
        for turn in range(3):
            s.send({"type": "conversation.item.create", "item": {"text": "x" * 400 * turn}})
            s.until("conversation.item.added")
            s.send({"type": "response.create", "response": {"tokens": 20 + turn, "audio": 64000}})
            done = s.until("response.done")
            self.assertEqual(done[0]["type"], "response.created")
            # Its record is written before the client hears of its end.
        s.send({"type": "session.update"})
        s.until("session.updated")
        s.send({"type": "input_audio_buffer.append", "audio": "A" * 640_000})
        s.send({"type": "input_audio_buffer.commit"})
        s.until("conversation.item.input_audio_transcription.completed")
        self.assertEqual(s.close(1000), 1000)

        r = self.open("/v1/responses", headers=[("OpenAI-Beta", "responses_websockets=2026-02-06")])
        r.send({"type": "response.create", "model": "short", "generate": False, "input": []})
        r.until("response.completed")
        for _ in range(2):
            r.send({"type": "response.create", "model": "short", "tokens": 30, "input": "y" * 100_000})
            r.until("response.completed")
        r.close(None)

        sockets, responses, their_sockets, theirs = self.books()
        self.assertEqual((len(sockets), len(responses), len(their_sockets)), (2, 7, 2))
        self.assertEqual({r["end"] for r in sockets + responses}, {"completed"})
        self.assertEqual([sum(r["tokens"].values()) for r in sockets], [0, 0])
        self.assertEqual({r["endpoint"] for r in responses}, {"realtime", "responses"})
        by_model = {}
        for r in responses:
            by_model.setdefault(r["model_served"], []).append(r)
        self.assertEqual({m: len(found) for m, found in by_model.items()},
                         {"mock-realtime": 3, "gpt-4o-transcribe": 1, "mock-m-2026-01-01": 3})
        warm_up = [r for r in by_model["mock-m-2026-01-01"] if r["usage"] == "none"]
        self.assertEqual(len(warm_up), 1)
        theirs = [e for e in theirs if e["input_tokens"]]
        self.assertEqual(self.equal(responses, theirs), 6)
        # dollars per million: 4 in, 0.4 cached, 16 out, 32 and 64 for audio
        for r in by_model["mock-realtime"]:
            t = r["tokens"]
            rest = t["input"] - t["cached_read"] - t["audio_in"]
            cost = rest * 4000 + t["cached_read"] * 400 + t["audio_in"] * 32000 \
                + (t["output"] - t["audio_out"]) * 16000 + t["audio_out"] * 64000
            self.assertEqual(r["cost"]["nanodollars"], cost)
        self.assertEqual([t["tokens"]["audio_in"] for t in by_model["gpt-4o-transcribe"]], [100])
        # One socket, one upstream key.
        for theirs_ in (their_sockets,):
            for one in theirs_:
                self.assertEqual({e["key"] for e in theirs if e["endpoint"] == one["endpoint"] + " response"},
                                 {one["key"]})

    def test_the_key_in_the_subprotocol_is_replaced_and_never_written_down(self):
        self.start(env={"KEYWHEEL_LOG_LEVEL": "debug", "KEYWHEEL_LOG_HTTP_HEADS": "true"})
        secret = self.proxy.access_key
        offer = [("Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{secret}, openai-organization.org-1"),
                 ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
                 ("Origin", "http://somewhere")]
        s = Socket(self.proxy.port, headers=offer)
        self.assertEqual(s.headers["sec-websocket-protocol"], "realtime")
        self.assertNotIn(secret, str(s.headers))
        s.until("conversation.created")
        s.close()
        seen = self.upstream.seen(last=1)[0]
        head = {name.lower(): value for name, value in seen["head"]}
        self.assertEqual(head["sec-websocket-protocol"], "realtime")
        self.assertIn(head["authorization"], ("Bearer sk-mock-a", "Bearer sk-mock-b"))
        self.assertNotIn("sec-websocket-extensions", head)
        self.assertNotIn(secret, json.dumps(seen))
        wrong = "sk-wrong-credential-in-the-subprotocol"
        with self.assertRaises(Refused) as refused:
            Socket(self.proxy.port, headers=[("Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{wrong}")])
        self.assertEqual((refused.exception.status, refused.exception.json()["error"]["code"]),
                         (401, "invalid_api_key"))
        # Without an upgrade it stays here all the same.
        self.proxy.get("/v1/models", headers={"Sec-WebSocket-Protocol": f"openai-insecure-api-key.{secret}"})
        self.assertNotIn(secret, json.dumps(self.upstream.seen(last=1)))
        self.settled()
        for text in (secret, wrong):
            self.assertNotIn(text, self.proxy.log())
        self.assertIn("http.request", self.proxy.log())

    def test_a_megabyte_goes_both_ways_and_pieces_stay_whole(self):
        self.start()
        s = self.open()
        s.until("conversation.created")
        audio = "B" * (1 << 20)
        begin = time.monotonic()
        for _ in range(8):
            s.send({"type": "mock.hear", "audio": audio})
            heard = s.until("mock.heard")[-1]
            sent = json.dumps({"type": "mock.hear", "audio": audio}).encode()
            self.assertEqual((heard["bytes"], heard["sha256"]), (len(sent), hashlib.sha256(sent).hexdigest()))
            s.send({"type": "mock.big", "bytes": 1 << 20})
            self.assertEqual(len(s.until("response.output_audio.delta")[-1]["delta"]), 1 << 20)
        print(f"figure: 1 MB events both ways: {8 * 2 / (time.monotonic() - begin):.0f} events/s")
        # Fragments, with pings of both sides between them, and a text cut inside a character.
        text = json.dumps({"type": "mock.hear", "text": "grüße 日本"}, ensure_ascii=False).encode()
        for cut in (1, len(text) - 4):
            s.raw.sendall(frame(TEXT, text[:cut], fin=False) + frame(PING, b"client") + frame(0, b"", fin=False)
                          + frame(0, text[cut:]))
            self.assertEqual(s.until("mock.heard")[-1]["sha256"], hashlib.sha256(text).hexdigest())
        self.assertEqual(s.pongs, [b"client"] * 2)
        s.send({"type": "mock.pieces", "pieces": 4})
        self.assertEqual(s.until("mock.pieces")[-1]["text"], "in pieces")
        # Byte by byte.
        for byte in frame(TEXT, text):
            s.raw.sendall(bytes([byte]))
        self.assertEqual(s.until("mock.heard")[-1]["bytes"], len(text))
        s.close()
        # The responses socket's messages are looked at whole; they come out the same.
        r = self.open("/v1/responses")
        body = json.dumps({"type": "mock.hear", "pad": "ü" * 700_000}, ensure_ascii=False).encode()
        r.raw.sendall(frame(TEXT, body[:1], fin=False) + frame(PING, b"p") + frame(0, body[1:500_001], fin=False)
                      + frame(0, body[500_001:]))
        self.assertEqual(r.until("mock.heard")[-1]["sha256"], hashlib.sha256(body).hexdigest())
        r.close()
        self.settled()

    def test_closes_pass_and_breaks_stay_breaks(self):
        self.start()
        for code, reason in ((1000, ""), (4000, "grund ü"), (1001, "x" * 123), (None, "")):
            s = self.open()
            s.until("conversation.created")
            self.assertEqual(s.close(code, reason), code or 1005)
            self.assertEqual(s.close_reason, reason)
        self.settled()
        self.assertEqual([e["close_code"] for e in entries(self.upstream)], [1000, 4000, 1001, 1005])
        for code, reason in ((1000, "done"), (4001, "why"), (1011, "broken"), (0, "")):
            s = self.open()
            s.send({"type": "mock.close", "code": code, "reason": reason})
            while s.read() is not None:
                pass
            self.assertEqual((s.close_code, s.close_reason), (code or 1005, reason))
            s.answer_close()
        self.settled()
        self.assertEqual([e["close_code"] for e in entries(self.upstream)][4:], [1000, 4001, 1011, 1005])
        sockets, *_ = self.books()
        self.assertEqual([r["end"] for r in sockets], ["completed"] * 8)

        # The upstream breaks: in a frame, by a reset, by nonsense, killed. The client sees a break, or 1014.
        ids = []
        for order in ("mock.abort", "mock.reset", "mock.bad_frame"):
            s = self.open()
            ids.append(s.headers["x-keywheel-request-id"])
            s.until("conversation.created")
            s.send({"type": order})
            if order == "mock.bad_frame":
                while s.read() is not None:
                    pass
                self.assertEqual(s.close_code, 1014)
                s.answer_close()
            else:
                with self.assertRaises(ConnectionError):
                    s.read()
                s.drop()
        # The client breaks: politely, by a reset, by nonsense.
        for how in ("fin", "reset", "unmasked", "half"):
            s = self.open()
            ids.append(s.headers["x-keywheel-request-id"])
            s.until("conversation.created")
            s.send({"type": "response.create", "response": {"tokens": 500, "pace": 50}})
            s.until("response.output_text.delta")
            if how == "unmasked":
                s.raw.sendall(frame(TEXT, b"{}", masked=False))
                while s.read() is not None:
                    pass
                self.assertEqual(s.close_code, 1002)
                s.answer_close()
            elif how == "half":
                s.raw.sendall(frame(TEXT, b"{}" * 500)[:100])
                s.drop()
            else:
                s.drop(reset=how == "reset")
        sockets, responses, their_sockets, theirs = self.books()
        ends = {r["id"]: r["end"] for r in sockets}
        self.assertEqual([ends[id_] for id_ in ids], ["upstream_cut"] * 3 + ["client_closed", "client_closed",
                                                                             "upstream_cut", "client_closed"])
        self.assertEqual(len(sockets), 15)
        # A response that was under way is an estimate, once.
        self.assertEqual([r["usage"] for r in responses], ["estimated"] * 4)
        self.assertEqual(len(theirs), 4)
        self.assertEqual({e["outcome"] for e in theirs}, {"aborted"})

    def test_an_upstream_that_is_killed(self):
        self.start()
        open_ = [self.open() for _ in range(20)]
        for s in open_:
            s.until("conversation.created")
            s.send({"type": "response.create", "response": {"tokens": 10}})
            s.until("response.done")
            s.send({"type": "response.create", "response": {"tokens": 1000, "pace": 20}})
            s.until("response.output_text.delta")
        self.upstream.kill()
        for s in open_:
            with self.assertRaises(ConnectionError):
                while s.read() is not None:
                    pass
            s.drop()
        settle(self.proxy)
        found = records(self.proxy)
        self.assertEqual(sum(r["status"] == 101 and r["end"] == "upstream_cut" for r in found), 20)
        exact = [r for r in found if r["usage"] == "exact"]
        self.assertEqual((len(exact), sum(r["usage"] == "estimated" for r in found), len(found)), (20, 20, 60))
        self.assertEqual({r["tokens"]["output"] for r in exact}, {10})

    def test_refusals_before_the_upgrade_are_plain_answers(self):
        self.start(env={"KEYWHEEL_POOL_AUTO_BAN": "false"})

        def refusal(headers=(), path="/v1/realtime?model=mock-realtime", key=True):
            with self.assertRaises(Refused) as got:
                self.open(path, headers=headers) if key else Socket(self.proxy.port, path, headers)
            error = got.exception.json()["error"]
            self.assertEqual(set(error), {"message", "type", "param", "code"})
            return got.exception.status, error["code"]

        self.assertEqual(refusal(key=False), (401, "missing_api_key"))
        self.assertEqual(refusal(path="/v1/realtime?model=a&model=b"), (400, "malformed_request"))
        answer = self.proxy.raw(opening("/v1/realtime", [("Authorization", f"Bearer {self.proxy.access_key}")],
                                        fresh_key()).replace(b"Version: 13", b"Version: 8"), timeout=1)
        self.assertIn(b" 426 ", answer.split(b"\r\n")[0])
        self.assertIn(b"Sec-WebSocket-Version: 13", answer)
        # The upstream's: once is tried elsewhere, always is told.
        for fault in ("status;429,once", "status;503,once", "invalid_key,once", "reset,once"):
            s = self.open(headers=[("x-mock-fault", fault + ",retry_after;1")])
            self.assertEqual(s.headers["x-keywheel-attempts"], "2", fault)
            s.close()
        self.assertEqual(refusal([("x-mock-fault", "status;400")])[0], 400)
        status, code = refusal([("x-mock-fault", "status;404")])
        self.assertEqual(status, 404)
        # An upstream that answers, but not as a WebSocket's server does.
        self.assertEqual(refusal(path="/v1/status/500")[0], 500)
        self.settled()

    def test_a_response_is_priced_as_the_access_key_is_by_then(self):
        self.start()
        made = self.key()
        s = self.open(key=made["key"])
        seen = set()

        def factor():
            """What the price of one more response is multiplied by."""
            s.send({"type": "response.create", "response": {"tokens": 50}})
            s.until("response.done")

            def booked():
                return [r for r in records(self.proxy) if r["status"] == 200 and r["id"] not in seen]
            record = harness.wait_until("its record", booked)[0]
            seen.add(record["id"])
            return round(record["rated_cost"]["nanodollars"] / record["cost"]["nanodollars"], 3)
        self.assertEqual(factor(), 1)
        changed = self.proxy.admin("PUT", f"/admin/access-keys/{made['id']}", {"multiplier": 3})
        self.assertEqual(changed.status, 200, changed)
        harness.wait_until("the new price", lambda: factor() == 3)
        s.close()

    def test_limits_hold_at_the_opening_and_before_each_response(self):
        self.start()
        # A slot for the socket's life.
        single = self.key({"unit": "concurrent", "cap": 1})
        first = self.open(key=single["key"])
        with self.assertRaises(Refused) as refused:
            self.open(key=single["key"])
        self.assertEqual((refused.exception.status, refused.exception.json()["error"]["code"]),
                         (429, "concurrency_limit_exceeded"))
        # Its own responses need none.
        first.send({"type": "response.create"})
        first.until("response.done")
        first.close()
        second = harness.wait_until("the slot is free again", lambda: self.opened(single["key"]))
        second.drop(reset=True)
        harness.wait_until("and once more", lambda: self.opened(single["key"])).close()

        # A budget: the response that begins without any left ends the socket.
        poor = self.key({"unit": "tokens", "per": "day", "cap": 30})
        for path, end in (("/v1/realtime?model=mock-realtime", "response.done"),):
            s = self.open(path, key=poor["key"])
            s.until("conversation.created")
            s.send({"type": "response.create", "response": {"tokens": 40}})
            s.until(end)
            s.send({"type": "response.create", "response": {"tokens": 400, "pace": 20}})
            error = s.until("error")[-1]["error"]
            self.assertEqual(error["code"], "insufficient_quota")
            while s.read() is not None:
                pass
            self.assertEqual(s.close_code, 1008)
            self.assertTrue(s.close_reason.startswith("insufficient_quota"), s.close_reason)
            s.answer_close()
            harness.wait_until("the budget is known to be used up", lambda: not self.opened(poor["key"]))
        # The responses socket refuses before the upstream hears of it.
        poor = self.key({"unit": "tokens", "per": "day", "cap": 30}, models_allow=["mock-m"])
        r = self.open("/v1/responses", key=poor["key"])
        r.send({"type": "response.create", "model": "other", "input": "x"})
        self.assertEqual(r.until("error")[-1]["error"]["code"], "model_not_allowed")
        r.send({"type": "response.create", "model": "mock-m", "mod\u0065l": "x"})
        r.raw.sendall(frame(TEXT, b'{"type":"response.create","model":"mock-m","model":"other"}'))
        self.assertEqual({r.until("error")[-1]["error"]["code"] for _ in range(2)},
                         {"model_not_allowed", "invalid_json"})
        r.send({"type": "response.create", "model": "mock-m", "tokens": 40})
        r.until("response.completed")
        r.send({"type": "response.create", "model": "mock-m", "tokens": 40})
        self.assertEqual(r.until("error")[-1]["error"]["code"], "insufficient_quota")
        while r.read() is not None:
            pass
        self.assertEqual(r.close_code, 1008)
        r.answer_close()
        self.assertEqual(sum(e["model"] == "mock-m" for e in entries(self.upstream)), 1)

        # A window of requests: told, and the socket stays.
        slow = self.key({"unit": "requests", "per": "1h", "cap": 3})
        r = self.open("/v1/responses", key=slow["key"])
        for _ in range(2):
            r.send({"type": "response.create", "model": "mock-m"})
            r.until("response.completed")
        r.send({"type": "response.create", "model": "mock-m"})
        self.assertEqual(r.until("error")[-1]["error"]["code"], "rate_limit_exceeded")
        self.assertEqual(r.close(), 1000)

        # A key that is taken away ends its sockets.
        gone = self.key()
        s = self.open(key=gone["key"])
        s.until("conversation.created")
        self.assertEqual(self.proxy.admin("PATCH", f"/admin/access-keys/{gone['id']}/toggle").status, 200)
        self.assertEqual(s.until("error")[-1]["error"]["code"], "key_disabled")
        while s.read() is not None:
            pass
        self.assertEqual(s.close_code, 1008)
        s.answer_close()
        self.settled()

    def opened(self, key):
        try:
            return self.open(key=key)
        except Refused:
            return None

    def test_a_graceful_stop_lets_responses_end(self):
        self.start(env={"KEYWHEEL_SERVER_SHUTDOWN_TIMEOUT": "6s"})
        s, idle = self.open(), self.open()
        for one in (s, idle):
            one.until("conversation.created")
        s.send({"type": "response.create", "response": {"tokens": 40, "pace": 30}})
        s.until("response.output_text.delta")
        self.proxy.child.terminate()
        self.assertEqual(s.until("response.done")[-1]["response"]["status"], "completed")
        for one in (s, idle):
            self.assertIsNone(one.read())
            self.assertEqual(one.close_code, 1012)
            one.answer_close()
        self.assertEqual(self.proxy.child.wait(30), 0)
        self.proxy.start()
        self.proxy.wait_ready("/readyz")
        settle(self.proxy)
        found = records(self.proxy)
        self.assertEqual((len(found), sum(r["usage"] == "exact" for r in found)), (3, 1))

    def test_a_thousand_sockets_at_once(self):
        self.start(env={"WORKERS": "2"})
        asyncio.run(self.crowd(SOCKETS))
        sockets, responses, _, theirs = self.books()
        self.assertEqual((len(sockets), len(responses)), (SOCKETS, 2 * SOCKETS))
        self.assertEqual(self.equal(responses, theirs), 2 * SOCKETS)
        frames = self.proxy.get("/metrics").body.decode()
        self.assertIn('keywheel_websocket_frames_total{from="client"}', frames)

    async def crowd(self, count):
        ready = asyncio.Event()
        counted = [0]
        begin = time.monotonic()
        gate = asyncio.Semaphore(100)  # of handshakes at a time

        async def one(number):
            async with gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
                key = fresh_key()
                writer.write(opening("/v1/realtime?model=mock-realtime",
                                     [("Authorization", f"Bearer {self.proxy.access_key}")], key))
                status, headers = read_answer(await reader.readuntil(b"\r\n\r\n"))
                assert (status, headers.get("sec-websocket-accept")) == (101, accept_of(key)), (status, headers)

            async def until(kind):
                while True:
                    first, second = await reader.readexactly(2)
                    size = second & 0x7F
                    if size == 126:
                        size = struct.unpack(">H", await reader.readexactly(2))[0]
                    payload = await reader.readexactly(size)
                    if first & 0x0F == CLOSE:
                        return payload
                    if kind in payload:
                        return payload
            await until(b"session.created")
            counted[0] += 1
            if counted[0] == count:
                memory["open"] = self.proxy.status_kib()
                ready.set()
            await ready.wait()  # all are open now
            for turn in range(2):
                writer.write(frame(TEXT, json.dumps({"type": "response.create", "response": {
                    "tokens": 3 + number % 5 + turn}}).encode()))
                await until(b'"response.done"')
            writer.write(frame(CLOSE, struct.pack(">H", 1000)))
            assert await until(b"never") == struct.pack(">H", 1000)
            writer.transport.abort()
        memory = {"before": self.proxy.status_kib()}
        await asyncio.gather(*(one(number) for number in range(count)))
        print(f"figure: {count} sockets, 2 responses each: {time.monotonic() - begin:.1f} s")
        print(f"figure: memory of an open socket: {(memory['open'] - memory['before']) / count:.1f} KiB")


if __name__ == "__main__":
    harness.main()
