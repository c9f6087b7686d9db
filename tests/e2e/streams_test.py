"""Thousands of streams at once on one worker: each arrives byte for byte, and none costs much memory.

Each event names its stream, so that one that strayed would show, and each client's bytes have the
hash that the mock upstream has of what it sent.
"""
import hashlib
import os
import resource
import selectors
import socket
import time

import books
import harness

STREAMS = int(os.environ.get("KEYWHEEL_E2E_STREAMS", "5000"))
# Slow enough that all are open together before the first ends.
MODEL = "mock-pace-1500-tokens-16"
BODY = b'{"model":"%s","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}' % MODEL.encode()
OPENED_AT_ONCE = 200


def name_of(number):
    return b"s-%06d" % number


def request(number, credential):
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nx-test-id: %s\r\nx-mock-hash: 1\r\nContent-Length: %d\r\n\r\n"
            % (credential.encode(), name_of(number), len(BODY))) + BODY


class Stream:
    """One client: everything it got, in pieces."""

    __slots__ = ("number", "socket", "pieces", "started")

    def __init__(self, number, port):
        self.number, self.pieces, self.started = number, [], False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))

    def payload(self):
        """(head, body without its framing, whole)"""
        head, _, rest = b"".join(self.pieces).partition(b"\r\n\r\n")
        body, at = [], 0
        while at < len(rest):
            line = rest.index(b"\r\n", at)
            size = int(rest[at:line], 16)
            if size == 0:
                return head, b"".join(body), rest[line:] == b"\r\n\r\n"
            body.append(rest[line + 2:line + 2 + size])
            at = line + 2 + size + 2
        return head, b"".join(body), False


class Many(harness.EndToEnd):
    @classmethod
    def setUpClass(cls):
        # The proxy has two sockets for each stream, and raises its own soft limit.
        wanted = 2 * STREAMS + 1000
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(self.upstream, env={"WORKERS": 1, "LOG_LEVEL": "warn"})

    def run_all(self, while_open):
        """Opens all streams, calls while_open once all have begun, reads all to their ends."""
        selector = selectors.EpollSelector()
        streams, begun, ended, called = [], 0, 0, False
        end = time.monotonic() + 150
        while ended < STREAMS:
            self.assertLess(time.monotonic(), end, f"{begun} streams began, {ended} ended")
            # A few at a time, so that no queue of connections overflows.
            while len(streams) < STREAMS and len(streams) - begun < OPENED_AT_ONCE:
                stream = Stream(len(streams), self.proxy.port)
                streams.append(stream)
                selector.register(stream.socket, selectors.EVENT_WRITE, stream)
            if begun == STREAMS and not called:
                called = True
                while_open()
            for key, mask in selector.select(1.0):
                stream = key.data
                if mask & selectors.EVENT_WRITE:
                    stream.socket.sendall(request(stream.number, harness.ACCESS_KEY))
                    selector.modify(stream.socket, selectors.EVENT_READ, stream)
                    continue
                try:
                    piece = stream.socket.recv(1 << 16)
                except ConnectionResetError:
                    piece = b""
                if not stream.started:
                    stream.started = True
                    begun += 1
                if piece:
                    stream.pieces.append(piece)
                else:
                    ended += 1
                    selector.unregister(stream.socket)
                    stream.socket.close()
        selector.close()
        self.assertTrue(called)
        return streams

    def test_each_stream_is_its_own(self):
        # One round warms up what is kept for ever.
        self.proxy.post("/v1/chat/completions", {"model": "m", "messages": [], "stream": True})
        before = self.proxy.status_kib()
        found = {}

        def look():
            found["running"] = books.metric(self.proxy, "keywheel_exchanges_running")
            found["kib"] = self.proxy.status_kib()
            found["upstream"] = self.upstream.get("/__connections").json()["open"]

        begun, cpu = time.monotonic(), self.proxy.cpu_seconds()
        streams = self.run_all(look)
        seconds = time.monotonic() - begun
        self.assertEqual(found["running"], STREAMS)
        self.assertGreaterEqual(found["upstream"], STREAMS)
        books.settle(self.proxy, self.upstream)
        sent = {entry["test_id"].encode(): entry["sent_sha256"] for entry in books.entries(self.upstream)}
        for stream in streams:
            head, body, whole = stream.payload()
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), (stream.number, head))
            self.assertTrue(whole, stream.number)
            events = body.split(b"\n\n")
            self.assertEqual(events[-2:], [b"data: [DONE]", b""])
            self.assertTrue(all(name_of(stream.number) in event for event in events[:-2]), (stream.number, body))
            self.assertEqual(hashlib.sha256(body).hexdigest(), sent[name_of(stream.number)], (stream.number, body[:500]))
        print(f"figure: streams held at once on one worker: {STREAMS}")
        print(f"figure: memory per stream: {(found['kib'] - before) / STREAMS:.2f} KiB")
        print(f"figure: CPU per event: {(self.proxy.cpu_seconds() - cpu) / STREAMS / len(events) * 1e6:.1f} us")
        print(f"figure: all streams: {seconds:.1f} s")
        _, totals = books.usage(self.proxy)
        self.assertEqual(totals["requests"], STREAMS + 1)
        self.assertLess((found["kib"] - before) / STREAMS, 64)


if __name__ == "__main__":
    harness.main()
