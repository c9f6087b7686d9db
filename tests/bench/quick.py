"""`./dev bench quick`: CPU per request and per relayed SSE chunk, keywheel against nginx.

Both run with one worker on core 0 and speak TLS with keep-alive to the same mock upstream, which
shares core 1 with the load generator. Rounds are interleaved and medians compared, because such
machines drift; the ratio is the figure, the microseconds are its explanation. nginx has no access
log and knows nothing of keys and books, keywheel does all it always does.
Exits 1 if a ratio is over the limit or any answer was wrong.
"""
import argparse
import statistics
import sys

import rig
from rig import harness


def compare(what, unit, keywheel, nginx, rounds, limit, *load):
    figures = {"keywheel": [], "nginx": []}
    rates = {"keywheel": [], "nginx": []}
    for turn in range(rounds + 1):
        for name, server in (("keywheel", keywheel), ("nginx", nginx)):
            # The first turn warms connections and caches; a stream must end in it.
            us, rate, _ = rig.measure(server, load[0], rig.WARM_UP if turn == 0 else load[1], *load[2:])
            if turn > 0:
                figures[name].append(us)
                rates[name].append(rate)
    ours, theirs = statistics.median(figures["keywheel"]), statistics.median(figures["nginx"])
    ratio = ours / theirs
    for name in figures:
        print(f"  {name:9} {' '.join(f'{us:6.2f}' for us in figures[name])}  us CPU per {unit}, "
              f"{statistics.median(rates[name]):.0f} {unit}s/s")
    print(f"figure: {what}: keywheel {ours:.2f} us, nginx {theirs:.2f} us, ratio {ratio:.2f} (limit {limit})")
    return ratio <= limit


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="of one round of one server")
    options.add_argument("--limit", type=float, default=1.3)
    options.add_argument("--streams", type=int, default=300, help="connections of the stream rounds")
    options.add_argument("--pace", type=int, default=10, help="ms between two events of a stream")
    args = options.parse_args()

    with rig.stage() as (folder, keep):
        with rig.on_core(rig.OTHER_CORE):
            mock = keep(harness.Mock(folder, threads=1, keep_seen=0))
        with rig.on_core(rig.PROXY_CORE):
            keywheel = keep(harness.Keywheel(folder, mock))
            plain = keep(rig.Nginx(folder, mock, "on"))
            # A stream passes at once only without buffering.
            flowing = keep(rig.Nginx(folder, mock, "off"))

        chat = rig.chat_body(folder / "chat.json", f"mock-tokens-{rig.tokens_for_answer(mock)}", False)
        stream = rig.chat_body(folder / "stream.json", f"mock-tokens-100-pace-{args.pace}", True)
        good = compare("cpu per request", "request", keywheel, plain, args.rounds, args.limit,
                       chat, args.seconds, 64, False)
        good &= compare("cpu per SSE chunk", "chunk", keywheel, flowing, args.rounds, args.limit,
                        stream, args.seconds, args.streams, True)
        print(f"figure: memory after load: keywheel {keywheel.status_kib()} KiB")
    return rig.verdict(good)


if __name__ == "__main__":
    sys.exit(main())
