"""What reaches the upstream is what the client sent, but for a listed set of exceptions.

`ours` below is that list: the headers whose value is keywheel's own. `kept_back` are those that no
upstream may see. All others arrive in the client's order, case and bytes, and so does the body.
"""
import base64
import hashlib
import json

import harness
from wire import Wire

OURS = ("host", "authorization", "content-length", "transfer-encoding")
UPSTREAM_KEY = "sk-mock-a"

CONFIG = """
aliases:
  best: {model: gpt-4o-mini}
"""


def request(method, target, fields, body=b"", chunks=None):
    """A request's bytes. fields: [(name, value)]; a length is added unless chunks are given."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: client.example"]
    lines += [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode())
              for name, value in fields]
    if chunks is not None:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    elif body or method in ("POST", "PUT", "PATCH"):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Seen:
    """A request as the mock received it."""

    def __init__(self, entry):
        self.entry = entry
        self.raw = base64.b64decode(entry["raw_head"])
        lines = self.raw.split(b"\r\n")
        self.line = lines[0].decode()
        self.fields = [tuple(line.split(b": ", 1)) if b": " in line else (line.rstrip(b":"), b"")
                       for line in lines[1:] if line]
        self.body = base64.b64decode(entry["body_base64"])

    def all(self, name):
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == name.encode()]

    def passed(self):
        return [(name, value) for name, value in self.fields if name.lower().decode() not in OURS]


class ToUpstream(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock()
        self.proxy = self.keywheel(self.upstream, keys=(UPSTREAM_KEY,), config=CONFIG)
        self.count = 0

    def exchange(self, method, target, fields=(), body=b"", chunks=None, credential=True):
        """Sends one request; (answer, what the mock saw)."""
        self.count += 1
        name = f"{self._testMethodName}-{self.count}"
        given = [("x-test-id", name), *fields]
        if credential:
            given.insert(0, ("Authorization", f"Bearer {harness.ACCESS_KEY}"))
        with Wire(self.proxy.port) as wire:
            wire.send(request(method, target, given, body, chunks))
            answer = wire.answer(to_head=method == "HEAD")
        seen = self.upstream.seen(last=10, test_id=name)
        self.assertEqual(len(seen), 1, answer)
        return answer, Seen(seen[0])

    def assert_body(self, seen, body):
        self.assertEqual(seen.entry["body_bytes"], len(body))
        self.assertEqual(seen.entry["body_sha256"], hashlib.sha256(body).hexdigest())

    # ---- bodies

    def test_bodies_arrive_byte_for_byte(self):
        odd = (b' {"model" :\t"gpt-4o-mini",\r\n"messages":[ {"role":"user","content":"\\u00e9 \xc3\xa9 \\/ \xf0\x9f\x8e\xa1"}],'
               b'"seed":9223372036854775807,"big":123456789012345678901234567890,"f":1.0e+2,"zero":-0.0,'
               b'"x":{"b":1,"a":2,"b":3},"unknown_to_us":[null,true],"model2":"gpt-4o-mini"} \n')
        boundary = "----keywheel7MA4"
        form = (f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n').encode()
        form += bytes(range(256)) * 40 + f"\r\n--{boundary}--\r\n".encode()
        every_byte = bytes(range(256)) * 300
        jsons, binary = "application/json", "application/octet-stream"
        for method, target, kind, body in (
                ("POST", "/v1/chat/completions", jsons, odd),
                ("POST", "/v1/responses", jsons + "; charset=utf-8", odd.replace(b'"messages"', b'"input"')),
                ("POST", "/v1/embeddings", jsons, b'{"input":"x","model":"text-embedding-3-small"}'),
                ("POST", "/v1/audio/transcriptions", f"multipart/form-data; boundary={boundary}", form),
                ("POST", "/v1/files", f'multipart/form-data; boundary="{boundary}"', form),
                ("POST", "/v1/echo/binary", binary, every_byte),
                ("PUT", "/v1/echo/put", binary, every_byte[:1]),
                ("PATCH", "/v1/echo/patch", "application/x-www-form-urlencoded", b"a=1&b=%20+"),
                ("POST", "/v1/echo/empty", jsons, b""),
                ("DELETE", "/v1/echo/del", jsons, b'{"why":"so"}'),
        ):
            for framing in ("length", "chunked"):
                with self.subTest(target=target, framing=framing):
                    chunks = [body[i:i + 1000] for i in range(0, len(body), 1000)] if framing == "chunked" else None
                    _, seen = self.exchange(method, target, [("Content-Type", kind)], body, chunks)
                    self.assertEqual(seen.line, f"{method} {target} HTTP/1.1")
                    self.assertEqual(seen.all("content-type"), [kind])
                    self.assert_body(seen, body)

    def test_a_body_without_edits_has_the_clients_framing(self):
        body = b'{"model":"gpt-4o-mini","messages":[]}'
        _, seen = self.exchange("POST", "/v1/chat/completions", [("Content-Type", "application/json")], body)
        self.assertEqual(seen.all("content-length"), [str(len(body))])
        self.assertEqual(seen.all("transfer-encoding"), [])
        _, seen = self.exchange("GET", "/v1/models")
        self.assertEqual(seen.all("content-length") + seen.all("transfer-encoding"), [])

    # ---- edits

    STREAMED = (b'{ "seed": 12345678901234567890123, "stream":true ,"zeta":1.10,"model":"gpt-4o-mini",'
                b'"messages":[{"role":"user","content":"\\"model\\":\\"best\\" \\u0041"}],"alpha":[1e400,{}]%s }')

    def edited(self, body):
        _, seen = self.exchange("POST", "/v1/chat/completions",
                                [("Content-Type", "application/json"), ("Accept-Encoding", "gzip, br")], body)
        self.assertEqual(seen.all("content-length"), [str(len(seen.body))])
        return seen

    def test_usage_is_asked_for_by_an_insertion_alone(self):
        for options, changed in (
                (b"", True),
                (b',"stream_options":{}', True),
                (b',"stream_options": {"include_obfuscation" :false}', True),
                (b',"stream_options":{"include_usage":true,"x":1}', False),
        ):
            with self.subTest(options=options):
                body = self.STREAMED % options
                seen = self.edited(body)
                if not changed:
                    self.assertEqual(seen.body, body)
                    self.assertEqual(seen.all("accept-encoding"), ["gzip, br"])
                    continue
                # Something was put in at one place, and nothing taken out.
                got, added = seen.body, len(seen.body) - len(body)
                same = next(i for i in range(len(got)) if i == len(body) or got[i] != body[i])
                self.assertTrue(any(got[:at] + got[at + added:] == body for at in range(same + 1)), got)
                self.assertIs(json.loads(got)["stream_options"]["include_usage"], True)
                # What we count we must be able to read.
                self.assertEqual(seen.all("accept-encoding"), ["identity"])

    def test_a_client_that_wants_no_usage_keeps_its_other_options(self):
        body = self.STREAMED % b',"stream_options":{"include_usage":false,"a":[1]}'
        seen = self.edited(body)
        self.assertEqual(seen.body, body.replace(b'"include_usage":false', b'"include_usage":true'))

    def test_an_alias_changes_the_models_name_alone(self):
        body = (b'{"messages":[{"role":"user","content":"\\"model\\":\\"best\\""}],"n":18446744073709551616,'
                b'"metadata":{"model":"best"},  "model" : "best" ,"z":1,"a":2}')
        _, seen = self.exchange("POST", "/v1/chat/completions", [("Content-Type", "application/json")], body)
        self.assertEqual(seen.body, body.replace(b'"model" : "best"', b'"model" : "gpt-4o-mini"'))

    def test_alias_and_usage_together(self):
        body = (self.STREAMED % b"").replace(b'"model":"gpt-4o-mini"', b'"model":"best"')
        got = self.edited(body).body
        self.assertIn(b'"zeta":1.10,"model":"gpt-4o-mini",', got)
        self.assertIn(b'"seed": 12345678901234567890123, "stream":true ,', got)
        self.assertIn(b'"alpha":[1e400,{}]', got)
        self.assertIs(json.loads(got)["stream_options"]["include_usage"], True)

    def test_an_alias_in_a_form(self):
        form = (b'--b\r\nContent-Disposition: form-data; name="file"; filename="best"\r\n\r\nbest\0\xff\r\n'
                b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nbest\r\n--b--\r\n')
        _, seen = self.exchange("POST", "/v1/audio/transcriptions",
                                [("Content-Type", "multipart/form-data; boundary=b")], form)
        self.assert_body(seen, form.replace(b'"model"\r\n\r\nbest', b'"model"\r\n\r\ngpt-4o-mini'))

    # ---- headers

    PASSED = [
        ("User-Agent", "OpenAI/JS 6.49.0"), ("Accept", "application/json"), ("accept-encoding", "gzip, br, zstd"),
        ("X-Stainless-Lang", "js"), ("X-Stainless-Package-Version", "6.49.0"), ("X-Stainless-OS", "Linux"),
        ("X-Stainless-Arch", "x64"), ("X-Stainless-Runtime", "node"), ("X-Stainless-Runtime-Version", "v18.19.0"),
        ("X-Stainless-Retry-Count", "2"), ("x-stainless-timeout", "600"), ("x-stainless-helper-method", "stream"),
        ("OpenAI-Beta", "assistants=v2"), ("openai-beta", "realtime=v1"), ("OpenAI-Safety-Identifier", "u1"),
        ("anthropic-version", "2023-06-01"), ("anthropic-beta", "prompt-caching-2024-07-31,tools"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("tracestate", "a=b,c=d"),
        ("baggage", "user=1"), ("Idempotency-Key", "stainless-node-retry-1"), ("X-Request-Id", "client-7"),
        ("X-Client-Request-Id", "c-7"), ("helicone-auth-like", "x"), ("X-Empty", ""),
        ("x-ODD-case", "  spaced   within  ".strip()), ("X-Utf8", "z\u00fcrich"), ("X-Many", "1"), ("X-Many", "2"),
        ("x-many", "3"), ("Accept-Language", "de, en;q=0.5"), ("Cache-Control", "no-store"), ("Origin", "https://a.example"),
        ("Referer", "https://a.example/x"), ("Range", "bytes=0-9"), ("If-None-Match", '"abc"'),
    ]

    def test_headers_pass_in_order_case_and_bytes(self):
        for method, target, body in (("GET", "/v1/models", b""),
                                     ("POST", "/v1/chat/completions", b'{"model":"gpt-4o-mini","messages":[]}'),
                                     ("POST", "/v1/files", b"--b--\r\n")):
            with self.subTest(target=target):
                sent = list(self.PASSED)
                if body:
                    sent.insert(3, ("Content-Type", "application/json" if body[:1] == b"{" else
                                    "multipart/form-data; boundary=b"))
                _, seen = self.exchange(method, target, sent, body)
                sent.insert(0, ("x-test-id", f"{self._testMethodName}-{self.count}"))
                self.assertEqual(seen.passed(), [(name.encode(), value.encode()) for name, value in sent])
                self.assertEqual(seen.all("host"), [f"127.0.0.1:{self.upstream.port}"])
                self.assertEqual(seen.all("authorization"), [f"Bearer {UPSTREAM_KEY}"])

    def assert_hidden(self, seen, *texts):
        """No sign of the client's credential nor of these texts."""
        for text in (harness.ACCESS_KEY, *texts):
            self.assertNotIn(text.encode(), seen.raw)
        self.assertEqual(seen.all("authorization"), [f"Bearer {UPSTREAM_KEY}"])
        for name in ("x-api-key", "api-key", "x-goog-api-key", "x-admin-key", "proxy-authorization", "cookie"):
            self.assertEqual(seen.all(name), [], name)

    def test_credentials_of_every_form_stay_here(self):
        key = harness.ACCESS_KEY
        path, gemini = "/v1/models", "/v1beta/models/gemini-2.5-flash:countTokens"
        for target, fields in (
                (path, [("Authorization", f"Bearer {key}")]),
                (path, [("AUTHORIZATION", f"bearer {key}")]),
                (path, [("x-api-key", key)]),
                (path, [("X-Api-Key", key)]),
                (path, [("api-key", key)]),
                (path, [("x-goog-api-key", key)]),
                (path, [("Authorization", f"Bearer {key}"), ("x-api-key", "sk-other"), ("api-key", key),
                        ("x-goog-api-key", "AIza-other")]),
                (path, [("Authorization", "Basic dXNlcjpzZWNyZXQ="), ("x-api-key", key)]),
                (f"{path}?key=AIza-other&limit=3", [("Authorization", f"Bearer {key}")]),
                (f"{gemini}?key={key}", []),
                (f"{gemini}?alt=sse&key={key}&x=1", []),
        ):
            with self.subTest(target=target, fields=fields):
                body = b'{"contents":[]}' if target.startswith(gemini) else b""
                answer, seen = self.exchange("POST" if body else "GET", target,
                                             [*fields, ("Content-Type", "application/json")], body, credential=False)
                self.assertNotEqual(answer.status, 401)
                self.assert_hidden(seen, "sk-other", "AIza-other", "dXNlcjpzZWNyZXQ=", "key=")
        self.assertIn("?alt=sse&x=1 ", seen.line)

    def test_what_is_the_clients_own_stays_here(self):
        _, seen = self.exchange("GET", "/v1/models", [
            ("Cookie", "session=secret-cookie"), ("Proxy-Authorization", "Basic secret-proxy"),
            ("X-Admin-Key", "secret-admin"), ("OpenAI-Organization", "org-secret"), ("openai-project", "proj-secret"),
            ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Host", "inner.example"), ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", "8443"), ("X-Forwarded-Prefix", "/inner"), ("X-Real-IP", "203.0.113.9"),
            ("Forwarded", "for=203.0.113.9;host=inner.example"), ("X-Passes", "1")])
        self.assert_hidden(seen, "secret", "203.0.113.9", "inner", "8443", "client.example")
        self.assertEqual(seen.all("x-passes"), ["1"])
        self.assertFalse([name for name, _ in seen.fields if b"forwarded" in name.lower()])

    def test_hop_by_hop_headers_stay_here(self):
        _, seen = self.exchange("GET", "/v1/models", [
            ("Connection", "keep-alive, X-Hop-One,x-hop-two"), ("Connection", "x-hop-THREE"),
            ("X-Hop-One", "hop"), ("X-HOP-TWO", "hop"), ("x-hop-two", "hop"), ("X-Hop-Three", "hop"),
            ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("TE", "trailers"),
            ("X-Hop-Four", "stays")])
        self.assertEqual([name for name, _ in seen.passed()], [b"x-test-id", b"X-Hop-Four"])

    def test_an_offered_upgrade_is_not_passed_on(self):
        _, seen = self.exchange("GET", "/v1/models", [("Connection", "Upgrade"), ("Upgrade", "h2c"),
                                                      ("X-Stays", "1")])
        self.assertEqual([name for name, _ in seen.passed()], [b"x-test-id", b"X-Stays"])

    # ---- targets

    def test_any_path_and_method_reaches_the_upstream(self):
        for method, target, status in (
                ("GET", "/v1/no/such/path", 404), ("POST", "/v1/no/such/path", 404),
                ("GET", "/v1/echo/a%20b/%C3%A9?x=1&y=%2F&&z", 200), ("DELETE", "/v1/echo/x?a=b?c", 200),
                ("PUT", "/v1/echo/~tilde/@at/,;:=+$!*'()", 200), ("PATCH", "/v1/echo/x", 200),
                ("PURGE", "/v1/echo/x", 200), ("GET", "/v1/echo//double//slash/", 200),
                ("GET", "/v1/organization/usage/completions?start_time=1", 404), ("OPTIONS", "/v1/models", 204),
                ("HEAD", "/v1/echo/x", 200),
        ):
            with self.subTest(method=method, target=target):
                answer, seen = self.exchange(method, target)
                self.assertEqual(seen.line, f"{method} {target} HTTP/1.1")
                self.assertEqual(answer.status, status)


class BasePath(harness.EndToEnd):
    def test_the_base_urls_path_takes_the_place_of_v1(self):
        mock = self.mock(tls=False)
        for number, base in enumerate(("/openai/v1", "/v1/", "")):
            with self.subTest(base=base):
                proxy = self.keywheel(mock, name=f"keywheel{number}", env={"OPENAI_BASE_URL": mock.url + base})
                self.assertEqual(proxy.get("/v1/models?limit=2").status, 200)
                self.assertEqual(mock.seen(last=1)[0]["target"],
                                 (base.rstrip("/") or "/v1") + "/models?limit=2")


if __name__ == "__main__":
    harness.main()
