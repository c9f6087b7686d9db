"""Export and import: sealed by a passphrase, everything moves from the embedded store to Redis and works there; without
secrets, none is in it; what is malformed or wrongly opened changes nothing; lists of other gateways are taken in."""
import json
import time

import harness

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
PASSPHRASE = "correct horse battery staple"
CANARIES = ("sk-mock-canary-one", "sk-mock-canary-two", "proxy-canary-password")


class Transfer(harness.EndToEnd):
    def data(self, proxy, method, path, body=None, status=200):
        answer = proxy.admin(method, path, body)
        self.assertEqual(answer.status, status, answer)
        return answer.json()["data"] if status < 400 else answer.json()

    def source(self):
        """A proxy on the embedded store with a record of each kind, made by the API."""
        proxy = self.keywheel(self.upstream, keys=())
        self.data(proxy, "POST", "/admin/pool-groups", {"id": "main", "base_url": self.upstream.url + "/v1"}, 201)
        self.data(proxy, "POST", "/admin/pool-groups",
                  {"id": "far", "base_url": "https://far.example/v1",
                   "egress_proxy": "http://user:proxy-canary-password@proxy.example:3128"}, 201)
        for text in CANARIES[:2]:
            self.data(proxy, "POST", "/admin/keys", {"key": text, "poolGroup": "main", "notes": "made here"}, 201)
        self.texts = [self.data(proxy, "POST", "/admin/access-keys",
                                {"name": f"client {n}", "limits": [{"unit": "requests", "per": "1h", "cap": 50}]},
                                201)["key"] for n in range(3)]
        self.data(proxy, "PUT", "/admin/config", {"pool.retry_max": 4, "headers.overhead": False})
        return proxy

    def target(self):
        self.store = self.redis(persistent=True)
        return self.keywheel(self.upstream, keys=(), name="target",
                             env={"REDIS_URL": self.store.url, "ENCRYPTION_KEY": "another-master-key-" + "x" * 20})

    def export(self, proxy, **body):
        return self.data(proxy, "POST", "/admin/export", body)

    def state(self, proxy):
        """What matters of an export in clear: records by kind, without what the configuration declares."""
        records = self.export(proxy, mode="decrypted", admin_key=harness.ADMIN_KEY)["records"]
        found = {kind: {item["id"]: item["data"] for item in items} for kind, items in records.items()}
        found["access_key"] = {i: d for i, d in found["access_key"].items() if not d.get("declared")}
        found["config"] = {i: d["values"] for i, d in found["config"].items()}
        return found

    def serves(self, proxy, text):
        return proxy.post("/v1/chat/completions", CHAT, headers={"authorization": f"Bearer {text}"}).status

    def test_from_embedded_to_redis(self):
        self.upstream = self.mock(tls=False)
        source = self.source()
        wanted = self.state(source)
        begun = time.monotonic()
        sealed = self.export(source, mode="encrypted", passphrase=PASSPHRASE)
        print(f"figure: transfer: sealed export: {(time.monotonic() - begun) * 1000:.0f} ms", flush=True)
        for canary in (*CANARIES, *self.texts):
            self.assertNotIn(canary, json.dumps(sealed))
        source.stop()

        target = self.target()
        before = self.state(target)
        for body in ({"document": sealed, "passphrase": "wrong horse battery staple"}, {"document": sealed},
                     {"document": {**sealed, "sealed": sealed["sealed"][:-8] + "AAAAAAAA"}, "passphrase": PASSPHRASE},
                     {"document": {**sealed, "keywheel_export": 2}, "passphrase": PASSPHRASE}):
            self.data(target, "POST", "/admin/import", body, 400)
        tried = self.data(target, "POST", "/admin/import", {"document": sealed, "passphrase": PASSPHRASE, "dry_run": True})
        self.assertEqual([tried["dry_run"], tried["created"], tried["refused"]], [True, 8, 0], tried)
        self.assertEqual(self.state(target), before)

        done = self.data(target, "POST", "/admin/import", {"document": sealed, "passphrase": PASSPHRASE})
        self.assertEqual([done["created"], done["refused"], done["skipped"]], [8, 0, 1], done)
        self.assertEqual([item["reason"] for item in done["items"] if item["result"] == "skipped"],
                         ["the configuration declares it"])
        self.assertEqual(self.state(target), wanted)
        # Both old and new access keys open, the upstream keys serve, the settings hold.
        for text in (*self.texts, harness.ACCESS_KEY):
            harness.wait_until("the access key", lambda t=text: self.serves(target, t) == 200)
        self.assertEqual({entry["key"] for entry in self.upstream.books()["entries"]} & set(CANARIES), set(CANARIES[:2]))
        self.assertNotIn("x-keywheel-overhead-us", target.post("/v1/chat/completions", CHAT).headers)
        again = self.data(target, "POST", "/admin/import", {"document": sealed, "passphrase": PASSPHRASE})
        self.assertEqual([again["unchanged"], again["created"], again["overwritten"]], [9, 0, 0], again)
        target.restart()
        self.assertEqual(self.serves(target, self.texts[0]), 200)
        dump = self.store.command("SAVE") and b"".join(
            path.read_bytes() for path in (self.folder / "redis").rglob("*") if path.is_file())
        for canary in (*CANARIES, *self.texts):
            self.assertNotIn(canary.encode(), dump)
        for process in (source, target):
            for canary in (*CANARIES, *self.texts, PASSPHRASE):
                self.assertNotIn(canary, process.log())

    def test_sanitized_and_in_clear(self):
        self.upstream = self.mock(tls=False)
        source = self.source()
        plain = self.export(source)
        text = json.dumps(plain)
        for secret in (*CANARIES, *self.texts, harness.ADMIN_KEY, harness.ACCESS_KEY, '"hash"', '"sealed"', "peppers"):
            self.assertNotIn(secret, text)
        self.assertEqual(len(plain["records"]["upstream_key"]), 2)
        for kind in ("upstream_key", "access_key"):
            answer = source.admin("GET", f"/admin/export/csv?kind={kind}")
            self.assertEqual([answer.status, answer.headers["content-type"]], [200, "text/csv; charset=utf-8"])
            for secret in (*CANARIES, *self.texts):
                self.assertNotIn(secret.encode(), answer.body)
        for confirm in ({}, {"admin_key": "a-wrong-admin-secret"}):
            self.data(source, "POST", "/admin/export", {"mode": "decrypted", **confirm}, 403)
        self.assertIn(CANARIES[0], json.dumps(self.export(source, mode="decrypted", admin_key=harness.ADMIN_KEY)))
        harness.wait_until("the warning", lambda: [e for e in source.events()
                                                   if e.get("event") == "admin.export_in_clear" and e["level"] == "warn"])
        self.data(source, "POST", "/admin/export", {"mode": "encrypted", "passphrase": "short"}, 400)

        # It changes what it holds of records that exist, and makes none without their secrets.
        plain["records"]["upstream_key"][0]["data"]["notes"] = "changed elsewhere"
        wiped = self.keywheel(self.upstream, keys=(), name="wiped")
        told = self.data(wiped, "POST", "/admin/import", plain)
        self.assertEqual({item["kind"] for item in told["items"] if item["result"] == "refused"},
                         {"upstream_key", "access_key", "group"})
        before = self.state(source)
        told = self.data(source, "POST", "/admin/import?mode=skip", plain)
        self.assertEqual([told["overwritten"], told["created"]], [0, 0])
        self.assertEqual(self.state(source), before)
        told = self.data(source, "POST", "/admin/import?mode=overwrite", plain)
        self.assertEqual([told["overwritten"], told["created"], told["refused"]], [1, 0, 0], told)
        after = self.state(source)
        key = plain["records"]["upstream_key"][0]["id"]
        self.assertEqual(after["upstream_key"][key]["notes"], "changed elsewhere")
        after["upstream_key"][key]["notes"] = "made here"
        self.assertEqual(after, before)
        self.assertEqual(self.serves(source, self.texts[0]), 200)

    def test_other_gateways(self):
        self.upstream = self.mock(tls=False)
        proxy = self.keywheel(self.upstream, keys=(), env={"LLM_KEY": "sk-mock-from-environment"})
        base = self.upstream.url
        config = f"""
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_key: sk-mock-litellm-one, api_base: "{base}/v1", rpm: 100}}
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_key: os.environ/LLM_KEY, api_base: "{base}/v1", timeout: 30}}
  - model_name: x
    litellm_params: {{model: openai/gpt-4o, api_key: os.environ/NOT_SET, api_base: "{base}/v1"}}
  - model_name: stolen
    litellm_params: {{model: openai/gpt-4o, api_key: os.environ/ADMIN_ACCESS_KEY, api_base: "{base}/v1"}}
  - model_name: cloud
    litellm_params: {{model: bedrock/claude, aws_region_name: eu-1}}
router_settings: {{num_retries: 2}}
"""
        told = self.data(proxy, "POST", "/admin/import", config)
        self.assertEqual([told["format"], told["created"], told["refused"]], ["litellm", 3, 0], told)
        ignored = "\n".join(told["ignored"])
        for words in ("router_settings", "model_list[1].litellm_params.timeout", "model_list[2].litellm_params.api_key",
                      "model_list[3].litellm_params.api_key", "model_list[4]"):
            self.assertIn(words, ignored)
        self.assertEqual(proxy.post("/v1/chat/completions", CHAT).status, 200)
        self.assertNotIn(harness.ADMIN_KEY, json.dumps(self.state(proxy)))

        told = self.data(proxy, "POST", "/admin/import?group=openai", "# mine\nsk-mock-plain-one\nsk-mock-plain-two\nsk-mock-plain-one\n")
        self.assertEqual([told["format"], told["created"], told["skipped"]], ["keys", 2, 1], told)
        told = self.data(proxy, "POST", "/admin/import?group=openai", 'notes,key\n"first, of all",sk-mock-csv-one\nbad,short\n')
        self.assertEqual([told["created"], told["refused"]], [1, 1], told)
        told = self.data(proxy, "POST", "/admin/import?group=openai", ["sk-mock-json-one", {"key": "sk-mock-json-two", "notes": "n"}])
        self.assertEqual(told["created"], 2, told)
        told = self.data(proxy, "POST", "/admin/import", {
            "poolGroups": [{"id": "vip", "name": "VIP", "priority": 1, "baseUrl": base + "/v1", "color": "red"}],
            "keys": [{"key": "sk-mock-pool-one", "poolGroup": "vip", "status": "disabled", "usageCount": 4}]})
        self.assertEqual([told["format"], told["created"]], ["key_pool", 2], told)
        key, = self.data(proxy, "GET", "/admin/keys?poolGroup=vip")["keys"]
        self.assertEqual(key["status"], "disabled")

        told = self.data(proxy, "POST", "/admin/import", [
            {"name": "team", "apiKey": "foreign-access-key-0001", "tokenLimit": 1000, "rateLimitWindow": 60,
             "concurrencyLimit": 2, "dailyCostLimit": 1.5, "isActive": True, "enableModelRestriction": True,
             "restrictedModels": ["gpt-5*"], "permissions": "all", "tags": ["a"]},
            {"name": "fresh", "rateLimitRequests": 0}])
        self.assertEqual([told["format"], told["created"]], ["access_keys", 2], told)
        self.assertEqual(self.serves(proxy, "foreign-access-key-0001"), 200)
        fresh, = told["access_keys"]
        self.assertEqual([fresh["name"], self.serves(proxy, fresh["key"])], ["fresh", 200])
        team, = self.data(proxy, "GET", "/admin/access-keys?q=team")["access_keys"]
        self.assertEqual({limit["unit"]: limit["cap"] for limit in team["limits"]},
                         {"tokens": 1000, "concurrent": 2, "cost": "1.5"})
        before = self.state(proxy)
        for broken in ("{", "[1, 2", "model_list: [", "model_list:\n  - a: &x [*x]\n", {"document": ""}, {},
                       {"keywheel_export": 1, "records": {"group": [{"id": "g"}]}},
                       {"keywheel_export": 1, "records": {"group": "all"}}, {"format": "best", "document": {}}):
            answer = proxy.admin("POST", "/admin/import", broken)
            self.assertIn(answer.status, (200, 400), answer)
        self.assertEqual(self.state(proxy), before)
        self.assertEqual(proxy.admin("POST", "/admin/import", b"x" * (33 << 20)).status, 413)
        lines = "\n".join(f"sk-mock-many-{n:06}" for n in range(10_000))
        begun = time.monotonic()
        told = self.data(proxy, "POST", "/admin/import?group=openai", lines)
        print(f"figure: transfer: import of 10,000 keys: {time.monotonic() - begun:.2f} s", flush=True)
        self.assertEqual(told["created"], 10_000)
        self.assertNotIn("sk-mock-", proxy.log())


if __name__ == "__main__":
    harness.main()
