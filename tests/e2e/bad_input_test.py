"""Clients that do not play by the rules: malformed and smuggled requests, broken bodies, slowness.

Each must be refused clearly or have its connection closed, must not reach the upstream, and must
leave the program as it was.
"""
import contextlib
import json
import re
import resource
import socket
import time

import harness

GOOD_BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
KEY = b"Authorization: Bearer " + harness.ACCESS_KEY.encode() + b"\r\n"
JSON = b"Content-Type: application/json\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: proxy.test\r\n"
# What a smuggler hides behind a body: if it were answered or forwarded, it would show.
HIDDEN = b"GET /v1/models HTTP/1.1\r\nHost: hidden.test\r\n" + KEY + b"\r\n"


def length(n) -> bytes:
    return b"Content-Length: %s\r\n" % str(n).encode()


def chat(headers: bytes, body: bytes = GOOD_BODY, line: bytes = CHAT, host: bytes = HOST) -> bytes:
    return line + host + KEY + JSON + headers + b"\r\n" + body


def sized(headers: bytes = b"", **more) -> bytes:
    return chat(headers + length(len(GOOD_BODY)), **more)


def get(target: bytes, headers: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + HOST + KEY + headers + b"\r\n"


# An answer begins a line; the words may also stand in an error's message.
STATUS_LINE = re.compile(rb"(?:^|\n|\})HTTP/1\.1 \d{3} ")
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ONE_CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)


def framing():
    """Two readings of where the body ends."""
    yield "CL and TE", chat(length(len(ONE_CHUNK)) + CHUNKED, ONE_CHUNK + HIDDEN)
    yield "TE and CL", chat(CHUNKED + length(4), b"1\r\n" + HIDDEN + b"\r\n0\r\n\r\n")
    yield "two CL, different", chat(length(3) + length(len(GOOD_BODY)), GOOD_BODY + HIDDEN)
    yield "two CL, equal", chat(length(len(GOOD_BODY)) * 2)
    yield "CL list", chat(b"Content-Length: %d, %d\r\n" % ((len(GOOD_BODY),) * 2))
    for value in (b"+60", b"-1", b"0x3c", b"60 ", b"6 0", b"060", b"60;a", b"", b"1e2", b"60.0", "６０".encode()):
        if value.strip() == str(len(GOOD_BODY)).encode():
            continue
        yield f"CL {value!r}", chat(b"Content-Length: " + value + b"\r\n", GOOD_BODY + HIDDEN)
    for number in (2**63, 2**64, 2**64 + 60, 10**30):
        yield f"CL {number}", chat(length(number))
    for value in (b"identity", b"xchunked", b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"gzip",
                  b"chunked, chunked", b"chunked;q=1", b"chun\tked", b"\x0bchunked", b"chunked\x00", b'"chunked"',
                  b"", b",chunked", b"chunked,", b"chunked\xa0", b"'chunked'"):
        yield f"TE {value!r}", chat(b"Transfer-Encoding: " + value + b"\r\n", ONE_CHUNK + HIDDEN)
    yield "TE twice", chat(CHUNKED + CHUNKED, ONE_CHUNK + HIDDEN)
    yield "TE chunked and identity", chat(CHUNKED + b"Transfer-Encoding: identity\r\n", ONE_CHUNK)
    yield "TE folded", chat(b"Transfer-Encoding:\r\n chunked\r\n", ONE_CHUNK)
    yield "TE with space before colon", chat(b"Transfer-Encoding : chunked\r\n", ONE_CHUNK)
    yield "TE with tab before colon", chat(b"Transfer-Encoding\t: chunked\r\n", ONE_CHUNK)
    yield "TE with underscore", chat(b"Transfer_Encoding: chunked\r\n", ONE_CHUNK)
    yield "CL with underscore", chat(b"Content_Length: 60\r\n" + length(0), GOOD_BODY)
    yield "CL with space before colon", chat(b"Content-Length : 60\r\n", GOOD_BODY)
    yield "TE in HTTP/1.0", chat(CHUNKED, ONE_CHUNK, line=CHAT.replace(b"1.1", b"1.0"))
    yield "CL hidden by Connection", sized(b"Connection: content-length\r\n", body=GOOD_BODY)
    yield "credential hidden by Connection", sized(b"Connection: authorization\r\n")
    yield "Trailer without chunks", sized(b"Trailer: x-a\r\n")


def heads():
    """Heads that some parser somewhere would take."""
    yield "bare LF", sized().replace(b"\r\n", b"\n")
    yield "bare LF in one line", sized(b"X-A: 1\nX-B: 2\r\n")
    yield "bare CR", sized(b"X-A: 1\rX-B: 2\r\n")
    yield "NUL in a value", sized(b"X-A: a\x00b\r\n")
    yield "NUL in a name", sized(b"X-\x00A: b\r\n")
    yield "DEL in a value", sized(b"X-A: a\x7fb\r\n")
    yield "escape in a value", sized(b"X-A: a\x1b[2Jb\r\n")
    yield "obs-fold", sized(b"X-A: one\r\n two\r\n")
    yield "first header folded", CHAT + b" " + HOST + KEY + b"\r\n"
    yield "no colon", sized(b"this line has none\r\n")
    yield "empty name", sized(b": nothing\r\n")
    yield "space in a name", sized(b"X A: b\r\n")
    yield "name that is not ASCII", sized("X-Ü: b\r\n".encode())
    yield "no Host", sized(host=b"")
    yield "two Hosts", sized(host=HOST + b"Host: other.test\r\n")
    yield "two equal Hosts", sized(host=HOST + HOST)
    for host in (b"", b"a b", b"a/b", b"a@b", b"a:b:c", b"[::1", b"a:999999", b"a,b", b"a\\b", b"?"):
        yield f"Host {host!r}", sized(host=b"Host: " + host + b"\r\n")
    yield "two credentials", sized(KEY)
    yield "two content types", sized(b"Content-Type: text/plain\r\n")
    yield "Expect nonsense", sized(b"Expect: a-pony\r\n")
    yield "Expect twice", sized(b"Expect: 100-continue\r\nExpect: 100-continue\r\n")
    yield "empty line first", b"\r\n" + sized()
    yield "TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for version in (b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b"HTTP/1.", b""):
        yield f"version {version!r}", get(b"/v1/models", version=version)
    yield "request line of one word", b"GET\r\n" + HOST + b"\r\n"
    yield "method with a control character", b"GE\x01T /v1/models HTTP/1.1\r\n" + HOST + KEY + b"\r\n"
    yield "method CONNECT", b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n" + KEY + b"\r\n"
    yield "method TRACE", b"TRACE /v1/models HTTP/1.1\r\n" + HOST + KEY + b"\r\n"
    yield "tab for a space", b"GET\t/v1/models\tHTTP/1.1\r\n" + HOST + KEY + b"\r\n"
    yield "too many headers", sized(b"".join(b"X-%d: 1\r\n" % i for i in range(200)))
    yield "head too large", sized(b"X-A: " + b"a" * 100_000 + b"\r\n")
    yield "header's name too long", sized(b"X" * 5000 + b": 1\r\n")
    yield "target too long", get(b"/v1/models?" + b"a" * 20_000)
    yield "endless request line", b"G" * 200_000


def targets():
    """Targets that would mean another path to some server behind."""
    for target in (b"http://proxy.test/v1/models", b"//evil.test/v1/models", b"v1/models", b"*", b"/v1/../admin/keys",
                   b"/v1/./models", b"/v1/models/..", b"/v1/%2e%2e/admin", b"/v1/%2E%2e/admin", b"/v1/.%2e/admin",
                   b"/v1/..%2fadmin", b"/v1/..;/admin", b"/v1/%252e%252e/admin", b"/v1/%c0%ae%c0%ae/admin",
                   b"/v1/..%5cadmin", b"/v1/..\\admin", b"/v1/models%00", b"/v1/models%0d%0aX-A:1", b"/v1/models%7f",
                   b"/v1/models%zz", b"/v1/models%", b"/v1/models#a", b"/v1/mo dels", b"/v1/m\xc3\xb6dels",
                   b"/v1/models?a=\x01", b"/v1/models?a=\x00", b"/v1/models?#", b"\\v1\\models", b"/v1/<models>"):
        yield f"target {target!r}", get(target)


def chunks():
    """Chunked bodies that end nowhere or twice."""
    body = GOOD_BODY
    size = b"%x" % len(body)
    for name, coded in (
            ("size is no number", b"zz\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size with 0x", b"0x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size with sign", b"+" + size + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size negative", b"-1\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size with a space before", b" " + size + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size with a space behind", size + b" \r\n" + body + b"\r\n0\r\n\r\n"),
            ("size overflows", b"1" + b"0" * 16 + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size is 2^64-1", b"f" * 16 + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("size missing", b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("bare LF after size", size + b"\n" + body + b"\r\n0\r\n\r\n"),
            ("bare LF after data", size + b"\r\n" + body + b"\n0\r\n\r\n"),
            ("no CRLF after data", size + b"\r\n" + body + b"0\r\n\r\n"),
            ("more data than size", size + b"\r\n" + body + b"xx\r\n0\r\n\r\n"),
            ("bare LF at the end", size + b"\r\n" + body + b"\r\n0\n\n"),
            ("bare CR in extension", size + b";a\rb\r\n" + body + b"\r\n0\r\n\r\n"),
            ("LF in extension", size + b";a\nb\r\n" + body + b"\r\n0\r\n\r\n"),
            ("NUL in extension", size + b";a\x00b\r\n" + body + b"\r\n0\r\n\r\n"),
            ("huge extension", size + b";" + b"a" * 100_000 + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            ("extensions without end", b"".join(b"1;" + b"a" * 60 + b"\r\n{\r\n" for _ in range(2000))),
            ("trailer", size + b"\r\n" + body + b"\r\n0\r\nX-A: 1\r\n\r\n"),
            ("credential as trailer", size + b"\r\n" + body + b"\r\n0\r\n" + KEY + b"\r\n"),
            ("framing as trailer", size + b"\r\n" + body + b"\r\n0\r\nContent-Length: 5\r\n\r\n"),
            ("trailers without end", size + b"\r\n" + body + b"\r\n0\r\n" + b"X: 1\r\n" * 20_000)):
        yield name, chat(CHUNKED, coded + HIDDEN)


def bodies():
    """Well framed, but nothing that can be understood."""
    deep = b'{"model":"m","messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for name, body in (("no JSON", b"hello"), ("cut JSON", GOOD_BODY[:-5]), ("two documents", GOOD_BODY + GOOD_BODY),
                       ("an array", b"[" + GOOD_BODY + b"]"), ("a number", b"17"), ("nothing but space", b"   "),
                       ("invalid UTF-8", b'{"model":"m\xff\xfe","messages":[]}'),
                       ("invalid UTF-8 elsewhere", b'{"model":"m","messages":[{"role":"user","content":"\xc3("}]}'),
                       ("overlong UTF-8", b'{"model":"\xc0\xae","messages":[]}'),
                       ("UTF-16", GOOD_BODY.decode().encode("utf-16")), ("half a surrogate", b'{"model":"\\ud800"}'),
                       ("duplicate model", b'{"model":"m","model":"other","messages":[]}'),
                       ("duplicate model, escaped", b'{"model":"m","mod\\u0065l":"other","messages":[]}'),
                       ("model is a number", b'{"model":5,"messages":[]}'), ("model is a list", b'{"model":["m"]}'),
                       ("model is an object", b'{"model":{"a":1}}'), ("NUL in the text", b'{"model":"a\x00b"}'),
                       ("very deep", deep), ("control character", b'{"model":"a\nb","messages":[]}'),
                       ("trailing comma", b'{"model":"m",}')):
        yield name, chat(length(len(body)), body)


class Refused(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream)

    def refused(self, name, data, statuses=range(400, 506)):
        got = self.proxy.raw(data, timeout=8)
        count = len(STATUS_LINE.findall(got))
        self.assertEqual(count, 1, f"{name}: {count} answers: {got[:600]!r}")
        status = int(got.split(b" ", 2)[1])
        self.assertIn(status, statuses, f"{name}: {got[:300]!r}")
        head, _, body = got.partition(b"\r\n\r\n")
        self.assertIn(b"connection: close", head.lower(), name)
        self.assertIn("message", json.loads(body)["error"], name)

    def untouched(self):
        self.assertEqual(self.upstream.seen(last=10), [])
        self.assertEqual(self.upstream.books()["total"]["requests"], 0)
        self.assertTrue(self.proxy.alive())
        answer = self.proxy.post("/v1/chat/completions", GOOD_BODY, headers={"content-type": "application/json"})
        self.assertEqual(answer.status, 200, answer)

    def all_refused(self, cases):
        for name, data in cases:
            with self.subTest(name):
                self.refused(name, data)
        self.untouched()

    def test_framing(self):
        self.all_refused(framing())

    def test_heads(self):
        self.all_refused(heads())

    def test_targets(self):
        self.all_refused(targets())

    def test_chunks(self):
        self.all_refused(chunks())

    def test_bodies(self):
        for name, data in bodies():
            with self.subTest(name):
                got = self.proxy.raw(data.replace(HOST, HOST + b"Connection: close\r\n"), timeout=8)
                self.assertRegex(got[:12].decode(), r"^HTTP/1\.1 400", f"{name}: {got[:300]!r}")
                answer = json.loads(got.partition(b"\r\n\r\n")[2])["error"]
                self.assertEqual(answer["code"], "invalid_json", name)
        self.untouched()

    def test_a_refused_request_takes_its_body_along(self):
        """The body of a request that is refused early must not be read as the next request."""
        bad_key = b"Authorization: Bearer wrong\r\n"
        for line in (CHAT, b"POST /v1/files HTTP/1.1\r\n", b"POST /metrics HTTP/1.1\r\n", b"POST /healthz HTTP/1.1\r\n",
                     b"POST /admin/keys HTTP/1.1\r\n", b"POST /nowhere HTTP/1.1\r\n", b"GET /v1/models HTTP/1.1\r\n"):
            for head, body in ((length(len(HIDDEN)), HIDDEN), (CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN))):
                with self.subTest(line + head):
                    got = self.proxy.raw(line + HOST + bad_key + head + b"\r\n" + body, timeout=1)
                    self.assertEqual(len(STATUS_LINE.findall(got)), 1, got[:900])
        self.untouched()

    def test_body_limits(self):
        limit = 32 << 20
        self.refused("announced too large", chat(length(limit + 1), b""), (413,))
        sent = b"%x\r\n" % (1 << 20) + b"a" * (1 << 20) + b"\r\n"
        self.refused("chunks without end", chat(CHUNKED, sent * 34), (413,))
        self.untouched()

    def test_pipelined_requests_are_answered_in_order(self):
        data = get(b"/healthz") + sized() + get(b"/v1/models") + get(b"/nowhere", b"Connection: close\r\n")
        got = self.proxy.raw(data, timeout=8)
        statuses = [part.split(b" ", 1)[0] for part in got.split(b"HTTP/1.1 ")[1:]]
        self.assertEqual(statuses, [b"200", b"200", b"200", b"404"], got)

    def test_forged_expectation_does_not_send_the_body(self):
        got = self.proxy.raw(chat(b"Expect: 100-continue\r\n" + length(len(GOOD_BODY)), b"").replace(KEY, b""), timeout=2)
        self.assertTrue(got.startswith(b"HTTP/1.1 401"), got)


class Slow(harness.EndToEnd):
    @classmethod
    def setUpClass(cls):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 8192
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (wanted, wanted if 0 <= hard < wanted else hard))

    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream, config="server:\n  header_timeout: 1s\n  body_timeout: 1s\n"
                                                         "  keep_alive_timeout: 1s\n")

    def drip(self, data: bytes, first: int):
        """Sends `first` bytes at once and the rest one by one until the server has enough."""
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10) as s:
            s.sendall(data[:first])
            begun = time.monotonic()
            s.settimeout(0.1)
            got = b""
            for i in range(first, len(data)):
                try:
                    s.send(data[i:i + 1])
                    piece = s.recv(65536)
                except TimeoutError:
                    piece = None
                except ConnectionError:
                    break
                if piece == b"":
                    break
                got += piece or b""
                self.assertLess(time.monotonic() - begun, 30)
            return got

    def test_thousands_of_slow_heads_stop_nobody(self):
        """Connections that dribble their heads are ended; meanwhile others are served."""
        count, slow, ended = 2000, [], 0
        try:
            for _ in range(count):
                s = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=20)
                s.sendall(CHAT + HOST)
                slow.append(s)
            begun, times, rounds = time.monotonic(), [], 0
            # Each gets another byte again and again, well beyond the time for a whole head.
            while time.monotonic() - begun < 4:
                rounds += 1
                for i, s in enumerate(slow):
                    with contextlib.suppress(OSError):
                        s.send(b"X")
                    if i % 500 == 0:
                        asked = time.monotonic()
                        answer = self.proxy.post("/v1/chat/completions", {"model": "m", "messages": []})
                        self.assertEqual(answer.status, 200)
                        times.append(time.monotonic() - asked)
            for s in slow:
                got = b""
                with contextlib.suppress(ConnectionError):
                    while piece := s.recv(4096):
                        got += piece
                self.assertTrue(got == b"" or got.startswith(b"HTTP/1.1 408 "), got)
                ended += 1
        finally:
            for s in slow:
                s.close()
        self.assertEqual(ended, count)
        print(f"figure: answer among {count} slow heads, median of {len(times)}: "
              f"{sorted(times)[len(times) // 2] * 1000:.1f} ms")

    def test_head_byte_by_byte(self):
        got = self.drip(sized(b"X-A: " + b"a" * 500 + b"\r\n"), 1)
        self.assertTrue(got == b"" or got.startswith(b"HTTP/1.1 408"), got)
        self.assertEqual(self.upstream.seen(last=1), [])

    def test_body_that_stops(self):
        for head, body in ((length(1000), b"{"), (CHUNKED, b"5\r\n{\"mod"), (CHUNKED, b"5")):
            got = self.proxy.raw(chat(head, body), timeout=15)
            self.assertTrue(got.startswith(b"HTTP/1.1 408"), got)
        self.assertEqual(self.upstream.seen(last=1), [])

    def test_upload_that_stops(self):
        line = b"POST /v1/files HTTP/1.1\r\n"
        got = self.proxy.raw(line + HOST + KEY + length(1 << 20) + b"\r\n" + b"a" * 1000, timeout=15)
        self.assertTrue(got.startswith(b"HTTP/1.1 408"), got)
        self.assertEqual(self.upstream.books()["total"]["completed"], 0)

    def test_idle_connections_end(self):
        got = self.proxy.raw(b"", timeout=15)
        self.assertEqual(got, b"")
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=15) as s:
            s.sendall(get(b"/healthz"))
            data = b""
            while piece := s.recv(65536):
                data += piece
            self.assertEqual(data.count(b"HTTP/1.1 200"), 1)

    def test_settings_reloaded_under_an_idle_connection(self):
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10) as s:
            s.sendall(get(b"/healthz"))
            self.assertIn(b"200", s.recv(65536))
            for _ in range(3):
                self.proxy.signal(harness.signal.SIGHUP)
                time.sleep(0.2)
            try:
                s.sendall(b"GET /hea")
                s.sendall(b"lthz HTTP/1.1\r\nHost: a\r\n\r\n")
                s.recv(65536)
            except ConnectionError:
                pass  # its time was over
        self.assertTrue(self.proxy.alive())


if __name__ == "__main__":
    harness.main()
