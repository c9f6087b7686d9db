"""A real browser (headless Chromium) and pages of two origins: what `cors_test.py` says of headers, as the browser
that obeys them sees it. The page of the allowed origin reads answers, refusals, streams, their headers, uploads,
uses the official SDK and a WebSocket; the page of another origin, a frame of no origin and a request with cookies
can do nothing, and nothing of theirs reaches the upstream; an access key narrows."""
import http.server
import json
import queue
import shutil
import threading

import harness

SDK = harness.ROOT / "tests/e2e/node_modules/openai"
# Not the script in the path: it waits for the browser, which would outlive it.
PROGRAMS = ["/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell", "chromium"]
BROWSER = next(filter(None, map(shutil.which, PROGRAMS)), None)


class Site(http.server.ThreadingHTTPServer):
    """A page's own server; its origin is that of the page."""

    daemon_threads = True

    def __init__(self):
        self.given, self.outcomes = {}, queue.Queue()
        super().__init__(("127.0.0.1", 0), Page)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.server_port}"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/":
            self.give(b'<!doctype html><body><script type="module" src="/page.mjs"></script>', "text/html")
        elif path == "/given":
            self.give(json.dumps(self.server.given).encode(), "application/json")
        elif path == "/page.mjs":
            self.give((harness.ROOT / "tests/e2e/browser/page.mjs").read_bytes(), "text/javascript")
        elif path.startswith("/openai/") and ".." not in path and (SDK / path[8:]).is_file():
            self.give((SDK / path[8:]).read_bytes(), "text/javascript")
        else:
            self.send_error(404)

    def do_POST(self):
        self.server.outcomes.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.give(b"{}", "application/json")

    def give(self, body, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Browser(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.assertTrue(BROWSER, "no Chromium: ./dev test installs Debian's chromium-headless-shell")
        self.assertTrue(SDK.is_dir(), "no SDK: run npm ci in tests/e2e")
        self.ours, self.others = Site(), Site()
        for site in (self.ours, self.others):
            self.addCleanup(site.server_close)
            self.addCleanup(site.shutdown)

    def start(self, origins):
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream, env={"KEYWHEEL_SERVER_CORS_ORIGINS": origins})
        made = self.proxy.admin("POST", "/admin/access-keys", {"name": "page", "origins_allow": [self.ours.origin]})
        self.assertEqual(made.status, 201, made)
        self.narrowed = made.json()["data"]["key"]

        def known():
            return self.proxy.get("/v1/models", headers={"authorization": f"Bearer {self.narrowed}"}).status == 200
        harness.wait_until("the key is known", known)

    def visit(self, site):
        """What the page of that site could do."""
        site.given = {"api": self.proxy.url + "/v1", "key": harness.ACCESS_KEY, "admin": harness.ADMIN_KEY,
                      "narrowed": self.narrowed}
        self.upstream.post("/__books/reset", {})
        name = f"browser-{len(self._running)}"
        browser = self._keep(harness.Process(name, [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={self.folder / name}",
            site.origin + "/"], self.folder, env={"HOME": str(self.folder)}))
        try:
            return site.outcomes.get(timeout=100)
        finally:
            browser.kill()

    def upstream_saw(self):
        harness.wait_until("the upstream is idle", lambda: self.upstream.books(limit=0)["active"] == 0)
        return self.upstream.books(limit=0)["total"]

    def test_pages(self):
        self.start(self.ours.origin)
        got = self.visit(self.ours)
        for name, status in (("plain", 200), ("refused_by_upstream", 400), ("refused_by_us", 401),
                             ("headers_of_many_kinds", 200), ("me", 200), ("narrowed", 200), ("streamed", 200)):
            self.assertEqual(got[name].get("status"), status, (name, got[name]))
        # Not only the few headers that every page may read.
        seen = got["plain"]["headers"]
        for name in ("x-request-id", "x-ratelimit-remaining-requests", "openai-processing-ms", "x-mock-account"):
            self.assertIn(name, seen)
        self.assertEqual(json.loads(got["refused_by_us"]["text"])["error"]["code"], "invalid_api_key")
        self.assertIn("text/event-stream", got["streamed"]["type"])
        self.assertGreater(got["streamed"]["reads"], 1)
        self.assertTrue(got["streamed"]["text"].endswith("data: [DONE]\n\n"))
        self.assertEqual(got["streamed_and_left"]["status"], 200)
        self.assertEqual((got["file"]["status"], got["file"]["deleted"]), (200, True))
        self.assertTrue(got["sdk"].get("text"), got["sdk"])
        self.assertGreater(got["sdk"]["models"], 0)
        self.assertTrue(got["sdk"]["request_id"])
        self.assertEqual(got["socket"], {"type": "session.created", "protocol": "realtime"})
        for name in ("with_credentials", "simple", "health", "admin", "nowhere"):
            self.assertEqual(set(got[name]) & {"error", "status"}, {"error"} if name != "simple" else {"status"},
                             (name, got[name]))
        self.assertEqual(got["simple"]["status"], 401)
        total = self.upstream_saw()
        self.assertEqual(total["aborted"], 1)
        allowed = total["requests"]

        denied = self.visit(self.others)
        self.assertEqual(set(denied), set(got))
        for name, outcome in denied.items():
            self.assertIn("error", outcome, name)
            self.assertNotIn("status", outcome, name)
        self.assertEqual(self.upstream_saw()["requests"], 0)
        print(f"figure: a page in Chromium: {len(got)} attempts of an allowed origin, {allowed} reached the upstream; "
              f"of another origin {len(denied)} attempts, read 0, reached the upstream 0")

    def test_an_access_key_narrows(self):
        self.start("*")
        self.assertEqual(self.visit(self.ours)["narrowed"]["status"], 200)
        got = self.visit(self.others)
        self.assertEqual(got["plain"]["status"], 200)
        # The page may read why.
        self.assertEqual(got["narrowed"]["status"], 403)
        self.assertEqual(json.loads(got["narrowed"]["text"])["error"]["code"], "client_not_allowed")
        self.assertIn("error", got["with_credentials"])


if __name__ == "__main__":
    harness.main()
