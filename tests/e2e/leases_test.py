"""Upstream keys that holders of access keys take for a time: never more than a key may have, also when two
processes on one Redis race; what ends, by its holder or by time, makes room; what is handed out works as long as
the lease and no longer, and the upstream's secret stays here unless the group says otherwise."""
import concurrent.futures
import json
import time

import harness

CONFIG = """
server:
  workers: 1
leases:
  max_ttl: 2h
groups:
  - id: g
    base_url: {url}/v1
    keys: [{keys}]
    max_leases: {most}
  - id: raw
    base_url: {url}/v1
    keys: [sk-mock-raw-0001]
    lease_raw: true
    priority: 9
"""


class Leases(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)

    def start(self, most=2, keys="sk-mock-lease-0001", number=0, **env):
        return self.keywheel(name=f"keywheel-{number}",
                             config=CONFIG.format(url=self.upstream.url, most=most, keys=keys),
                             env={"WORKERS": None, **env})

    def holder(self, proxy, others=(), **more):
        answer = proxy.admin("POST", "/admin/access-keys", {"name": "holder", "permissions": ["lease"], **more})
        self.assertEqual(answer.status, 201, answer)
        data = answer.json()["data"]
        for one in (proxy, *others):
            harness.wait_until("the holder is known",
                               lambda: self.post(one, "/release", {}, data["key"]).status != 401)
        return data

    def post(self, proxy, path, body, key):
        return proxy.post(path, body, headers={"authorization": f"Bearer {key}"})

    def take(self, proxy, key, status=200, **body):
        body.setdefault("group", "g")
        answer = self.post(proxy, "/api-keys/allocate", body, key)
        self.assertEqual(answer.status, status, answer)
        return answer.json()

    def chat(self, proxy, key, model="gpt-4o-mini"):
        return self.post(proxy, "/v1/chat/completions", {"model": model, "messages": []}, key)

    def test_two_at_most_and_room_after_a_release(self):
        proxy = self.start()
        key = self.holder(proxy)["key"]
        first, second = self.take(proxy, key), self.take(proxy, key)
        self.assertEqual([first["expires_in"], second["expires_in"]], [3600, 3600])
        self.assertNotEqual(first["key"], second["key"])
        full = self.post(proxy, "/api-keys/allocate", {"group": "g"}, key)
        self.assertEqual([full.status, full.json()["error"]["code"]], [503, "all_leased"])
        self.assertGreater(int(full.headers["retry-after"]), 0)
        for _ in range(2):  # once more changes nothing
            gone = self.post(proxy, "/release", {"lease_id": first["lease_id"]}, key)
            self.assertEqual([gone.status, gone.json()], [200, {"released": True, "remaining": 1}])
        third = self.take(proxy, key)
        self.take(proxy, key, 503)
        by_key = self.post(proxy, "/release", {"key": second["key"]}, key)
        self.assertEqual(by_key.json(), {"released": True, "remaining": 1})
        self.assertEqual(self.post(proxy, "/release", {"key": second["key"]}, key).json(), by_key.json())
        self.assertEqual(self.post(proxy, "/release", {"lease_id": third["lease_id"]}, key).json()["remaining"], 0)
        for unknown in ({"lease_id": "ls_none.uk_none"}, {"lease_id": "x"}, {"key": "sk-other-text-000"}):
            self.assertEqual(self.post(proxy, "/release", unknown, key).status, 404)
        for wrong in ({}, {"lease_id": "x", "key": "y"}, {"lease": "x"}, {"lease_id": 1}):
            self.assertEqual(self.post(proxy, "/release", wrong, key).status, 400, wrong)
        for wrong in ({"ttl_s": 0}, {"ttl_s": 7201}, {"ttl_s": -1}, {"group": "none"}, {"other": 1}):
            self.assertEqual(self.post(proxy, "/api-keys/allocate", wrong, key).status, 400, wrong)
        self.assertEqual(proxy.get("/release", headers={"authorization": f"Bearer {key}"}).status, 405)
        self.assertEqual(self.post(proxy, "/api-keys/allocate", {}, "sk-nobody-knows-this").status, 401)
        self.assertEqual(self.post(proxy, "/api-keys/allocate", {}, proxy.access_key).status, 403)
        self.assertEqual(proxy.raw(b"POST /release HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key.encode() +
                                   b"\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70000)[:12], b"HTTP/1.1 413")

    def test_what_was_handed_out_works_until_its_end(self):
        proxy = self.start()
        holder = self.holder(proxy, models_deny=["secret-*"], limits=[{"unit": "requests", "per": "1h", "cap": 4}])
        lease = self.take(proxy, holder["key"])
        self.assertTrue(lease["key"].startswith("sk-kw-"))
        answer = self.chat(proxy, lease["key"])
        self.assertEqual(answer.status, 200, answer)
        # By the holder's rules, limits and books; not by what the lease could make of itself.
        self.assertEqual(self.chat(proxy, lease["key"], "secret-model").status, 403)
        self.assertEqual(answer.headers["x-ratelimit-remaining-requests"], "3")
        mine = proxy.get("/v1/keywheel/me", headers={"authorization": f"Bearer {lease['key']}"}).json()
        self.assertEqual(mine["id"], holder["id"])
        self.assertEqual(self.post(proxy, "/api-keys/allocate", {}, lease["key"]).status, 403)
        self.assertEqual(self.post(proxy, "/release", {"lease_id": lease["lease_id"]}, lease["key"]).status, 403)
        self.assertNotIn(lease["key"], json.dumps(proxy.admin("GET", "/admin/access-keys?limit=1000").json()))
        harness.wait_until("the books", lambda: proxy.admin(
            "GET", f"/admin/requests?access_key={holder['id']}").json()["data"]["requests"])

        self.assertEqual(self.post(proxy, "/release", {"lease_id": lease["lease_id"]}, holder["key"]).status, 200)
        refused = self.chat(proxy, lease["key"])
        self.assertEqual([refused.status, refused.json()["error"]["code"]], [401, "key_expired"])
        # A holder that is disabled takes its leases along.
        other = self.take(proxy, holder["key"])
        self.assertEqual(self.chat(proxy, other["key"]).status, 200)
        proxy.admin("PATCH", f"/admin/access-keys/{holder['id']}/toggle")
        harness.wait_until("the lease is refused", lambda: self.chat(proxy, other["key"]).json()
                           .get("error", {}).get("code") == "key_disabled")
        self.assertNotIn("sk-mock-lease-0001", proxy.log())
        for text in (lease["key"], other["key"], holder["key"]):
            self.assertNotIn(text, proxy.log())

    def test_a_lease_that_runs_out_makes_room(self):
        proxy = self.start(most=1)
        key = self.holder(proxy)["key"]
        lease = self.take(proxy, key, ttl_s=2)
        begun = time.monotonic()
        self.take(proxy, key, 503)
        self.assertEqual(self.chat(proxy, lease["key"]).status, 200)
        harness.wait_until("room", lambda: self.post(proxy, "/api-keys/allocate", {"group": "g"}, key).status == 200, 30)
        took = time.monotonic() - begun
        self.assertGreater(took, 1.5)
        self.assertEqual(self.chat(proxy, lease["key"]).status, 401)
        print(f"figure: room after a lease of 2 s: {took:.1f} s")
        rows = proxy.admin("GET", "/admin/leases").json()["data"]["leases"]
        self.assertEqual(len(rows), 1)

    def test_others_can_neither_see_nor_end_it_but_the_operator(self):
        proxy = self.start()
        mine, other = self.holder(proxy), self.holder(proxy)
        lease = self.take(proxy, mine["key"])
        for body in ({"lease_id": lease["lease_id"]}, {"key": lease["key"]}):
            self.assertIn(self.post(proxy, "/release", body, other["key"]).status, (403, 404))
        self.assertEqual(self.chat(proxy, lease["key"]).status, 200)
        rows = proxy.admin("GET", f"/admin/leases?access_key={mine['id']}").json()["data"]
        self.assertEqual([rows["pagination"]["total"], rows["leases"][0]["id"], rows["leases"][0]["group"],
                          rows["leases"][0]["raw"]], [1, lease["lease_id"], "g", False])
        self.assertEqual(proxy.admin("GET", f"/admin/leases?access_key={other['id']}").json()["data"]["leases"], [])
        self.assertEqual(proxy.admin("GET", "/admin/leases?group=raw").json()["data"]["leases"], [])
        self.assertEqual(proxy.admin("GET", "/admin/leases?what=1").status, 400)
        self.assertNotIn(lease["key"], json.dumps(rows))
        ended = proxy.admin("DELETE", f"/admin/leases/{lease['lease_id']}")
        self.assertEqual([ended.status, ended.json()["data"]], [200, {"released": True, "remaining": 0}])
        self.assertEqual(self.chat(proxy, lease["key"]).status, 401)
        self.assertIn("/admin/leases/{id}", json.dumps(proxy.admin("GET", "/admin/audit").json()))
        self.assertEqual(proxy.admin("DELETE", "/admin/leases/ls_none.uk_none").status, 404)

    def test_the_upstream_s_own_key_only_where_the_group_says_so(self):
        proxy = self.start()
        key = self.holder(proxy)["key"]
        bound = self.holder(proxy, group="g")["key"]
        self.assertEqual(self.take(proxy, bound, 503, group="raw")["error"]["code"], "no_upstream_key")
        lease = self.take(proxy, key, group="raw")
        self.assertEqual(lease["key"], "sk-mock-raw-0001")
        harness.wait_until("the log", lambda: [e for e in proxy.events() if e.get("event") == "lease.raw_key"])
        self.assertNotIn("sk-mock-raw-0001", proxy.log())
        trail = proxy.admin("GET", "/admin/audit").json()["data"]
        self.assertIn("lease.raw_key", json.dumps(trail))
        self.assertNotIn("sk-mock-raw-0001", json.dumps(trail))
        self.assertTrue(proxy.admin("GET", "/admin/leases?group=raw").json()["data"]["leases"][0]["raw"])
        self.assertEqual(self.post(proxy, "/release", {"key": lease["key"]}, bound).status, 404)
        self.assertEqual(self.post(proxy, "/release", {"key": lease["key"]}, key).json(),
                         {"released": True, "remaining": 0})

    def test_two_processes_race_for_ten(self):
        store = self.redis()
        shared = {"REDIS_URL": store.url, "ENCRYPTION_KEY": "e" * 43}
        keys = "sk-mock-lease-0001, sk-mock-lease-0002"
        proxies = [self.start(most=5, keys=keys, number=n, **shared) for n in range(2)]
        key = self.holder(proxies[0], proxies[1:])["key"]
        for attempt in range(3):
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                got = list(pool.map(lambda n: self.post(proxies[n % 2], "/api-keys/allocate", {"group": "g"}, key),
                                    range(50)))
            leases = [a.json() for a in got if a.status == 200]
            self.assertEqual([len(leases), sum(a.status == 503 for a in got)], [10, 40])
            used = {lease["lease_id"].rsplit(".", 1)[1] for lease in leases}
            self.assertEqual(len(used), 2)
            # The other process knows it, too, and gives it back.
            harness.wait_until("the lease's key", lambda: self.chat(proxies[1], leases[0]["key"]).status == 200)
            for number, lease in enumerate(leases):
                gone = self.post(proxies[(number + attempt) % 2], "/release", {"lease_id": lease["lease_id"]}, key)
                self.assertEqual(gone.status, 200, gone)
                self.assertGreaterEqual(gone.json()["remaining"], 0)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                again = list(pool.map(lambda n: self.post(proxies[n % 2], "/release",
                                                          {"lease_id": leases[n % 10]["lease_id"]}, key).json(),
                                      range(20)))
            self.assertEqual({a["remaining"] for a in again}, {0})
        print("figure: leases given to 50 that race in 2 processes for 10 places: 10, three times")

    def test_leases_outlive_the_process(self):
        proxy = self.start(most=1)
        key = self.holder(proxy)["key"]
        lease = self.take(proxy, key)
        proxy.restart(kill=True)
        self.take(proxy, key, 503)
        self.assertEqual(self.chat(proxy, lease["key"]).status, 200)
        self.assertEqual(self.post(proxy, "/release", {"key": lease["key"]}, key).status, 200)
        self.take(proxy, key)


if __name__ == "__main__":
    harness.main()
