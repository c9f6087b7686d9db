"""`./dev bench quick`: CPU per request and per relayed SSE chunk, keywheel against nginx.

Both run with one worker on core 0 and speak TLS with keep-alive to the same mock upstream, which
shares core 1 with the load generator. Rounds are interleaved and medians compared, because such
machines drift; the ratio is the figure, the microseconds are its explanation. nginx has no access
log and knows nothing of keys and books, keywheel does all it always does.
Exits 1 if a ratio is over the limit or any answer was wrong.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "e2e"))
os.environ.setdefault("KEYWHEEL", str(pathlib.Path(__file__).resolve().parents[3] / "build/release/keywheel"))
import harness  # noqa: E402  (needs the path and the variable above)

LOAD = pathlib.Path(harness.PROGRAM).parent / "tests/kw_load"
REQUEST_BYTES, ANSWER_BYTES = 1500, 1400
PROXY_CORE, OTHER_CORE = 0, 1
WARM_UP = 2.5  # seconds

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log warn;
{user}
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; tcp_nodelay on; keepalive_requests 100000000; client_max_body_size 0;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    upstream mock {{ server 127.0.0.1:{mock}; keepalive 1024; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass https://mock; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer sk-mock-a";
            proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost;
            proxy_ssl_server_name on; proxy_buffering {buffering}; proxy_read_timeout 300s;
        }}
    }}
}}
"""


def on_core(core):
    os.sched_setaffinity(0, {core})


def tree(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def cpu_us(pid) -> float:
    """CPU time of a process and its children: from the scheduler's nanoseconds where it keeps them."""
    total = 0.0
    for one in tree(pid):
        for task in pathlib.Path(f"/proc/{one}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0]) / 1000
            except OSError:
                fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
                total += (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")
    return total


class Nginx(harness.HttpProcess):
    def __init__(self, folder, mock, buffering):
        name = f"nginx-{buffering}"
        self.port = harness.free_port()
        home = folder / name
        home.mkdir()
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        config = home / "nginx.conf"
        config.write_text(NGINX.format(dir=home, port=self.port, mock=mock.port, ca=mock.ca, buffering=buffering,
                                       user="user root;" if os.geteuid() == 0 else ""))
        super().__init__(name, [program, "-c", config, "-p", home], folder)
        self.wait_ready("/__health")

    def kill(self):
        # The worker outlives a master that is killed.
        if self.alive():
            self.child.terminate()
        self.child.wait(10)


def run_load(url, body, seconds, connections, stream, key=harness.ACCESS_KEY, rate=None):
    argv = [LOAD, "--url", url, "--connections", connections, "--seconds", seconds, "--body", body,
            "--header", f"Authorization: Bearer {key}", "--header", "x-test-id: bench"]
    if rate:
        argv += ["--rate", rate]
    done = subprocess.run([str(a) for a in argv] + (["--stream"] if stream else []), stdout=subprocess.PIPE,
                          text=True, timeout=seconds + 30, preexec_fn=lambda: on_core(OTHER_CORE))
    got = json.loads(done.stdout)
    if done.returncode != 0:
        raise SystemExit(f"bench: wrong answers: {got}")
    return got


def measure(server, body, seconds, connections, stream, key=harness.ACCESS_KEY, rate=None):
    """With a rate: so many requests a second, else as many as the connections can make."""
    before = cpu_us(server.pid)
    got = run_load(server.url + "/v1/chat/completions", body, seconds, connections, stream, key, rate)
    used = cpu_us(server.pid) - before
    units = got["events"] if stream else got["started"]
    return used / units, units / got["seconds"], got


def chat_body(path, model, stream):
    request = {"model": model, "stream": stream, "messages": [{"role": "user", "content": ""}]}
    request["messages"][0]["content"] = ("words to fill " * 200)[:REQUEST_BYTES - len(json.dumps(request))]
    path.write_text(json.dumps(request))
    return path


def tokens_for_answer(mock) -> int:
    """How many tokens make an answer of the wanted size."""
    def size(tokens):
        answer = mock.post("/v1/chat/completions", {"model": f"mock-tokens-{tokens}", "messages": []},
                           headers={"authorization": "Bearer sk-mock-a", "x-test-id": "bench"})
        assert answer.status == 200, answer
        return len(answer.body)
    short, long = size(50), size(250)
    return max(1, round(50 + (ANSWER_BYTES - short) * 200 / (long - short)))


def compare(what, unit, keywheel, nginx, rounds, limit, *load):
    figures = {"keywheel": [], "nginx": []}
    rates = {"keywheel": [], "nginx": []}
    for turn in range(rounds + 1):
        for name, server in (("keywheel", keywheel), ("nginx", nginx)):
            # The first turn warms connections and caches; a stream must end in it.
            us, rate, _ = measure(server, load[0], WARM_UP if turn == 0 else load[1], *load[2:])
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

    folder = pathlib.Path(tempfile.mkdtemp(prefix="keywheel-bench-"))
    running = []
    try:
        # Children inherit the core.
        on_core(OTHER_CORE)
        mock = harness.Mock(folder, threads=1, keep_seen=0)
        running.append(mock)
        on_core(PROXY_CORE)
        keywheel = harness.Keywheel(folder, mock)
        running.append(keywheel)
        plain = Nginx(folder, mock, "on")
        running.append(plain)
        # A stream passes at once only without buffering.
        flowing = Nginx(folder, mock, "off")
        running.append(flowing)
        os.sched_setaffinity(0, range(os.cpu_count()))

        tokens = tokens_for_answer(mock)
        chat = chat_body(folder / "chat.json", f"mock-tokens-{tokens}", False)
        stream = chat_body(folder / "stream.json", f"mock-tokens-100-pace-{args.pace}", True)
        good = compare("cpu per request", "request", keywheel, plain, args.rounds, args.limit,
                       chat, args.seconds, 64, False)
        good &= compare("cpu per SSE chunk", "chunk", keywheel, flowing, args.rounds, args.limit,
                        stream, args.seconds, args.streams, True)
        print(f"figure: memory after load: keywheel {keywheel.status_kib()} KiB")
    finally:
        for process in reversed(running):
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print("bench: " + ("within the limit" if good else "OVER THE LIMIT"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
