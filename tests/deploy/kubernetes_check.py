"""The manifests and the chart in a real Kubernetes, whichever KUBECONFIG names: a namespace that enforces the restricted
profile, Redis and the upstream with its books in it, the overlay `redis`, then the chart. Under streams through the Service
all pods are replaced and one is evicted: no request fails, and keywheel's books are the upstream's. Of the pods: who they
are, what they may write, what is in their environment; a pod with privileges is refused; the budget for disruptions holds;
the backup runs.

Wants kubectl, helm, and on the nodes the images keywheel:0.1.0, redis:7 and python:3-slim; a class of volumes for the
backup, or volumes. Makes the namespaces keywheel and keywheel-chart and takes them away again. Run by
`./dev deploy kubernetes`.
"""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE.parents[1] / "deploy/helm/keywheel"
HELM = os.environ.get("HELM") or shutil.which("helm")
FIRST, SECOND = "keywheel", "keywheel-chart"
STREAMS, REPLICAS = 8, 3
PRIVILEGED = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "privileged"},
              "spec": {"containers": [{"name": "c", "image": "redis:7", "securityContext": {"privileged": True}}]}}


def run(*words, ok=True, **more):
    done = subprocess.run([str(w) for w in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
                          check=False, **more)
    assert not ok or done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}"
    return done.stdout if ok else done


def kubectl(*words, namespace=FIRST, **more):
    return run("kubectl", "-n", namespace, *words, **more)


def asked(*words, **more):
    return json.loads(kubectl("get", *words, "-o", "json", **more))


def wait_for(what, ready, seconds=180):
    end = time.monotonic() + seconds
    while not (got := ready()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.5)
    return got


def figure(what, value):
    print(f"figure: kubernetes: {what}: {value}", flush=True)


def pods(namespace):
    """Names of keywheel's pods that are ready and not on their way out; and of all."""
    found = asked("pods", "-l", "app.kubernetes.io/name=keywheel,!job-name", namespace=namespace)["items"]
    ready = {p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"]
             and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", ()))}
    return ready, {p["metadata"]["name"] for p in found}


def settled(namespace, without=frozenset()):
    """All replicas are there, ready, and none of those that were to go."""
    ready, there = pods(namespace)
    return ready if len(ready) == len(there) >= REPLICAS and not ready & without else None


def address(service, namespace=FIRST):
    return asked("service", service, namespace=namespace)["spec"]["clusterIP"]


def make_namespace(name):
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    run("kubectl", "create", "-f", "-", input=json.dumps(made))
    refused = kubectl("create", "--dry-run=server", "-f", "-", namespace=name, input=json.dumps(PRIVILEGED), ok=False)
    assert refused.returncode != 0 and "violates PodSecurity" in refused.stdout, refused.stdout


def make_secret(namespace, database):
    words = {"REDIS_URL": f"redis://:of-redis@{address('redis')}:6379/{database}", "ENCRYPTION_KEY": "e" * 43,
             "OPENAI_API_KEY": "sk-one,sk-two", "OPENAI_BASE_URL": f"http://{address('upstream')}:9000/v1",
             "API_ACCESS_KEY": "access-key-0001", "ADMIN_ACCESS_KEY": "admin-key-of-the-drill-0001"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keywheel"},
              "data": {k: base64.b64encode(v.encode()).decode() for k, v in words.items()}}
    kubectl("create", "-f", "-", namespace=namespace, input=json.dumps(secret))


def look_into(name, namespace):
    def inside(*words):
        return kubectl("exec", name, "--", *words, namespace=namespace, ok=False)
    who = inside("id", "-u").stdout.strip()
    assert who == "10001", who
    assert inside("touch", "/usr/x").returncode != 0, "the root file system can be written"
    assert inside("touch", "/var/lib/keywheel/x").returncode == 0, "the data directory cannot be written"
    environment = inside("env").stdout
    assert "REDIS_URL=" in environment and "REDIS_PORT=" not in environment, "services are in the environment"


def evict(name, namespace):
    order = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    return run("kubectl", "create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "-f", "-",
               input=json.dumps(order), ok=False)


def under_load(what, namespace, service, change):
    """`change` while streams go through the Service; then the books."""
    upstream = address("upstream")
    client = subprocess.Popen(["kubectl", "-n", FIRST, "exec", "client", "--", "python3", "-u", "/client/client.py", "load",
                               address(service, namespace), upstream], stdout=subprocess.PIPE, text=True)
    try:
        wait_for("streams run", lambda: int(kubectl("exec", "client", "--", "python3", "/client/client.py", "active", upstream)) >= STREAMS)
        change()
    finally:
        kubectl("exec", "client", "--", "touch", "/state/stop", ok=False)
        out = client.communicate(timeout=180)[0]
    told = json.loads(out)
    figure(f"{what}: streams that ended well", told["ended"]["stream"])
    figure(f"{what}: plain requests that ended well", told["ended"]["plain"])
    figure(f"{what}: requests that failed", told["failed"])
    figure(f"{what}: requests, input and output tokens in the upstream's books", told["upstream"])
    figure(f"{what}: the same in keywheel's", told["keywheel"])
    assert told["failed"] == 0, told["faults"]
    assert told["upstream"] == told["keywheel"] and told["upstream"][0] == sum(told["ended"].values()), told


def replaced(what, namespace, order):
    """A rolling update: until the last of the old pods has gone."""
    before, begun = pods(namespace)[1], time.monotonic()
    order()
    wait_for("all pods are new", lambda: settled(namespace, before), 600)
    figure(f"{what}: all {len(before)} pods replaced in", f"{time.monotonic() - begun:.0f} s")


def disruption(namespace):
    """Of two evictions at once the budget lets one pass."""
    first, second = sorted(wait_for("pods", lambda: settled(namespace)))[:2]
    wait_for("the budget has counted", lambda: asked("pdb", "keywheel", namespace=namespace)["status"]["disruptionsAllowed"] == 1)
    passed = evict(first, namespace)
    assert passed.returncode == 0, passed.stdout
    refused = evict(second, namespace)
    assert refused.returncode != 0 and "disruption budget" in refused.stdout, refused.stdout
    begun = time.monotonic()
    wait_for("the evicted pod's successor", lambda: settled(namespace, {first}), 600)
    figure("an eviction under streams, until its successor serves and it has gone", f"{time.monotonic() - begun:.0f} s")


def manifests():
    make_namespace(FIRST)
    run("kubectl", "apply", "-k", HERE / "kubernetes")
    make_secret(FIRST, 0)
    for name in ("redis", "upstream", "client"):
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    begun = time.monotonic()
    look_into(sorted(wait_for("replicas by the autoscaler", lambda: settled(FIRST)))[0], FIRST)
    figure("manifests: replicas ready after the Secret", f"{time.monotonic() - begun:.0f} s")
    under_load("manifests", FIRST, "keywheel", lambda: (
        replaced("manifests", FIRST, lambda: kubectl("rollout", "restart", "deployment/keywheel")), disruption(FIRST)))
    kubectl("create", "job", "drill-backup", "--from=cronjob/keywheel-backup")
    kubectl("wait", "--for=condition=Complete", "job/drill-backup", "--timeout=120s")
    figure("manifests: backup", "complete")


def chart():
    make_namespace(SECOND)
    make_secret(SECOND, 1)
    values = {"store": {"redis": True}, "secret": {"existing": "keywheel"}, "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
              "networkPolicy": {"extraEgress": [{"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": FIRST}}}]}]}}

    def installed(**more):
        run(HELM, "upgrade", "--install", "keywheel", CHART, "-n", SECOND, "-f", "-", "--wait", "--timeout", "600s",
            input=json.dumps({**values, **more}))

    installed()
    look_into(sorted(wait_for("replicas by the autoscaler", lambda: settled(SECOND)))[0], SECOND)
    under_load("chart", SECOND, "keywheel",
               lambda: replaced("chart", SECOND, lambda: installed(podAnnotations={"drill": "second"})))


def main():
    print(run("kubectl", "version"), run("kubectl", "get", "nodes"), sep="\n")
    for name in (FIRST, SECOND):
        assert run("kubectl", "get", "namespace", name, ok=False).returncode != 0, f"there is a namespace {name}, and not of this drill"
    try:
        for part in (manifests, chart):
            part()
            print(f"good   {part.__name__}", flush=True)
    except BaseException:
        for name in (FIRST, SECOND):
            print(kubectl("get", "all", "-o", "wide", namespace=name, ok=False).stdout,
                  kubectl("get", "events", "--sort-by=.lastTimestamp", namespace=name, ok=False).stdout[-4000:], file=sys.stderr)
        raise
    finally:
        if "--keep" not in sys.argv:
            run("kubectl", "delete", "namespace", "--wait=true", "--ignore-not-found", FIRST, SECOND, ok=False)
    print("kubernetes check passed")


if __name__ == "__main__":
    main()
