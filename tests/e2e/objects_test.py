"""Objects that one upstream account keeps (files, batches, vector stores, responses, …) through three accounts of
two keys each: under every strategy each is found again, lists are whole and in order, a restart and a second
replica in the middle go on, access keys do not see one another's objects, a banned account is told with 409, and an
id that keywheel has never seen is looked for in each account. Mostly one request at a time; figures are for those."""
import concurrent.futures
import json
import signal
import statistics
import time

import harness
from harness import ACCOUNT_KEYS

CREATED = {
    "files": None, "uploads": {"bytes": 3, "filename": "f", "mime_type": "text/plain", "purpose": "batch"},
    "batches": {"endpoint": "/v1/responses", "input_file_id": "FILE", "completion_window": "24h"},
    "vector_stores": {"file_ids": ["FILE"]}, "fine_tuning/jobs": {"model": "m", "training_file": "FILE"},
    "responses": {"model": "m", "input": "x"}, "conversations": {}, "assistants": {"model": "m"},
    "threads": {"messages": []}, "evals": {"name": "e"}, "containers": {"name": "c"},
    "videos": {"prompt": "p", "model": "sora-2"}, "skills": {"name": "s"},
}
GONE = ("uploads",)  # no GET
LISTED = [family for family in CREATED if family not in ("uploads", "responses", "conversations", "threads")]


def upload(proxy, **more):
    body = (b"--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: "
            b"form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{}\r\n--b--\r\n")
    headers = {"content-type": "multipart/form-data; boundary=b", **more.pop("headers", {})}
    return proxy.request("POST", "/v1/files", body, headers=headers, **more)


class Objects(harness.EndToEnd):
    def ok(self, answer, status=(200, 201)):
        self.assertIn(answer.status, status, answer)
        return answer.json()

    def make(self, proxy, family, file=None, **more):
        if family == "files":
            return self.ok(upload(proxy, **more))["id"]
        body = json.loads(json.dumps(CREATED[family]).replace("FILE", file or ""))
        return self.ok(proxy.post(f"/v1/{family}", body, **more))["id"]

    def make_all(self, pick):
        """One of each family; `pick` gives the process that is asked."""
        made = {"files": self.make(pick(), "files")}
        for family in CREATED:
            if family != "files":
                made[family] = self.make(pick(), family, made["files"])
        return made

    def find_all(self, pick, made, rounds=1):
        for _ in range(rounds):
            for family, each in made.items():
                if family not in GONE:
                    self.assertEqual(self.ok(pick().get(f"/v1/{family}/{each}"))["id"], each)
        self.ok(pick().post(f"/v1/uploads/{made['uploads']}/cancel", {}))
        self.ok(pick().post(f"/v1/vector_stores/{made['vector_stores']}/files", {"file_id": made["files"]}))
        self.ok(pick().post(f"/v1/threads/{made['threads']}/runs", {"assistant_id": made["assistants"]}))
        self.ok(pick().post("/v1/responses", {"model": "m", "input": "x", "previous_response_id": made["responses"]}))
        self.ok(pick().post("/v1/responses", {"model": "m", "input": "x", "conversation": made["conversations"]}))
        for family in LISTED:
            listed = self.ok(pick().get(f"/v1/{family}"))
            self.assertIn(made[family], [item["id"] for item in listed["data"]], family)

    def access_key(self, proxy, name):
        made = proxy.admin("POST", "/admin/access-keys", {"name": name})
        self.assertEqual(made.status, 201, made)
        return made.json()["data"]["key"]

    def test_every_strategy_a_restart_and_another_replica(self):
        for strategy in harness.STRATEGIES:
            with self.subTest(strategy):
                mock, (a, b) = self.three_accounts(strategy)
                turns = iter(range(10**6))
                made = self.make_all(lambda: (a, b)[next(turns) % 2])
                a.restart()
                self.find_all(lambda: (a, b)[next(turns) % 2], made, rounds=3)
                a.restart(kill=True)
                self.find_all(lambda: a, made)
                for process in (a, b):
                    process.stop()

    def learn_accounts(self, mock, proxy):
        """Answers tell whose a key is, so each has to give one; then one key of each account is asked for an id."""
        for key in proxy.admin("GET", "/admin/keys").json()["data"]["keys"]:
            made = proxy.admin("POST", "/admin/access-keys", {"name": "asks one", "upstream_key": key["id"]})
            headers = {"authorization": f"Bearer {made.json()['data']['key']}"}
            harness.wait_until("the key answers", lambda by=headers: proxy.post(
                "/v1/chat/completions", {"model": "m", "messages": []}, headers=by).status == 200)
        tries = iter(range(10**6))

        def looked_for():
            before = mock.books(limit=0)["total"]["requests"]
            self.assertEqual(proxy.get(f"/v1/files/file-none{next(tries)}").status, 404)
            return mock.books(limit=0)["total"]["requests"] - before
        harness.wait_until("three accounts are known", lambda: looked_for() <= 4)

    def test_a_replica_that_does_not_know_the_accounts_yet(self):
        """What one replica has learned a moment ago leads the other to the key that made the object."""
        mock, (a, b) = self.three_accounts()
        b.signal(signal.SIGSTOP)
        self.learn_accounts(mock, a)
        made = [self.make(a, "files") for _ in range(2)]
        answers = [self.ok(a.post("/v1/responses", {"model": "m", "input": "x"}))["id"] for _ in range(6)]
        asks = [("GET", f"/v1/files/{made[0]}", None), ("GET", "/v1/files", None),
                ("POST", "/v1/batches", {"input_file_id": made[0], "endpoint": "/v1/responses"}),
                ("POST", "/v1/vector_stores", {"file_ids": made})]
        asks += [("POST", "/v1/responses", {"model": "m", "input": "x", "previous_response_id": each})
                 for each in answers]
        with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
            # They wait in its sockets when it goes on, so it has had no time to read what is new.
            begun = [pool.submit(b.request, *ask) for ask in asks]
            time.sleep(0.3)
            b.signal(signal.SIGCONT)
            got = [each.result() for each in begun]
        for ask, answer in zip(asks, got):
            self.assertIn(answer.status, (200, 201), (ask, answer))
        listed = [item["id"] for item in got[1].json()["data"]]
        self.assertEqual([listed.count(each) for each in made], [1, 1], listed)
        print(f"figure: first requests about objects of accounts that are new to a replica: {len(asks)}, served "
              f"{len(got)}")

    def test_embedded_store_and_a_restart(self):
        mock = self.mock(tls=False, accounts=";".join(ACCOUNT_KEYS))
        proxy = self.keywheel(mock, keys=ACCOUNT_KEYS, env={"WORKERS": 2})
        made = self.make_all(lambda: proxy)
        proxy.restart(kill=True)
        self.find_all(lambda: proxy, made, rounds=2)

    def test_lists_over_all_accounts(self):
        mock, (a, b) = self.three_accounts(env={"KEYWHEEL_OBJECTS_PLACEMENT": "spread"})
        for family in ("files", "vector_stores", "assistants", "conversations"):
            made = [self.make((a, b)[i % 2], family) if family != "vector_stores" else
                    self.ok((a, b)[i % 2].post("/v1/vector_stores", {}))["id"] for i in range(25)]
            if family == "conversations":
                continue  # there is no list of these
            for order, wanted in (("desc", made[::-1]), ("asc", made)):
                for limit in (1, 4, 7, 25, 100):
                    for turn, pick in enumerate(((a, a), (a, b))):
                        got, query = [], f"limit={limit}&order={order}"
                        page = self.ok(pick[0].get(f"/v1/{family}?{query}"))
                        while True:
                            got += [item["id"] for item in page["data"]]
                            self.assertEqual((page["first_id"], page["last_id"]),
                                             (page["data"][0]["id"], page["data"][-1]["id"]))
                            if not page["has_more"]:
                                break
                            self.assertEqual(len(page["data"]), limit)
                            page = self.ok(pick[len(got) % 2].get(f"/v1/{family}?{query}&after={got[-1]}"))
                        self.assertEqual(got, wanted, (family, order, limit, turn))
            before = self.ok(a.get(f"/v1/{family}?limit=3&before={made[10]}"))
            self.assertEqual([item["id"] for item in before["data"]], made[13:10:-1])
        listed = self.ok(b.get("/v1/assistants?limit=100"))["data"]
        by_account = {}
        for each in listed:
            account = a.get(f"/v1/assistants/{each['id']}").headers["openai-organization"]
            by_account[account] = by_account.get(account, 0) + 1
        print(f"figure: merged list: 25 assistants of {len(by_account)} accounts")
        self.assertEqual(len(by_account), 3)
        # An empty list is one, too.
        self.assertEqual(self.ok(a.get("/v1/batches"))["data"], [])

    def test_stored_chat_completions(self):
        _, (a, b) = self.three_accounts()
        key, other = self.access_key(a, "one"), self.access_key(a, "two")
        be = lambda who: {"authorization": f"Bearer {who}"}
        harness.wait_until("both are known", lambda: all(
            p.get("/v1/files", headers=be(k)).status == 200 for p in (a, b) for k in (key, other)))
        chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        made = []
        for i in range(12):
            body = {**chat, "store": True, "stream": i % 3 == 2}
            answer = (a, b)[i % 2].post("/v1/chat/completions", body, headers=be(key))
            self.assertEqual(answer.status, 200, answer)
            text = answer.body.decode()
            made.append(json.loads(text.split("data: ")[1] if body["stream"] else text)["id"])
        self.ok(a.post("/v1/chat/completions", chat, headers=be(key)))  # not kept
        for i, each in enumerate(made):
            self.assertEqual(self.ok((b, a)[i % 2].get(f"/v1/chat/completions/{each}", headers=be(key)))["id"], each)
            self.assertEqual((b, a)[i % 2].get(f"/v1/chat/completions/{each}", headers=be(other)).status, 404)
        for order, wanted in (("asc", made), ("desc", made[::-1])):
            got, after = [], ""
            while True:
                page = self.ok(b.get(f"/v1/chat/completions?limit=5&order={order}{after}", headers=be(key)))
                got += [item["id"] for item in page["data"]]
                if not page["has_more"]:
                    break
                after = f"&after={got[-1]}"
            self.assertEqual(got, wanted, order)
        self.assertEqual(self.ok(a.get("/v1/chat/completions", headers=be(other)))["data"], [])
        accounts = {a.get(f"/v1/chat/completions/{each}", headers=be(key)).headers["openai-organization"]
                    for each in made}
        print(f"figure: stored chat completions in {len(accounts)} accounts: {len(made)}, in the merged list {len(got)}")
        self.assertEqual(len(accounts), 3)

    def test_access_keys_do_not_see_one_another(self):
        mock, (a, b) = self.three_accounts()
        one, two = (self.access_key(a, name) for name in ("one", "two"))
        harness.wait_until("both are known", lambda: all(
            p.get("/v1/files", headers={"authorization": f"Bearer {k}"}).status == 200
            for p in (a, b) for k in (one, two)))

        def be(who):
            a.access_key = b.access_key = who
        be(one)
        turns = iter(range(10**6))
        pick = lambda: (a, b)[next(turns) % 2]
        made = self.make_all(pick)
        chat = {"model": "m", "messages": [{"role": "user", "content": [
            {"type": "file", "file": {"file_id": made["files"]}}]}]}
        self.ok(pick().post("/v1/chat/completions", chat))
        be(two)
        before = mock.books(limit=0)["total"]["requests"]
        refused = []
        for family, each in made.items():
            for method in ("GET", "DELETE", "POST"):
                refused.append(pick().request(method, f"/v1/{family}/{each}", {} if method == "POST" else None))
        file, response, talk = made["files"], made["responses"], made["conversations"]
        refused += [
            pick().get(f"/v1/files/{file}/content"), pick().post("/v1/chat/completions", chat),
            pick().request("POST", "/v1/chat/completions", json.dumps(chat).replace("file_id", "file\\u005fid").encode(),
                           headers={"content-type": "application/json"}),
            pick().post("/v1/responses", {"model": "m", "input": "x", "previous_response_id": response}),
            pick().post("/v1/responses", {"model": "m", "input": "x", "conversation": {"id": talk}}),
            pick().post("/v1/batches", {"input_file_id": file, "endpoint": "/v1/responses"}),
            pick().post("/v1/vector_stores", {"file_ids": [file]}),
            pick().post(f"/v1/threads/{made['threads']}/runs", {"assistant_id": made["assistants"]}),
        ]
        for answer in refused:
            self.assertEqual(answer.status, 404, answer)
            self.assertEqual(answer.json()["error"]["type"], "invalid_request_error")
            self.assertEqual(answer.json()["error"]["code"], "object_not_found")
        self.assertEqual(mock.books(limit=0)["total"]["requests"], before, "no upstream was asked")
        for family in LISTED:
            self.assertEqual(self.ok(pick().get(f"/v1/{family}"))["data"], [], family)
        be(one)
        self.find_all(pick, made)
        print(f"figure: tries on another access key's objects: {len(refused)}, refused {len(refused)}")

    def test_a_group_shares_if_it_may(self):
        mock, (a, _) = self.three_accounts(env={"KEYWHEEL_OBJECTS_ISOLATION": "group"})
        keys = [a.admin("POST", "/admin/access-keys", {"name": n, "group": "g"}).json()["data"]["key"] for n in "xy"]
        outsider = self.access_key(a, "z")
        harness.wait_until("they are known", lambda: all(
            a.get("/v1/files", headers={"authorization": f"Bearer {k}"}).status == 200 for k in (*keys, outsider)))
        a.access_key = keys[0]
        file = self.make(a, "files")
        a.access_key = keys[1]
        self.ok(a.get(f"/v1/files/{file}"))
        a.access_key = outsider
        self.assertEqual(a.get(f"/v1/files/{file}").status, 404)

    def test_keys_and_accounts_that_are_out(self):
        mock, (a, b) = self.three_accounts()
        for process in (a, b):
            self.learn_accounts(mock, process)
        file = self.make(a, "files")
        answer = a.get(f"/v1/files/{file}")
        account = answer.headers["openai-organization"]
        first = int(account.rsplit("-", 1)[1]) * 2 - 2
        # One key of the account is refused by its upstream: the other serves.
        mock.control(key=ACCOUNT_KEYS[first], behaviour="billing")
        for _ in range(4):
            self.ok(a.get(f"/v1/files/{file}"))
        mock.control(key=ACCOUNT_KEYS[first + 1], behaviour="billing")
        harness.wait_until("the account is out", lambda: a.get(f"/v1/files/{file}").status == 409)
        for process in (a, b):
            harness.wait_until("both know", lambda: process.get(f"/v1/files/{file}").status == 409)
            answer = process.get(f"/v1/files/{file}")
            self.assertEqual(answer.json()["error"]["code"], "upstream_key_unavailable")
            self.assertEqual(answer.headers["x-should-retry"], "false")
            self.assertEqual(process.post("/v1/batches", {"input_file_id": file}).status, 409)
        # New objects have another home from now on, and go together.
        second = self.make(b, "files")
        self.make(a, "batches", second)
        self.ok(a.get(f"/v1/files/{second}"))
        mixed = a.post("/v1/vector_stores", {"file_ids": [file, second]})
        self.assertEqual((mixed.status, mixed.json()["error"]["code"]), (400, "accounts_differ"))
        listed = a.get("/v1/files")
        self.assertEqual([item["id"] for item in self.ok(listed)["data"] if item["id"] == second], [second])
        self.assertEqual(listed.headers["x-keywheel-accounts-left-out"], "1")

    def test_an_id_that_nobody_knows_is_looked_for(self):
        mock, (a, b) = self.three_accounts()
        # Made past keywheel, one in each account.
        made = []
        for key in ACCOUNT_KEYS[::2]:
            made.append(self.ok(upload(mock, headers={"authorization": f"Bearer {key}"}))["id"])
        for file in made:
            self.ok(a.get(f"/v1/files/{file}"))
            self.ok(b.post("/v1/batches", {"input_file_id": file, "endpoint": "/v1/responses"}))
        self.learn_accounts(mock, a)
        before = mock.books(limit=0)["total"]["requests"]
        self.assertEqual(a.get("/v1/files/file-nowhere").status, 404)
        asked = mock.books(limit=0)["total"]["requests"] - before
        self.assertLessEqual(asked, 4)
        self.assertEqual(a.get("/v1/files/file-nowhere").status, 404)
        again = mock.books(limit=0)["total"]["requests"] - before - asked
        print(f"figure: requests for an id that is nowhere: {asked}, the second time {again}")
        self.assertEqual(again, 1)

    def test_compressed_answers_are_read(self):
        mock, (a, b) = self.three_accounts()
        for coding in ("gzip", "br", "zstd"):
            made = a.post("/v1/vector_stores", {}, headers={"accept-encoding": coding, "x-mock-encoding": coding})
            self.assertEqual((made.status, made.headers["content-encoding"]), (200, coding))
            before = mock.books(limit=0)["total"]["requests"]
            listed = self.ok(b.get("/v1/vector_stores?limit=1"))["data"][0]["id"]
            self.ok(b.get(f"/v1/vector_stores/{listed}"))
            self.assertLessEqual(mock.books(limit=0)["total"]["requests"] - before, 3, "nothing is looked for")

    def test_organisation_and_project(self):
        """The client's name its own account: they stay here, or a group's take their place."""
        mock, (a, _) = self.three_accounts()
        own = {"OpenAI-Organization": "org-client", "OpenAI-Project": "proj-client"}

        def sent():
            self.ok(a.post("/v1/chat/completions", {"model": "m", "messages": []}, headers=own))
            head = mock.seen(last=1)[0]["head"]
            return [value for name, value in head if name.lower().startswith("openai-")]
        self.assertEqual(sent(), [])
        changed = a.admin("PUT", "/admin/pool-groups/g", {"organization": "org-ours", "project": "proj-ours"})
        self.assertEqual(changed.status, 200, changed)
        harness.wait_until("the group's are sent", lambda: sent() == ["org-ours", "proj-ours"])
        refused = a.admin("PUT", "/admin/pool-groups/g", {"organization": "org\r\nx: y"})
        self.assertEqual(refused.status, 400, refused)

    def test_what_looking_up_costs(self):
        mock, (a, b) = self.three_accounts()
        file = self.make(a, "files")
        paths = {"seen by the worker": f"/v1/files/{file}", "about no object": "/v1/models"}
        for what, path in paths.items():
            for process in (a, b):
                self.ok(process.get(path))
            took = []
            cpu = a.cpu_seconds()
            for _ in range(300):
                begun = time.perf_counter()
                self.ok(a.get(path))
                took.append(time.perf_counter() - begun)
            print(f"figure: GET {what}: {statistics.median(took) * 1e6:.0f} us, "
                  f"{(a.cpu_seconds() - cpu) / 300 * 1e6:.0f} us of keywheel's CPU")


if __name__ == "__main__":
    harness.main()
