"""`./dev bench instructions`: instructions per request and per relayed chunk, outside the kernel.

Wall and CPU time are not stable enough to guard; what callgrind counts is. One keywheel with one
worker, all on (authentication, usage, journal, Redis, metrics, access log), a mock upstream by TLS
and few connections, so that each turn of the loop has the same to do. After a warm-up a fixed number
of requests is counted. The figure is that of the thread that did most, the worker: what the others
do is cut by the clock. Counts are taken between loads, so start-up has no part in them.

The figures are kept in instructions.json beside this file; with --update they are written there. Each
exchange is counted three times and the spread is told; the least is compared, as nothing but the clock's
work is added. Exits 1 if one is more than 5 % above what is kept. The program is to be a release's or
one of the same optimisation (KW_AS_RELEASED).
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import rig
from rig import harness

KEPT = pathlib.Path(__file__).resolve().parent / "instructions.json"
GROWTH = 0.05
WINDOW = [{"unit": "requests", "per": "1m", "cap": 100_000_000}]
CHUNKS = 100
# name: (streamed, with a limit, connections, requests, units in each). The mock paces streams by ticks of some
# milliseconds; ten at a time leave the clock's own work, which is done between chunks, a small part.
EXCHANGES = {"plain": (False, False, 1, 1000, 1), "limited": (False, True, 1, 1000, 1),
             "stream": (True, False, 10, 30, CHUNKS)}


# callgrind and its control find one another by names out of these; HOST is keywheel's own setting too.
MEETING = {"USER": "bench", "LOGNAME": "bench", "HOST": "127.0.0.1"}


def control(*words):
    subprocess.run(["callgrind_control", *words], env={**os.environ, **MEETING}, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def totals(dumps, run) -> list:
    """Instructions of each thread in the dump of that number."""
    found = []
    for path in dumps.glob(f"callgrind.{run}-*"):
        line = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
        found.append(int(line.group(1)) if line else 0)
    return found


class Counted(harness.Keywheel):
    """keywheel under callgrind, which counts nothing until it is told to."""

    def __init__(self, folder, mock, redis):
        # Line tables take callgrind longer to read than all that is counted.
        program = folder / "keywheel-counted"
        subprocess.run(["strip", "-g", "-o", program, harness.PROGRAM], check=True)
        self.dumps, self.runs = folder / "dumps", 0
        self.dumps.mkdir()
        wrapper = folder / "counted.sh"
        wrapper.write_text("#!/bin/sh\nexec valgrind -q --tool=callgrind --instr-atstart=no --separate-threads=yes "
                           f"--callgrind-out-file={self.dumps}/callgrind {program} \"$@\"\n")
        wrapper.chmod(0o755)
        kept, harness.PROGRAM = harness.PROGRAM, str(wrapper)
        try:
            super().__init__(folder, mock, wait=False,
                             env={"REDIS_URL": redis.url, "ENCRYPTION_KEY": "e" * 43, **MEETING})
        finally:
            harness.PROGRAM = kept
        self.wait_ready("/readyz", 60)

    def dump(self) -> int:
        """What the busiest thread did since the last dump."""
        self.runs += 1
        control("-d", str(self.pid))
        return max(harness.wait_until("callgrind's dump", lambda: totals(self.dumps, self.runs)))

    def count(self, work) -> int:
        if self.runs == 0:
            control("-i", "on", str(self.pid))
        self.dump()
        work()
        return self.dump()


def count_all(rounds) -> dict:
    figures = {name: [] for name in EXCHANGES}
    with rig.stage() as (folder, keep):
        mock = keep(harness.Mock(folder, threads=1, keep_seen=0))
        redis = keep(harness.Redis(folder))
        proxy = keep(Counted(folder, mock, redis))
        keys = {}
        for name, limits in ((False, []), (True, WINDOW)):
            made = proxy.admin("POST", "/admin/access-keys", {"name": str(name), "limits": limits})
            assert made.status in (200, 201), made
            keys[name] = made.json()["data"]["key"]
        bodies = {False: rig.chat_body(folder / "chat.json", f"mock-tokens-{rig.tokens_for_answer(mock)}", False),
                  True: rig.chat_body(folder / "stream.json", f"mock-tokens-{CHUNKS}-pace-2", True)}
        for _ in range(rounds):
            for name, (stream, limited, connections, requests, units) in EXCHANGES.items():
                def load(n):
                    rig.run_load(proxy.url + "/v1/chat/completions", bodies[stream], 60, connections, stream,
                                 keys[limited], requests=n)
                load(max(connections, requests // 10))
                began = time.monotonic()
                figures[name].append(proxy.count(lambda: load(requests)) / (requests * units))
                print(f"  {name}: {figures[name][-1]:.0f} ({time.monotonic() - began:.1f} s)", flush=True)
    return figures


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--update", action="store_true", help="keep what is counted now")
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    figures = count_all(args.rounds)
    good = True
    kept = {} if args.update else json.loads(KEPT.read_text())
    for name, counts in figures.items():
        spread = max(counts) / min(counts) - 1
        unit = "chunk" if EXCHANGES[name][0] else "request"
        text = f"figure: instructions of the worker per {unit}, {name}: {min(counts):.0f}, spread {spread:.2%}"
        if args.update:
            kept[name] = round(min(counts))
        else:
            growth = min(counts) / kept[name] - 1
            text += f", {growth:+.1%} of the {kept[name]} kept (bound {GROWTH:+.0%})"
            good &= growth <= GROWTH
        print(text, flush=True)
    if args.update:
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")
    return rig.verdict(good)


if __name__ == "__main__":
    sys.exit(main())
