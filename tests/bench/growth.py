"""`./dev bench growth`: how CPU per request and memory grow with what there is much of.

One figure is varied at a time: upstream keys, access keys, size of bodies, streams at once, workers, and
how far away Redis is (a relay between delays what passes). Everything is on, as in `./dev bench`; requests
come at one rate, since a worker that has less to do batches less. Writes docs/benchmarks/growth.json and
the report beside it.
"""
import argparse
import collections
import json
import pathlib
import resource
import select
import socket
import sys
import threading
import time

import full
import report
import rig
from rig import harness

sys.path.insert(0, str(rig.ROOT / "tests/soak"))
from scale_soak import fill  # noqa: E402  (needs the path above)


class DelayedRelay(threading.Thread):
    """Passes bytes both ways between clients and a port, each piece so much later."""

    def __init__(self, port, delay):
        super().__init__(daemon=True)
        self.to, self.delay, self.ends = port, delay, {}
        self.due = collections.deque()  # (when, where to, bytes; none: the end)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.over = False
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def run(self):
        while not self.over:
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else 0.2
            ready, _, _ = select.select([self.listener, *self.ends], [], [], wait)
            for one in ready:
                if one is self.listener:
                    client, _ = one.accept()
                    there = socket.create_connection(("127.0.0.1", self.to))
                    for end, other in ((client, there), (there, client)):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        self.ends[end] = other
                else:
                    try:
                        piece = one.recv(65536)
                    except OSError:
                        piece = b""
                    self.due.append((time.monotonic() + self.delay, self.ends[one], piece))
                    if not piece:
                        del self.ends[one]
            while self.due and self.due[0][0] <= time.monotonic():
                _, to, piece = self.due.popleft()
                try:
                    if piece:
                        to.sendall(piece)
                    else:
                        to.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    def kill(self):
        self.over = True
        self.join()


class Growth(full.Bench):
    curves = {}

    def curve(self, name, title, across, up, series):
        self.curves[name] = {"title": title, "across": across, "up": up, "series": series}
        print(f"[{time.monotonic() - self.began:4.0f} s] {title}: {json.dumps(series)}", flush=True)

    def cost(self, server, key=None, body=None, rate=None, connections=64):
        """Median CPU us a request, and MiB after."""
        url, key = server.url + "/v1/chat/completions", key or self.key_of(server)
        rig.run_load(url, body or self.chat, 2, connections, False, key)
        some = [rig.measure(server, body or self.chat, self.args.seconds, connections, False, key, rate=rate or self.args.rate)
                for _ in range(self.args.rounds)]
        return round(full.median(one[0] for one in some), 2), round(self.resident(server) / 1024, 1)

    def upstream_keys(self):
        us, mib = [], []
        for count in self.args.upstream_keys:
            server = self.keywheel(f"keywheel-up-{count}")
            for first in range(0, count, 10_000):
                lines = "\n".join(f"sk-mock-many-{n:06}" for n in range(first, min(count, first + 10_000)))
                added = server.request("POST", "/admin/keys/batch", {"text": lines, "poolGroup": "openai"}, timeout=120,
                                       headers={"authorization": None, "x-admin-key": harness.ADMIN_KEY})
                assert added.status in (200, 201), added
            time.sleep(2)
            one = self.cost(server)
            us.append((count, one[0]))
            mib.append((count, one[1]))
            server.kill()
        self.curve("upstream_keys_cpu", "CPU by upstream keys", "upstream keys", "us a request", {"keywheel": us})
        self.curve("upstream_keys_memory", "Memory by upstream keys", "upstream keys", "MiB", {"keywheel": mib})

    def access_keys(self):
        us, mib = [], []
        with rig.on_core(rig.PROXY_CORE):
            server = self.keep(harness.Keywheel(self.folder, self.mock, name="keywheel-access"))
        key = server.admin("POST", "/admin/access-keys", {"name": "scale-first"}).json()["data"]["key"]
        have = 1
        for count in self.args.access_keys:
            server.stop()
            fill(self.folder / "keywheel-access-data", have, count)
            have = count
            with rig.on_core(rig.PROXY_CORE):
                server.start()
            server.wait_ready("/readyz", 60)
            one = self.cost(server, key)
            us.append((count, one[0]))
            mib.append((count, one[1]))
        server.kill()
        self.curve("access_keys_cpu", "CPU by access keys (embedded store)", "access keys", "us a request", {"keywheel": us})
        self.curve("access_keys_memory", "Memory by access keys (embedded store)", "access keys", "MiB", {"keywheel": mib})

    def bodies(self):
        ours, theirs, kib = [], [], []
        server, nginx = self.keywheel("keywheel-bodies"), self.nginx("on", name="nginx-bodies")
        for size in self.args.bodies:
            body = rig.chat_body(self.folder / f"body-{size}.json", "mock-tokens-20", False, size)
            rate = max(5, min(self.args.rate, 40_000_000 // size))
            ours.append((size, self.cost(server, body=body, rate=rate, connections=8)[0]))
            theirs.append((size, self.cost(nginx, body=body, rate=rate, connections=8)[0]))
            kib.append((size, round(server.status_kib("VmHWM") / 1024, 1)))
        for one in (server, nginx):
            one.kill()
        self.curve("bodies_cpu", "CPU by size of the request's body", "bytes", "us a request",
                   {"keywheel": ours, "nginx": theirs})
        self.curve("bodies_memory", "Most memory by size of bodies, 8 connections", "bytes", "MiB", {"keywheel": kib})

    def streams_at_once(self):
        us, mib = {"keywheel": [], "nginx": []}, {"keywheel": [], "nginx": []}
        for count in self.args.streams:
            # The same number of events a second, whatever the number of streams; in ticks of the mock.
            pace = max(2, round(count / 3 / 8)) * 8
            for name, server in (("keywheel", self.keywheel(f"keywheel-streams-{count}")),
                                 ("nginx", self.nginx("off", name=f"nginx-streams-{count}"))):
                _, during, used, _ = self.held_streams(server, count, max(2, count / 450), 12, pace)
                us[name].append((count, round(used / (count * 1000 / pace), 2)))
                mib[name].append((count, round(during / 1024, 1)))
                server.kill()
        self.curve("streams_cpu", "CPU by streams at once, near 3,000 events a second", "streams", "us an event", us)
        self.curve("streams_memory", "Memory by streams at once, TLS upstream", "streams", "MiB", mib)

    def workers(self):
        us = []
        for count in (1, 2):
            self.redis.command("FLUSHALL")
            server = self.keywheel(f"keywheel-workers-{count}", more={"WORKERS": count})
            us.append((count, self.cost(server)[0]))
            server.kill()
        self.curve("workers_cpu", "CPU by workers, on one core", "workers", "us a request", {"keywheel": us})

    def far_redis(self):
        us, late = [], []
        for ms in (0, 1, 5):
            relay = self.keep(DelayedRelay(self.redis.port, ms / 2000))
            server = self.keywheel(f"keywheel-far-{ms}", more={"REDIS_URL": relay.url})
            url, key = server.url + "/v1/chat/completions", self.key_of(server)
            rig.run_load(url, self.chat, 2, 64, False, key, rate=1000)
            some = [rig.measure(server, self.chat, self.args.seconds, 64, False, key, rate=1000) for _ in range(self.args.rounds)]
            us.append((ms, round(full.median(one[0] for one in some), 2)))
            late.append((ms, round(full.median(one[2]["p50_us"] for one in some) / 1000, 3)))
            server.kill()
        self.curve("far_redis_cpu", "CPU by distance of Redis, 1,000 requests/s", "ms there and back", "us a request",
                   {"keywheel": us})
        self.curve("far_redis_latency", "Latency by distance of Redis, 1,000 requests/s", "ms there and back", "ms, median",
                   {"keywheel": late})


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"type": lambda text: [int(part) for part in text.split(",")]}
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rate", type=int, default=3000, help="requests a second")
    options.add_argument("--upstream-keys", default=[10, 100, 1000, 10_000, 100_000], **numbers)
    options.add_argument("--access-keys", default=[10, 1000, 100_000, 1_000_000], **numbers)
    options.add_argument("--bodies", default=[1000, 10_000, 100_000, 1_000_000, 10_000_000], **numbers)
    options.add_argument("--streams", default=[100, 1000, 9000], **numbers)
    options.add_argument("--only", default="", help="one of the curves: upstream_keys, access_keys, …")
    options.add_argument("--out", type=pathlib.Path, default=full.OUT)
    args = options.parse_args()
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    args.streams = [count for count in args.streams if 2 * count + 500 < soft]
    with rig.stage() as (folder, keep):
        growth = Growth(args, folder, keep)
        for part in ("upstream_keys", "access_keys", "bodies", "streams_at_once", "workers", "far_redis"):
            if args.only in ("", part):
                getattr(growth, part)()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "growth.json"
    before = json.loads(path.read_text())["curves"] if path.exists() else {}
    path.write_text(json.dumps({"about": full.about(), "curves": {**before, **growth.curves}}, indent=1) + "\n")
    report.write(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
