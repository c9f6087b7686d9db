"""The image under Docker compose with Redis: it gets healthy, is not root and writes nowhere but in its data directory;
`docker stop` in the middle of streams loses no stream and no record; size of what lies over the base image. Then three
replicas behind nginx: each is restarted under streams of clients, of which none notices, and Prometheus beside them scrapes
all three and knows its Alertmanager.

Wants a Docker engine and the images that the compose files name; KEYWHEEL_BASE names the image that keywheel:0.1.0 was
built on. Run by `./dev deploy image`.
"""
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
STREAMS = 8
PORT = 18080
SETTINGS = {"OPENAI_API_KEY": "sk-one,sk-two", "OPENAI_BASE_URL": "http://mock:9000/v1", "API_ACCESS_KEY": "access-key-0001",
            "ADMIN_ACCESS_KEY": "admin-key-of-the-image-0001", "ENCRYPTION_KEY": "e" * 43, "REDIS_PASSWORD": "of-redis",
            "KEYWHEEL_PUBLISHED_PORT": str(PORT)}
MOCK = {"services": {"mock": {"image": "keywheel:0.1.0", "command": ["mock-upstream", "--host", "0.0.0.0", "--port", "9000"],
                              "healthcheck": {"disable": True}}}}


def run(*words, **more):
    return subprocess.run([str(w) for w in words], check=True, text=True, stdout=subprocess.PIPE, timeout=180, **more).stdout


def wait_for(what, ready, seconds=60):
    end = time.monotonic() + seconds
    while not (got := ready()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.2)
    return got


SDK = """
import openai, os
client = openai.OpenAI(base_url=os.environ["URL"], api_key=os.environ["KEY"])
parts = [c.choices[0].delta.content for c in client.chat.completions.create(model="mock-tokens-20", stream=True,
         messages=[{"role": "user", "content": "hello"}]) if c.choices and c.choices[0].delta.content]
print(openai.__version__, len(parts))
"""


class Compose:
    def __init__(self, folder, file):
        self.file, self.extra, self.env = ROOT / "deploy/compose" / file, folder / "mock.yml", folder / "env"
        self.extra.write_text(json.dumps(MOCK))
        self.env.write_text("".join(f"{k}={v}\n" for k, v in SETTINGS.items()))
        probe = subprocess.run(["docker", "compose", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self.tool = ["docker", "compose"] if probe.returncode == 0 else ["docker-compose"]

    def __call__(self, *words):
        return run(*self.tool, "-p", "kwimage", "--env-file", self.env, "-f", self.file, "-f", self.extra, *words)

    def container(self, service):
        return wait_for(service, lambda: self("ps", "-q", service).strip())


def request(method, path, body=None, admin=False, timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
    who = {"x-admin-key": SETTINGS["ADMIN_ACCESS_KEY"]} if admin else {"authorization": "Bearer " + SETTINGS["API_ACCESS_KEY"]}
    connection.request(method, path, json.dumps(body) if body else None, {**who, "content-type": "application/json"})
    return connection.getresponse()


def answers(path="/readyz"):
    try:
        return request("GET", path, timeout=2).status == 200
    except (OSError, http.client.HTTPException):
        return False


def stream(begun, ended, number):
    answer = request("POST", "/v1/chat/completions", {"model": "mock-pace-100-tokens-50", "stream": True,
                                                       "messages": [{"role": "user", "content": "hello"}]})
    got = answer.read(64)
    begun.append(number)
    got += answer.read()
    if answer.status == 200 and got.rstrip().endswith(b"data: [DONE]"):
        ended.append(answer.headers["x-keywheel-request-id"])


def size_over_base():
    layers = [json.loads(run("docker", "image", "inspect", name))[0] for name in
              ("keywheel:0.1.0", os.environ.get("KEYWHEEL_BASE", "debian:13-slim"))]
    assert layers[0]["RootFS"]["Layers"][0] == layers[1]["RootFS"]["Layers"][0], "built on another base"
    return (layers[0]["Size"] - layers[1]["Size"]) / 1e6


def one(compose):
    begun_at = time.monotonic()
    compose("up", "-d", "--no-build")
    name = compose.container("keywheel")
    wait_for("healthy", lambda: run("docker", "inspect", "-f", "{{.State.Health.Status}}", name).strip() == "healthy")
    print(f"figure: image: compose up to healthy: {time.monotonic() - begun_at:.1f} s")
    assert run("docker", "exec", name, "id", "-u").strip() == "10001"
    tried = subprocess.run(["docker", "exec", name, "touch", "/usr/x"], stderr=subprocess.DEVNULL, check=False)
    assert tried.returncode != 0, "the root file system can be written"

    python = ROOT / "build/venv/bin/python"
    sdk = 0
    if python.exists():
        version, parts = run(python, "-c", SDK, env={"URL": f"http://127.0.0.1:{PORT}/v1", "KEY": SETTINGS["API_ACCESS_KEY"]}).split()
        print(f"figure: image: parts of a stream through the official Python SDK {version}: {parts}")
        sdk = 1
    else:
        print("SKIPPED: no Python SDK in build/venv (./dev test e2e installs it)")

    begun, ended = [], []
    threads = [threading.Thread(target=stream, args=(begun, ended, n)) for n in range(STREAMS)]
    for thread in threads:
        thread.start()
    wait_for("all streams run", lambda: len(begun) == STREAMS)
    stopping = time.monotonic()
    run("docker", "stop", "-t", "60", name)
    print(f"figure: image: docker stop with {STREAMS} streams under way: {time.monotonic() - stopping:.1f} s")
    for thread in threads:
        thread.join()
    assert len(ended) == STREAMS, f"{len(ended)} of {STREAMS} streams came to their end"
    assert run("docker", "inspect", "-f", "{{.State.ExitCode}}", name).strip() == "0"

    compose("up", "-d", "--no-build")
    wait_for("it answers again", answers)
    log = json.loads(request("GET", "/admin/requests?limit=100", admin=True).read())["data"]["requests"]
    there = {r["id"] for r in log}
    assert len(there) == len(log) == STREAMS + sdk and set(ended) <= there, (log, ended)
    print(f"figure: image: records of the streams that were under way: {len(there & set(ended))} of {STREAMS}")


def prometheus(path):
    with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/" + path, timeout=10) as answer:
        return json.load(answer)["data"]


def scraped():
    """How many of keywheel's replicas Prometheus reaches."""
    try:
        targets = prometheus("targets?state=active")["activeTargets"]
    except OSError:
        return 0
    return sum(t["labels"]["job"] == "keywheel" and t["health"] == "up" for t in targets)


def three(compose):
    compose("up", "-d", "--no-build")
    wait_for("nginx answers", answers)
    wait_for("Prometheus reaches all replicas", lambda: scraped() == 3, 120)
    wait_for("Prometheus knows its Alertmanager", lambda: prometheus("alertmanagers")["activeAlertmanagers"])
    rules = [r for g in prometheus("rules")["groups"] for r in g["rules"]]
    wait_for("all rules are good", lambda: all(r["health"] == "ok" for g in prometheus("rules")["groups"] for r in g["rules"]), 120)
    print(f"figure: image: replicas that Prometheus scrapes: {scraped()}; rules that it works by: {len(rules)}")
    replicas = [compose.container(f"keywheel-{n}") for n in (1, 2, 3)]
    stopping = threading.Event()
    tried, ended, failed = [], [], []

    def client():
        while not stopping.is_set():
            tried.append(1)
            before = len(ended)
            try:
                stream([], ended, 0)
            except (OSError, http.client.HTTPException) as e:
                failed.append(repr(e))
            if len(ended) == before and not failed:
                failed.append("an error, or no end")

    threads = [threading.Thread(target=client) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    for name in replicas:
        run("docker", "restart", "-t", "60", name)
        wait_for("it is healthy", lambda by=name: run("docker", "inspect", "-f", "{{.State.Health.Status}}", by).strip() == "healthy")
    stopping.set()
    for thread in threads:
        thread.join()
    print(f"figure: image: streams while three replicas were restarted: {len(tried)} tried, {len(tried) - len(ended)} failed")
    assert len(tried) == len(ended), failed[:5]


def main():
    ours = size_over_base()
    print(f"figure: image: over its base: {ours:.1f} MB")
    assert ours < 25, ours
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keywheel-image-"))
    for file, scenario in (("compose.yml", one), ("compose.replicas.yml", three)):
        compose = Compose(folder, file)
        try:
            scenario(compose)
        except BaseException:
            print(compose("logs", "--no-color", "--tail", "40"), file=sys.stderr)
            raise
        finally:
            compose("down", "-v", "-t", "5")
    shutil.rmtree(folder)
    print("image check passed")


if __name__ == "__main__":
    main()
