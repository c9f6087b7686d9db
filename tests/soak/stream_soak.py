"""A stream of many minutes, with others beside it: it is not cut, nothing is held back, nothing is lost.

The one that is looked at comes from an upstream that writes into each event when it was sent (one clock
for the whole machine); beside it run streams of the same length and short requests without end, from the
mock upstream. Afterwards the books are compared, and memory must not have grown with time.

    ./dev soak stream [MINUTES]
"""
import asyncio
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import books  # noqa: E402
import harness  # noqa: E402
from wire import ScriptedUpstream, Wire  # noqa: E402

MINUTES = float(os.environ.get("KEYWHEEL_SOAK_MINUTES", "20"))
EVERY = 0.2           # seconds between two events
LONG = 4              # streams of the full length beside it
TOGETHER = 4          # short requests at a time
GROWTH_KIB = 4 << 10  # from the end of the warm-up to the end
EVENTS = int(MINUTES * 60 / EVERY)

CONFIG = """
groups:
  - {{id: timed, base_url: "http://127.0.0.1:{timed}/v1", keys: [sk-timed], models: [timed]}}
  - {{id: mock, base_url: "{mock}/v1", keys: [sk-mock-a, sk-mock-b], models: ["mock*"]}}
prices:
  - {{model: "*", input: 1, output: 2}}
"""


def chunk(payload):
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def event(delta, usage=None, finish=None):
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "timed",
            "choices": [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}]}
    if usage:
        body["usage"] = usage
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def answer(connection, _head, _body):
    """One event each EVERY seconds; its content is the time at which it was handed to the kernel."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    began = time.monotonic()
    for number in range(EVENTS):
        time.sleep(max(began + number * EVERY - time.monotonic(), 0))
        connection.sendall(chunk(event({"content": str(time.monotonic_ns())})))
    connection.sendall(chunk(event({}, finish="stop")))
    connection.sendall(chunk(event({}, usage={"prompt_tokens": 7, "completion_tokens": EVENTS,
                                              "total_tokens": EVENTS + 7})))
    connection.sendall(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def serve_timed(pipe):
    upstream = ScriptedUpstream(answer)
    pipe.send(upstream.port)
    pipe.recv()  # until the test's process is gone


class Streams(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.pipe, other = multiprocessing.Pipe()
        # A process of its own: what its sending waits for must not be this one's work.
        timed = multiprocessing.get_context("fork").Process(target=serve_timed, args=(other,), daemon=True)
        timed.start()
        self.addCleanup(timed.kill)
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(
            self.upstream, config=CONFIG.format(timed=self.pipe.recv(), mock=self.upstream.url),
            env={"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, "LOG_LEVEL": "warn",
                 "KEYWHEEL_UPSTREAM_TOTAL_TIMEOUT": f"{int(MINUTES * 2) + 10}m"})

    def ask(self, wire, model, name):
        body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": name}]}).encode()
        wire.send((f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-test-id: {name}\r\n"
                   f"Authorization: Bearer {self.proxy.access_key}\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body)

    def follow(self, found):
        """The stream that is looked at: (sent, seen) of each event, and how it ended."""
        with Wire(self.proxy.port) as wire:
            self.ask(wire, "timed", "timed")
            head = wire.head()
            found["status"], found["id"] = head.status, head.one("x-keywheel-request-id")
            rest = b""
            while piece := wire.chunk():
                seen = time.monotonic_ns()
                *events, rest = (rest + piece).split(b"\n\n")
                for one in events:
                    if one == b"data: [DONE]":
                        found["done"] = True
                        continue
                    choices = json.loads(one[6:])["choices"]
                    if choices and (sent := choices[0]["delta"].get("content")):
                        found["times"].append((int(sent), seen))
            found["ended"] = time.monotonic()

    def stay(self, shot):
        """One of the long streams beside it."""
        with Wire(self.proxy.port) as wire:
            self.ask(wire, f"mock-pace-{int(EVERY * 1000)}-tokens-{EVENTS}", shot.test_id)
            data = []
            while got := wire.socket.recv(1 << 16):
                data.append(got)
        shot.take(b"".join(data), True)

    def watch(self, stop, memory):
        while not stop.wait(min(5.0, MINUTES * 60 / 20)):
            memory.append((self.proxy.status_kib(), self.proxy.status_kib("RssAnon")))

    def test_minutes(self):
        found, memory, stop = {"times": []}, [], threading.Event()
        load = books.Load(self.proxy, TOGETHER, model="mock-tokens-30-pace-40")
        long_shots = [books.Shot(f"long-{n}") for n in range(LONG)]
        threads = [threading.Thread(target=self.follow, args=(found,), daemon=True)]
        threads += [threading.Thread(target=self.stay, args=(shot,), daemon=True) for shot in long_shots]
        watcher = threading.Thread(target=self.watch, args=(stop, memory), daemon=True)
        cpu, began = self.proxy.cpu_seconds(), time.monotonic()
        for thread in threads:
            thread.start()
        watcher.start()

        async def until_all_end(_):
            while any(thread.is_alive() for thread in threads):
                await asyncio.sleep(0.2)
        asyncio.run(load.run(until_all_end))
        stop.set()
        watcher.join()
        seconds = time.monotonic() - began
        cpu = self.proxy.cpu_seconds() - cpu

        times = found["times"]
        delays = sorted((seen - sent) / 1e6 for sent, seen in times)
        late = sum(seen >= following for (_, seen), (following, _) in zip(times, times[1:]))
        # The first quarter is warm-up: whatever is kept for ever has been made by then.
        warm = memory[len(memory) // 4:]
        # Its own memory: pages of files (the journal, the store) come and go as the kernel likes.
        growth = statistics.median(own for _, own in warm[-5:]) - statistics.median(own for _, own in warm[:5])
        print(f"figure: stream: {seconds / 60:.1f} min, {len(times)} events")
        print(f"figure: delay of an event: median {statistics.median(delays):.2f} ms, "
              f"99 % {delays[len(delays) * 99 // 100]:.2f} ms, most {delays[-1]:.1f} ms")
        print(f"figure: events seen only after the next was sent: {late}")
        print(f"figure: beside it: {LONG} streams as long, {len(load.done)} short requests, {len(load.failed)} failed")
        print(f"figure: memory: {min(rss for rss, _ in warm)} to {max(rss for rss, _ in warm)} KiB resident, "
              f"{min(own for _, own in warm)} to {max(own for _, own in warm)} KiB of its own, growing by {growth:.0f} KiB")
        print(f"figure: CPU: {cpu / seconds * 100:.2f} %", flush=True)

        self.assertEqual((found["status"], found.get("done"), len(times)), (200, True, EVENTS))
        self.assertEqual(late, 0)
        self.assertLessEqual(statistics.median(delays), 10)
        self.assertEqual(load.failed, [])
        self.assertTrue(all(shot.whole for shot in long_shots), long_shots)
        self.assertLess(growth, GROWTH_KIB)

        books.settle(self.proxy, self.upstream)
        compared = books.Compared(self, self.proxy, self.upstream, load.shots + long_shots)
        compared.each_once()
        count, tokens = compared.exact_equal()
        self.assertEqual(count, len(load.done) + LONG)
        ours = compared.by_id[found["id"]]
        self.assertEqual((ours["usage"], ours["tokens"]["input"], ours["tokens"]["output"]), ("exact", 7, EVENTS), ours)
        print(f"figure: books: {count + 1} requests equal, {tokens['output'] + EVENTS} output tokens")


if __name__ == "__main__":
    harness.TIME_LIMIT = MINUTES * 60 + 300
    harness.main()
