"""A real alert on its way: keywheel with Redis, a Prometheus that scrapes it with the rules of deploy/, an Alertmanager with
its sample, and a receiver. Redis is killed: KeywheelStoreDown arrives; Redis comes back: it is resolved. promtool finds
nothing against what /metrics says.

Waits of the rules and the sample are made shorter, nothing else. Wants prometheus, prometheus-alertmanager, redis-server.
Run by `./dev deploy alert`.
"""
import http.server
import json
import pathlib
import queue
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402

DEPLOY = harness.ROOT / "deploy"


class Receiver(http.server.BaseHTTPRequestHandler):
    got = queue.Queue()

    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"]:
            self.got.put((alert["labels"]["alertname"], alert["status"], alert["annotations"]["summary"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Service(harness.HttpProcess):
    def __init__(self, name, argv, folder, port, ready):
        self.port = port
        super().__init__(name, argv, folder)
        self.wait_ready(ready, 30)


class Alert(harness.EndToEnd):
    def rewritten(self, source, *changes):
        text = (DEPLOY / source).read_text()
        for old, new in changes:
            self.assertRegex(text, old)
            text = re.sub(old, new, text)
        path = self.folder / pathlib.Path(source).name
        path.write_text(text)
        return path

    def wait_for(self, name, status):
        end = time.monotonic() + 60
        while True:
            got = Receiver.got.get(timeout=max(end - time.monotonic(), 0.1))
            if got[:2] == (name, status):
                return got[2]

    def test_store_down(self):
        receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        self.addCleanup(receiver.server_close)
        self.addCleanup(receiver.shutdown)
        redis = self.redis(persistent=True)
        proxy = self.keywheel(self.mock(tls=False), env={"REDIS_URL": redis.url, "ENCRYPTION_KEY": "e" * 43})
        proxy.post("/v1/chat/completions", {"model": "m", "messages": []})
        said = subprocess.run(["promtool", "check", "metrics"], input=proxy.get("/metrics").body, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30, check=False)
        self.assertEqual((said.returncode, said.stdout), (0, b""))

        at = harness.free_port()
        manager = self.rewritten("alertmanager/alertmanager.yml", (r"http://127\.0\.0\.1:9099", f"http://127.0.0.1:{receiver.server_port}"),
                                 (r"group_wait: \d+s", "group_wait: 0s"), (r"group_interval: 5m", "group_interval: 1s"))
        self._keep(Service("alertmanager", ["prometheus-alertmanager", "--config.file", manager, "--storage.path", self.folder / "am",
                                            "--cluster.listen-address=", "--web.listen-address", f"127.0.0.1:{at}"],
                           self.folder, at, "/-/ready"))
        self.rewritten("prometheus/keywheel.rules.yml", (r"for: 30s", "for: 2s"), (r"interval: 15s", "interval: 1s"))
        at_prometheus = harness.free_port()
        config = self.rewritten("prometheus/prometheus.yml", (r"alertmanager:9093", f"127.0.0.1:{at}"), (r"_interval: 15s", "_interval: 1s"),
                                (r"(?s)    dns_sd_configs:.*", f'    static_configs: [{{targets: ["127.0.0.1:{proxy.port}"]}}]\n'))
        prometheus = self._keep(Service("prometheus", ["prometheus", "--config.file", config, "--storage.tsdb.path", self.folder / "tsdb",
                                                       "--web.listen-address", f"127.0.0.1:{at_prometheus}"],
                                        self.folder, at_prometheus, "/-/ready"))

        def value(query):
            found = prometheus.get("/api/v1/query?query=" + query).json()["data"]["result"]
            return found and found[0]["value"][1]

        harness.wait_until("it is scraped", lambda: value("keywheel_store_up") == "1", 30)
        redis.kill()
        killed = time.monotonic()
        summary = self.wait_for("KeywheelStoreDown", "firing")
        print(f"figure: alert: Redis killed to the alert at the receiver (rule waits 2 s): {time.monotonic() - killed:.1f} s", flush=True)
        self.assertEqual(summary, f"127.0.0.1:{proxy.port} cannot reach its store")
        self.assertEqual(proxy.post("/v1/chat/completions", {"model": "m", "messages": []}).status, 200)
        redis.start()
        self.wait_for("KeywheelStoreDown", "resolved")


if __name__ == "__main__":
    harness.main()
