"""Every operation of the OpenAI API passes: those that the official SDK's sources name, those that only the API's
document has, and one that nobody knows yet. Each request reaches the upstream byte for byte, each answer the client,
usage is found where there is any (in multipart bodies with `model` behind the file, too), and the rest is booked as
`none`. docs/endpoints.md is the table of what was seen; it must name every operation. KW_UPDATE_DOCS=1 writes it."""
import concurrent.futures
import http.server
import os
import re
import threading

import harness

SDK = harness.ROOT / "tests/e2e/node_modules/openai"
DOCS = harness.ROOT / "docs/endpoints.md"

# In the API's document, but not in this SDK's sources as plain calls.
MORE = """
GET /audio/voice_consents · POST /audio/voice_consents · GET /audio/voice_consents/{} · POST /audio/voice_consents/{}
DELETE /audio/voice_consents/{} · POST /audio/voices · POST /videos · GET /videos · GET /videos/{} · DELETE /videos/{}
GET /videos/{}/content · POST /videos/{}/remix · POST /videos/edits · POST /videos/extensions · POST /videos/characters
GET /videos/characters/{} · POST /realtime/calls · POST /realtime/translations/client_secrets
POST /content_provenance_checks · POST /conversations/{}/items · POST /fine_tuning/checkpoints/{}/permissions
POST /responses/compact · POST /threads/runs · POST /vector_stores/{}/search · POST /messages
POST /messages/count_tokens · GET /a_new_family · POST /a_new_family/{}/things
"""
MULTIPART = re.compile(r"POST /(audio/(transcriptions|translations|voice_consents|voices)|images/(edits|variations)|videos"
                       r"(/edits|/extensions|/characters|/.*/remix)?|files|uploads/[^/]*/parts|containers/[^/]*/files|"
                       r"skills(/[^/]*/versions)?|content_provenance_checks)$")
# What the upstream answers of usage, and what is to be booked of it: input and output tokens.
USAGE = (
    (r"POST /(chat/completions|completions|embeddings)$", '{"prompt_tokens": 11, "completion_tokens":7,"total_tokens":18}'),
    (r"POST /responses(/compact)?$", '{"input_tokens":11,"output_tokens":7,"total_tokens": 18}'),
    (r"POST /images/\w+$", '{"total_tokens":18,"input_tokens":11,"output_tokens":7}'),
    (r"POST /audio/transcriptions$", '{"type":"tokens","input_tokens":11,"output_tokens":7,"total_tokens":18}'),
    (r"POST /threads(/[^/]+)?/runs$", '{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}'),
    (r"POST /messages$", '{"input_tokens":11,"output_tokens":7}'),
)
LATE = re.compile(r"(GET|POST) /(responses/[^/]+(/cancel)?|batches(/[^/]+(/cancel)?)?|fine_tuning/jobs(/[^/]+"
                  r"(/(cancel|pause|resume))?)?|videos(/[^/]+)?)$")
OBJECTS = re.compile(r"/(files|uploads|batches|vector_stores|fine_tuning/(jobs|checkpoints)|responses|conversations|assistants|"
                     r"threads|evals|containers|videos|skills|chat/completions|chatkit/(sessions|threads)|"
                     r"audio/voice_consents|realtime/(calls|client_secrets|sessions|transcription_sessions))(/|$)")
LISTS = re.compile(r"GET /(files|batches|vector_stores|fine_tuning/jobs|assistants|evals|containers|videos|skills|"
                   r"chat/completions|chatkit/threads|audio/voice_consents)$")


def operations():
    """(method, path with {} for ids), sorted."""
    found = set()
    for source in SDK.joinpath("resources").rglob("*.js"):
        for call in re.finditer(r"_client\.(get|post|delete|put|patch|getAPIList)\(\s*(?:\(0, [\w.]+\)|[\w.]*path)?\s*"
                                r"[`'\"]([^`'\"]+)[`'\"]", source.read_text()):
            method = "GET" if call[1] == "getAPIList" else call[1].upper()
            found.add((method, re.sub(r"\$\{[^}]+\}", "{}", call[2]).removesuffix("?beta=true")))
    found |= {tuple(one.split()) for one in re.split(r"·|\n", MORE) if one.strip()}
    return sorted(found, key=lambda one: (one[1], one[0]))


class Upstream:
    """Keeps what it was asked, byte for byte, and answers what the test says."""

    def __init__(self):
        self.seen, self.answers = {}, {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                mark = self.headers.get("x-test-id")
                outer.seen[mark] = (self.command, self.path, self.headers.get("content-type"), body)
                data = outer.answers.get(mark, b"{}")
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = answer

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Endpoints(harness.EndToEnd):
    def test_every_operation(self):
        self.assertTrue(SDK.is_dir(), "no SDK: run npm ci in tests/e2e")
        upstream = Upstream()
        self.addCleanup(upstream.server.shutdown)
        config = f"auth: {{open: true}}\ngroups:\n  - id: g\n    base_url: {upstream.url}/v1\n    keys: [sk-one]\n"
        proxy = self.keywheel(config=config)
        every = operations()
        self.assertGreater(len(every), 280)

        def one(at):
            method, path = every[at]
            name, mark = f"{method} {path}", f"op-{at}"
            target = "/v1" + path.replace("{}", f"id_{at}")
            if path.startswith("/models/"):
                target = "/v1/models/ft%3Agpt-4o%3Ax"
            usage = next((told for pattern, told in USAGE if re.search(pattern, name)), None)
            answer = (f'{{ "id":"x{at}" , "model" : "gpt-4o-mini","status":"completed", "n":1.50,\t"long":12345678901234567890'
                      + (f',"usage":{usage}' if usage else "") + "}\n").encode()
            upstream.answers[mark] = answer
            headers = {"x-test-id": mark, "authorization": None}
            body = None
            if MULTIPART.search(name):
                headers["content-type"] = "multipart/form-data; boundary=BB"
                body = (b"--BB\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a b\"\r\n\r\n" + bytes(range(256)) +
                        b"\r\n--BB\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-mini\r\n--BB--\r\n")
            elif name == "POST /realtime/calls":
                headers["content-type"], body = "application/sdp", b"v=0\r\n"
            elif method == "POST":
                headers["content-type"] = "application/json"
                body = b'{ "input" : "x","n":1.0e0, "messages":[ ],\n"model":"gpt-4o-mini" ,"big":12345678901234567890}'
            got = proxy.request(method, target, body, headers=headers)
            self.assertEqual(got.status, 200, (name, got))
            self.assertEqual(got.body, answer, name)
            self.assertEqual(upstream.seen[mark], (method, target, headers.get("content-type"), body or b""), name)
            return got.headers["x-keywheel-request-id"], usage is not None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            told = list(pool.map(one, range(len(every))))

        def booked():
            records, cursor = {}, ""
            while True:
                page = proxy.admin("GET", f"/admin/requests?limit=1000{cursor}").json()["data"]
                records.update({r["id"]: r for r in page["requests"]})
                if not page["pagination"]["next"]:
                    return records if all(key in records for key, _ in told) else None
                cursor = f"&cursor={page['pagination']['next']}"
        records = harness.wait_until("all is booked", booked)
        rows = []
        for (method, path), (key, has_usage) in zip(every, told):
            r = records[key]
            name = f"{method} {path}"
            if has_usage:
                self.assertEqual((r["usage"], r["tokens"]["input"], r["tokens"]["output"]), ("exact", 11, 7), name)
                self.assertEqual(r["model_asked"], "gpt-4o-mini", name)
            else:
                self.assertEqual((r["usage"], r["tokens"]["total"]), ("none", 0), name)
            if path.startswith("/a_new_family"):
                self.assertEqual(r["endpoint"], "other")
            usage = "in the answer" if has_usage else "once it has ended" if LATE.search(name) and r["usage"] == "none" else ""
            where = "all accounts, merged" if LISTS.search(name) else "account" if OBJECTS.search(path) else ""
            rows.append(f"| `{method}` | `{path}` | {r['endpoint']} | {usage} | {where} |")
        found = sum(has for _, has in told)
        print(f"figure: operations that pass unchanged: {len(every)}, {found} with usage in the answer")
        text = HEADER + "\n".join(rows) + "\n"
        if os.environ.get("KW_UPDATE_DOCS"):
            DOCS.write_text(text)
        self.assertEqual(DOCS.read_text(), text, "docs/endpoints.md is old: run this with KW_UPDATE_DOCS=1")


HEADER = """# Operations of the OpenAI API

Generated by `tests/e2e/endpoints_test.py`, which sends each of them through keywheel: `{}` stands for an id. Every
request and answer passes byte for byte; what is not in this table passes too, and is booked under `other`
without usage.

- family: under which it is booked, and what an access key's endpoint rules name.
- usage: `in the answer` (plain, or in the events of a stream) is booked with the request; `once it has ended`
  is long-lived work, booked when it is told ([objects.md](objects.md)); nothing: there is none.
- where: `account` goes to the upstream account that keeps the objects it names, or makes them there; a list is
  merged over accounts; nothing: any key.

Usage by operation and multipart bodies are tested there, streams in `streams_test.py` and `costs_test.py`,
accounts in `objects_test.py`, long-lived work in `late_work_test.py`, WebSockets (`/realtime`, `/responses`) in
`websocket_test.py`.

| method | path | family | usage | where |
| --- | --- | --- | --- | --- |
"""


if __name__ == "__main__":
    harness.main()
