"""What the alert rules, their tests and the dashboard ask for is what /metrics exports: every name and every label of
every selector is looked for in a server that has served, refused and failed; a name that is not there would be found."""
import json
import re
import subprocess

import harness

DEPLOY = harness.ROOT / "deploy"
FOREIGN = {"up", "probe_ssl_earliest_cert_expiry"}
FROM_PROMETHEUS = {"job", "instance", "le"}
CHAT = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hello"}]}


def expressions():
    """(where, PromQL) of all rules, tests and panels."""
    for name in ("keywheel.rules.yml", "keywheel.rules.test.yml"):
        yield name, (DEPLOY / "prometheus" / name).read_text()
    board = json.loads((DEPLOY / "grafana/keywheel.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def names_in(text):
    return set(re.findall(r"(?<![\w:/.-])(?:keywheel|probe|process|gen_ai)_[a-z0-9_]+", text))


def selectors_in(text):
    for name, inside in re.findall(r"\b(keywheel_[a-z0-9_]+)\{([^}]*)\}", text):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))


class Monitoring(harness.EndToEnd):
    def exported(self):
        """Names as Prometheus knows them, with their labels."""
        mock = self.mock(tls=False)
        pair = [self.folder / "live.crt", self.folder / "live.key"]
        subprocess.run([harness.PROGRAM, "self-signed", "--cert", pair[0], "--key", pair[1]], check=True,
                       stdout=subprocess.DEVNULL)
        secure = self.keywheel(mock, name="secure", wait=False, env={
            "KEYWHEEL_SERVER_TLS_CERTIFICATE": pair[0], "KEYWHEEL_SERVER_TLS_KEY": pair[1],
            "KEYWHEEL_SERVER_HEALTH_PORT": (health := harness.free_port())})
        secure.port = health
        secure.wait_ready("/readyz")
        proxy = self.keywheel(config=f"""
channels:
  - {{id: nobody, type: slack, url: "{mock.url}/hook"}}
groups:
  - {{id: good, base_url: "{mock.url}/v1", keys: [sk-one, sk-two]}}
prices:
  - {{model: gpt-4o-mini, input: 1, output: 2}}
""")
        models = ("gpt-4o-mini", "mock-status-500", "mock-status-429", "gpt-4o-mini", "mock-unknown-price")
        for model in models:
            proxy.post("/v1/chat/completions", {**CHAT, "model": model})
        proxy.get("/admin/keys", headers={"x-admin-key": "a-wrong-secret"})
        proxy.raw(b"GET / HTTP/1.1\r\nbad header\r\n\r\n", finish=True)
        harness.wait_until("the channel is known", lambda: b"keywheel_notifications_total" in proxy.get("/metrics").body)
        harness.wait_until("the certificate's end", lambda: re.search(rb"\nkeywheel_certificate_expiry_timestamp_seconds\S* [1-9]", secure.get("/metrics").body))
        harness.wait_until("all is counted", lambda: b'_total{model="gpt-4o-mini",kind="real"}' in proxy.get("/metrics").body)
        text = proxy.get("/metrics").body.decode() + secure.get("/metrics").body.decode()
        # A stream has counted both: its first token, and the gaps between the others.
        for name in ("time_to_first_token", "inter_token"):
            self.assertRegex(text, rf"keywheel_{name}_seconds_count [1-9]")
        found = {}
        for line in text.splitlines():
            series = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", line)
            if series and not line.startswith("#"):
                labels = re.findall(r'(\w+)="', series.group(2) or "")
                found.setdefault(series.group(1), set()).update(labels)
        return found

    def test_every_name_and_label_is_exported(self):
        found = self.exported()
        asked = set()
        for where, text in expressions():
            for name in names_in(text) - FOREIGN:
                asked.add(name)
                self.assertIn(name, found, where)
            for name, labels in selectors_in(text):
                self.assertLessEqual(labels - FROM_PROMETHEUS, found[name], f"{where}: {name}")
        self.assertNotIn("keywheel_no_such_thing", found)
        print(f"figure: monitoring: metrics that rules and dashboard use: {len(asked)} of {len(found)} series names", flush=True)
        self.assertGreater(len(asked), 15)

    def test_recorded_names_are_defined(self):
        text = (DEPLOY / "prometheus/keywheel.rules.yml").read_text()
        recorded = set(re.findall(r"record: (\S+)", text))
        for where, asked in expressions():
            self.assertLessEqual(set(re.findall(r"keywheel:[a-z0-9_]+:[a-z0-9_]+", asked)), recorded, where)

    def test_alerts_are_tested(self):
        rules = (DEPLOY / "prometheus/keywheel.rules.yml").read_text()
        tests = (DEPLOY / "prometheus/keywheel.rules.test.yml").read_text()
        guide = (harness.ROOT / "docs/operations.md").read_text()
        for alert in re.findall(r"- alert: (\w+)", rules):
            self.assertIn(alert, tests)
            self.assertIn(alert, guide)


if __name__ == "__main__":
    harness.main()
