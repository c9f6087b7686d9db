"""Every sample under deploy/, looked at by the tool that will read it: systemd-analyze, nginx, haproxy, promtool, amtool,
kustomize, helm; what the last two render goes through the typed schemas of Kubernetes (unknown fields and missing ones are
errors) and through rules of our own. A tool that is not there is told aloud and makes the check fail, unless --without NAME
was said.

Run by `./dev deploy`. helm and kustomize are not Debian's: HELM and KUSTOMIZE name them, or PATH has them.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = os.environ.get("KEYWHEEL", str(ROOT / "build/dev/keywheel"))
OLDEST_KUBERNETES = "1.27.0"  # of the chart's kubeVersion
WORST_EXPOSURE = 2.0
os.environ["PATH"] += ":/usr/sbin:/sbin"

failures, skipped = [], []


def tool(name):
    return os.environ.get(name.upper()) or shutil.which(name)


def run(what, *words, quiet=False, silent=False, **more):
    """A command that must succeed; `silent`: and say nothing. Its output, or None."""
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                          check=False, **more)
    if done.returncode != 0 or (silent and done.stdout):
        failures.append(what)
        print(f"FAILED {what}: {words[0]} ended with {done.returncode}\n{done.stdout}")
        return None
    if not quiet:
        print(f"good   {what}")
    return done.stdout


def expect(good, what):
    if not good:
        failures.append(what)
        print(f"FAILED {what}")
    return good


# ---- one machine

def systemd(folder):
    units = sorted((DEPLOY / "systemd").iterdir())
    for unit in units:  # with the program in place of /usr/bin/keywheel, which is not installed here
        text = unit.read_text().replace("/usr/bin/keywheel", shutil.which("true"))
        (folder / unit.name).write_text(text)
    run("systemd-analyze verify", "systemd-analyze", "verify", *(folder / u.name for u in units), silent=True)
    for unit in units:
        if unit.suffix != ".service":
            continue
        said = run(f"systemd-analyze security {unit.name}", "systemd-analyze", "security", "--offline=true", unit, quiet=True) or ""
        level = re.search(r"exposure level for \S+: ([\d.]+)", said)
        if expect(level and float(level.group(1)) <= WORST_EXPOSURE, f"{unit.name} is exposed at most {WORST_EXPOSURE}"):
            print(f"figure: systemd: exposure of {unit.name}: {level.group(1)}")


def certificate(folder):
    run("a certificate", PROGRAM, "self-signed", "--cert", folder / "keywheel.crt", "--key", folder / "keywheel.key", quiet=True)
    (folder / "keywheel.pem").write_bytes((folder / "keywheel.crt").read_bytes() + (folder / "keywheel.key").read_bytes())


def nginx(folder):
    certificate(folder)
    sample = (DEPLOY / "nginx/keywheel.conf").read_text().replace("/etc/nginx/tls", str(folder))
    (folder / "keywheel.conf").write_text(sample)
    inner = (DEPLOY / "compose/nginx.conf").read_text()
    (folder / "compose.conf").write_text(re.sub(r"keywheel-\d:8080", "127.0.0.1:8080", inner))
    for name in ("keywheel.conf", "compose.conf"):
        (folder / "nginx.conf").write_text(f"pid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ include {folder}/{name}; }}\n")
        run(f"nginx -t {name}", "nginx", "-t", "-p", folder, "-c", folder / "nginx.conf")


def haproxy(folder):
    certificate(folder)
    (folder / "haproxy.cfg").write_text((DEPLOY / "haproxy/haproxy.cfg").read_text().replace("/etc/haproxy/tls", str(folder)))
    run("haproxy -c", "haproxy", "-c", "-f", folder / "haproxy.cfg")


def prometheus(folder):
    home = DEPLOY / "prometheus"
    run("promtool check rules", "promtool", "check", "rules", home / "keywheel.rules.yml")
    run("promtool check config", "promtool", "check", "config", home / "prometheus.yml")
    run("promtool test rules", "promtool", "test", "rules", home / "keywheel.rules.test.yml")
    board = json.loads((DEPLOY / "grafana/keywheel.json").read_text())
    asked = {t["expr"].replace("$job", "keywheel") for p in board["panels"] for t in p.get("targets", ())}
    rules = {"groups": [{"name": "board", "rules": [{"record": f"board:{n}", "expr": e} for n, e in enumerate(sorted(asked))]}]}
    (folder / "board.yml").write_text(yaml.safe_dump(rules))
    run("the dashboard's expressions", "promtool", "check", "rules", folder / "board.yml")
    ids = [p["id"] for p in board["panels"]]
    expect(len(set(ids)) == len(ids), "panels have ids of their own")


def amtool(_):
    run("amtool check-config", "amtool", "check-config", DEPLOY / "alertmanager/alertmanager.yml")


# ---- Kubernetes

SERVICE_MONITOR = {"apiVersion": str, "kind": str, "metadata": dict,
                   "spec": {"jobLabel?": str, "selector": {"matchLabels": dict},
                            "endpoints": [{"port": str, "path": str, "interval": str}]}}


def matches(value, shape, where):
    """A value against a shape of types: no other members, none missing but those with a question mark."""
    if isinstance(shape, dict):
        known = {name.rstrip("?"): (inner, name.endswith("?")) for name, inner in shape.items()}
        expect(isinstance(value, dict) and set(value) <= set(known), f"{where} has no unknown members")
        for name, (inner, optional) in known.items():
            if name in value:
                matches(value[name], inner, f"{where}.{name}")
            else:
                expect(optional, f"{where} has {name}")
    elif isinstance(shape, list):
        expect(isinstance(value, list) and value, f"{where} is a list")
        for each in value:
            matches(each, shape[0], where)
    else:
        expect(isinstance(value, shape), f"{where} is a {shape.__name__}")


def pod_of(item):
    spec = item["spec"]
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]


def claims_of(item):
    return {c["metadata"]["name"] for c in item["spec"].get("volumeClaimTemplates", ())}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)([smh])", text).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def check_pod(item, by_kind, where):
    template = pod_of(item)
    pod = template["spec"]
    expect(pod["enableServiceLinks"] is False, f"{where}: service links are off")
    expect(pod["automountServiceAccountToken"] is False, f"{where}: no token")
    expect(pod["serviceAccountName"] in by_kind["ServiceAccount"], f"{where}: its account is there")
    security = pod["securityContext"]
    expect(security["runAsNonRoot"] and security["runAsUser"] > 0 and security["seccompProfile"]["type"] == "RuntimeDefault",
           f"{where}: not root, with a seccomp profile")
    volumes = {v["name"]: v for v in pod["volumes"]}
    for volume in volumes.values():
        if "configMap" in volume:
            expect(volume["configMap"]["name"] in by_kind["ConfigMap"], f"{where}: its settings are there")
    for container in pod["containers"]:
        own = container["securityContext"]
        expect(own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
               f"{where}: the restricted profile")
        expect({"cpu", "memory"} <= set(container["resources"]["requests"]) and "memory" in container["resources"]["limits"],
               f"{where}: resources")
        expect(re.search(r":[^:/]+$", container["image"]), f"{where}: the image has a tag")
        for mount in container["volumeMounts"]:
            expect(mount["name"] in set(volumes) | claims_of(item), f"{where}: {mount['name']} is a volume")
        ports = {p["name"] for p in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if item["kind"] != "CronJob":
                expect(container[probe]["httpGet"]["port"] in ports, f"{where}: {probe} goes to a port of its own")
    if item["kind"] == "CronJob":
        return
    settings = yaml.safe_load(by_kind["ConfigMap"][volumes["config"]["configMap"]["name"]]["data"]["keywheel.yaml"])
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = seconds(settings["server"]["shutdown_timeout"])
    expect(pod["terminationGracePeriodSeconds"] > before + drain + 10, f"{where}: the grace is longer than the drain")


def check_items(items, where):
    """What a schema cannot see: that the parts fit together."""
    by_kind = {}
    for item in items:
        by_kind.setdefault(item["kind"], {})[item["metadata"]["name"]] = item
    workloads = [i for i in items if i["kind"] in ("Deployment", "StatefulSet")]
    expect(len(workloads) == 1, f"{where}: one workload")
    labels = pod_of(workloads[0])["metadata"]["labels"]
    ports = {p["name"] for p in pod_of(workloads[0])["spec"]["containers"][0]["ports"]}

    def selects(selector, what):
        expect(selector and selector.items() <= labels.items(), f"{where}: {what} selects the pods")

    selects(workloads[0]["spec"]["selector"]["matchLabels"], "the workload")
    for service in by_kind["Service"].values():
        selects(service["spec"]["selector"], "the Service")
        expect({p["targetPort"] for p in service["spec"]["ports"]} <= ports, f"{where}: the Service's ports are the pods'")
    for policy in by_kind.get("NetworkPolicy", {}).values():
        selects(policy["spec"]["podSelector"]["matchLabels"], "the NetworkPolicy")
    for budget in by_kind.get("PodDisruptionBudget", {}).values():
        selects(budget["spec"]["selector"]["matchLabels"], "the PodDisruptionBudget")
    for scaler in by_kind.get("HorizontalPodAutoscaler", {}).values():
        target = scaler["spec"]["scaleTargetRef"]
        expect(target["name"] in by_kind.get(target["kind"], {}), f"{where}: what is scaled is there")
        expect("replicas" not in workloads[0]["spec"], f"{where}: two do not both say how many")
    for ingress in by_kind.get("Ingress", {}).values():
        expect(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-buffering"] == "off", f"{where}: streams")
        for path in (p for rule in ingress["spec"]["rules"] for p in rule["http"]["paths"]):
            expect(path["backend"]["service"]["name"] in by_kind["Service"], f"{where}: the Ingress' Service is there")
    for monitor in by_kind.get("ServiceMonitor", {}).values():
        matches(monitor, SERVICE_MONITOR, f"{where}: ServiceMonitor")
        for service in by_kind["Service"].values():
            expect(monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(),
                   f"{where}: the ServiceMonitor selects the Service")
    for item in items:
        if item["kind"] in ("Deployment", "StatefulSet", "CronJob"):
            check_pod(item, by_kind, f"{where}: {item['kind']}")
    claims = set(by_kind.get("PersistentVolumeClaim", {})) | {
        f"{claim}-{workloads[0]['metadata']['name']}-0" for claim in claims_of(workloads[0])}
    for job in by_kind.get("CronJob", {}).values():
        for volume in pod_of(job)["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                expect(volume["persistentVolumeClaim"]["claimName"] in claims, f"{where}: the backup's volume is there")
    for settings in by_kind["ConfigMap"].values():
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(settings["data"]["keywheel.yaml"])
            file.flush()
            run(f"{where}: check-config", PROGRAM, "check-config", "--config", file.name, quiet=True,
                env={"PATH": os.environ["PATH"], "API_ACCESS_KEY": "an-access-key-0001", "KEYWHEEL_PORT": "tcp://10.0.0.1:80"})


def faults_of(item):
    """What the typed schemas of the oldest Kubernetes that we name and of the newest known say against it."""
    import kubernetes_validate
    for version in (OLDEST_KUBERNETES, kubernetes_validate.latest_version()):
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as e:
            yield f"{version}: {'.'.join(map(str, e.path))}: {e.message}"


def check_rendered(text, where):
    items = [item for item in yaml.safe_load_all(text) if item]
    for item in items:
        if item["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        for fault in faults_of(item):
            expect(False, f"{where}: {item['kind']} {item['metadata']['name']}: {fault}")
    # The schemas do find what is wrong.
    workload = next(i for i in items if i["kind"] in ("Deployment", "StatefulSet"))
    for change in (lambda spec: spec.pop("selector"), lambda spec: spec.update(noSuchField=1),
                   lambda spec: spec["template"]["spec"]["containers"][0].pop("name")):
        broken = json.loads(json.dumps(workload))
        change(broken["spec"])
        expect(list(faults_of(broken)), f"{where}: a broken workload is found")
    check_items(items, where)
    print(f"figure: {where}: objects in accord with Kubernetes' schemas: {len(items)}")


def kustomize(_):
    for overlay in sorted((DEPLOY / "kubernetes/overlays").iterdir()):
        if text := run(f"kustomize build {overlay.name}", tool("kustomize"), "build", overlay):
            check_rendered(text, f"kustomize {overlay.name}")


def helm(folder):
    chart = DEPLOY / "helm/keywheel"
    for values in sorted((chart / "ci").iterdir()):
        run(f"helm lint {values.name}", tool("helm"), "lint", "--strict", chart, "-f", values)
        if text := run(f"helm template {values.name}", tool("helm"), "template", "kw", chart, "-f", values, "--kube-version", OLDEST_KUBERNETES):
            check_rendered(text, f"helm {values.name}")
    for wrong in ("image: {repo: x}", "store: {redis: 3}", "backup: {keep: 0}", "unknown: 1", "secret: {values: {lower: x}}"):
        (folder / "wrong.yaml").write_text(wrong)
        done = subprocess.run([tool("helm"), "template", "kw", str(chart), "-f", str(folder / "wrong.yaml"), "--kube-version", OLDEST_KUBERNETES],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        expect(done.returncode != 0 and "schema" in done.stderr, f"helm refuses {wrong}")


CHECKS = {"systemd-analyze": systemd, "nginx": nginx, "haproxy": haproxy, "promtool": prometheus, "amtool": amtool,
          "kustomize": kustomize, "helm": helm}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--without", action="append", default=[], choices=CHECKS)
    without = options.parse_args().without
    for name, check in CHECKS.items():
        if name in without or not tool(name):
            skipped.append(name)
            print(f"SKIPPED {name}: {'as asked' if name in without else 'there is no such program'}")
            expect(name in without, f"{name} is there")
            continue
        with tempfile.TemporaryDirectory(prefix="keywheel-deploy-") as folder:
            check(pathlib.Path(folder))
    print(f"deploy: {len(failures)} failures, {len(skipped)} tools skipped")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
