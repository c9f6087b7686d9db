"""An upstream that lies, babbles or breaks off: no client may take half an answer for a whole one.

Each case is one answer as bytes. Where its head cannot be trusted the client gets 502; where it
breaks off later the client's connection is cut before the body's end. After each case another
request must get its own answer, and the program must not have grown.
"""
import gzip
import json
import re
import socket
import struct
import time

import books
import harness
from wire import ScriptedUpstream, Wire

KEY = "sk-mock-a"
OK = b"HTTP/1.1 200 OK\r\n"
TEXT = b"Content-Type: text/plain\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


def sized(body, head=OK + TEXT):
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def bad_heads():
    """Heads that some reader somewhere would take, each in another way."""
    for line in (b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK", b"http/1.1 200 OK", b"ICY 200 OK",
                 b"HTTP/1.1  200 OK", b"HTTP/1.1 abc OK", b"HTTP/1.1 600 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 -20 OK",
                 b"HTTP/1.1\t200\tOK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 \x1b[2J", b"HTTP/1.1",
                 b"HTTP/1.1 200OK", b"HTTP/11 200 OK", b"HTTP/1.2 200 OK", b"200 OK", b"<html>", b"", b"\x00" * 40,
                 b"\x15\x03\x01\x00\x02\x02\x28", b"{\"choices\":[]}"):
        yield f"status line {line!r}", line + b"\r\n" + TEXT + b"Content-Length: 4\r\n\r\nhalf"
    for fields in (b"X-A: 1\nX-B: 2\r\n", b"X-A: 1\rX-B: 2\r\n", b"X-A: a\x00b\r\n", b"X-\x00A: b\r\n", b"X-A: one\r\n two\r\n",
                   b"no colon here\r\n", b": empty name\r\n", b"X-A : b\r\n", b"X A: b\r\n", b"X-A: \x7f\r\n",
                   b"X-A: 1\r\r\n", b"X-A: 1\n\r\n", b"\n\n", "X-\u00fc: 1\r\n".encode(), b"X-A: a\x0bb\r\n",
                   b"X" * 3000 + b": 1\r\n", b"X-A: " + b"a" * 100_000 + b"\r\n", b"X: 1\r\n" * 300):
        yield f"fields {fields[:40]!r}", OK + fields + b"Content-Length: 4\r\n\r\nhalf"
    for fields in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n",
                   b"Content-Length: 4\r\nContent-Length: 9\r\n", b"Content-Length: 4\r\nContent-Length: 4\r\n",
                   b"Content-Length: 4, 4\r\n", b"Content-Length: -1\r\n", b"Content-Length: +4\r\n", b"Content-Length: 0x4\r\n",
                   b"Content-Length: 4 4\r\n", b"Content-Length: 1e1\r\n", b"Content-Length: \r\n", b"Content-Length: 04\r\n",
                   b"Content-Length: 18446744073709551620\r\n", b"Content-Length: " + b"9" * 60 + b"\r\n",
                   b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: xchunked\r\n",
                   b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked, chunked\r\n",
                   b"Transfer-Encoding: chunked\x00\r\n", b"Transfer-Encoding:\r\n", b"Transfer_Encoding: chunked\r\n",
                   b"Content_Length: 4\r\n", b"Content-Length : 4\r\n", b"Transfer-Encoding\t: chunked\r\n",
                   b"Content-Type: text/plain\r\nContent-Type: text/event-stream\r\nContent-Length: 4\r\n"):
        yield f"framing {fields!r}", OK + fields + b"\r\n4\r\nhalf\r\n0\r\n\r\n"
    yield "chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n4\r\nhalf\r\n0\r\n\r\n"
    yield "another protocol unasked", (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
                                       + b"\x81\x04half")
    yield "interim answers only", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3
    yield "a head that does not end", OK + TEXT + b"Content-Length: 4\r\n"
    yield "nothing", b""


def bad_bodies():
    """Bodies that break off, each behind a good head."""
    for name, raw in (("size is no number", b"zz\r\nhalf\r\n"), ("size with 0x", b"0x4\r\nhalf\r\n0\r\n\r\n"),
                      ("size with sign", b"+4\r\nhalf\r\n0\r\n\r\n"), ("negative size", b"-4\r\nhalf\r\n0\r\n\r\n"),
                      ("size overflows", b"10000000000000004\r\nhalf\r\n0\r\n\r\n"),
                      ("size wraps round", b"4\r\nhalf\r\nfffffffffffffffc\r\nhalf\r\n0\r\n\r\n"),
                      ("size is 2^64-1", b"f" * 16 + b"\r\nhalf\r\n0\r\n\r\n"),
                      ("space behind size", b"4 \r\nhalf\r\n0\r\n\r\n"), ("bare LF behind size", b"4\nhalf\r\n0\r\n\r\n"),
                      ("no end of chunk", b"4\r\nhalfhalf\r\n0\r\n\r\n"), ("bare LF behind data", b"4\r\nhalf\n0\r\n\r\n"),
                      ("NUL in extension", b"4;a\x00\r\nhalf\r\n0\r\n\r\n"), ("CR in extension", b"4;\r \r\nhalf\r\n0\r\n\r\n"),
                      ("long extension", b"4;" + b"a" * 100_000 + b"\r\nhalf\r\n0\r\n\r\n"),
                      ("bad trailer", b"4\r\nhalf\r\n0\r\nno colon\r\n\r\n"),
                      ("folded trailer", b"4\r\nhalf\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"),
                      ("trailers without end", b"4\r\nhalf\r\n0\r\n" + b"X: 1\r\n" * 50_000),
                      ("no last chunk", b"4\r\nhalf\r\n"), ("half of a last chunk", b"4\r\nhalf\r\n0\r\n"),
                      ("cut in a chunk", b"9\r\nhalf"), ("no chunk at all", b"")):
        for kind in (TEXT, b"Content-Type: text/event-stream\r\n", b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n"):
            yield f"chunks: {name}, {kind[14:30]!r}", OK + kind + CHUNKED + b"\r\n" + raw
    for status in (b"200 OK", b"400 Bad Request", b"429 Too Many Requests", b"500 Oops"):
        yield f"too short, {status!r}", b"HTTP/1.1 " + status + b"\r\n" + TEXT + b"Content-Length: 40\r\n\r\nhalf"
    yield "nothing of it", OK + TEXT + b"Content-Length: 4\r\n\r\n"


class Lies(harness.EndToEnd):
    CONFIG = "pool:\n  auto_ban: false\n  retry: false\n"

    def setUp(self):
        super().setUp()
        self.cases = {}
        self.upstream = ScriptedUpstream(self.serve)
        self.addCleanup(self.upstream.close)
        self.proxy = self.keywheel(self.upstream, keys=(KEY,), config=self.CONFIG)
        self.count = 0

    def serve(self, connection, head, _body):
        """/v1/echo/N: case N, then the end of the connection; any other path is an honest answer."""
        target = head.split(b" ", 2)[1]
        case = self.cases.get(target)
        if case is None:
            connection.sendall(sized(b"honest " + target))
        elif callable(case):
            case(connection)
        else:
            connection.sendall(case)
            connection.shutdown(socket.SHUT_WR)

    def ask(self, case, line=b"GET %s HTTP/1.1\r\n", body=b"", timeout=20.0):
        """The client's whole view of one case: (answer or None, all bytes)."""
        self.count += 1
        target = b"/v1/echo/%d" % self.count
        self.cases[target] = case
        got = self.proxy.raw(line % target + b"Host: a\r\nConnection: close\r\nAuthorization: Bearer "
                             + harness.ACCESS_KEY.encode() + b"\r\nContent-Type: application/json\r\n"
                             + (b"Content-Length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body, timeout=timeout)
        self.honest()
        return got

    def honest(self):
        """Others get their own answers, on connections that were used before or not."""
        self.assertTrue(self.proxy.alive())
        for _ in range(2):
            self.count += 1
            target = f"/v1/echo/other-{self.count}"
            answer = self.proxy.get(target)
            self.assertEqual((answer.status, answer.body), (200, b"honest " + target.encode()))

    def assert_refused(self, name, got, codes=("upstream_malformed",)):
        head, _, body = got.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 502 "), f"{name}: {got[:300]!r}")
        self.assertIn(json.loads(body)["error"]["code"], codes, name)
        self.assertNotIn(b"half", got, name)

    def assert_cut(self, name, got):
        """502, or a body whose end is missing."""
        if got.startswith(b"HTTP/1.1 502 "):
            json.loads(got.partition(b"\r\n\r\n")[2])
            return
        head, _, body = got.partition(b"\r\n\r\n")
        self.assertRegex(head, rb"^HTTP/1\.1 \d{3} ", name)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length:
            self.assertLess(len(body), int(length.group(1)), f"{name}: {got[:300]!r}")
        else:
            self.assertIn(b"transfer-encoding: chunked", head.lower(), name)
            self.assertFalse(body.endswith(b"0\r\n\r\n"), f"{name}: {got[-300:]!r}")

    def test_bad_heads(self):
        for name, case in bad_heads():
            with self.subTest(name):
                self.assert_refused(name, self.ask(case), ("upstream_malformed", "upstream_reset", "upstream_stream_cut"))

    def test_bad_bodies(self):
        for name, case in bad_bodies():
            with self.subTest(name):
                self.assert_cut(name, self.ask(case))

    def test_reset_in_the_middle(self):
        def reset(after):
            def case(connection):
                connection.sendall(after)
                time.sleep(0.05)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise ConnectionAbortedError  # closes it, all of its files
            return case
        for head in (OK + TEXT + b"Content-Length: 9\r\n\r\n", OK + TEXT + CHUNKED + b"\r\n9\r\n", OK + TEXT + b"\r\n"):
            with self.subTest(head):
                begun = time.monotonic()
                self.assert_cut(head, self.ask(reset(head + b"half"), timeout=60))
                self.assertLess(time.monotonic() - begun, 30, "told at once, not left waiting")

    def test_a_cut_is_seen_by_a_client_of_http_1_0(self):
        """Its body has no end but the connection's: only a reset tells it that something is missing."""
        self.cases[b"/v1/echo/old"] = OK + TEXT + CHUNKED + b"\r\n4\r\nhalf\r\n"
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=20) as s:
            s.sendall(b"GET /v1/echo/old HTTP/1.0\r\nAuthorization: Bearer " + harness.ACCESS_KEY.encode() + b"\r\n\r\n")
            data = b""
            try:
                while piece := s.recv(65536):
                    data += piece
                ended = "in order"
            except ConnectionResetError:
                ended = "by reset"
        self.assertTrue(ended == "by reset" or data.startswith(b"HTTP/1.1 502"), (ended, data))

    def test_more_than_announced_reaches_nobody(self):
        cases = [("same segment", sized(b"whole") + EVIL), ("after chunks", OK + TEXT + CHUNKED + b"\r\n5\r\nwhole\r\n0\r\n\r\n" + EVIL),
                 ("a few bytes", sized(b"whole") + b"\r\n"), ("half an answer", sized(b"whole") + EVIL[:20])]
        for name, case in cases:
            with self.subTest(name):
                got = self.ask(lambda connection, case=case: connection.sendall(case))
                self.assertNotIn(b"EVIL", got)
                self.assertIn(b"whole", got)
        for body, method in ((b"", b"HEAD"), (b"", b"GET")):
            status = OK if method == b"HEAD" else b"HTTP/1.1 304 Not Modified\r\n"
            with self.subTest(method):
                got = self.ask(lambda connection, s=status: connection.sendall(s + b"Content-Length: 70\r\n\r\n" + EVIL),
                               line=method + b" %s HTTP/1.1\r\n")
                self.assertNotIn(b"EVIL", got)

    def test_bytes_on_an_idle_connection_reach_nobody(self):
        for pause in (0.0, 0.01, 0.2):
            for late in (EVIL, b"x", EVIL * 1000):
                def case(connection, pause=pause, late=late):
                    connection.sendall(sized(b"whole"))
                    time.sleep(pause)
                    connection.sendall(late)
                with self.subTest(pause=pause, size=len(late)):
                    self.count += 1
                    target = b"/v1/echo/%d" % self.count
                    self.cases[target] = case
                    self.assertEqual(self.proxy.get(target.decode()).body, b"whole")
                    time.sleep(pause + 0.05)
                    self.honest()

    def test_closed_idle_connections_are_no_errors(self):
        def case(connection):
            connection.sendall(sized(b"whole"))
            connection.shutdown(socket.SHUT_RDWR)
        for _ in range(5):
            self.assertIn(b"whole", self.ask(case))

    def flood(self, first, piece):
        sent = [0]

        def case(connection):
            connection.sendall(first)
            for _ in range((256 << 20) // len(piece)):
                connection.sendall(piece)
                sent[0] += len(piece)
        return case, sent

    def test_endless_heads(self):
        for first, piece in ((OK, b"X-A: 1\r\n" * 512), (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 128), (OK, b"a" * 4096),
                             (b"", b"a" * 4096), (b"", b"HTTP/1.1 100 Continue\r\nX-A: " + b"a" * 4000 + b"\r\n\r\n")):
            with self.subTest(piece[:30]):
                before = self.proxy.status_kib()
                case, sent = self.flood(first, piece)
                self.assert_refused(piece[:30], self.ask(case))
                self.assertLess(sent[0], 8 << 20)
                self.assertLess(self.proxy.status_kib() - before, 8192)

    def test_endless_small_parts_of_a_body(self):
        before = self.proxy.status_kib()
        case, sent = self.flood(OK + TEXT + CHUNKED + b"\r\n4\r\nhalf\r\n0\r\n", b"X-A: 1\r\n" * 512)
        self.assert_cut("trailers", self.ask(case))
        case, sent = self.flood(OK + TEXT + CHUNKED + b"\r\n", b"1;" + b"a" * 200 + b"\r\nx\r\n")
        self.assert_cut("extensions", self.ask(case, timeout=5))
        self.assertLess(self.proxy.status_kib() - before, 8192)

    def test_an_event_without_end(self):
        before = self.proxy.status_kib()
        head = OK + b"Content-Type: text/event-stream\r\n" + CHUNKED + b"\r\n"
        good = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
        body = b'{"model":"m","stream":true,"messages":[]}'

        def case(connection):
            connection.sendall(head + b"%x\r\n%s\r\n" % (len(good), good))
            piece = b"data: " + b"a" * (1 << 16)
            for _ in range(1024):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        got = self.ask(case, line=b"POST %s HTTP/1.1\r\n", body=body)
        self.assert_cut("event", got)
        self.assertIn(good, got)
        self.assertIn(b'"code":"upstream_malformed"', got)
        self.assertLess(len(got), 4096)
        grown = harness.wait_until("memory is given back", lambda: max(1, self.proxy.status_kib() - before)
                                   if self.proxy.status_kib() - before < 100 << 10 else 0)
        print(f"figure: resident growth after an event of 64 MiB: {grown} KiB")

    def test_wrong_types_pass_as_they_came(self):
        events = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
        plain = b'{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
        chat = b"POST %s HTTP/1.1\r\n"
        for kind, body in ((b"application/json", events), (b"text/event-stream", plain), (b"text/html", b"<html>half"),
                           (b"image/png", plain), (b"", plain), (b"text/event-stream", b"\x00\xff" * 100),
                           (b"application/json", b"{" * 5000), (b"application/json", b"[" * 5000 + b"]" * 5000),
                           (b"text/event-stream", b"data: " + b"[" * 9000 + b"]" * 9000 + b"\n\n")):
            for stream in (b"false", b"true"):
                with self.subTest(kind=kind, body=body[:20], stream=stream):
                    head = OK + (b"Content-Type: " + kind + b"\r\n" if kind else b"")
                    target = b"/v1/chat/completions"
                    self.cases[target] = lambda c, h=head, b=body: c.sendall(sized(b, h))
                    with Wire(self.proxy.port) as wire:
                        asked = b'{"model":"m","messages":[],"stream":' + stream + b"}"
                        wire.send(chat % target + b"Host: a\r\nAuthorization: Bearer " + harness.ACCESS_KEY.encode()
                                  + b"\r\nContent-Length: %d\r\n\r\n" % len(asked) + asked)
                        answer = wire.answer()
                    self.assertEqual((answer.body, answer.whole), (body, True))
                    del self.cases[target]
                    self.honest()


class Compressed(harness.EndToEnd):
    """What cannot be decoded is passed on all the same and booked as an estimate."""

    def setUp(self):
        super().setUp()
        self.answer = b""
        upstream = ScriptedUpstream(lambda connection, _head, _body: connection.sendall(self.answer))
        self.addCleanup(upstream.close)
        self.proxy = self.keywheel(upstream, keys=(KEY,))

    def chat(self, coding, packed, kind=b"application/json"):
        self.answer = sized(packed, OK + b"Content-Type: " + kind + b"\r\nContent-Encoding: " + coding + b"\r\n")
        begun = time.monotonic()
        answer = self.proxy.post("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": []})
        self.assertEqual((answer.status, answer.body), (200, packed))
        self.proxy.last_seconds = time.monotonic() - begun
        return answer.headers["x-keywheel-request-id"]

    def usage_of(self, request_id):
        books.settle(self.proxy)
        return next(r for r in books.records(self.proxy) if r["id"] == request_id)["usage"]

    def test_bombs(self):
        before = self.proxy.status_kib()
        # 512 MiB of blanks: twice what is decoded at most.
        part = gzip.compress(b" " * (64 << 20), 6)
        for kind in (b"application/json", b"text/event-stream", b"text/plain"):
            with self.subTest(kind):
                request_id = self.chat(b"gzip", part * 8, kind)
                print(f"figure: bomb of 512 MiB as {kind.decode()}: {self.proxy.last_seconds:.2f} s")
                self.assertEqual(self.usage_of(request_id), "estimated")
        grown = self.proxy.status_kib() - before
        print(f"figure: resident growth after bombs: {grown} KiB")
        self.assertLess(grown, 16 << 10)
        self.assertTrue(self.proxy.alive())

    def test_broken_codings(self):
        plain = b'{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}' + b" " * 500
        packed = gzip.compress(plain)
        self.assertEqual(self.usage_of(self.chat(b"gzip", packed)), "exact")
        for coding, data in ((b"gzip", packed[:12] + b"\xff\xff" + packed[14:]), (b"gzip", plain), (b"gzip", packed[:30]),
                             (b"br", packed), (b"zstd", packed), (b"unheard-of", packed), (b"gzip, gzip", packed),
                             (b"deflate", b"\xff" * 200), (b"zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 50), (b"br", b"\x00" * 99)):
            with self.subTest(coding=coding, data=data[:20]):
                self.assertEqual(self.usage_of(self.chat(coding, data)), "estimated")


if __name__ == "__main__":
    harness.main()
