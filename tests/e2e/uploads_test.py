"""Ten thousand uploads in 512 MiB: each is answered, none is lost, and the process lives.

Three kinds at once: JSON bodies that are kept for a retry (far more of them than all kept bodies may
take together, in front of an upstream that takes its time), files that pass through, and clients that
dribble. Each gets 200, and then the upstream has the very bytes, or a refusal that says so: 503
`overloaded` with `Retry-After`, or 413. Meanwhile an ordinary request works. When the memory for kept
bodies is taken for good, who waits for it is refused after a time.

Where a memory cgroup can be made, the program runs in one of 512 MiB and the kernel would kill it; the
peak that the kernel tells of (VmHWM) is held against the same bound in any case.
"""
import contextlib
import hashlib
import heapq
import json
import os
import pathlib
import re
import resource
import selectors
import socket
import threading
import time

import books
import harness
from wire import Wire

UPLOADS = int(os.environ.get("KEYWHEEL_E2E_UPLOADS", "10000"))
TOGETHER = int(os.environ.get("KEYWHEEL_E2E_UPLOADS_TOGETHER", "5000"))
BOUND_MIB = 512
KIB = 1 << 10
CONNECTING = 200        # at a time, so that no queue of connections overflows
DRIBBLES, DRIBBLE_TIME = 12, 6.0

FILLER = bytes(ord("a") + n % 23 for n in range(2 << 20))
HEAD = (b"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: %s\r\nAuthorization: Bearer "
        + harness.ACCESS_KEY.encode() + b"\r\nx-test-id: %s\r\nx-mock-hash: 1\r\n")


def cgroup_of(limit):
    """A memory cgroup of `limit` bytes, or None where none can be made (no root, none mounted)."""
    for root, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = pathlib.Path(root) / f"keywheel-e2e-{os.getpid()}"
        if not (pathlib.Path(root) / "cgroup.procs").exists():
            continue
        try:
            folder.mkdir()
            (folder / name).write_text(str(limit))
            return folder
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return None


class Upload:
    """One client: what it still has to send, when, and what it got."""

    __slots__ = ("name", "kind", "pieces", "sent", "next_at", "pace", "digest", "bytes", "socket", "answer", "began",
                 "registered")

    def __init__(self, number):
        self.name = b"u-%06d" % number
        self.kind = ("json", "file", "dribble", "file", "dribble", "json", "dribble", "chunked", "file", "json")[number % 10]
        self.sent, self.answer, self.next_at, self.pace, self.registered = 0, b"", 0.0, 0.0, 0
        big = number // 10 % 20 == 0
        if self.kind == "json":
            self.json((2048 if big else 100 + 50 * (number // 10 % 5)) * KIB)
        elif self.kind == "chunked":
            self.json(100 * KIB, chunked=True)
        elif self.kind == "file":
            self.file((2048 if big else 64 + 32 * (number // 10 % 4)) * KIB)
        else:
            self.json(24 * KIB) if number % 3 else self.file(24 * KIB)
            whole = b"".join(self.pieces)
            step = len(whole) // DRIBBLES + 1
            self.pieces = [whole[at:at + step] for at in range(0, len(whole), step)]
            self.pace = DRIBBLE_TIME / DRIBBLES

    def json(self, size, chunked=False):
        body = [b'{"model":"mock-delay-200-tokens-3","messages":[{"role":"user","content":"', memoryview(FILLER)[:size],
                b'"}],"user":"%s"}' % self.name]
        head = HEAD % (b"/v1/chat/completions", b"application/json", self.name)
        if chunked:
            self.measure(body)
            chunks = []
            for piece in body:
                chunks += [b"%x\r\n" % len(piece), piece, b"\r\n"]
            self.pieces = [head + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]
        else:
            self.set(head, body)

    def file(self, size):
        body = [b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % self.name,
                memoryview(FILLER)[:size], b"\r\n--b--\r\n"]
        self.set(HEAD % (b"/v1/files", b"multipart/form-data; boundary=b", self.name), body)

    def measure(self, body):
        digest = hashlib.sha256()
        for piece in body:
            digest.update(piece)
        self.digest, self.bytes = digest.hexdigest(), sum(map(len, body))

    def set(self, head, body):
        self.measure(body)
        self.pieces = [head + b"Content-Length: %d\r\n\r\n" % self.bytes, *body]

    def connect(self, port):
        self.began = time.monotonic()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))

    def send(self):
        """Sends what it may; True while there is more for now."""
        while self.pieces:
            try:
                self.sent += self.socket.send(memoryview(self.pieces[0])[self.sent:])
            except BlockingIOError:
                return True
            except (BrokenPipeError, ConnectionResetError):
                self.pieces = []  # its answer says why
                break
            if self.sent < len(self.pieces[0]):
                return True
            self.sent = 0
            del self.pieces[0]
            if self.pace:
                self.next_at = time.monotonic() + self.pace
                break
        return False

    def verdict(self):
        head, _, body = self.answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 "):
            return f"no answer: {self.answer[:100]!r}"
        status = int(head[9:12])
        if status == 200:
            return 200
        if status == 413 or (status == 503 and json.loads(body)["error"]["code"] == "overloaded"
                             and re.search(rb"(?i)\r\nretry-after: \d", head)):
            return status
        return f"{status}: {head!r} {body[:300]!r}"


class Full(harness.EndToEnd):
    """All memory for kept bodies is taken by those that wait for an upstream that does not answer."""

    def test_who_waits_in_vain_is_told(self):
        upstream = self.mock(tls=False)
        proxy = self.keywheel(upstream, env={
            "LOG_LEVEL": "warn", "KEYWHEEL_SERVER_MAX_KEPT_BYTES": "4MiB", "KEYWHEEL_SERVER_MAX_KEPT_BODY_BYTES": "2MiB",
            "KEYWHEEL_SERVER_BODY_TIMEOUT": "2s"})
        body = {"model": "mock-silent", "messages": [{"role": "user", "content": "x" * (1300 * KIB)}]}
        holding = [proxy.connection() for _ in range(2)]
        for connection in holding:
            connection.request("POST", "/v1/chat/completions", *proxy._prepare(body, {}))
        harness.wait_until("two bodies are held", lambda: books.metric(proxy, "keywheel_kept_body_bytes") > 2600 * KIB)
        body["messages"][0]["content"] += "y" * (500 * KIB)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(proxy.post("/v1/chat/completions", body)))
        thread.start()
        harness.wait_until("the third waits", lambda: books.metric(proxy, "keywheel_bodies_waiting") == 1)
        self.assertEqual(proxy.post("/v1/chat/completions", {"model": "m", "messages": []}).status, 200)
        thread.join()
        self.assertEqual((answers[0].status, answers[0].json()["error"]["code"]), (503, "overloaded"), answers[0])
        self.assertGreaterEqual(int(answers[0].headers["retry-after"]), 1)
        too_long = proxy.post("/v1/chat/completions", {"model": "m", "x": "x" * (2 << 20)})
        self.assertEqual(too_long.status, 413, too_long)
        # Room that comes free is the next one's.
        thread = threading.Thread(target=lambda: answers.append(
            proxy.post("/v1/chat/completions", dict(body, model="m"))))
        thread.start()
        harness.wait_until("another waits", lambda: books.metric(proxy, "keywheel_bodies_waiting") == 1)
        holding[0].close()
        thread.join()
        self.assertEqual(answers[1].status, 200, answers[1])
        holding[1].close()
        harness.wait_until("all is given back", lambda: books.metric(proxy, "keywheel_kept_body_bytes") == 0)
        self.assertEqual(books.metric(proxy, "keywheel_bodies_waiting"), 0)


class LargeHeads(harness.EndToEnd):
    """Heads that never end, from nobody in particular."""

    def test_their_memory_has_a_bound(self):
        proxy = self.keywheel(self.mock(tls=False), env={
            "LOG_LEVEL": "warn", "KEYWHEEL_SERVER_MAX_KEPT_BYTES": "4MiB", "KEYWHEEL_SERVER_MAX_KEPT_BODY_BYTES": "2MiB"})
        head = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n" + b"x-a: %s\r\n" % (b"a" * 7000) * 8
        before = proxy.status_kib("RssAnon")
        wires = [Wire(proxy.port) for _ in range(400)]
        for wire in wires:
            wire.send(head)
        harness.wait_until("some are refused", lambda: 'refused_heads_total{status="503"}' in
                           proxy.get("/metrics").body.decode())
        answers = []
        for wire in reversed(wires):
            wire.socket.settimeout(0.05)
            try:
                answers.append(wire.head())
            except (TimeoutError, ConnectionError):
                pass
        self.assertEqual({answer.status for answer in answers}, {503})
        self.assertTrue(all(answer.one("retry-after") for answer in answers))
        grown = (proxy.status_kib("RssAnon") - before) / KIB
        print(f"figure: {len(wires)} unfinished heads of {len(head) // KIB} KiB: {len(answers)} refused, "
              f"memory grew by {grown:.0f} MiB")
        self.assertLess(grown, 4 + len(wires) * 32 / KIB)
        self.assertEqual(proxy.post("/v1/chat/completions", {"model": "m", "messages": []}).status, 200)
        for wire in wires:
            wire.close()
        harness.wait_until("all is given back", lambda: books.metric(proxy, "keywheel_kept_body_bytes") == 0)


class Uploads(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * TOGETHER + 2000  # the proxy has two sockets for each, and raises its own soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)) if hard < wanted else (hard, hard))
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream, wait=False, env={
            "WORKERS": 2, "LOG_LEVEL": "warn", "KEYWHEEL_SERVER_BODY_TIMEOUT": "30s"})
        self.cgroup = cgroup_of(BOUND_MIB << 20)
        if self.cgroup:
            (self.cgroup / "cgroup.procs").write_text(str(self.proxy.pid))
            self.addCleanup(self.leave_cgroup)
        self.proxy.wait_ready("/readyz")

    def leave_cgroup(self):
        self.proxy.kill()
        # A cgroup goes once its last process is gone altogether.
        with contextlib.suppress(AssertionError):
            harness.wait_until("the cgroup is empty", self.removed, 5)

    def removed(self):
        with contextlib.suppress(OSError):
            self.cgroup.rmdir()
        return not self.cgroup.exists()

    def ordinary(self, stop, found):
        """An ordinary request again and again, beside all that."""
        while not stop.wait(0.25):
            begun = time.monotonic()
            answer = self.proxy.post("/v1/chat/completions", {"model": "m", "messages": []}, timeout=60)
            found.append((answer.status, time.monotonic() - begun))

    def run_all(self):
        selector = selectors.EpollSelector()
        waiting, uploads, open_now, connecting, ended, most = [], [], 0, 0, 0, 0
        end = time.monotonic() + 240

        def watch(upload, mask):
            if upload.registered != mask:
                upload.registered = mask
                selector.modify(upload.socket, mask, upload)

        while ended < UPLOADS:
            now = time.monotonic()
            if now > end:
                stuck = [(u.name, u.kind, len(u.pieces), round(now - u.began)) for u in uploads if u.socket]
                self.fail(f"{ended} of {UPLOADS} ended; {len(stuck)} hang: {stuck[:10]}")
            while len(uploads) < UPLOADS and open_now < TOGETHER and connecting < CONNECTING:
                upload = Upload(len(uploads))
                uploads.append(upload)
                upload.connect(self.proxy.port)
                upload.registered = selectors.EVENT_WRITE
                selector.register(upload.socket, upload.registered, upload)
                open_now, connecting = open_now + 1, connecting + 1
            most = max(most, open_now)
            while waiting and waiting[0][0] <= now:
                upload = heapq.heappop(waiting)[2]
                if upload.socket:
                    watch(upload, selectors.EVENT_READ | selectors.EVENT_WRITE)
            for key, mask in selector.select(0.02):
                upload = key.data
                if mask & selectors.EVENT_WRITE:
                    connecting -= upload.registered == selectors.EVENT_WRITE
                    more = upload.send()
                    watch(upload, selectors.EVENT_READ | (selectors.EVENT_WRITE if more else 0))
                    if not more and upload.pieces:
                        heapq.heappush(waiting, (upload.next_at, upload.name, upload))
                if not mask & selectors.EVENT_READ:
                    continue
                try:
                    piece = upload.socket.recv(1 << 16)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    piece = b""
                upload.answer += piece
                if not piece:
                    ended, open_now = ended + 1, open_now - 1
                    selector.unregister(upload.socket)
                    upload.socket.close()
                    upload.socket, upload.pieces = None, ()
                    upload.began = now - upload.began
        selector.close()
        return uploads, most

    def test_ten_thousand(self):
        print(f"figure: memory cgroup of {BOUND_MIB} MiB: {'yes' if self.cgroup else 'none to be had'}")
        stop, ordinary = threading.Event(), []
        asker = threading.Thread(target=self.ordinary, args=(stop, ordinary))
        asker.start()
        begun, cpu = time.monotonic(), self.proxy.cpu_seconds()
        try:
            uploads, most = self.run_all()
        finally:
            stop.set()
            asker.join()
        seconds = time.monotonic() - begun
        self.assertTrue(self.proxy.alive())
        peak = self.proxy.status_kib("VmHWM") / KIB
        verdicts = {}
        for upload in uploads:
            verdicts.setdefault(upload.verdict(), []).append(upload)
        print("figure: uploads:", {verdict: len(found) for verdict, found in verdicts.items()})
        print(f"figure: uploads open at once: {most}")
        print(f"figure: bytes sent up: {sum(u.bytes for u in verdicts.get(200, ())) / 1e6:.0f} MB")
        print(f"figure: all uploads: {seconds:.1f} s, CPU {self.proxy.cpu_seconds() - cpu:.1f} s")
        print(f"figure: longest upload: {max(u.began for u in uploads):.1f} s")
        print(f"figure: ordinary requests meanwhile: {len(ordinary)}, slowest {max(t for _, t in ordinary):.2f} s")
        print(f"figure: memory peak with {len(uploads)} uploads: {peak:.0f} MiB")
        self.assertLessEqual(set(verdicts), {200, 413, 503})
        self.assertGreater(len(verdicts[200]), UPLOADS // 2)
        self.assertEqual({status for status, _ in ordinary}, {200})
        self.assertLess(peak, BOUND_MIB)

        # What was answered 200 is there, byte for byte and once.
        books.settle(self.proxy, self.upstream)
        theirs = {}
        for entry in books.entries(self.upstream):
            if entry["test_id"] and entry["status"] == 200 and entry["outcome"] == "completed":
                theirs.setdefault(entry["test_id"].encode(), []).append((entry["bytes_in"], entry["received_sha256"]))
        for upload in verdicts[200]:
            self.assertEqual(theirs.get(upload.name), [(upload.bytes, upload.digest)], (upload.name, upload.kind))
        self.assertEqual(sum(size for found in theirs.values() for size, _ in found),
                         sum(upload.bytes for upload in verdicts[200]))

        # Nothing is left behind.
        for gauge in ("keywheel_kept_body_bytes", "keywheel_bodies_waiting", "keywheel_bytes_in_flight",
                      "keywheel_exchanges_running"):
            harness.wait_until(f"{gauge} is 0", lambda name=gauge: books.metric(self.proxy, name) == 0, 10)
        harness.wait_until("connections are closed",
                           lambda: books.metric(self.proxy, "keywheel_client_connections_open") <= 1, 10)
        self.assertEqual(self.proxy.get("/readyz").status, 200)
        self.assertEqual(self.proxy.post("/v1/chat/completions", {"model": "m", "messages": []}).status, 200)
        if self.cgroup:
            oom = self.cgroup / "memory.oom_control"
            events = (oom if oom.exists() else self.cgroup / "memory.events").read_text()
            self.assertRegex(events, r"(?m)^oom_kill 0$")


if __name__ == "__main__":
    harness.main()
