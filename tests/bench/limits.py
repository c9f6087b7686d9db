"""`./dev bench limits`: what limits cost a request, on a real Redis.

One keywheel and one Redis, two access keys: one is free, the other has a window of requests, a budget
of tokens, one of money and a cap on concurrency, none of which is ever reached. Rounds with the one and
the other take turns; the medians of CPU per request are compared, once with all that 64 connections can
ask for and once with the same number of requests a second for each, and of the 99th percentile of latency
with a light load. Redis lies on the other core, its CPU time is told apart; a round trip to it is timed
by PING under the same load.
Exits 1 if limits cost more CPU than the bound or any answer was wrong.
"""
import argparse
import statistics
import sys
import threading

import rig
from rig import harness

LIMITS = [{"unit": "requests", "per": "1m", "cap": 100_000_000}, {"unit": "tokens", "per": "day", "cap": 10**12},
          {"unit": "cost", "per": "month", "cap": "1000000"}, {"unit": "concurrent", "cap": 10_000}]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="of one round of one key")
    options.add_argument("--limit", type=float, default=1.15, help="CPU with limits over CPU without")
    options.add_argument("--rate", type=int, default=5000, help="requests a second of the round at one rate")
    args = options.parse_args()

    with rig.stage() as (folder, keep):
        with rig.on_core(rig.OTHER_CORE):
            mock = keep(harness.Mock(folder, threads=1, keep_seen=0))
            redis = keep(harness.Redis(folder))
        with rig.on_core(rig.PROXY_CORE):
            proxy = keep(harness.Keywheel(folder, mock, env={"REDIS_URL": redis.url, "ENCRYPTION_KEY": "e" * 43}))

        keys = {}
        for name, limits in (("free", []), ("one window", LIMITS[:1]), ("four limits", LIMITS)):
            made = proxy.admin("POST", "/admin/access-keys", {"name": name, "limits": limits})
            assert made.status in (200, 201), made
            keys[name] = made.json()["data"]["key"]
        chat = rig.chat_body(folder / "chat.json", f"mock-tokens-{rig.tokens_for_answer(mock)}", False)

        used = {name: [] for name in keys}
        of_redis = {name: [] for name in keys}
        for turn in range(args.rounds + 1):
            for name, key in keys.items():
                before = rig.cpu_us(redis.pid)
                us, rate, got = rig.measure(proxy, chat, rig.WARM_UP if turn == 0 else args.seconds, 64, False, key)
                if turn > 0:
                    used[name].append(us)
                    of_redis[name].append((rig.cpu_us(redis.pid) - before) / got["started"])
        free = statistics.median(used["free"])
        good = True
        for name in keys:
            us = statistics.median(used[name])
            print(f"figure: cpu per request, {name}: {us:.2f} us, {us / free:.2f} of free, "
                  f"Redis {statistics.median(of_redis[name]):.2f} us")
            good &= name == "free" or us / free <= args.limit

        at_rate = {name: [] for name in keys}
        for _ in range(args.rounds):
            for name, key in keys.items():
                at_rate[name].append(rig.measure(proxy, chat, args.seconds, 64, False, key, rate=args.rate)[0])
        free = statistics.median(at_rate["free"])
        for name in keys:
            us = statistics.median(at_rate[name])
            print(f"figure: cpu per request at {args.rate} a second, {name}: {us:.2f} us, {us / free:.2f} of free")

        # A light load: what a client waits longer for is the round trip.
        trips, stop = [], threading.Event()
        pinging = threading.Thread(target=rig.round_trips, args=(redis, stop, trips))
        pinging.start()
        late = {name: [] for name in keys}
        for _ in range(args.rounds):
            for name, key in keys.items():
                late[name].append(rig.measure(proxy, chat, args.seconds, 2, False, key)[2])
        stop.set()
        pinging.join()
        trips.sort()
        print(f"figure: a round trip to Redis: median {statistics.median(trips):.0f} us, "
              f"99 % {trips[len(trips) * 99 // 100]:.0f} us")
        for name, got in late.items():
            print(f"figure: latency with 2 connections, {name}: median {statistics.median(g['p50_us'] for g in got):.0f} us, "
                  f"99 % {statistics.median(g['p99_us'] for g in got):.0f} us")
    return rig.verdict(good)


if __name__ == "__main__":
    sys.exit(main())
