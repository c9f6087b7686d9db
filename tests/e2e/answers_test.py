"""What the client gets is what the upstream sent, and what it cost is booked all the same.

The mock's answers are a pure function of the request, so that each is fetched twice, once from the
mock itself and once through keywheel, and compared as bytes.
"""
import gzip
import hashlib
import json
import time
import zlib

import books
import harness
from wire import ScriptedUpstream, Wire

KEY = "sk-mock-a"
CODINGS = ("gzip", "br", "zstd")
# Written by keywheel into every answer, or told by the mock about the exchange itself.
OWN = ("x-keywheel-", "x-request-id", "request-id", "x-ratelimit-", "connection", "cache-control", "x-accel-buffering")

CHAT = {"model": "mock-tokens-12", "messages": [{"role": "user", "content": "x" * 500}]}
STREAM = dict(CHAT, stream=True, stream_options={"include_usage": True})


class FromUpstream(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream, keys=(KEY,))
        self.count = 0
        self.shots = []

    def fetch(self, port, credential, name, method, target, body, headers):
        data = json.dumps(body).encode() if body is not None else b""
        lines = [f"{method} {target} HTTP/1.1", "Host: a", f"Authorization: Bearer {credential}", f"x-test-id: {name}",
                 "Content-Type: application/json", f"Content-Length: {len(data)}",
                 *(f"{key}: {value}" for key, value in headers.items())]
        with Wire(port) as wire:
            wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
            answer = wire.answer(to_head=method == "HEAD")
            answer.interim = wire.interim
            return answer

    def both(self, method, target, body=None, **headers):
        """(the mock's answer, keywheel's) to the same request."""
        self.count += 1
        name = f"{self._testMethodName}-{self.count}"
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        shot = books.Shot(name)
        # First through keywheel: the mock's own books tell the two apart by what they are asked for.
        ours = self.fetch(self.proxy.port, harness.ACCESS_KEY, name, method, target, body, headers)
        theirs = self.fetch(self.upstream.port, "sk-direct", name, method, target, body, headers)
        shot.status, shot.whole, shot.request_id = ours.status, ours.whole, ours.one("x-keywheel-request-id")
        self.shots.append(shot)
        self.assertEqual((ours.status, ours.reason), (theirs.status, theirs.reason))
        self.assertTrue(ours.whole)
        return theirs, ours

    @staticmethod
    def told(answer):
        return [(name.lower(), value) for name, value in answer.fields
                if not name.lower().decode().startswith(OWN) and name.lower() != b"x-mock-account"]

    def same(self, method, target, body=None, **headers):
        theirs, ours = self.both(method, target, body, **headers)
        self.assertEqual(sorted(self.told(ours)), sorted(self.told(theirs)))
        self.assertEqual(ours.raw_body, theirs.raw_body)
        self.assertEqual(ours.trailers, theirs.trailers)
        return ours

    def assert_booked(self):
        """Every answer's tokens are in our books as they are in the mock's."""
        books.settle(self.proxy, self.upstream)
        ours = {record["id"]: record for record in books.records(self.proxy)}
        theirs = {entry["test_id"]: entry for entry in books.entries(self.upstream) if entry["key"] == KEY}
        for shot in self.shots:
            record, entry = ours[shot.request_id], theirs[shot.test_id]
            self.assertEqual(record["usage"], "exact", (shot, record))
            self.assertEqual(books.tokens_of(record), books.booked_by_mock(entry), shot)
            self.assertGreater(record["tokens"]["output"], 0)

    def test_plain_answers_come_byte_for_byte(self):
        for coding in (None, *CODINGS):
            for chunked in ("0", "1"):
                with self.subTest(coding=coding, chunked=chunked):
                    more = {"x_mock_encoding": coding} if coding else {}
                    answer = self.same("POST", "/v1/chat/completions", CHAT, x_mock_chunked=chunked,
                                       accept_encoding="gzip, br, zstd", **more)
                    self.assertEqual(answer.one("content-encoding"), coding)
                    if coding == "gzip":
                        self.assertIn("choices", json.loads(zlib.decompress(answer.body, 31)))
        self.assert_booked()

    def test_streams_come_event_for_event(self):
        for coding in (None, *CODINGS):
            with self.subTest(coding=coding):
                more = {"x_mock_encoding": coding} if coding else {}
                theirs, ours = self.both("POST", "/v1/chat/completions", STREAM, accept_encoding="gzip, br, zstd", **more)
                self.assertEqual(ours.body, theirs.body)
                self.assertEqual(ours.one("content-encoding"), coding)
                self.assertEqual(ours.one("cache-control"), "no-cache")
                self.assertEqual(ours.one("x-accel-buffering"), "no")
        self.assert_booked()

    def test_a_stream_that_asks_for_no_usage_lacks_that_event_alone(self):
        body = {key: value for key, value in STREAM.items() if key != "stream_options"}
        _, ours = self.both("POST", "/v1/chat/completions", body, accept_encoding="gzip, br, zstd")
        name = self.shots[-1].test_id
        asked = self.fetch(self.upstream.port, "sk-direct", name, "POST", "/v1/chat/completions", STREAM, {})
        # The event of usage comes last before [DONE]; "usage":null in the others is harmless and stays.
        *events, usage, done, rest = asked.body.split(b"\n\n")
        self.assertIn(b'"choices":[],"usage":{', usage)
        self.assertEqual(ours.body, b"\n\n".join((*events, done, rest)))
        self.assert_booked()

    def test_trailers_pass_with_raw_bodies(self):
        answer = self.same("POST", "/v1/chat/completions", CHAT, x_mock_trailers="1")
        self.assertEqual(dict(answer.trailers), {b"x-mock-trailer": b"yes",
                                                 b"x-mock-sha256": hashlib.sha256(answer.body).hexdigest().encode()})
        self.assertEqual(answer.one("trailer"), "x-mock-trailer, x-mock-sha256")
        theirs, ours = self.both("POST", "/v1/chat/completions", STREAM, x_mock_trailers="1")
        self.assertEqual(ours.body, theirs.body)
        self.assertEqual((ours.trailers, ours.one("trailer")), ([], None), "an event stream is framed anew")
        self.assert_booked()

    def test_answers_without_a_body(self):
        for method, target in (("HEAD", "/v1/models"), ("HEAD", "/v1/echo/x"), ("OPTIONS", "/v1/models"),
                               ("GET", "/v1/status/204"), ("GET", "/v1/status/304"), ("HEAD", "/v1/status/304"),
                               ("HEAD", "/v1/no/such/path"), ("DELETE", "/v1/status/204")):
            with self.subTest(method=method, target=target):
                theirs, ours = self.both(method, target)
                self.assertEqual(ours.raw_body, b"")
                # An echo tells of the request's head, which is not the same.
                if "echo" not in target:
                    self.assertEqual(sorted(self.told(ours)), sorted(self.told(theirs)))

    def test_a_connection_goes_on_after_answers_without_a_body(self):
        lines = [("HEAD", "/v1/models"), ("GET", "/v1/status/304"), ("OPTIONS", "/v1/models"), ("GET", "/v1/status/204"),
                 ("HEAD", "/v1/no/such"), ("GET", "/v1/models")]
        with Wire(self.proxy.port) as wire:
            for method, target in lines:
                wire.send(f"{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {harness.ACCESS_KEY}"
                          "\r\n\r\n".encode())
                answer = wire.answer(to_head=method == "HEAD")
                self.assertIn(answer.status, (200, 204, 304, 404))
                self.assertEqual(wire.buffer, b"", "nothing after the answer")
            self.assertEqual(json.loads(answer.body)["object"], "list")

    def test_interim_answers_are_not_the_answer(self):
        for body in (CHAT, STREAM):
            theirs, ours = self.both("POST", "/v1/chat/completions", body, x_mock_1xx="103")
            self.assertEqual([i.status for i in theirs.interim], [103])
            self.assertEqual(ours.status, 200)
            self.assertEqual(ours.body, theirs.body)
        self.assert_booked()

    def test_the_body_is_asked_for_when_it_is_wanted(self):
        data = json.dumps(CHAT).encode()
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {harness.ACCESS_KEY}\r\n"
                f"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {len(data)}\r\n\r\n").encode()
        with Wire(self.proxy.port) as wire:
            for _ in range(2):
                wire.send(head)
                self.assertEqual(wire._line() + wire._line(), b"HTTP/1.1 100 Continue\r\n\r\n")
                wire.send(data)
                answer = wire.answer()
                self.assertEqual((answer.status, wire.interim), (200, []))
            # Who does not wait for it may have it unasked.
            wire.send(head + data)
            self.assertEqual(wire.answer().status, 200)
        self.assertFalse([name for entry in self.upstream.seen(last=9) for name, _ in entry["head"]
                          if name.lower() == "expect"])

    def test_other_encodings_of_the_request_pass_unread(self):
        packed = gzip.compress(json.dumps(CHAT).encode())
        with Wire(self.proxy.port) as wire:
            wire.send((f"POST /v1/echo/packed HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {harness.ACCESS_KEY}\r\n"
                       f"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}"
                       "\r\n\r\n").encode() + packed)
            echo = json.loads(wire.answer().body)
        self.assertEqual(echo["body_sha256"], hashlib.sha256(packed).hexdigest())


class Forms(harness.EndToEnd):
    """Ways of framing an answer that the mock does not have."""

    def fetch(self, answer: bytes, close=False, line=b"GET /v1/models HTTP/1.1\r\n"):
        def script(connection, _head, _body):
            connection.sendall(answer)
            if close:
                connection.shutdown(harness.socket.SHUT_WR)
        upstream = ScriptedUpstream(script)
        self.addCleanup(upstream.close)
        proxy = self.keywheel(upstream, name=f"keywheel{time.monotonic_ns()}", keys=(KEY,))
        with Wire(proxy.port) as wire:
            wire.send(line + b"Host: a\r\nAuthorization: Bearer " + harness.ACCESS_KEY.encode() + b"\r\n\r\n")
            got = wire.answer(to_head=line.startswith(b"HEAD"))
            ended = got.one("connection") == "close" and wire.at_end()
            return got, ended

    def test_a_body_that_ends_with_the_connection(self):
        got, _ = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", close=True)
        self.assertEqual((got.body, got.whole), (b"until the end", True))
        self.assertEqual(got.one("transfer-encoding"), "chunked")
        got, ended = self.fetch(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", close=True,
                                line=b"GET /v1/models HTTP/1.0\r\n")
        self.assertEqual((got.body, ended), (b"until the end", True))

    def test_chunks_for_a_client_of_http_1_0(self):
        got, ended = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                                b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n", line=b"GET /v1/models HTTP/1.0\r\n")
        self.assertEqual((got.body, got.one("transfer-encoding"), ended), (b"hello world", None, True))

    def test_chunk_extensions_are_left_as_they_came(self):
        raw = b"5;a=b\r\nhello\r\n0006;ext=\"x\"\r\n world\r\n000\r\nX-T: 1\r\n\r\n"
        got, _ = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
        self.assertEqual((got.body, got.trailers), (b"hello world", [(b"X-T", b"1")]))
        self.assertEqual(got.raw_body + b"X-T: 1\r\n\r\n", raw)

    def test_a_heads_length_is_told(self):
        got, _ = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", line=b"HEAD /v1/models HTTP/1.1\r\n")
        self.assertEqual(got.one("content-length"), "1234")
        got, _ = self.fetch(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
        self.assertEqual((got.one("content-length"), got.body), ("99", b""))
        got, _ = self.fetch(b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n")
        self.assertEqual((got.one("content-length"), got.body), (None, b""))

    def test_odd_reasons_and_headers_pass(self):
        got, _ = self.fetch("HTTP/1.1 299 Très bien \t ok\r\nX-Utf: zürich\r\nX-Empty:\r\nX-Many: 1\r\nx-many: 2\r\n"
                            "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok".encode())
        self.assertEqual((got.status, got.reason, got.body), (299, "Très bien \t ok".encode(), b"ok"))
        self.assertEqual(got.all("x-many"), ["1", "2"])
        self.assertEqual(got.all("set-cookie"), ["a=1", "b=2"])
        self.assertEqual(got.one("x-empty"), "")

    def test_hop_by_hop_headers_of_the_upstream_stay_there(self):
        got, _ = self.fetch(b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
                            b"Proxy-Authenticate: Basic\r\nUpgrade: h2\r\nX-Stays: 1\r\nContent-Length: 2\r\n\r\nok")
        for name in ("x-hop", "keep-alive", "proxy-authenticate", "upgrade"):
            self.assertEqual(got.all(name), [], name)
        self.assertEqual(got.one("x-stays"), "1")


if __name__ == "__main__":
    harness.main()
