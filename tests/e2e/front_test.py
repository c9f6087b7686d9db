"""The nginx sample in front of the program: accepted by `nginx -t`; each event of a stream reaches the client before the
next one is sent, on TLS; a WebSocket is upgraded; another certificate is taken while a stream goes on."""
import http.server
import os
import pathlib
import queue
import shutil
import ssl
import subprocess
import threading

import harness
from websocket import Socket

SAMPLE = harness.ROOT / "deploy/nginx/keywheel.conf"
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
EVENTS = 12


class Stepwise(http.server.BaseHTTPRequestHandler):
    """An upstream that sends an event of a stream only when it is told to."""

    protocol_version = "HTTP/1.1"
    steps = queue.Queue()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while (text := self.steps.get(timeout=60)) is not None:
            event = b"data: %s\n\n" % text.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


class Nginx(harness.HttpProcess):
    """The sample with this test's ports and files in place of the real ones."""

    def __init__(self, folder, upstream):
        self.port, plain = harness.free_port(), harness.free_port()
        self.ca = folder / "tls/keywheel.crt"
        (folder / "tls").mkdir()
        self.certificate(folder)
        text = SAMPLE.read_text()
        for old, new in (("127.0.0.1:8080", f"127.0.0.1:{upstream.port}"), ("listen 80;", f"listen 127.0.0.1:{plain};"),
                         ("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"), ("    listen [::]:80;\n", ""),
                         ("    listen [::]:443 ssl;\n", ""), ("/etc/nginx/tls", str(folder / "tls"))):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "sample.conf").write_text(text)
        paths = "".join(f"{name}_temp_path {folder}/nginx-{name};\n" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
            f"events {{ worker_connections 256; }}\nhttp {{ access_log off;\n{paths}include {folder}/sample.conf; }}\n")
        self.upstream = upstream
        super().__init__("nginx", [NGINX, "-p", folder, "-c", folder / "nginx.conf"], folder)
        self.wait_ready("/healthz")

    def tool(self, *words):
        return subprocess.run([NGINX, "-p", self.folder, "-c", self.folder / "nginx.conf", *words], env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)

    def default_headers(self):
        return self.upstream.default_headers()

    @staticmethod
    def certificate(folder):
        subprocess.run([harness.PROGRAM, "self-signed", "--cert", folder / "tls/keywheel.crt", "--key",
                        folder / "tls/keywheel.key"], check=True, stdout=subprocess.DEVNULL, timeout=30)

    def workers(self):
        def parent(stat):
            try:
                return int(stat.read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                return 0  # it has just ended
        return sum(parent(stat) == self.pid for stat in pathlib.Path("/proc").glob("[0-9]*/stat"))

    def shown_certificate(self):
        return ssl.get_server_certificate(("127.0.0.1", self.port))


class Front(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stepwise)
        threading.Thread(target=self.upstream.serve_forever, daemon=True).start()
        self.addCleanup(self.upstream.server_close)
        self.addCleanup(self.upstream.shutdown)
        mock = self.mock(tls=False)
        self.proxy = self.keywheel(config=f"""
groups:
  - {{id: steps, base_url: "http://127.0.0.1:{self.upstream.server_port}/v1", keys: [sk-steps], models: [steps]}}
  - {{id: mock, base_url: "{mock.url}/v1", keys: [sk-mock], models: ["mock-*"]}}
""")
        self.nginx = self._keep(Nginx(self.folder, self.proxy))

    def test_stream_socket_and_certificate(self):
        told = self.nginx.tool("-t")
        self.assertEqual(told.returncode, 0, told.stdout)
        self.assertNotIn("warn", told.stdout)

        Stepwise.steps.put("0")
        body = {"model": "steps", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        connection, answer = self.nginx.open_stream("/v1/chat/completions", body)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
        before = self.nginx.shown_certificate()
        for n in range(EVENTS):
            # Only what has come all the way lets the upstream go on.
            self.assertEqual((answer.readline(), answer.readline()), (b"data: %d\n" % n, b"\n"))
            if n == EVENTS // 2:
                self.nginx.certificate(self.folder)
                self.assertEqual(self.nginx.tool("-s", "reload").returncode, 0)
                harness.wait_until("the other certificate", lambda: self.nginx.shown_certificate() != before)
            Stepwise.steps.put(str(n + 1))
        self.assertEqual(answer.readline(), b"data: %d\n" % EVENTS)
        Stepwise.steps.put("[DONE]")
        Stepwise.steps.put(None)
        self.assertIn(b"[DONE]", answer.read())
        connection.close()
        print(f"figure: front: events through nginx, each before the next was sent: {EVENTS} events", flush=True)

        # The worker that ends accepts for 100 ms more; the stream was its last work.
        harness.wait_until("one worker", lambda: self.nginx.workers() == 1)
        socket = Socket(self.nginx.port, "/v1/realtime?model=mock-realtime",
                        [("Authorization", f"Bearer {self.proxy.access_key}")], ca=self.nginx.ca)
        socket.send({"type": "response.create"})
        self.assertEqual(socket.until("response.done")[-1]["response"]["status"], "completed")
        socket.close()


if __name__ == "__main__":
    harness.main()
