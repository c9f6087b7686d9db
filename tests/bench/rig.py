"""What the benchmarks share: the processes on their cores, load, CPU time out of /proc, the end of a script.

A proxy under test has core 0 to itself; the mock upstream, Redis and the load generator share core 1.
"""
import contextlib
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
os.environ.setdefault("KEYWHEEL", str(ROOT / "build/release/keywheel"))
import harness  # noqa: E402  (needs the path and the variable above)

# Thousands of streams, for whatever is started from here.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

LOAD = pathlib.Path(harness.PROGRAM).parent / "tests/kw_load"
REQUEST_BYTES, ANSWER_BYTES = 1500, 1400
PROXY_CORE, OTHER_CORE = 0, 1
WARM_UP = 2.5  # seconds
UPSTREAM_KEY = "sk-mock-a"

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log warn;
{user}
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off; tcp_nodelay on; keepalive_requests 100000000; client_max_body_size 0;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    upstream mock {{ server 127.0.0.1:{mock}; keepalive 1024; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=8192;
        location / {{
            proxy_pass {scheme}://mock; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {key}";
            {tls}
            proxy_buffering {buffering}; proxy_read_timeout 300s;
        }}
    }}
}}
"""
NGINX_TLS = """proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost;
            proxy_ssl_server_name on;"""


@contextlib.contextmanager
def on_core(core):
    """What is started in here inherits the core."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, range(os.cpu_count()))


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
    def __init__(self, folder, mock, buffering, name=None):
        name = name or f"nginx-{buffering}"
        self.port = harness.free_port()
        home = folder / name
        home.mkdir()
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        config = home / "nginx.conf"
        config.write_text(NGINX.format(dir=home, port=self.port, mock=mock.port, key=UPSTREAM_KEY, buffering=buffering,
                                       scheme="https" if mock.ca else "http",
                                       tls=NGINX_TLS.format(ca=mock.ca) if mock.ca else "",
                                       user="user root;" if os.geteuid() == 0 else ""))
        super().__init__(name, [program, "-c", config, "-p", home], folder)
        self.wait_ready("/__health")

    def kill(self):
        # The worker outlives a master that is killed.
        if self.alive():
            self.child.terminate()
        self.child.wait(10)


@contextlib.contextmanager
def stage():
    """A folder and a list for the processes that are started; both are cleared away at the end."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keywheel-bench-"))
    running = []

    def keep(process):
        running.append(process)
        return process
    try:
        yield folder, keep
    finally:
        for process in reversed(running):
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def load_argv(url, body, seconds, connections, stream=False, key=harness.ACCESS_KEY, headers=(), **options):
    """options: what else kw_load takes, as rate=1000."""
    argv = [LOAD, "--url", url, "--connections", connections, "--seconds", seconds, "--body", body]
    for header in (f"Authorization: Bearer {key}", "x-test-id: bench", *headers):
        argv += ["--header", header]
    for option, value in options.items():
        argv += ["--" + option.replace("_", "-"), value]
    return [str(a) for a in argv] + (["--stream"] if stream else [])


def run_load(url, body, seconds, connections, stream=False, *key, **options):
    done = subprocess.run(load_argv(url, body, seconds, connections, stream, *key, **options), stdout=subprocess.PIPE, text=True,
                          timeout=seconds + 60, preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CORE}))
    got = json.loads(done.stdout)
    # Streams longer than a round are judged by what came of them.
    if got["wrong"] or not got["events" if stream else "requests"]:
        raise SystemExit(f"bench: wrong answers: {got}")
    return got


def measure(server, body, seconds, connections, stream=False, key=harness.ACCESS_KEY, **options):
    """(CPU us a unit, units a second, what kw_load says); a unit is a request, of streams an event."""
    before = cpu_us(server.pid)
    got = run_load(server.url + "/v1/chat/completions", body, seconds, connections, stream, key, **options)
    used = cpu_us(server.pid) - before
    units = got["events"] if stream else got["started"]
    return used / units, units / got["seconds"], got


def chat_body(path, model, stream, size=REQUEST_BYTES):
    request = {"model": model, "stream": stream, "messages": [{"role": "user", "content": ""}]}
    filling = size - len(json.dumps(request))
    request["messages"][0]["content"] = ("words to fill " * (filling // 14 + 1))[:filling]
    path.write_text(json.dumps(request))
    return path


def tokens_for_answer(mock, wanted=ANSWER_BYTES) -> int:
    """How many tokens make an answer of the wanted size."""
    def size(tokens):
        answer = mock.post("/v1/chat/completions", {"model": f"mock-tokens-{tokens}", "messages": []},
                           headers={"authorization": f"Bearer {UPSTREAM_KEY}", "x-test-id": "bench"})
        assert answer.status == 200, answer
        return len(answer.body)
    short, long = size(50), size(250)
    return max(1, round(50 + (wanted - short) * 200 / (long - short)))


def round_trips(redis, stop, out):
    """Times a PING every 5 ms, in microseconds, until told to stop."""
    with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not stop.wait(0.005):
            began = time.perf_counter()
            link.sendall(b"PING\r\n")
            link.recv(64)
            out.append((time.perf_counter() - began) * 1e6)


def verdict(good) -> int:
    """The last line, and the exit status."""
    print("bench: " + ("within the limit" if good else "OVER THE LIMIT"))
    return 0 if good else 1
