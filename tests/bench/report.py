"""The benchmark's report: docs/benchmarks/README.md and its plots, out of full.json and growth.json there.

The same figures give the same files. `python3 -B tests/bench/report.py` writes them anew.
"""
import json
import math
import pathlib
import sys

OUT = pathlib.Path(__file__).resolve().parents[2] / "docs/benchmarks"
# (row, what it is called, its figure, must not be worse than, target, unit); bounds of ratios have no unit.
BOUNDS = [
    ("cpu_request", "CPU a request, closed loop, 64 connections", "ratio", 1.15, 0.95, ""),
    ("requests_per_cpu_second", "requests a CPU second", "ratio", 0.87, 1.05, ""),
    ("added_p50_1000", "added p50 at 1,000 requests/s, less a round trip to Redis", "ratio", 1.2, 1.0, ""),
    ("added_p99_1000", "added p99 at 1,000 requests/s", "ratio", 1.5, 1.1, ""),
    ("added_p99_5000", "added p99 at 5,000 requests/s", "ratio", 1.5, 1.1, ""),
    ("cpu_chunk", "CPU a relayed SSE chunk, near 30,000 chunks/s", "ratio", 1.25, 1.05, ""),
    ("first_token_p50", "time to first token, p50, near 10,000 chunks/s", "ratio", 1.2, 1.0, ""),
    ("stream_memory_tls", "memory of an idle stream, TLS upstream", "ratio", 1.0, 0.75, ""),
    ("stream_memory_plain", "memory of an idle stream, plain upstream", "ratio", 0.6, 0.4, ""),
    ("many_streams", "9,000 streams opened within 30 s, errors", "errors", 0, 0, ""),
    ("resident", "resident memory, idle", "idle_mib", 20, 12, "MiB"),
    ("resident", "resident memory, 1,500 connections with bodies of 150 KB", "burst_mib", 300, 220, "MiB"),
    ("key_choice", "choice of a key among 10,000, the slowest strategy", "worst_ns", 200, 100, "ns"),
    ("key_look_up", "look-up of an access key among 1,000,000", "ns", 500, 200, "ns"),
    ("cold_start", "cold start to ready, 1,000 upstream keys, Redis", "ms", 300, 100, "ms"),
    ("metrics", "`/metrics` with 1,000 upstream keys", "ms", 20, 5, "ms"),
    ("metrics", "… its size", "kb", 2000, 1000, "KB"),
    ("reused", "upstream connections reused at steady load", "percent", 99, 99.9, "%"),
]
MORE_IS_BETTER = {"requests_per_cpu_second", "reused"}
PEERS = [("keywheel", "keywheel, all on"), ("free", "keywheel, access key without limit"), ("nginx", "nginx 1.22"),
         ("haproxy", "haproxy 2.6"), ("node", "plain proxy in Node"), ("portkey", "Portkey AI gateway")]
COLOURS = ["#2f6fb0", "#c8572b", "#3f8f4f", "#8a5ea8", "#777777", "#b08a2f"]


def shown(value) -> str:
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def table(rows, before=None) -> str:
    lines = ["| figure | keywheel | nginx | ratio or value | must not be worse than | target | |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for row, title, field, bound, target, unit in BOUNDS:
        got = rows.get(row)
        if got is None or field not in got:
            continue
        value = got[field]
        better = (lambda a, b: a >= b) if row in MORE_IS_BETTER else (lambda a, b: a <= b)
        pair = [next((shown(got[name]) + suffix for name, suffix in
                      ((who, " us" if "cpu" in row or "first" in row else ""), (f"{who}_us", " us"), (f"{who}_kib", " KiB"))
                      if name in got and field == "ratio"), "") for who in ("keywheel", "nginx")]
        if row == "requests_per_cpu_second":
            pair = [text.removesuffix(" us") for text in pair]
        also = f" ({shown(before[row][field])} before)" if before and row in before and field in before[row] else ""
        state = "target" if better(value, target) else "met" if better(value, bound) else "**missed**"
        lines.append(f"| {title} | {pair[0]} | {pair[1]} | {shown(value)} {unit}{also} | {shown(bound)} | {shown(target)} | {state} |")
    return "\n".join(lines).replace(" (", " (").replace("  ", " ")


def bars(title, values, unit) -> str:
    """Horizontal bars, as one file of SVG; values: [(label, number)]."""
    width, left, line = 760, 260, 30
    most = max(number for _, number in values)
    logarithmic = most / min(number for _, number in values) > 30
    def length(number):
        part = math.log10(1 + number) / math.log10(1 + most) if logarithmic else number / most
        return part * (width - left - 120)
    out = [f'<text x="10" y="22" font-weight="bold">{title}{" (logarithmic)" if logarithmic else ""}</text>']
    for i, (label, number) in enumerate(values):
        y = 40 + i * line
        out.append(f'<text x="{left - 10}" y="{y + 16}" text-anchor="end">{label}</text>')
        out.append(f'<rect x="{left}" y="{y}" width="{length(number):.1f}" height="20" fill="{COLOURS[i % len(COLOURS)]}"/>')
        out.append(f'<text x="{left + length(number) + 6:.1f}" y="{y + 16}">{shown(number)} {unit}</text>')
    return svg(width, 50 + len(values) * line, out)


def svg(width, height, parts) -> str:
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def lines(title, across, up, series) -> str:
    """A curve for each of {label: [(x, y)]}; x logarithmic when it spans more than ten times."""
    width, height, left, bottom, top = 760, 360, 70, 50, 40
    points = [point for some in series.values() for point in some]
    xs, most = sorted({x for x, _ in points}), max(y for _, y in points) * 1.1 or 1
    logarithmic = xs[0] > 0 and xs[-1] / xs[0] > 10
    scale = math.log10 if logarithmic else float
    low, high = scale(xs[0]), scale(xs[-1])

    def place(x, y):
        part = (scale(x) - low) / (high - low) if high > low else 0.5
        return left + part * (width - left - 190), height - bottom - y / most * (height - bottom - top)
    out = [f'<text x="10" y="22" font-weight="bold">{title}</text>']
    for i in range(5):
        y = most * i / 4
        out.append('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="#dddddd"/>'.format(
            *place(xs[0], y), *place(xs[-1], y)))
        out.append(f'<text x="{left - 8}" y="{place(xs[0], y)[1] + 4:.1f}" text-anchor="end">{shown(round(y, 2))}</text>')
    for x in xs:
        out.append(f'<text x="{place(x, 0)[0]:.1f}" y="{height - bottom + 18}" text-anchor="middle">{x:,}</text>')
    out.append(f'<text x="{left}" y="{height - 10}">{across}</text><text x="{left}" y="{top - 6}">{up}</text>')
    for i, (label, some) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in some))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (place(*point) for point in some)]
        out.append(f'<text x="{width - 180}" y="{top + 20 * i + 10}" fill="{colour}">{label}</text>')
    return svg(width, height, out)


def of_full(runs, out) -> list:
    this, rows = runs[0], runs[0]["rows"]
    before = runs[1]["rows"] if len(runs) > 1 else None
    about = this["about"]
    text = [f"{about['date']}, commit {about['commit']}: {about['cores']} cores, {about['cpu']}, Linux {about['kernel']}; medians "
            f"of {about['rounds']} rounds of {about['seconds']} s in turns. The run took {about['took_s']} s.", "",
            table(rows, before), ""]
    if before:
        apart = {title: abs(rows[row][field] / before[row][field] - 1) for row, title, field, *_ in BOUNDS
                 if field == "ratio" and row in rows and row in before and before[row][field] > 0}
        if apart:
            worst = max(apart, key=apart.get)
            text += [f"Ratios of the two last runs are at most {apart[worst]:.0%} apart ({worst}).", ""]
    cpu = rows["cpu_request"]
    (out / "peers.svg").write_text(bars("CPU time a request", [(title, cpu[name]) for name, title in PEERS if name in cpu], "us"))
    text += ["## Against what else one could run", "", "![CPU time a request](peers.svg)", "",
             "| | CPU a request | of nginx |", "| --- | --- | --- |"]
    text += [f"| {title} | {shown(cpu[name])} us | {cpu[name] / cpu['nginx']:.2f} |" for name, title in PEERS if name in cpu]
    ratios = [(title, rows[row]["ratio"]) for row, title, field, *_ in BOUNDS
              if field == "ratio" and row in rows and rows[row]["ratio"] > 0]
    (out / "ratios.svg").write_text(bars("keywheel over nginx", [(title[:38], ratio) for title, ratio in ratios], ""))
    text += ["", "## Ratios to nginx", "", "![ratios to nginx](ratios.svg)", ""]
    if "micro" in rows:
        text += ["## Micro-benchmarks", "", "| | ns |", "| --- | --- |"]
        text += [f"| {name} | {shown(ns)} |" for name, ns in rows["micro"]["figures"].items()]
        text.append("")
    return text


def of_growth(curves, out) -> list:
    text = ["## How cost grows", ""]
    for name, curve in curves["curves"].items():
        file = name.replace("_", "-") + ".svg"
        (out / file).write_text(lines(curve["title"], curve["across"], curve["up"],
                                      {label: [tuple(p) for p in points] for label, points in curve["series"].items()}))
        text += [f"![{curve['title']}]({file})", "", f"| {curve['across']} | " + " | ".join(curve["series"]) + " |",
                 "| --- |" + " --- |" * len(curve["series"])]
        for x in sorted({x for points in curve["series"].values() for x, _ in points}):
            cells = [next((shown(y) for at, y in points if at == x), "") for points in curve["series"].values()]
            text.append(f"| {x:,} | " + " | ".join(cells) + " |")
        text.append("")
    return text


def write(out=OUT):
    text = ["# Benchmarks", "", "Made by `./dev bench` and `./dev bench growth`; what is measured and how: "
            "[performance.md](../performance.md). Compare ratios; microseconds are those of one machine on one day.", ""]
    if (out / "full.json").exists():
        text += of_full(json.loads((out / "full.json").read_text())["runs"], out)
    if (out / "growth.json").exists():
        text += of_growth(json.loads((out / "growth.json").read_text()), out)
    (out / "README.md").write_text("\n".join(text).rstrip() + "\n")


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
