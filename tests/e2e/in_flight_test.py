"""What streams hold in memory is bounded over all of them, and who finds no room is told.

Large events that are not whole yet share one budget: they wait unread for each other and all arrive; one
that waits in vain is cut with an error event, after everything that was whole. What slow readers have not
taken counts too: while it fills the budget, new requests get 503 `overloaded`.
"""
import json
import threading

import books
import harness
from wire import ScriptedUpstream, Wire

KIB, MIB = 1 << 10, 1 << 20
LARGE = 1200 * KIB
STREAMS = 12


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text):
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\ndata: [DONE]\n\n'


class InFlight(harness.EndToEnd):
    def start(self, script, **settings):
        self.upstream = ScriptedUpstream(script)
        self.addCleanup(self.upstream.close)
        self.proxy = self.keywheel(self.upstream, env={"LOG_LEVEL": "warn", **settings})

    def open(self, name):
        wire = Wire(self.proxy.port)
        self.addCleanup(wire.close)
        body = json.dumps({"model": name, "stream": True, "messages": []}).encode()
        wire.send((f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {self.proxy.access_key}\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
        return wire

    def metric(self, name):
        return books.metric(self.proxy, name)

    def given_back(self):
        harness.wait_until("all memory is given back", lambda: self.metric("keywheel_bytes_in_flight") == 0
                           and self.metric("keywheel_events_waiting") == 0)

    def test_large_events_wait_for_each_other(self):
        rest = threading.Event()

        def script(connection, _head, body):
            text = json.loads(body)["model"] * LARGE
            whole = chunk(event("first")) + chunk(event(text)) + chunk(END) + b"0\r\n\r\n"
            connection.sendall(HEAD + whole[:900 * KIB])
            rest.wait(60)
            connection.sendall(whole[900 * KIB:])

        self.start(script, KEYWHEEL_SERVER_MAX_BYTES_IN_FLIGHT="8MiB")
        before = self.proxy.status_kib()
        wires = {name: self.open(name) for name in "abcdefghijkl"[:STREAMS]}
        for wire in wires.values():
            # What is whole is not held up by what is not.
            self.assertEqual(wire.head().status, 200)
            self.assertEqual(wire.chunk(), event("first"))
        harness.wait_until("some wait", lambda: self.metric("keywheel_events_waiting") > 0)
        held = self.metric("keywheel_bytes_in_flight")
        self.assertLessEqual(held, 8 * MIB + STREAMS * 128 * KIB)
        print(f"figure: held by {STREAMS} unfinished events: {held / MIB:.1f} MiB of {STREAMS * LARGE / MIB:.1f}, "
              f"memory grew by {(self.proxy.status_kib() - before) / KIB:.1f} MiB")
        rest.set()
        for name, wire in wires.items():
            data = b""
            while piece := wire.chunk():
                data += piece
            self.assertTrue(data.startswith(event(name * LARGE)) and data.endswith(b"data: [DONE]\n\n"), name)
        self.given_back()

    def test_an_event_that_finds_no_memory_is_cut(self):
        over = threading.Event()
        self.addCleanup(over.set)

        def script(connection, _head, body):
            large = chunk(event(json.loads(body)["model"] * LARGE))
            connection.sendall(HEAD + chunk(event("first")) + large[:MIB])
            for at in range(MIB, len(large)):  # never silent, never done
                if over.wait(0.2):
                    break
                connection.sendall(large[at:at + 1])

        # The first has 1 MiB and no more is left than a second may have.
        self.start(script, KEYWHEEL_SERVER_MAX_BYTES_IN_FLIGHT="1500KiB", KEYWHEEL_UPSTREAM_IDLE_TIMEOUT="2s")
        first = self.open("a")
        self.assertEqual(first.head().status, 200)
        self.assertEqual(first.chunk(), event("first"))
        harness.wait_until("it holds its part", lambda: self.metric("keywheel_bytes_in_flight") > 900 * KIB)
        second = self.open("b")
        head = second.head()
        self.assertEqual((head.status, second.chunk()), (200, event("first")))
        error = second.chunk()
        self.assertTrue(error.startswith(b"data: ") and error.endswith(b"\n\n"), error)
        self.assertEqual(json.loads(error[6:])["error"]["code"], "overloaded")
        self.assertTrue(second.at_end(), "the body is not ended, the connection is")
        over.set()
        first.close()
        self.given_back()
        books.settle(self.proxy)
        record = {r["id"]: r for r in books.records(self.proxy)}[head.one("x-keywheel-request-id")]
        self.assertEqual((record["end"], record["error_code"]), ("upstream_cut", "overloaded"), record)

    def test_slow_readers_fill_it(self):
        piece = b"x" * (256 * KIB)

        def script(connection, _head, body):
            if b"small" in body:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            while True:
                connection.sendall(piece)

        self.start(script, KEYWHEEL_SERVER_MAX_BYTES_IN_FLIGHT="1MiB")
        wires = [self.open(f"m{n}") for n in range(64)]
        for wire in wires:
            if wire.head().status != 200:
                break
        answer = harness.wait_until("a new request is refused", self.refused, 30, 0.1)
        self.assertEqual(answer.json()["error"]["code"], "overloaded")
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        held = self.metric("keywheel_bytes_in_flight")
        print(f"figure: held for {len(wires)} clients that do not read: {held / KIB:.0f} KiB of 1024")
        self.assertLessEqual(held, MIB + 128 * KIB)
        for wire in wires:
            wire.close()
        self.given_back()
        self.assertEqual(self.proxy.post("/v1/chat/completions", {"model": "small", "messages": []}).status, 200)

    def refused(self):
        answer = self.proxy.post("/v1/chat/completions", {"model": "small", "messages": []})
        return answer if answer.status == 503 else None


if __name__ == "__main__":
    harness.main()
