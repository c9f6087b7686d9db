"""What replicas on one Redis share about upstream keys: a ban, a cooldown, a person's word and the use of
each key reach the other process within a second, and it never picks what it learned to be out."""
import concurrent.futures
import statistics
import time

import harness

ENV = {"ENCRYPTION_KEY": "e" * 43}
SECOND = 1.0
SLACK = 4.0  # a loaded machine may take longer than what is printed; never this much


def chat(proxy, model="mock-tokens-10", **more):
    return proxy.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}]}, **more)


class TwoReplicas(harness.EndToEnd):
    names = ("sk-key-of-replicas-aaaa", "sk-key-of-replicas-bbbb", "sk-key-of-replicas-cccc")

    def start(self, strategy="round-robin"):
        self.upstream = self.mock(tls=False)
        self.store = self.redis()
        config = "\n".join(["groups:", "  - id: g", f"    base_url: {self.upstream.url}/v1", f"    pool: {{strategy: {strategy}}}",
                            f"    keys: [{', '.join(self.names)}]", ""])
        self.a, self.b = (self.keywheel(name=f"keywheel-{n}", config=config,
                                        env={**ENV, "REDIS_URL": self.store.url}) for n in "ab")

    def keys(self, proxy):
        found = proxy.admin("GET", "/admin/keys?limit=100").json()["data"]["keys"]
        return {name: next(k for k in found if k["key"][-4:] == name[-4:]) for name in self.names}

    def status(self, proxy, name):
        return self.keys(proxy)[name]["status"]

    def until(self, what, proxy, name, wanted):
        """Seconds until the process says so of the key."""
        begun = time.monotonic()
        harness.wait_until(what, lambda: self.status(proxy, name) in wanted, SLACK, 0.01)
        return time.monotonic() - begun

    def met(self, proxy, name, wanted):
        """Calls until the key has met what the mock has for it."""
        def tried():
            self.assertEqual(chat(proxy).status, 200)
            return self.status(proxy, name) in wanted
        harness.wait_until("the key is tried", tried, 20, 0)

    def asked(self, name):
        return self.upstream.books(limit=0)["keys"].get(name, {}).get("requests", 0)

    def told(self, what, seconds):
        print(f"figure: {what} at the other replica: at most {max(seconds) * 1000:.0f} ms, "
              f"median {statistics.median(seconds) * 1000:.0f} ms of {len(seconds)} tries", flush=True)
        self.assertLess(statistics.median(seconds), SECOND)

    def unban(self, proxy, name):
        answer = proxy.admin("PATCH", f"/admin/keys/{self.keys(proxy)[name]['id']}/toggle", {"status": "active"})
        self.assertEqual(answer.status, 200, answer)

    def test_bans_cooldowns_and_a_persons_word(self):
        self.start()
        bad = self.names[0]
        out = ("quarantined", "banned")
        banned, freed, cooling = [], [], []
        for _ in range(5):
            self.upstream.control(key=bad, behaviour="billing")
            self.met(self.a, bad, out)
            banned.append(self.until("the ban at b", self.b, bad, out))
            before = self.asked(bad)
            for _ in range(9):
                self.assertEqual(chat(self.b).status, 200)
            self.assertEqual(self.asked(bad), before, "b never picks it")

            # b's operator frees it: it serves at a.
            self.upstream.control(key=bad, behaviour="ok")
            self.unban(self.b, bad)
            freed.append(self.until("the end of the ban at a", self.a, bad, ("active",)))
            for _ in range(6):
                self.assertEqual(chat(self.a).status, 200)
            self.assertGreater(self.asked(bad), before, "a picks it again")

            self.upstream.control(key=bad, fault="status;429,retry_after;50", count=1)
            self.met(self.a, bad, ("cooling",))
            cooling.append(self.until("the cooldown at b", self.b, bad, ("cooling",)))
            seen = self.keys(self.b)[bad]
            self.assertEqual(seen["reason"], "rate_limit")
            self.assertEqual(seen["until"][:17], self.keys(self.a)[bad]["until"][:17])
            before = self.asked(bad)
            for _ in range(9):
                self.assertEqual(chat(self.b).status, 200)
            self.assertEqual(self.asked(bad), before, "b lets it cool")
            self.unban(self.a, bad)
            self.until("the end of the cooldown at b", self.b, bad, ("active",))
        self.told("a ban", banned)
        self.told("an operator's unban", freed)
        self.told("a cooldown", cooling)

    def test_the_less_used_key_is_picked_at_the_other_replica(self):
        self.start("least-token-used")
        # 200 requests through a only, with the first key out: it is the least used one.
        rested = self.keys(self.a)[self.names[0]]["id"]
        for status in ("disabled", "active"):
            answer = self.a.admin("PATCH", f"/admin/keys/{rested}/toggle", {"status": status})
            self.assertEqual(answer.status, 200, answer)
            harness.wait_until("both know", lambda: {self.status(p, self.names[0]) for p in (self.a, self.b)} == {status})
            if status == "disabled":
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    self.assertEqual({answer.status for answer in pool.map(lambda _: chat(self.a), range(200))}, {200})
        begun = time.monotonic()

        def same():
            a, b = self.keys(self.a), self.keys(self.b)
            return all((a[n]["uses"], a[n]["tokens"]) == (b[n]["uses"], b[n]["tokens"]) for n in self.names)
        harness.wait_until("b knows a's uses", same, SLACK)
        print(f"figure: uses and tokens of 200 requests at the other replica: "
              f"{(time.monotonic() - begun) * 1000:.0f} ms after both knew the key active", flush=True)
        uses = {name: self.keys(self.b)[name]["uses"] for name in self.names}
        self.assertEqual(sum(uses.values()), 200)
        self.assertEqual(uses[self.names[0]], 0)
        before = self.asked(self.names[0])
        for _ in range(20):
            self.assertEqual(chat(self.b).status, 200)
        self.assertEqual(self.asked(self.names[0]), before + 20, "b picks the one that a did not use")

    def test_counts_outlive_a_killed_replica_and_an_outage_of_redis(self):
        self.start()
        for _ in range(30):
            self.assertEqual(chat(self.a).status, 200)

        def uses(proxy):
            return sum(k["uses"] for k in self.keys(proxy).values())
        harness.wait_until("b knows", lambda: uses(self.b) == 30)
        self.a.restart(kill=True)
        self.assertEqual(uses(self.a), 30, "neither lost nor doubled by a's restart")
        self.store.signal(19)  # SIGSTOP: it neither answers nor refuses
        self.upstream.control(key=self.names[1], behaviour="billing")
        for proxy in (self.a, self.b):
            for _ in range(10):
                self.assertEqual(chat(proxy).status, 200)
        self.store.signal(18)
        begun = time.monotonic()
        harness.wait_until("all is known again", lambda: uses(self.a) == uses(self.b) and uses(self.a) >= 50, 20)
        for proxy in (self.a, self.b):
            self.until("the ban", proxy, self.names[1], ("quarantined", "banned"))
        total = uses(self.a)
        time.sleep(1)  # what was told twice would be added by now
        self.assertEqual((uses(self.a), uses(self.b)), (total, total))
        asked = sum(self.asked(name) for name in self.names)
        self.assertEqual(total, asked, "as many uses as the upstream saw")
        print(f"figure: replicas agree again {time.monotonic() - begun - 1:.1f} s after Redis came back, "
              f"{total} uses of {asked} at the upstream", flush=True)


if __name__ == "__main__":
    harness.main()
