"""An HTTP server of a test that takes what keywheel sends by itself: notifications, traces."""
import http.server
import threading


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it is sent as (path, headers, body); answers as its list of statuses says, then 200."""
    daemon_threads = True

    def __init__(self):
        self.got, self.answers = [], []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.take(self.path, dict(self.headers.items()), body)
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        self.got.append((path, headers, body))
