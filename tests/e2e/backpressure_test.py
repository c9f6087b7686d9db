"""Who does not read is not read for: the proxy grows by less than 1 MiB, whatever is in the pipe.

A client that stops reading a response of 1 GiB, and an upstream that stops reading an upload of
1 GiB, each with the proxy's resident memory looked at while the other side waits.
"""
import hashlib
import socket
import struct
import time

import books
import harness
from wire import Wire

GIB = 1 << 30
MIB_IN_KIB = 1024
KEY = "sk-mock-a"
AUTHORIZATION = f"Authorization: Bearer {harness.ACCESS_KEY}\r\n"


def chat(fault, stream=False):
    body = b'{"model":"m","messages":[],"stream":%s}' % (b"true" if stream else b"false")
    return (f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}Content-Type: application/json\r\n"
            f"x-mock-fault: {fault}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


class Backpressure(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=self.tls())
        self.proxy = self.keywheel(self.upstream, keys=(KEY,))
        # What every worker allocates once is not what is measured.
        with Wire(self.proxy.port) as wire:
            wire.send(chat("big;3000000"))
            self.assertTrue(wire.answer().whole)
        self.upload(1 << 20, "ok").close()
        self.before = self.proxy.status_kib()

    def tls(self):
        return False

    def upload(self, size, fault, seconds=20.0):
        """Begins an upload and sends until all is gone or nothing is taken for a while; bytes sent."""
        wire = Wire(self.proxy.port)
        wire.send((f"POST /v1/files HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}Content-Type: multipart/form-data; boundary=b\r\n"
                   f"x-mock-fault: {fault}\r\nContent-Length: {size}\r\n\r\n").encode())
        wire.sent = self.push(wire, size, seconds)
        return wire

    @staticmethod
    def push(wire, size, quiet):
        piece = memoryview(bytes(1 << 18))
        wire.socket.settimeout(quiet)
        sent = 0
        try:
            while sent < size:
                sent += wire.socket.send(piece[:size - sent])
        except TimeoutError:
            pass
        wire.socket.settimeout(30)
        return sent

    def grown(self, what):
        """The most that the proxy grows by while everything stands still."""
        most = 0
        for _ in range(20):
            most = max(most, self.proxy.status_kib() - self.before)
            time.sleep(0.05)
        print(f"figure: growth, {what}: {most} KiB")
        self.assertLess(most, MIB_IN_KIB)

    def stands_still(self, reading):
        """Until a number of the mock's does not change any more."""
        last = [None, 0]

        def still():
            now = reading()
            last[1] = last[1] + 1 if now == last[0] else 0
            last[0] = now
            return last[1] >= 5
        harness.wait_until("the flow stands still", still, 30, 0.1)

    def test_a_client_that_stops_reading(self):
        with Wire(self.proxy.port) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            wire.send(chat(f"big;{GIB}"))
            self.assertEqual(wire.head().status, 200)
            self.stands_still(lambda: self.proxy.cpu_seconds())
            self.grown("a client that does not read 1 GiB")
            # It is a pause, not an end: 64 MiB more come as soon as they are wanted.
            want = 64 << 20
            while want > 0:
                got = len(wire.socket.recv(1 << 20))
                self.assertGreater(got, 0)
                want -= got
            self.stands_still(lambda: self.proxy.cpu_seconds())
            self.grown("after 64 MiB more were read")
        books.settle(self.proxy, self.upstream)

    def test_many_clients_that_stop_reading(self):
        count = 50
        wires = [Wire(self.proxy.port) for _ in range(count)]
        for wire in wires:
            wire.send(chat(f"big;{GIB}"))
        for wire in wires:
            self.assertEqual(wire.head().status, 200)
        self.stands_still(lambda: self.proxy.cpu_seconds())
        most = self.proxy.status_kib() - self.before
        print(f"figure: growth per client that does not read: {most // count} KiB")
        self.assertLess(most, MIB_IN_KIB * count)
        for wire in wires:
            wire.close()
        books.settle(self.proxy, self.upstream)

    def test_a_client_that_stops_reading_events(self):
        with Wire(self.proxy.port) as wire:
            wire.send(chat("tokens;2000000", stream=True))
            self.assertEqual(wire.head().status, 200)
            self.stands_still(lambda: self.proxy.cpu_seconds())
            self.grown("a client that does not read its events")
        books.settle(self.proxy, self.upstream)

    def test_an_upstream_that_stops_reading(self):
        wire = self.upload(GIB, f"stop_reading;{1 << 20}", seconds=2.0)
        with wire:
            self.assertLess(wire.sent, 64 << 20, "the client is held back")
            self.grown("an upstream that does not read 1 GiB")
            # An orderly end would wait behind what nobody reads; a reset is seen at once.
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        books.settle(self.proxy)

    def test_a_whole_gib_passes(self):
        """Both directions carry a GiB (a quarter of one upwards) without growth, and with the right bytes."""
        digest, size = hashlib.sha256(), 256 << 20
        begun = time.monotonic()
        wire = self.upload(size, "ok", seconds=30)
        with wire:
            self.assertEqual(wire.sent, size)
            self.assertIn(wire.answer().status, (200, 400))  # no form; its bytes were taken
        print(f"figure: upload: {size / (time.monotonic() - begun) / 1e6:.0f} MB/s")
        self.grown("an upload of 256 MiB")
        digest.update(bytes(size))
        seen = self.upstream.seen(last=1)[0]
        self.assertEqual((seen["body_bytes"], seen["body_sha256"]), (size, digest.hexdigest()))
        begun = time.monotonic()
        with Wire(self.proxy.port) as wire:
            wire.send(chat(f"big;{GIB}"))
            length = int(wire.head().one("content-length"))
            self.assertEqual(length, GIB)
            left = length - len(wire.buffer)
            while left:
                got = len(wire.socket.recv(1 << 20))
                self.assertGreater(got, 0)
                left -= got
        print(f"figure: download: {GIB / (time.monotonic() - begun) / 1e6:.0f} MB/s")
        self.grown("a download of 1 GiB")


class BackpressureTls(Backpressure):
    """The same with TLS towards the upstream."""

    test_a_whole_gib_passes = None
    test_many_clients_that_stop_reading = None

    def tls(self):
        return True


if __name__ == "__main__":
    harness.main(together=3)
