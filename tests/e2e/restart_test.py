"""What survives an end and a new start: the state of keys, their counters, streams that were running.

Also the comparison of declared keys: those that are gone are disabled, new ones serve, the others keep
what was known of them.
"""
import concurrent.futures
import time

import harness
from books import records, settle, usage

KEPT = ("id", "alias", "uses", "successes", "failures", "tokens", "status", "reason")


def chat(proxy, model="mock-tokens-10", **more):
    return proxy.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}]}, **more)


class Restarts(harness.EndToEnd):
    def by_secret(self, proxy, *names):
        """The admin API's view of the keys whose masked text ends alike."""
        keys = proxy.admin("GET", "/admin/keys?limit=100").json()["data"]["keys"]
        return [next(k for k in keys if k["key"][-4:] == name[-4:]) for name in names]

    def declared(self, store, env):
        mock = self.mock()
        proxy = self.keywheel(mock, keys=("sk-declared-number-aaaa", "sk-declared-number-bbbb"), env=env)
        for _ in range(20):
            self.assertEqual(chat(proxy).status, 200)
        mock.control(key="sk-declared-number-bbbb", fault="status;429,retry_after;50", count=1)
        while self.by_secret(proxy, "bbbb")[0]["status"] != "cooling":
            self.assertEqual(chat(proxy).status, 200)
        a, b = self.by_secret(proxy, "aaaa", "bbbb")
        self.assertGreater(min(a["uses"], b["uses"], b["tokens"]), 0)
        settle(proxy, mock)
        _, before = usage(proxy)
        asked = mock.books(limit=0)["keys"]["sk-declared-number-aaaa"]["requests"]

        proxy.stop()
        proxy.env["OPENAI_API_KEY"] = "sk-declared-number-bbbb,sk-declared-number-cccc"
        proxy.start()
        proxy.wait_ready("/readyz")
        for _ in range(5):
            self.assertEqual(chat(proxy).status, 200)
        a2, b2, c2 = self.by_secret(proxy, "aaaa", "bbbb", "cccc")
        self.assertEqual((a2["id"], a2["status"], a2["reason"]), (a["id"], "disabled", "no longer declared"))
        self.assertEqual([b2[name] for name in KEPT], [b[name] for name in KEPT])
        self.assertEqual(b2["until"][:17], b["until"][:17])
        self.assertEqual((c2["status"], c2["uses"], c2["declared"]), ("active", 5, True))
        theirs = mock.books(limit=0)["keys"]
        self.assertEqual(theirs["sk-declared-number-aaaa"]["requests"], asked, "a key that is gone is not used")
        self.assertEqual(theirs["sk-declared-number-cccc"]["requests"], 5)
        settle(proxy, mock)
        cells, after = usage(proxy, by="upstream_key")
        self.assertEqual(after["requests"], before["requests"] + 5)
        self.assertIn(("all", a["id"]), cells, "its books stay")

        # Declared once more, it is the key that it was.
        proxy.stop()
        proxy.env["OPENAI_API_KEY"] = "sk-declared-number-aaaa,sk-declared-number-cccc"
        proxy.start()
        proxy.wait_ready("/readyz")
        a3, b3, c3 = self.by_secret(proxy, "aaaa", "bbbb", "cccc")
        self.assertEqual((a3["id"], a3["status"], a3["uses"], a3["tokens"]), (a["id"], "active", a["uses"], a["tokens"]))
        self.assertEqual(b3["status"], "disabled")
        self.assertEqual((c3["id"], c3["status"], c3["uses"]), (c2["id"], "active", 5))

        print(f"figure: declared_keys_{store}: a,b then b,c then a,c: gone ones disabled, state and counters kept",
              flush=True)

    def test_declared_keys_embedded(self):
        self.declared("embedded", {})

    def test_declared_keys_redis(self):
        self.declared("redis", {"REDIS_URL": self.redis().url, "ENCRYPTION_KEY": "k" * 40})

    def test_states_survive_a_stop_and_a_kill(self):
        names = [f"sk-state-of-a-key-{letter * 4}" for letter in "abcde"]
        mock = self.mock()
        proxy = self.keywheel(mock, keys=names)
        mock.control(key=names[0], behaviour="invalid")
        mock.control(key=names[1], behaviour="insufficient_quota")
        mock.control(key=names[2], fault="status;429,retry_after;50")
        disabled = self.by_secret(proxy, names[3])[0]
        answer = proxy.admin("PATCH", f"/admin/keys/{disabled['id']}/toggle", {"status": "disabled"})
        self.assertEqual(answer.status, 200, answer)

        def all_met():
            chat(proxy)
            return all(key["status"] != "active" for key in self.by_secret(proxy, *names[:4]))
        harness.wait_until("each key has met its fate", all_met, 30)
        before = self.by_secret(proxy, *names)
        self.assertEqual(before[2]["status"], "cooling")
        self.assertEqual(before[3]["status"], "disabled")
        self.assertEqual(before[4]["status"], "active")
        for status in (before[0]["status"], before[1]["status"]):
            self.assertIn(status, ("banned", "quarantined"))
        time.sleep(2.5)  # a change is saved within a second or two
        proxy.restart(kill=True)
        killed = self.by_secret(proxy, *names)
        for was, now in zip(before, killed):
            self.assertEqual([now[n] for n in ("id", "status", "reason")], [was[n] for n in ("id", "status", "reason")])
        asked = mock.books(limit=0)["keys"]
        for _ in range(10):
            self.assertEqual(chat(proxy).status, 200)
        after = mock.books(limit=0)["keys"]
        for name in names[:4]:
            self.assertEqual(after.get(name, {}).get("requests"), asked.get(name, {}).get("requests"), name)
        last = self.by_secret(proxy, names[4])[0]
        proxy.restart()
        stopped = self.by_secret(proxy, *names)
        self.assertEqual([k["status"] for k in stopped], [k["status"] for k in before])
        self.assertEqual([stopped[4][n] for n in KEPT], [last[n] for n in KEPT])
        print("figure: key_states: banned, out of quota, cooling, disabled and active are the same after kill -9 and "
              "after a stop", flush=True)

    def test_stop_in_mid_stream(self):
        mock = self.mock()
        proxy = self.keywheel(mock, env={"WORKERS": 2})
        streams = 8
        pool = concurrent.futures.ThreadPoolExecutor(streams)
        opened = [proxy.open_stream("/v1/chat/completions",
                                    {"model": "mock-tokens-40-pace-50", "stream": True, "messages": []})
                  for _ in range(streams)]
        for _, response in opened:
            self.assertTrue(response.readline().startswith(b"data: "))
        idle = proxy.connection()
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        proxy.child.terminate()

        def refused():
            try:
                proxy.get("/readyz", timeout=2)
            except ConnectionRefusedError:
                return True
            except OSError:
                pass
            return False
        harness.wait_until("new connections are refused", refused, 10)
        self.assertTrue(proxy.alive(), "the streams are not over yet")
        bodies = list(pool.map(lambda pair: pair[1].read(), opened))
        for connection in [idle, *(pair[0] for pair in opened)]:
            connection.close()
        self.assertEqual([b"data: [DONE]" in body for body in bodies], [True] * streams)
        self.assertEqual(proxy.child.wait(20), 0)
        ids = [response.headers["x-keywheel-request-id"] for _, response in opened]
        proxy.start()
        proxy.wait_ready("/readyz")
        settle(proxy, mock)
        booked = records(proxy)
        self.assertEqual(sorted(ids), sorted(r["id"] for r in booked))
        self.assertEqual({(r["end"], r["usage"], r["tokens"]["output"]) for r in booked}, {("completed", "exact", 40)})
        print(f"figure: stop_in_mid_stream: {streams} streams completed and booked, exit code 0", flush=True)


if __name__ == "__main__":
    harness.main()
