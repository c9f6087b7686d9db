"""`./dev bench`: every figure of the table of performance, keywheel with all it does against plain nginx.

keywheel authenticates, asks Redis about a limit of the access key at each request, keeps usage and
journal, counts metrics and writes a JSON access log; nginx does nothing of the kind. Each process under
test has one worker on core 0, all else lies on core 1. Rounds take turns; medians are compared. Latency
counts from when a request was due and every answer is compared byte for byte; CPU is that of all threads,
out of /proc. Writes docs/benchmarks/full.json (this run and the one before) and the report beside it.
Exits 1 if any answer was wrong; a missed bound is told in the table.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import threading
import time

import peers
import report
import rig
from rig import harness

OUT = rig.ROOT / "docs/benchmarks"
WINDOW = [{"unit": "requests", "per": "1m", "cap": 1_000_000_000}]
STREAMS, TOKENS, PACE = 480, 100, 10
STREAM_SECONDS = 1.3  # that this is in ticks of the mock
MANY_STREAMS, MANY_SECONDS = 9000, 30
MICRO = ("access_key", "http_head", "journal", "selection", "usage")
median = statistics.median


class Bench:
    def __init__(self, args, folder, keep):
        self.args, self.folder, self.keep, self.rows = args, folder, keep, {}
        self.began = time.monotonic()
        with rig.on_core(rig.OTHER_CORE):
            self.mock = keep(harness.Mock(folder, threads=1, keep_seen=0, keep_entries=1000))
            self.plain_mock = keep(harness.Mock(folder, name="mock-plain", tls=False, threads=1, keep_seen=0,
                                                keep_entries=1000))
            self.redis = keep(harness.Redis(folder))
        self.chat = rig.chat_body(folder / "chat.json", f"mock-tokens-{rig.tokens_for_answer(self.mock)}", False)
        self.stream = rig.chat_body(folder / "stream.json", f"mock-tokens-{TOKENS}-pace-{PACE}", True)

    def row(self, name, **figures):
        self.rows[name] = figures
        shown = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                          for key, value in figures.items() if not isinstance(value, (list, dict)))
        print(f"[{time.monotonic() - self.began:4.0f} s] {name}: {shown}", flush=True)

    def keywheel(self, name="keywheel", mock=None, more=None):
        """One with Redis and an access key that has a limit; each has a database of its own."""
        self.redis.command("FLUSHALL")
        with rig.on_core(rig.PROXY_CORE):
            proxy = self.keep(harness.Keywheel(self.folder, mock or self.mock, name=name, env={
                "REDIS_URL": self.redis.url, "ENCRYPTION_KEY": "e" * 43, **(more or {})}))
        proxy.keys = {}
        for what, limits in (("free", []), ("limited", WINDOW)):
            made = proxy.admin("POST", "/admin/access-keys", {"name": what, "limits": limits})
            assert made.status in (200, 201), made
            proxy.keys[what] = made.json()["data"]["key"]
        return proxy

    def nginx(self, buffering, mock=None, name=None):
        with rig.on_core(rig.PROXY_CORE):
            return self.keep(rig.Nginx(self.folder, mock or self.mock, buffering, name))

    @staticmethod
    def key_of(server, kind="limited"):
        return server.keys[kind] if hasattr(server, "keys") else harness.ACCESS_KEY

    def rounds(self, servers, body, connections, stream=False, seconds=None, rounds=None, **options):
        """{name: list of (CPU us a unit, units a second, what kw_load says)}, the rounds in turns."""
        got = {name: [] for name in servers}
        for turn in range((rounds or self.args.rounds) + 1):
            for name, (server, kind) in servers.items():
                given = dict(options, headers=getattr(server, "headers", ()))
                took = rig.WARM_UP if turn == 0 else seconds or self.args.seconds
                one = rig.measure(server, body, took, connections, stream, self.key_of(server, kind), **given)
                if turn > 0:
                    got[name].append(one)
        return got

    def cpu_of_requests(self, keywheel, nginx):
        servers = {"keywheel": (keywheel, "limited"), "nginx": (nginx, ""), "free": (keywheel, "free")}
        got = self.rounds(servers, self.chat, 64)
        us = {name: median(one[0] for one in some) for name, some in got.items()}
        with rig.on_core(rig.PROXY_CORE):
            others = {"haproxy": peers.haproxy(self.folder, self.mock), "node": peers.node_proxy(self.folder, self.mock),
                      "portkey": peers.portkey(self.folder, self.mock)}
        for peer in others.values():
            self.keep(peer)
        slow = self.rounds({name: (peer, "") for name, peer in others.items()}, self.chat, 64, rounds=2, seconds=2)
        us.update({name: median(one[0] for one in some) for name, some in slow.items()})
        for peer in others.values():
            peer.kill()
        each = {name: [round(one[0], 2) for one in some] for name, some in {**got, **slow}.items()}
        self.row("cpu_request", ratio=us["keywheel"] / us["nginx"], **us, rounds=each)
        self.row("requests_per_cpu_second", ratio=us["nginx"] / us["keywheel"],
                 **{name: 1e6 / one for name, one in us.items()})

    def latency(self, keywheel, nginx):
        for rate in (1000, 5000):
            trips, stop = [], threading.Event()
            pinging = threading.Thread(target=rig.round_trips, args=(self.redis, stop, trips))
            pinging.start()
            servers = {"keywheel": (keywheel, "limited"), "nginx": (nginx, ""), "direct": (self.plain_mock, "")}
            self.plain_mock.keys = {"": rig.UPSTREAM_KEY}
            got = self.rounds(servers, self.chat, 64, rate=rate)
            stop.set()
            pinging.join()
            trip = median(trips)
            at = {q: {name: median(one[2][f"{q}_us"] for one in some) for name, some in got.items()}
                  for q in ("p50", "p99")}
            for q, us in at.items():
                added = {name: us[name] - us["direct"] for name in ("keywheel", "nginx")}
                less = trip if q == "p50" else 0
                self.row(f"added_{q}_{rate}", ratio=(added["keywheel"] - less) / max(added["nginx"], 1.0),
                         **{f"{name}_us": float(one) for name, one in added.items()}, direct_us=float(us["direct"]),
                         round_trip_us=trip)

    def streams(self, keywheel, nginx):
        servers = {"keywheel": (keywheel, "limited"), "nginx": (nginx, "")}
        got = self.rounds(servers, self.stream, STREAMS, True, seconds=max(4.0, self.args.seconds))
        us = {name: median(one[0] for one in some) for name, some in got.items()}
        self.row("cpu_chunk", ratio=us["keywheel"] / us["nginx"], **us,
                 **{f"{name}_per_second": median(one[1] for one in some) for name, some in got.items()},
                 rounds={name: [round(one[0], 2) for one in some] for name, some in got.items()})
        # Streams of one length that begin together do so again and again, and what is measured is how long a core
        # takes for all of them (Redis' core too): they begin spread over the length of one. The burst is told as well.
        for row, spread in (("first_token", {"ramp": STREAM_SECONDS}), ("first_token_burst", {})):
            got = self.rounds(servers, self.stream, STREAMS // 3, True, seconds=max(4.0, self.args.seconds), **spread)
            for q in ("p50", "p99"):
                us = {name: float(median(one[2][f"first_{q}_us"] for one in some)) for name, some in got.items()}
                self.row(f"{row}_{q}", ratio=us["keywheel"] / us["nginx"], **us,
                         per_second=median(one[1] for one in got["keywheel"]))

    @staticmethod
    def resident(server):
        """KiB of a process and its children, what they share counted once."""
        total = 0
        for pid in rig.tree(server.pid):
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE).group(1))
        return total

    def held_streams(self, server, count, ramp, hold, pace=None):
        """Opens streams and looks at them while all are open: (KiB before, KiB then, CPU us a second, kw_load's word).

        pace: ms between two events; else there are but three, far apart."""
        length = (ramp + hold) * 1000
        tokens = int(length / pace) if pace else 3
        body = rig.chat_body(self.folder / "held.json", f"mock-tokens-{tokens}-pace-{pace or int(length / 3)}", True)
        before = self.resident(server)
        argv = rig.load_argv(server.url + "/v1/chat/completions", body, ramp + hold / 2, count, True, self.key_of(server),
                             ramp=ramp, grace=ramp + 2 * hold + 20, requests=count)
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True,
                                 preexec_fn=lambda: os.sched_setaffinity(0, {rig.OTHER_CORE}))
        time.sleep(ramp + hold / 4)
        began, used = time.monotonic(), rig.cpu_us(server.pid)
        time.sleep(hold / 2)
        used = (rig.cpu_us(server.pid) - used) / (time.monotonic() - began)
        during = self.resident(server)
        out, _ = child.communicate(timeout=ramp + 4 * hold + 60)
        got = json.loads(out)
        # A stream that ended after the round is not among the requests, but it was looked at.
        if got["wrong"] or not got["events"]:
            raise SystemExit(f"bench: wrong answers: {got}")
        return before, during, used, got

    def memory_of_streams(self, count):
        kib = {}
        for kind, mock in (("tls", self.mock), ("plain", self.plain_mock)):
            for name, server in (("keywheel", self.keywheel(f"keywheel-memory-{kind}", mock)),
                                 ("nginx", self.nginx("off", mock, f"nginx-memory-{kind}"))):
                rig.run_load(server.url + "/v1/chat/completions", self.chat, 1, 16, False, self.key_of(server))
                before, during, _, _ = self.held_streams(server, count, 2, 6)
                kib[kind, name] = (during - before) / count
                server.kill()
            self.row(f"stream_memory_{kind}", ratio=kib[kind, "keywheel"] / kib[kind, "nginx"],
                     keywheel_kib=kib[kind, "keywheel"], nginx_kib=kib[kind, "nginx"], streams=count)

    def many_streams(self):
        server = self.keywheel("keywheel-many")
        before, during, _, got = self.held_streams(server, MANY_STREAMS, MANY_SECONDS - 8, 12)
        self.row("many_streams", streams=got["started"], errors=got["wrong"] + MANY_STREAMS - got["started"],
                 seconds=float(MANY_SECONDS - 8), kib_each=(during - before) / MANY_STREAMS)
        server.kill()

    def burst(self):
        server = self.keywheel("keywheel-burst")
        rig.run_load(server.url + "/v1/chat/completions", self.chat, 0.5, 1, False, self.key_of(server))
        time.sleep(1)
        idle = server.status_kib() / 1024
        body = rig.chat_body(self.folder / "large.json", "mock-tokens-20", False, 150_000)
        got = rig.run_load(server.url + "/v1/chat/completions", body, 5, 1500, False, self.key_of(server), grace=40)
        self.row("resident", idle_mib=idle, burst_mib=server.status_kib("VmHWM") / 1024, answered=got["requests"])
        server.kill()

    def many_keys(self):
        server = self.keywheel("keywheel-keys")
        lines = "\n".join(f"sk-mock-many-{n:04}" for n in range(1000))
        added = server.admin("POST", "/admin/keys/batch", {"text": lines, "poolGroup": "openai"})
        assert added.json()["data"]["added"] == 1000, added
        # A key is told of when it was used.
        rig.run_load(server.url + "/v1/chat/completions", self.chat, 3, 16, False, self.key_of(server))
        took, sizes = [], []
        for _ in range(10):
            began = time.perf_counter()
            answer = server.admin("GET", "/metrics")
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status == 200, answer.status
            sizes.append(len(answer.body))
        starts = []
        for _ in range(5):
            server.stop()
            with rig.on_core(rig.PROXY_CORE):
                began = time.perf_counter()
                server.start()
                while True:
                    try:
                        if server.request("GET", "/readyz", timeout=2).status == 200:
                            break
                    except OSError:
                        pass
                    time.sleep(0.001)
                starts.append((time.perf_counter() - began) * 1000)
        self.row("cold_start", ms=min(starts))
        self.row("metrics", ms=median(took), kb=max(sizes) / 1000)
        server.kill()

    def reuse(self, keywheel):
        def counts():
            text = keywheel.admin("GET", "/metrics").body.decode()
            return {kind: float(re.search(rf'keywheel_upstream_connections_total{{kind="{kind}"}} (\S+)', text).group(1))
                    for kind in ("new", "reused")}
        rig.run_load(keywheel.url + "/v1/chat/completions", self.chat, 2, 64, False, self.key_of(keywheel))
        before = counts()
        rig.run_load(keywheel.url + "/v1/chat/completions", self.chat, 4, 64, False, self.key_of(keywheel), rate=1000)
        used = {kind: value - before[kind] for kind, value in counts().items()}
        self.row("reused", percent=100 * used["reused"] / (used["reused"] + used["new"]))

    def micro(self):
        """Google Benchmark's figures: {name: ns}."""
        found = {}
        for part in MICRO:
            program = pathlib.Path(harness.PROGRAM).parent / f"tests/{part}_bench"
            done = subprocess.run([program, "--benchmark_format=json", "--benchmark_min_time=0.05"], text=True, timeout=300,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                                  preexec_fn=lambda: os.sched_setaffinity(0, {rig.PROXY_CORE}))
            scale = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
            for one in json.loads(done.stdout)["benchmarks"]:
                found[f"{program.name}/{one['name']}"] = round(one["cpu_time"] * scale[one["time_unit"]], 1)
        among = {name: ns for name, ns in found.items() if name.startswith("selection_bench/") and name.endswith("/10000")}
        self.row("key_choice", worst_ns=max(ns for name, ns in among.items() if "at_rest" not in name),
                 worst_at_rest_ns=max(ns for name, ns in among.items() if "at_rest" in name))
        self.row("key_look_up", ns=found["access_key_bench/find/1000000"])
        self.row("micro", count=len(found), figures=found)

    def run(self):
        keywheel, plain, flowing = self.keywheel(), self.nginx("on"), self.nginx("off")
        self.cpu_of_requests(keywheel, plain)
        self.latency(keywheel, plain)
        self.streams(keywheel, flowing)
        self.reuse(keywheel)
        for server in (keywheel, plain, flowing):
            server.kill()
        self.memory_of_streams(self.args.held)
        self.many_streams()
        self.burst()
        self.many_keys()
        if not self.args.no_micro:
            self.micro()


def about() -> dict:
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=rig.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return {"cpu": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d", time.gmtime())}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="of one round of one server")
    options.add_argument("--held", type=int, default=2000, help="streams for their memory")
    options.add_argument("--no-micro", action="store_true")
    options.add_argument("--out", type=pathlib.Path, default=OUT, help="folder of the report")
    args = options.parse_args()
    with rig.stage() as (folder, keep):
        bench = Bench(args, folder, keep)
        bench.run()
        this = {"about": {**about(), "rounds": args.rounds, "seconds": args.seconds,
                          "took_s": round(time.monotonic() - bench.began)}, "rows": bench.rows}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "full.json"
    before = json.loads(path.read_text())["runs"][:1] if path.exists() else []
    path.write_text(json.dumps({"runs": [this, *before]}, indent=1) + "\n")
    report.write(args.out)
    print(report.table(this["rows"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
