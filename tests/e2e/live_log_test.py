"""The live log: what is written is seen by who looks on, filtered, and by nobody else.

Real processes; streams are read from raw sockets. Shows level and keyword filters, history, going on
after a lost connection, a reader that does not read (told how many lines it missed, while nobody
waits for it), the limit of streams, HTTP/1.0, that a logout and a graceful stop end a stream, and
that no secret is seen.
"""
import json
import pathlib
import socket
import time

import harness
from harness import ADMIN_KEY

CANARY = "sk-canary-upstream-live-log-0000000001"
PASSWORD = "canary password of the live log"


class Stream:
    """One stream of events, read as far as wanted."""

    def __init__(self, proxy, query="", headers=None, version="1.1", buffer=None):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", proxy.port))
        lines = [f"GET /admin/logs/stream{query} HTTP/{version}", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {"x-admin-key": ADMIN_KEY}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.data = b""
        self.open = True
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        self.head = head.decode()
        self.status = int(self.head.split()[1])
        self.chunked = "Transfer-Encoding: chunked" in self.head
        self.text = ""
        self.whole = False  # its end came
        self._take()

    def _more(self):
        got = self.socket.recv(65536)
        self.open = bool(got)
        self.data += got
        if not got and b"\r\n\r\n" not in self.data and not hasattr(self, "head"):
            raise AssertionError(f"closed before its head: {self.data!r}")

    def _take(self):
        if not self.chunked:
            self.text += self.data.decode()
            self.data = b""
            return
        while b"\r\n" in self.data:
            size, _, rest = self.data.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                return
            self.text += rest[:length].decode()
            self.data = rest[length + 2:]
            self.whole = self.whole or length == 0

    def events(self):
        """(kind, id, data) of the whole events so far."""
        found = []
        for block in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
            if "event" in fields:
                found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
        return found

    def read_until(self, what, ready):
        while True:
            got = ready(self.events())
            if got:
                return got
            if not self.open:
                raise AssertionError(f"ended before {what}: {self.text[-2000:]}")
            self._more()
            self._take()

    def read_to_end(self):
        while self.open:
            self._more()
        self._take()

    def close(self):
        self.socket.close()


class LiveLog(harness.EndToEnd):
    def stream(self, proxy, *arguments, **options):
        made = Stream(proxy, *arguments, **options)
        self.addCleanup(made.close)
        return made

    def names(self, events):
        return [data["event"] for kind, _, data in events if kind == "log"]

    def change(self, proxy, notes):
        """A line `admin.change`."""
        answer = proxy.admin("POST", "/admin/keys", {"key": CANARY + notes, "notes": notes})
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["data"]["id"]

    def test_lines_are_seen_as_they_are_written(self):
        proxy = self.keywheel(self.mock())
        every = self.stream(proxy)
        self.assertEqual(every.status, 200)
        self.assertIn("text/event-stream", every.head)
        self.assertIn("X-Accel-Buffering: no", every.head)
        every.read_until("history", lambda e: "server.started" in self.names(e) or len(self.names(e)) > 1)
        warnings = self.stream(proxy, "?level=warn&history=0")
        by_word = self.stream(proxy, "?q=ADMIN.change&history=0", version="1.0")
        self.assertFalse(by_word.chunked)
        self.assertIn("Connection: close", by_word.head)
        self.change(proxy, "a")
        every.read_until("the change", lambda e: "admin.change" in self.names(e))
        by_word.read_until("the change", lambda e: self.names(e) == ["admin.change"])
        # What a stream shows is what the log's file has, and no secret.
        own = [data for kind, _, data in every.events() if kind == "log"]
        self.assertTrue(all(line in proxy.events() for line in own))
        self.assertEqual(self.names(warnings.events()), [])
        for seen in (every, warnings, by_word):
            for secret in (CANARY, ADMIN_KEY, harness.ACCESS_KEY):
                self.assertNotIn(secret, seen.text)
        # Who lost the connection goes on behind its last event.
        last = [number for kind, number, _ in by_word.events()][-1]
        by_word.close()
        self.change(proxy, "b")
        again = self.stream(proxy, "?q=admin.change", {"x-admin-key": ADMIN_KEY, "last-event-id": last})
        again.read_until("one line", lambda e: self.names(e) == ["admin.change"])
        self.assertNotEqual(again.events()[0][1], last)
        # As text in the file, as JSON here.
        plain = self.keywheel(self.mock(tls=False, name="mock2"), name="plain", env={"KEYWHEEL_LOG_FORMAT": "text"})
        self.stream(plain).read_until("history", lambda e: len(self.names(e)) > 1)
        self.assertEqual(plain.events(), [])

    def test_who_does_not_read_misses_lines_and_holds_up_nobody(self):
        proxy = self.keywheel(self.mock(), env={"KEYWHEEL_LOG_HISTORY_LINES": 50, "DEBUG_HTTP_TRAFFIC": "true"})
        slow = self.stream(proxy, "?history=0", buffer=4096)
        before = proxy.status_kib()
        connection = proxy.connection()
        # More than a socket holds between us: only the ring's last lines can still come.
        enough = int(pathlib.Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) + (6 << 20)
        written = 0
        began = time.monotonic()
        while written < enough:
            connection.request("GET", "/health", headers={"user-agent": "u" * 30_000})
            connection.getresponse().read()
            written += 30_000
        took = time.monotonic() - began
        connection.close()
        lost = slow.read_until("what was missed", lambda e: [d["lines"] for k, _, d in e if k == "dropped"])[0]
        self.assertGreater(lost, 0)
        self.change(proxy, "c")
        slow.read_until("the newest line", lambda e: "admin.change" in self.names(e))
        self.assertLess(proxy.status_kib() - before, 24 << 10)
        print(f"figure: lines that a stalled reader missed: {lost} of {written // 30_000}")
        print(f"figure: requests written to the log beside it: {written / 30_000 / took:.0f} 1/s")

    def test_streams_are_few_and_end_with_the_right_to_them(self):
        proxy = self.keywheel(self.mock(), env={"KEYWHEEL_ADMIN_LIVE_LOGS": 2})
        nobody = self.stream(proxy, headers={"x-nothing": "1"})
        self.assertEqual(nobody.status, 401)
        made = proxy.admin("POST", "/admin/admins", {"name": "ada", "role": "viewer", "password": PASSWORD})
        self.assertEqual(made.status, 201, made)
        session = proxy.request("POST", "/admin/login", {"name": "ada", "password": PASSWORD, "cookie": False},
                                headers={"authorization": None}).json()["data"]["token"]
        hers = {"authorization": f"Bearer {session}"}
        first, second = (self.stream(proxy, headers=hers) for _ in range(2))
        self.assertEqual((first.status, second.status), (200, 200))
        third = self.stream(proxy, headers=hers)
        self.assertEqual(third.status, 429)
        self.assertEqual(self.stream(proxy).status, 200)  # another admin's
        second.close()

        def room():
            got = Stream(proxy, headers=hers)
            got.close()
            return got.status == 200
        harness.wait_until("room for another stream", room, step=0.1)
        out = proxy.request("POST", "/admin/logout", {}, headers=hers)
        self.assertEqual(out.status, 200, out)
        first.read_to_end()
        self.assertTrue(first.whole)
        self.assertEqual(first.events()[-1][0::2], ("end", {"reason": "not_allowed"}))

    def test_a_graceful_stop_ends_streams(self):
        proxy = self.keywheel(self.mock(), env={"DEBUG_HTTP_TRAFFIC": "true"})
        reading = self.stream(proxy)
        stuck = self.stream(proxy, buffer=4096)
        reading.read_until("history", lambda e: self.names(e))
        self.assertEqual(proxy.stop(), 0)
        reading.read_to_end()
        self.assertTrue(reading.whole)
        self.assertEqual(reading.events()[-1][0::2], ("end", {"reason": "stopping"}))
        stuck.close()


if __name__ == "__main__":
    harness.main()
