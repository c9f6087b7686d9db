"""What long-lived work costs is booked to the access key that ordered it, once: background responses (plain and
streamed), batches at batch prices, fine-tuning jobs and videos, asked for by many clients on two replicas at the same
moment, by GET, list, stream and cancel; by nobody at all, when keywheel asks by itself; with processes killed in the
middle on either store, and by a claimant that died before it had booked; ordered while the store is away; with a
key that cannot ask any more. keywheel's books are compared with the mock's, the access key's budget with both."""
import concurrent.futures
import json
import random
import time

import harness

CONFIG = """
groups:
  - id: g
    base_url: {url}/v1
    keys: [sk-mock-a]
objects: {{collect_interval: {collect}}}
prices:
  - {{model: gpt-4o-mini, input: 1, output: 2}}
"""
BACKGROUND = {"model": "gpt-4o-mini", "input": "x", "background": True}
# What the mock says that each of them takes.
LATE = {"batches": ({"endpoint": "/v1/responses", "input_file_id": "file-none", "completion_window": "24h"}, 1200),
        "fine_tuning/jobs": ({"model": "gpt-4o-mini", "training_file": "file-none"}, 5000),
        "videos": ({"model": "sora-2", "prompt": "p"}, 0)}


class LateWork(harness.EndToEnd):
    def begin(self, replicas=1, redis=True, collect="0s"):
        self.mock_ = self.mock(name=f"mock-{len(self._running)}", tls=False)
        self.redis_ = self.redis(name=f"redis-{len(self._running)}", persistent=True) if redis else None
        env = {"ENCRYPTION_KEY": "e" * 43, **({"REDIS_URL": self.redis_.url} if redis else {})}
        self.all = [self.keywheel(name=f"keywheel-{len(self._running)}", env=env, config=CONFIG.format(
            url=self.mock_.url, collect=collect)) for _ in range(replicas)]
        made = self.all[0].admin("POST", "/admin/access-keys", {"name": "orders", "limits": [
            {"unit": "tokens", "per": "total", "cap": 10**9}, {"unit": "cost", "per": "total", "cap": "1000"}]})
        if made.status != 201:
            self.fail(made)
        self.key = made.json()["data"]
        self.headers = {"authorization": f"Bearer {self.key['key']}"}
        for process in self.all:
            harness.wait_until("the key is known", lambda p=process: p.get(
                "/v1/models", headers=self.headers).status == 200)

    def ask(self, process, method, path, body=None):
        answer = process.request(method, path, body, headers=self.headers)
        self.assertEqual(answer.status, 200, answer)
        return answer

    def order(self, process, family, stream=False):
        if family != "responses":
            return self.ask(process, "POST", f"/v1/{family}", LATE[family][0]).json()["id"]
        answer = self.ask(process, "POST", "/v1/responses", {**BACKGROUND, **({"stream": True} if stream else {})})
        if not stream:
            self.assertIn(answer.json()["status"], ("queued", "in_progress"))
            return answer.json()["id"]
        first = next(line for line in answer.body.decode().splitlines() if line.startswith("data: "))
        return json.loads(first[6:])["response"]["id"]

    def records(self, process=None):
        found, cursor = [], ""
        while True:
            page = (process or self.all[0]).admin("GET", f"/admin/requests?limit=1000{cursor}").json()["data"]
            found += page["requests"]
            if not page["pagination"]["next"]:
                return found
            cursor = f"&cursor={page['pagination']['next']}"

    def late(self):
        return [r for r in self.records() if r["id"].endswith(".late")]

    def tokens(self):
        return sum(r["tokens"]["input"] + r["tokens"]["output"] for r in self.records())

    def billed(self):
        sums = self.mock_.books(limit=0)["total"]
        return sum(sums[name] for name in ("input_tokens", "output_tokens"))

    def settled(self, what, count, seconds=25):
        """So many late records, and not one more a moment later; their sums are the mock's."""
        harness.wait_until(what, lambda: len(self.late()) >= count, seconds, step=0.1)
        time.sleep(0.5)
        late = self.late()
        self.assertEqual(len(late), count)
        self.assertEqual(len({r["id"] for r in late}), count)
        self.assertEqual(self.tokens(), self.billed())
        for r in late:
            self.assertEqual(r["access_key"], self.key["id"])
        # The sums, which are added up apart from the records.
        total = self.all[0].admin("GET", "/admin/usage?by=access_key&span=all").json()["data"]
        mine = [u for u in total["usage"] if u["subject"] == self.key["id"]]
        self.assertEqual(sum(u["tokens"]["input"] + u["tokens"]["output"] for u in mine), self.billed())
        return late

    def used(self, process):
        limits = process.get("/v1/keywheel/me", headers=self.headers).json()["limits"]
        return [float(entry["used"]) for entry in limits]

    def limits_have_counted_the_same(self):
        cost = sum(r["rated_cost"]["nanodollars"] for r in self.records() if r["rated_cost"]) / 1e9
        for process in self.all:
            harness.wait_until("the limits have counted all", lambda by=process: abs(
                self.used(by)[0] - self.billed()) < 1e-9 and abs(self.used(by)[1] - cost) < 1e-9, 10, step=0.1)

    def test_everybody_asks_at_once(self):
        self.begin(replicas=2)
        orders = []
        for i in range(12):
            orders.append(("responses", self.order(self.all[i % 2], "responses", stream=i % 3 == 0)))
        for family in LATE:
            orders += [(family, self.order(self.all[i % 2], family)) for i in range(4)]
        asked = [(family, each) for family, each in orders for _ in range(6)]
        random.shuffle(asked)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: self.ask(random.choice(self.all), "GET", f"/v1/{one[0]}/{one[1]}"), asked))
        late = self.settled("all is booked", len(orders))
        batches = [r for r in late if r["endpoint"] == "batches"]
        # 1,000 tokens at $1 and 200 at $2 a million, and half of that.
        self.assertEqual({r["cost"]["nanodollars"] for r in batches}, {700_000})
        self.assertEqual({r["usage"] for r in late}, {"exact"})
        self.assertEqual({r["model_served"] for r in batches}, {"gpt-4o-mini"})
        self.assertTrue(all(r["cost"]["nanodollars"] > 0 for r in late if r["endpoint"] == "responses"), late)
        # Ordering and asking are requests; late records are none.
        requests = self.all[0].admin("GET", "/admin/usage?by=access_key&span=all").json()["data"]["usage"]
        mine = sum(u["requests"] for u in requests if u["subject"] == self.key["id"])
        self.assertEqual(mine, sum(r["access_key"] == self.key["id"] and not r["id"].endswith(".late")
                                   for r in self.records()))
        self.limits_have_counted_the_same()
        print(f"figure: late work booked once, asked {len(asked)} times on 2 replicas: {len(orders)} records")

    def test_lists_streams_and_cancels_tell(self):
        self.begin()
        p = self.all[0]
        made = {"responses": self.order(p, "responses")}
        # What it may take stays reserved: nobody orders more than a budget has before the first is told.
        self.assertGreater(min(self.used(p)), 0)
        made |= {family: self.order(p, family) for family in LATE}
        another = self.order(p, "responses")
        for family in LATE:
            self.ask(p, "GET", f"/v1/{family}")
        self.ask(p, "GET", f"/v1/responses/{made['responses']}?stream=true&starting_after=0")
        self.ask(p, "POST", f"/v1/responses/{another}/cancel", {})
        self.settled("lists and cancels are booked", len(made) + 1)
        self.limits_have_counted_the_same()

    def test_nobody_asks(self):
        self.begin(replicas=2, collect="1s")
        for family in ("responses", *LATE):
            self.order(self.all[0], family)
        gone = self.order(self.all[0], "responses")
        self.ask(self.all[0], "DELETE", f"/v1/responses/{gone}")
        harness.wait_until("all is looked after", lambda: len(self.late()) >= 5, 25, step=0.1)
        late = self.late()
        self.assertEqual(len(late), 5)
        # Of the one that was deleted nobody can say more than an estimate.
        self.assertEqual(sorted(r["usage"] for r in late), ["estimated", "exact", "exact", "exact", "exact"])

    def killed_in_the_middle(self, redis):
        self.begin(redis=redis)
        p = self.all[0]
        every = []

        def ask_for(some):
            for each in some:
                self.ask(p, "GET", f"/v1/{'batches' if each.startswith('batch') else 'responses'}/{each}")
        for turn in range(4):
            made = [self.order(p, "responses") for _ in range(8)] + [self.order(p, "batches")]
            every += made
            ask_for(made)
            if turn % 2:
                time.sleep(random.random() * 0.05)
            p.restart(kill=True)
            ask_for(made)
        # Those whose claimant was killed, too.
        ask_for(every)
        self.settled("what was killed is booked", len(every))
        print(f"figure: late work booked once after 4 kills, Redis {redis}: {len(every)} records")

    def test_killed_in_the_middle_on_redis(self):
        self.killed_in_the_middle(True)

    def test_killed_in_the_middle_on_the_embedded_store(self):
        self.killed_in_the_middle(False)

    def test_ordered_while_the_store_is_away(self):
        """The process that took the orders is killed before Redis is back; the one after it knows of them."""
        self.begin(collect="1s")
        p = self.all[0]
        form = (b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\ncontent-disposition: '
                b'form-data; name="file"; filename="a"\r\n\r\n{}\r\n--b--\r\n')
        file = p.request("POST", "/v1/files", form, headers={
            "content-type": "multipart/form-data; boundary=b"}).json()["id"]
        self.redis_.kill()
        bodies = {family: {name: file if value == "file-none" else value for name, value in body.items()}
                  for family, (body, _) in LATE.items()}
        orders = []
        for family, body in [*bodies.items(), ("responses", BACKGROUND)] * 2:
            answer = p.post(f"/v1/{family}", body)
            self.assertEqual(answer.status, 200, answer)
            orders.append(answer.json()["id"])
        waiting = f"keywheel_late_orders_waiting {len(orders)}"
        self.assertIn(waiting, p.get("/metrics").body.decode())
        p.restart(kill=True)
        self.assertIn(waiting, p.get("/metrics").body.decode())
        self.redis_.start()
        harness.wait_until("redis is back", self.redis_.ping)

        def booked():
            try:
                return len(self.late()) >= len(orders)
            except (KeyError, TypeError):  # keywheel has yet to find it again
                return False
        harness.wait_until("all is booked", booked, 40, step=0.2)
        late = self.late()
        self.assertEqual((len(late), {r["usage"] for r in late}), (len(orders), {"exact"}))
        self.assertEqual(self.tokens(), self.billed())
        self.assertIn("keywheel_late_orders_waiting 0", p.get("/metrics").body.decode())
        self.assertFalse((self.folder / f"{p.name}-data/late_orders").exists())
        print(f"figure: ordered without a store, and killed: {len(orders)} orders, booked {len(late)}")

    def test_the_key_that_ordered_cannot_ask(self):
        """Another of its account does."""
        keys = [f"sk-late-{i}" for i in (1, 2)]
        mock = self.mock(tls=False, accounts=",".join(keys))
        proxy = self.keywheel(mock, keys=keys, env={"KEYWHEEL_OBJECTS_COLLECT_INTERVAL": "2s"})
        for each in proxy.admin("GET", "/admin/keys").json()["data"]["keys"]:
            self.assertEqual(proxy.admin("PUT", f"/admin/keys/{each['id']}", {"account": "one"}).status, 200)
        proxy.post("/v1/videos", LATE["videos"][0])
        ordered = [e for e in mock.books()["entries"] if e["endpoint"] == "POST /v1/videos"][0]["key"]
        mock.control(key=ordered, behaviour="invalid")

        def late():
            rows = proxy.admin("GET", "/admin/requests?limit=100").json()["data"]["requests"]
            return [r for r in rows if r["id"].endswith(".late")]
        harness.wait_until("it is booked", late, 30, step=0.2)
        self.assertEqual([r["usage"] for r in late()], ["exact"])
        asked = {e["status"]: e["key"] for e in mock.books()["entries"] if e["endpoint"] == "GET /v1/videos/{id}"}
        self.assertNotEqual(asked[200], ordered)

    def test_a_claimant_that_died_before_it_had_booked(self):
        self.begin()
        p = self.all[0]
        each = self.order(p, "responses")
        names = self.redis_.command("KEYS", "*debt:*").decode()
        key = next(line for line in names.splitlines() if each in line)
        # As another process left it: it has claimed the debt for five seconds and is gone.
        value = self.redis_.command("GET", key).decode().split("\r\n", 1)[1][:-2]
        note = value.split("\n", 1)[1]
        self.redis_.command("SET", key, f"{int(time.time()) + 5} dead\n{note}", "EX", 1000)
        self.ask(p, "GET", f"/v1/responses/{each}")
        time.sleep(1)
        self.assertEqual(self.late(), [])
        self.settled("another one has booked it", 1)


if __name__ == "__main__":
    harness.main(together=3)
