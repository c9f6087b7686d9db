"""Fixtures of the end-to-end tests: the program, its mock upstream and Redis on free ports.

A test case derives from `EndToEnd` and asks for what it needs:

    class Books(EndToEnd):
        def test_one(self):
            mock = self.mock()
            proxy = self.keywheel(mock)
            answer = proxy.post("/v1/chat/completions", {"model": "m", "messages": []})

Every process lives in the test's own folder with an environment of nothing but what is given, is
waited for until it is ready, and is killed at the end or when the test's process dies. When a test
fails, the end of each process's log is printed. The whole script has a hard time limit.
"""
import concurrent.futures
import contextlib
import ctypes
import faulthandler
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("KEYWHEEL", str(ROOT / "build/dev/keywheel"))
TIME_LIMIT = float(os.environ.get("KEYWHEEL_E2E_LIMIT", "280"))
SKIPPED = 77  # CTest's SKIP_RETURN_CODE

ACCESS_KEY = "test-access-key-of-the-client-0001"
ADMIN_KEY = "test-admin-key-0001"

STRATEGIES = ("round-robin", "random", "least-used", "least-token-used", "max-remaining", "weighted-score")
# Three upstream accounts of two keys each.
ACCOUNT_KEYS = tuple(f"sk-account-{account}-key-{key}" for account in "abc" for key in "12")

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# Tests that run side by side take their ports from ranges of their own.
PORTS = os.environ.get("KW_E2E_PORTS")
_ports = iter(range(int(PORTS), int(PORTS) + 200)) if PORTS else iter(lambda: 0, None)


def free_port() -> int:
    for port in _ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return s.getsockname()[1]
    raise AssertionError("no port is free")


def wait_until(what: str, ready, seconds: float = 10.0, step: float = 0.02):
    """Calls ready() until it gives something true; returns that."""
    end = time.monotonic() + seconds
    while True:
        got = ready()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(step)


class Answer:
    """A whole HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:400]!r}"


class Process:
    """A child with its log in a file."""

    def __init__(self, name, argv, folder, env=None, stdin=None):
        self.name, self.argv, self.folder = name, [str(a) for a in argv], folder
        self.log_path = folder / f"{name}.log"
        self.env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        for option in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            if option in os.environ:
                self.env[option] = os.environ[option]
        self.env.update(env or {})
        self.child = None
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(self.argv, cwd=self.folder, env=self.env, stdout=log, stderr=log,
                                          stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number):
        self.child.send_signal(number)

    def stop(self, seconds=20.0) -> int:
        """SIGTERM, then waits; the exit status. A process that does not end is killed and told."""
        if self.alive():
            self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM") from None

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait()

    def status_kib(self, field="VmRSS") -> int:
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE).group(1))

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_us(self) -> float:
        """Of the threads that run, in the scheduler's nanoseconds where it keeps them."""
        kept = [int(task.read_text().split()[0])
                for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*/schedstat")]
        return sum(kept) / 1000 if kept else self.cpu_seconds() * 1e6


class HttpProcess(Process):
    """A child that serves HTTP or HTTPS on 127.0.0.1:port."""

    port = 0
    ca = None

    def wait_ready(self, path, seconds=15.0, statuses=(200,)):
        def ready():
            if not self.alive():
                raise AssertionError(f"{self.name} ended with {self.child.returncode} at start:\n{self.log()[-4000:]}")
            try:
                return self.request("GET", path, timeout=2).status in statuses
            except (OSError, http.client.HTTPException):
                return False
        wait_until(f"{self.name} ready", ready, seconds)

    @property
    def url(self):
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.port}"

    def connection(self, timeout=30.0):
        if self.ca:
            context = ssl.create_default_context(cafile=str(self.ca))
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def default_headers(self):
        return {}

    def request(self, method, path, body=None, headers=None, timeout=30.0) -> Answer:
        """One request on a connection of its own. A dict or list as body is sent as JSON."""
        connection = self.connection(timeout)
        try:
            connection.request(method, path, *self._prepare(body, headers))
            got = connection.getresponse()
            return Answer(got.status, got.headers, got.read())
        finally:
            connection.close()

    def _prepare(self, body, headers):
        sent = dict(self.default_headers())
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        sent.update(headers or {})
        return body, {name: value for name, value in sent.items() if value is not None}

    def get(self, path, **more) -> Answer:
        return self.request("GET", path, **more)

    def post(self, path, body, **more) -> Answer:
        return self.request("POST", path, body, **more)

    def open_stream(self, path, body, headers=None, timeout=30.0):
        """Sends a POST and returns (connection, response) with the body unread."""
        connection = self.connection(timeout)
        connection.request("POST", path, *self._prepare(body, headers))
        return connection, connection.getresponse()

    def raw(self, data: bytes, timeout=5.0, finish=False) -> bytes:
        """Writes bytes as they are and reads until the peer closes or is silent for `timeout`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            got = b""
            try:
                s.sendall(data)
                if finish:
                    s.shutdown(socket.SHUT_WR)
                while chunk := s.recv(65536):
                    got += chunk
            except (TimeoutError, ConnectionError):
                pass
            return got


class Mock(HttpProcess):
    """`keywheel mock-upstream`; its contract is mock/README.md."""

    def __init__(self, folder, name="mock", tls=True, **options):
        self.port = free_port()
        argv = [PROGRAM, "mock-upstream", "--port", self.port]
        if tls:
            self.ca = folder / f"{name}-ca.pem"
            argv += ["--self-signed", "--ca-out", self.ca]
        for option, value in options.items():
            argv += ["--" + option.replace("_", "-"), value]
        super().__init__(name, argv, folder)
        if tls:
            wait_until("the mock's certificate", lambda: self.ca.exists() or not self.alive())
        self.wait_ready("/__health")

    def control(self, **orders):
        answer = self.post("/__control", orders)
        assert answer.status == 200, answer
        return answer.json() if answer.body else {}

    def books(self, **query):
        return self.get("/__books?" + urllib.parse.urlencode(query)).json()

    def seen(self, **query):
        return self.get("/__seen?" + urllib.parse.urlencode(query)).json()


class Redis(Process):
    """A Redis of the test's own, without persistence unless asked."""

    def __init__(self, folder, name="redis", persistent=False):
        self.port = free_port()
        (folder / name).mkdir(exist_ok=True)
        super().__init__(name, ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", folder / name,
                                "--save", "", "--appendonly", "yes" if persistent else "no"], folder)
        wait_until("redis ready", self.ping)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *words) -> bytes:
        """One command, the raw first part of its reply."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            parts = [str(word).encode() for word in words]
            s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return s.recv(1 << 20)

    def ping(self):
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False


class Keywheel(HttpProcess):
    """`keywheel serve`, set up by environment alone unless a configuration is given."""

    def __init__(self, folder, upstream=None, name="keywheel", config=None, keys=("sk-mock-a", "sk-mock-b"), env=None,
                 wait=True):
        self.port = free_port()
        self.access_key = ACCESS_KEY
        settings = {
            "HOST": "127.0.0.1", "PORT": self.port, "DATA_DIR": folder / f"{name}-data", "WORKERS": 1,
            "API_ACCESS_KEY": ACCESS_KEY, "ADMIN_ACCESS_KEY": ADMIN_KEY,
        }
        if upstream is not None:
            settings["OPENAI_API_KEY"] = ",".join(keys)
            settings["OPENAI_BASE_URL"] = upstream.url + "/v1"
            if upstream.ca:
                settings["SSL_CERT_FILE"] = upstream.ca
        settings.update(env or {})
        argv = [PROGRAM, "serve"]
        if config is not None:
            path = folder / f"{name}.yaml"
            path.write_text(config)
            argv += ["--config", path]
        super().__init__(name, argv, folder,
                         {key: str(value) for key, value in settings.items() if value is not None})
        if wait:
            self.wait_ready("/readyz")

    def default_headers(self):
        return {"authorization": f"Bearer {self.access_key}"}

    def restart(self, kill=False):
        """Ends it (SIGKILL if asked), starts it again with the same environment."""
        self.kill() if kill else self.stop()
        self.start()
        self.wait_ready("/readyz")

    def admin(self, method, path, body=None) -> Answer:
        return self.request(method, path, body, headers={"authorization": None, "x-admin-key": ADMIN_KEY})

    def events(self):
        """The log's lines as objects; lines that are no JSON are left out."""
        found = []
        for line in self.log().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
        return found


class EndToEnd(unittest.TestCase):
    """Gives a test its folder and processes, and takes them away again."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keywheel-e2e-"))
        self._running = []
        self._shown = False
        self.addCleanup(self._clean_up)

    def _keep(self, process):
        self._running.append(process)
        return process

    def mock(self, **options) -> Mock:
        return self._keep(Mock(self.folder, **options))

    def redis(self, **options) -> Redis:
        return self._keep(Redis(self.folder, **options))

    def keywheel(self, upstream=None, **options) -> Keywheel:
        return self._keep(Keywheel(self.folder, upstream, **options))

    def three_accounts(self, strategy="round-robin", replicas=2, extra="", env=None):
        """A mock whose ACCOUNT_KEYS are of three accounts, and replicas on one Redis with all six keys."""
        number = len(self._running)
        accounts = ";".join(",".join(ACCOUNT_KEYS[i:i + 2]) for i in (0, 2, 4))
        mock = self.mock(name=f"mock-{number}", tls=False, accounts=accounts)
        redis = self.redis(name=f"redis-{number}")
        config = "\n".join(["groups:", "  - id: g", f"    base_url: {mock.url}/v1",
                            f"    pool: {{strategy: {strategy}}}", f"    keys: [{', '.join(ACCOUNT_KEYS)}]", extra, ""])
        processes = [self.keywheel(name=f"keywheel-{number}-{i}", config=config,
                                   env={"ENCRYPTION_KEY": "e" * 43, "REDIS_URL": redis.url, **(env or {})})
                     for i in range(replicas)]
        return mock, processes

    @contextlib.contextmanager
    def restart_url(self, process):
        """A URL for a client program, which kills the process and starts it again; with the count of its uses."""
        uses = []

        class Control(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                process.restart(kill=True)
                uses.append(1)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        with http.server.HTTPServer(("127.0.0.1", 0), Control) as control:
            threading.Thread(target=control.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{control.server_port}/", uses
            finally:
                control.shutdown()

    def run_child(self, argv, env=None, timeout=200.0):
        """Runs a client program to its end; its output is shown when it fails."""
        given = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.folder), **(env or {})}
        done = subprocess.run([str(a) for a in argv], env=given, cwd=self.folder, timeout=timeout, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              preexec_fn=_die_with_parent)
        print(done.stdout, flush=True)
        self.assertEqual(done.returncode, 0, f"{argv[0]} failed")

    def _failed(self):
        outcome = getattr(self, "_outcome", None)
        result = getattr(outcome, "result", None)
        return any(test is self for test, _ in (getattr(result, "failures", []) + getattr(result, "errors", [])))

    def _clean_up(self):
        # Logs are read by the failing test's own report; a crash in the program fails the test.
        crashed = []
        for process in reversed(self._running):
            # A stopped (SIGSTOP) child does not see SIGTERM.
            if process.alive():
                process.signal(signal.SIGCONT)
            early = process.child.poll()
            process.kill()
            if early is not None and early < 0 and -early not in (signal.SIGKILL, signal.SIGTERM):
                crashed.append(f"{process.name} died of signal {-early}")
            if any(word in process.log() for word in ("ThreadSanitizer", "AddressSanitizer", "runtime error: ")):
                crashed.append(f"{process.name} was reported by a sanitizer")
        if self._failed() or crashed:
            for process in self._running:
                print(f"---- end of {process.name}'s log ----\n{process.log()[-6000:]}", file=sys.stderr, flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        if crashed:
            raise AssertionError("; ".join(crashed))


def _tests_in(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from _tests_in(one)
        else:
            yield one.id().removeprefix("__main__.")


def _side_by_side(together):
    """Each test in a process of its own, so many at a time; exit code 1 if one fails."""
    names = list(_tests_in(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))

    def one(at):
        env = {**os.environ, "KW_E2E_PORTS": str(18_000 + 200 * at)}
        return subprocess.run([sys.executable, "-B", sys.argv[0], names[at]], env=env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)
    failed = []
    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        for name, done in zip(names, pool.map(one, range(len(names)))):
            print(done.stdout, flush=True)
            if done.returncode:
                failed.append(name)
    print(f"{len(names)} tests side by side, failed: {failed or 'none'}", flush=True)
    sys.exit(1 if failed or not names else 0)


def main(together=1):
    """What each script ends with. together: so many of its tests may run at a time, where most of them wait."""
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"no program at {PROGRAM}; build it, or set KEYWHEEL")
    # A hang shows where it hangs, then ends; children die with this process.
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True)
    if together > 1 and len(sys.argv) == 1:
        _side_by_side(together)
    result = unittest.main(module="__main__", verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    # What did not run is not passed.
    if len(result.skipped) == result.testsRun:
        sys.exit(SKIPPED)
