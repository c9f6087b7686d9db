"""Clients' sessions stay with one upstream key under every strategy, whatever names them, over connections that land
on any worker; they move at once when that key is out, end after their lifetime, are told apart by access key, are
bounded, and are off unless asked for. The share of cached tokens is in the metrics. Organisation and project of a key
take the place of the client's."""
import re
import time

import harness

KEYS = [f"sk-session-key-{i}" for i in range(6)]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Sessions(harness.EndToEnd):
    def start(self, sessions="named", strategy="round-robin", pool="", extra="", env=None, keys=KEYS):
        number = len(self._running)
        mock = self.mock(name=f"mock-{number}", tls=False)
        config = "\n".join(["groups:", "  - id: g", f"    base_url: {mock.url}/v1",
                            f"    pool: {{strategy: {strategy}, sessions: {sessions}{pool}}}",
                            f"    keys: [{', '.join(keys)}]", extra, ""])
        return mock, self.keywheel(name=f"keywheel-{number}", config=config, env={"WORKERS": 2, **(env or {})})

    def key_of(self, proxy, body=None, path="/v1/chat/completions", **headers):
        answer = proxy.post(path, {**CHAT, **(body or {})},
                            headers={name.replace("_", "-"): value for name, value in headers.items()})
        self.assertEqual(answer.status, 200, answer)
        return answer.headers["x-keywheel-key"]

    def metric(self, proxy, name):
        found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", proxy.get("/metrics").body.decode(), re.M)
        self.assertTrue(found, name)
        return int(float(found[1]))

    def test_every_strategy_and_every_name(self):
        served = set()
        for strategy in harness.STRATEGIES:
            _, proxy = self.start(strategy=strategy)
            names = {
                "header": lambda i: ({}, {"session_id": f"s{i}"}),
                "x-session-id": lambda i: ({}, {"x_session_id": f"x{i}"}),
                "turn state": lambda i: ({}, {"x_codex_turn_state": f"t{i}"}),
                "prompt_cache_key": lambda i: ({"prompt_cache_key": f"p{i}"}, {}),
                "user": lambda i: ({"user": f"u{i}"}, {}),
                "metadata": lambda i: ({"metadata": {"topic": "x", "session_id": f"m{i}"}}, {}),
            }
            for name, ask in names.items():
                for session in range(2):
                    body, headers = ask(session)
                    used = [self.key_of(proxy, body, **headers) for _ in range(10)]
                    self.assertEqual(len(set(used)), 1, (strategy, name, used))
                    served.add(used[0])
            self.assertEqual(self.metric(proxy, 'keywheel_session_tries_total{key="first"}'), 12)
            self.assertEqual(self.metric(proxy, 'keywheel_session_tries_total{key="kept"}'), 108)
            proxy.stop()
        self.assertGreater(len(served), 1)
        print("figure: requests of 72 sessions under six strategies: 720, on another key than the session's first: 0")

    def test_off_unless_asked_for(self):
        mock = self.mock(tls=False)
        proxy = self.keywheel(mock, keys=KEYS)
        self.assertGreater(len({self.key_of(proxy, {"user": "u"}, session_id="s") for _ in range(12)}), 1)
        self.assertEqual(self.metric(proxy, 'keywheel_session_tries_total{key="kept"}'), 0)

    def test_a_session_moves_when_its_key_is_out(self):
        mock, proxy = self.start()
        before = self.key_of(proxy, session_id="s")
        mock.control(key=KEYS[int(before.rsplit("-", 1)[1]) - 1], behaviour="billing")
        after = [self.key_of(proxy, session_id="s") for _ in range(10)]
        self.assertNotIn(before, after)
        self.assertEqual(len(set(after)), 1)
        self.assertGreaterEqual(self.metric(proxy, 'keywheel_session_tries_total{key="moved"}'), 1)

    def test_access_keys_are_independent(self):
        _, proxy = self.start()
        used = []
        for i in range(6):
            made = proxy.admin("POST", "/admin/access-keys", {"name": f"k{i}"}).json()["data"]["key"]
            auth = f"Bearer {made}"
            harness.wait_until("it is known", lambda: proxy.get(
                "/v1/models", headers={"authorization": auth}).status == 200)
            keys = {self.key_of(proxy, {"prompt_cache_key": "same"}, authorization=auth) for _ in range(10)}
            self.assertEqual(len(keys), 1)
            used += keys
        self.assertGreater(len(set(used)), 1, "round-robin chooses for each access key")
        print(f"figure: access keys with one prompt: {len(used)}, on {len(set(used))} upstream keys")

    def test_how_the_prompt_begins(self):
        mock, proxy = self.start(sessions="prefix")

        def talk(turns, who):
            messages = [{"role": "system", "content": "be kind " * 700}, {"role": "user", "content": who}]
            for i in range(turns):
                messages += [{"role": "assistant", "content": f"a{i}"}, {"role": "user", "content": f"q{i}"}]
            return {"messages": messages}
        for who in ("anna", "berta", "carla"):
            used = [self.key_of(proxy, talk(turn, who)) for turn in range(10)]
            self.assertEqual(len(set(used)), 1, used)
        tokens = {kind: self.metric(proxy, f'keywheel_session_tokens_total{{class="{kind}"}}')
                  for kind in ("input", "cached_read")}
        books = mock.books(limit=0)["total"]
        self.assertEqual(tokens["cached_read"], books["cached_tokens"])
        self.assertGreater(tokens["cached_read"], 0)
        print(f"figure: cached share of {tokens['input']} input tokens: "
              f"{tokens['cached_read'] / tokens['input']:.2f}")
        # A policy that there is not.
        changed = proxy.admin("POST", "/admin/pool-groups", {"id": "h", "base_url": f"{mock.url}/v1", "priority": 0,
                                                             "sessions": "all"})
        self.assertEqual(changed.status, 400, changed)
        self.assertIn("sessions", changed.body.decode())

    def test_a_group_of_its_own(self):
        mock = self.mock(tls=False)
        proxy = self.keywheel(mock, env={"WORKERS": 2}, keys=[])
        made = proxy.admin("POST", "/admin/pool-groups", {
            "id": "h", "base_url": f"{mock.url}/v1", "sessions": "named", "session_lifetime_ms": 600_000})
        self.assertIn(made.status, (200, 201), made)
        for key in KEYS:
            made = proxy.admin("POST", "/admin/keys", {"key": key, "group": "h"})
            self.assertIn(made.status, (200, 201), made)
        group = proxy.admin("GET", "/admin/pool-groups/h").json()["data"]
        self.assertEqual((group["sessions"], group["session_lifetime_ms"]), ("named", 600_000))
        harness.wait_until("the keys are there", lambda: proxy.post("/v1/chat/completions", CHAT).status == 200)
        harness.wait_until("all of them", lambda: len({self.key_of(proxy) for _ in range(6)}) == 6)
        self.assertEqual(len({self.key_of(proxy, session_id="s") for _ in range(10)}), 1)
        self.assertGreater(len({self.key_of(proxy) for _ in range(10)}), 1, "a prompt names nothing here")
        changed = proxy.admin("PUT", "/admin/pool-groups/h", {"sessions": "off"})
        self.assertEqual(changed.status, 200, changed)
        harness.wait_until("it is off", lambda: len({self.key_of(proxy, session_id="s") for _ in range(6)}) > 1)

    def test_a_session_ends(self):
        _, proxy = self.start(pool=", session_lifetime: 1s")
        before = self.key_of(proxy, session_id="s")
        time.sleep(1.2)
        # The ring has gone on by one, so that the choice after is another key.
        self.assertNotEqual(before, self.key_of(proxy, session_id="s"))
        self.assertEqual(self.metric(proxy, 'keywheel_session_tries_total{key="first"}'), 2)

    def test_many_sessions(self):
        _, proxy = self.start(env={"KEYWHEEL_SESSIONS_MAX_ENTRIES": 16})
        for i in range(300):
            self.key_of(proxy, session_id=f"s{i}")
        self.assertEqual(len({self.key_of(proxy, session_id="last") for _ in range(10)}), 1)

    def test_the_state_that_an_upstream_gives(self):
        mock, proxy = self.start()
        first = proxy.post("/v1/responses", {"model": "m", "input": "x"}, headers={"x-mock-turn-state": "opaque-1"})
        self.assertEqual(first.headers["x-codex-turn-state"], "opaque-1")
        used = {self.key_of(proxy, x_codex_turn_state="opaque-1") for _ in range(10)}
        self.assertEqual(used, {first.headers["x-keywheel-key"]})

    def test_organisation_and_project_of_a_key(self):
        mock, proxy = self.start(sessions="off", keys=KEYS[:2])
        own = {"OpenAI-Organization": "org-client", "OpenAI-Project": "proj-client"}
        ids = {key["alias"]: key["id"] for key in proxy.admin("GET", "/admin/keys").json()["data"]["keys"]}
        made = proxy.admin("POST", "/admin/keys", {"key": "sk-with-account", "group": "g", "alias": "own",
                                                   "organization": "org-key", "project": "proj-key"})
        self.assertIn(made.status, (200, 201), made)
        shown = proxy.admin("GET", f"/admin/keys/{made.json()['data']['id']}").json()["data"]
        self.assertEqual((shown["organization"], shown["project"]), ("org-key", "proj-key"))
        refused = proxy.admin("PUT", f"/admin/keys/{made.json()['data']['id']}", {"organization": "a\r\nb: c"})
        self.assertEqual(refused.status, 400, refused)

        def sent():
            answer = proxy.post("/v1/chat/completions", CHAT, headers=own)
            self.assertEqual(answer.status, 200, answer)
            head = mock.seen(last=1)[0]["head"]
            return answer.headers["x-keywheel-key"], tuple(
                value for name, value in head if name.lower().startswith("openai-"))
        harness.wait_until("the key is used", lambda: sent()[0] == "own")
        self.assertEqual(dict(sent() for _ in range(9)), {"own": ("org-key", "proj-key"), **{a: () for a in ids}})
        changed = proxy.admin("PUT", f"/admin/keys/{made.json()['data']['id']}", {"organization": "", "project": ""})
        self.assertEqual(changed.status, 200, changed)
        harness.wait_until("none is sent", lambda: {v for _, v in (sent() for _ in range(6))} == {()})


if __name__ == "__main__":
    harness.main()
