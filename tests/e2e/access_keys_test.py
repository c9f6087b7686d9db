"""Access keys from the outside: a disable that races requests stays, of two admins who edit one record the second
is told, deleted keys come back, other texts with a grace period, lists of clients and addresses, many keys at
once, a time that begins with the first use. KW_RACING_REQUESTS is how many race the disable (2,000)."""
import concurrent.futures
import contextlib
import json
import os
import threading
import time

import harness

PATH = "/admin/access-keys"
RACING = int(os.environ.get("KW_RACING_REQUESTS", "2000"))  # a multiple of 8
CONFIG = """
server:
  workers: 2
  trusted_proxies: [127.0.0.1]
groups:
  - id: g
    base_url: {url}/v1
    keys: [sk-mock-a, sk-mock-b]
"""


class AccessKeys(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.upstream = self.mock(tls=False)
        self.proxy = self.keywheel(config=CONFIG.format(url=self.upstream.url), env={"WORKERS": None})

    def admin(self, method, path="", body=None, status=200):
        answer = self.proxy.admin(method, PATH + path, body)
        self.assertEqual(answer.status, status, (method, path, answer))
        return answer.json()["data"]

    def make(self, **fields):
        return self.admin("POST", body={"name": "made", **fields}, status=201)

    def chat(self, key, **headers):
        return self.proxy.post("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": []},
                               headers={"authorization": f"Bearer {key}", **headers})

    def verdict(self, key, **headers):
        """200, or the code of the refusal with its status."""
        answer = self.chat(key, **headers)
        return 200 if answer.status == 200 else (answer.status, answer.json()["error"]["code"])

    def wait_for(self, verdict, key, **headers):
        return harness.wait_until(f"{verdict}", lambda: self.verdict(key, **headers) == verdict)

    def test_a_disable_that_races_requests_stays(self):
        made = self.make(limits=[{"unit": "tokens", "per": "day", "cap": 100_000_000}])
        self.wait_for(200, made["key"])
        half = threading.Event()
        statuses = []

        def run(number):
            body = json.dumps({"model": "gpt-4o-mini", "messages": []})
            with contextlib.closing(self.proxy.connection(60)) as connection:
                for _ in range(RACING // 8):
                    connection.request("POST", "/v1/chat/completions", body, {
                        "authorization": f"Bearer {made['key']}", "content-type": "application/json"})
                    got = connection.getresponse()
                    got.read()
                    statuses.append(got.status)
                    if len(statuses) >= RACING // 3:
                        half.set()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(run, n) for n in range(8)]
            half.wait(120)
            self.assertTrue(self.admin("PATCH", f"/{made['id']}/toggle")["disabled"])
            for one in runs:
                one.result()
        self.assertEqual(len(statuses), RACING)
        self.assertEqual(set(statuses), {200, 401})
        served = statuses.count(200)

        def booked():
            rows = self.proxy.admin("GET", f"/admin/usage?by=access_key&subject={made['id']}").json()["data"]["usage"]
            return sum(row["requests"] - row["errors"] for row in rows) == served + 1
        harness.wait_until("every request in the books", booked)
        self.assertTrue(self.admin("GET", f"/{made['id']}")["disabled"])
        self.assertEqual(self.verdict(made["key"]), (401, "key_disabled"))
        self.proxy.restart()
        self.assertTrue(self.admin("GET", f"/{made['id']}")["disabled"])
        self.assertEqual(self.verdict(made["key"]), (401, "key_disabled"))
        print(f"figure: disabled among {RACING} requests: {served} served before, stays disabled")

    def test_of_two_admins_the_second_is_told(self):
        made = self.make()
        path = f"/{made['id']}"
        first, second = self.admin("GET", path), self.admin("GET", path)
        now = self.admin("PUT", path, {"description": "first", "revision": first["revision"]})
        told = self.admin("PUT", path, {"description": "second", "revision": second["revision"]}, status=409)
        self.assertEqual(told["revision"], now["revision"])
        self.assertEqual(self.admin("GET", path)["description"], "first")
        self.admin("PUT", path, {"description": "second", "revision": told["revision"]})

        # Many at once from one revision: exactly one wins.
        revision = self.admin("GET", path)["revision"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: self.proxy.admin(
                "PUT", PATH + path, {"description": f"admin {n}", "revision": revision}), range(8)))
        self.assertEqual(sorted(a.status for a in answers), [200] + [409] * 7)
        winner = next(a for a in answers if a.status == 200).json()["data"]
        self.assertEqual(self.admin("GET", path)["description"], winner["description"])

    def test_deleted_keys_come_back_until_they_are_purged(self):
        made = self.make()
        self.wait_for(200, made["key"])
        self.admin("DELETE", f"/{made['id']}")
        self.wait_for((401, "invalid_api_key"), made["key"])
        self.assertIn(made["id"], [k["id"] for k in self.admin("GET", "?deleted=true")["access_keys"]])
        self.assertNotIn(made["id"], [k["id"] for k in self.admin("GET", "?limit=100")["access_keys"]])
        self.admin("POST", f"/{made['id']}/restore")
        self.wait_for(200, made["key"])
        self.admin("DELETE", f"/{made['id']}?purge=true")
        self.wait_for((401, "invalid_api_key"), made["key"])
        self.admin("POST", f"/{made['id']}/restore", status=404)

    def test_another_text_with_time_for_the_one_before(self):
        made = self.make()
        self.wait_for(200, made["key"])
        again = self.admin("POST", f"/{made['id']}/regenerate", {"grace_seconds": 604800})
        self.wait_for(200, again["key"])
        self.assertEqual(self.verdict(made["key"]), 200)
        self.assertIsNotNone(again["earlier_key_until"])
        self.proxy.restart()
        self.assertEqual(self.verdict(made["key"]), 200)
        short = self.admin("POST", f"/{made['id']}/regenerate", {"grace_seconds": 1})
        self.wait_for(200, short["key"])
        self.wait_for((401, "invalid_api_key"), again["key"])
        self.assertEqual(self.verdict(made["key"]), (401, "invalid_api_key"))
        last = self.admin("POST", f"/{made['id']}/regenerate")
        self.wait_for((401, "invalid_api_key"), short["key"])
        self.assertEqual(self.verdict(last["key"]), 200)
        log = self.proxy.log()
        for text in (made["key"], again["key"], short["key"], last["key"]):
            self.assertNotIn(text, log)

    def test_lists_of_clients_and_addresses(self):
        client = self.make(clients_allow=["OpenAI/*", "curl/*"])["key"]
        self.wait_for(200, client, **{"user-agent": "OpenAI/Python 1.50"})
        self.assertEqual(self.verdict(client, **{"user-agent": "Wget/1.21"}), (403, "client_not_allowed"))
        self.assertEqual(self.verdict(client), (403, "client_not_allowed"))

        place = self.make(ips_allow=["192.0.2.0/24", "2001:db8::1"])["key"]
        # The test itself stands where a trusted proxy would.
        self.wait_for(200, place, **{"x-forwarded-for": "192.0.2.7"})
        self.assertEqual(self.verdict(place, **{"x-forwarded-for": "2001:db8::1"}), 200)
        self.assertEqual(self.verdict(place, **{"x-forwarded-for": "198.51.100.1"}), (403, "ip_not_allowed"))
        self.assertEqual(self.verdict(place, **{"x-forwarded-for": "192.0.2.7, 198.51.100.1"}),
                         (403, "ip_not_allowed"))
        self.assertEqual(self.verdict(place), (403, "ip_not_allowed"))
        mine = self.proxy.get("/v1/keywheel/me", headers={"authorization": f"Bearer {place}"})
        self.assertEqual(mine.status, 403)

    def test_many_keys_at_once(self):
        begun = time.monotonic()
        made = self.admin("POST", "/batch", {"count": 1000, "name": "team", "tags": ["t"]}, status=201)
        print(f"figure: batch of access keys: 1000 made in {time.monotonic() - begun:.2f} s")
        keys = made["access_keys"]
        self.assertEqual(len({key["key"] for key in keys}), 1000)
        self.wait_for(200, keys[-1]["key"])
        ids = [key["id"] for key in keys]
        begun = time.monotonic()
        changed = self.admin("PATCH", "/batch", {"ids": ids[:999] + ["ak_none"], "changes": {"disabled": True}})
        print(f"figure: batch of access keys: 999 changed in {time.monotonic() - begun:.2f} s")
        self.assertEqual(changed["count"], 999)
        self.assertEqual(changed["results"][-1], {"id": "ak_none", "ok": False, "reason": "not_found"})
        self.wait_for((401, "key_disabled"), keys[0]["key"])
        self.assertEqual(self.verdict(keys[-1]["key"]), 200)
        self.assertEqual(self.admin("DELETE", "/batch", {"ids": ids})["count"], 1000)
        self.wait_for((401, "invalid_api_key"), keys[-1]["key"])
        self.admin("POST", "/batch", {"count": 1001, "name": "x"}, status=400)

    def test_a_time_that_begins_with_the_first_use(self):
        made = self.make(expires_after_seconds=3)
        path = f"/{made['id']}"
        time.sleep(3)  # longer than it lives once it is used
        self.assertIsNone(self.admin("GET", path)["expires_at"])
        self.wait_for(200, made["key"])
        harness.wait_until("an end", lambda: self.admin("GET", path)["expires_at"])
        self.wait_for((401, "key_expired"), made["key"])
        self.assertTrue(self.admin("GET", path)["expired"])


if __name__ == "__main__":
    harness.main()
