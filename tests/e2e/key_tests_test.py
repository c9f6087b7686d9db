"""Tests of upstream keys by the admin API: what an answer does to a key, and that no answer does nothing."""
import select
import time

import harness

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
BEHAVIOURS = {"sk-mock-good": "ok", "sk-mock-invalid": "invalid", "sk-mock-unpaid": "billing",
              "sk-mock-limited": "status:429", "sk-mock-down": "down", "sk-mock-silent": "silent"}
MANY = 10_000
GROUP = "openai"  # of the keys that the environment declares


class KeyTests(harness.EndToEnd):
    def start(self, **options):
        """A proxy with one declared key, "first", of a healthy mock; tests may take 3 s."""
        self.upstream = self.mock(**options)
        self.proxy = self.keywheel(self.upstream, keys=("sk-mock-first",),
                                   env={"KEYWHEEL_POOL_PROBE_TIMEOUT": "3s"})

    def data(self, method, path, body=None, status=200):
        answer = self.proxy.admin(method, path, body)
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers.get_all("cache-control"), ["no-store"])
        return answer.json()["data"]

    def add(self, text):
        return self.data("POST", "/admin/keys", {"key": text, "poolGroup": GROUP}, 201)["id"]

    def statuses(self):
        return {key["id"]: key["status"] for key in self.data("GET", "/admin/keys?limit=1000")["keys"]}

    def all_tested(self):
        """Begins the task on a connection that is closed at once, and waits for its end on others."""
        task = self.data("POST", "/admin/keys/test-all", status=202)

        def done():
            told = self.data("GET", f"/admin/tasks/{task['id']}")
            return told if told["state"] == "done" else None

        told = harness.wait_until("the end of the task", done, 120, 0.1)
        self.assertEqual([told["tested"], told["success"] + told["failed"] + told["inconclusive"]],
                         [told["total"]] * 2)
        return told

    def test_one_key(self):
        self.start()
        ids = {text: self.add(text) for text in BEHAVIOURS}
        for text, behaviour in BEHAVIOURS.items():
            self.upstream.control(key=text, behaviour=behaviour)
        expected = {"sk-mock-good": (True, False, 200, "active"),
                    "sk-mock-invalid": (False, False, 401, "quarantined"),
                    "sk-mock-unpaid": (False, False, 402, "quarantined"),
                    "sk-mock-limited": (False, True, 429, "active"),
                    "sk-mock-down": (False, True, 503, "active"),
                    "sk-mock-silent": (False, True, None, "active")}
        for text, want in expected.items():
            got = self.data("POST", f"/admin/keys/{ids[text]}/test")
            self.assertEqual((got["success"], got["inconclusive"], got["status"], got["key_status"]), want, text)
            self.assertTrue(got["message"])
            self.assertEqual(self.statuses()[ids[text]], want[3])
        self.upstream.control(key="sk-mock-invalid", behaviour="ok")
        self.assertEqual(self.data("POST", f"/admin/keys/{ids['sk-mock-invalid']}/test")["key_status"], "active")
        # Other calls are answered while a test waits for its upstream.
        connection = self.proxy.connection()
        connection.request("POST", f"/admin/keys/{ids['sk-mock-silent']}/test",
                           headers={"x-admin-key": harness.ADMIN_KEY})
        self.data("GET", "/admin/stats")
        self.assertEqual(select.select([connection.sock], [], [], 0)[0], [], "the test was answered first")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        self.assertNotIn("sk-mock-", self.proxy.log())

    def test_an_upstream_that_is_down_or_refuses_all_changes_nothing(self):
        self.start(tls=False)
        ids = [self.add(f"sk-mock-key-{n}") for n in range(20)]
        self.upstream.control(key="sk-mock-key-0", behaviour="invalid")
        self.data("POST", f"/admin/keys/{ids[0]}/test")
        self.data("PATCH", f"/admin/keys/{ids[1]}/toggle", {"status": "disabled"})
        before = self.statuses()
        self.assertEqual([before[ids[0]], before[ids[1]]], ["quarantined", "disabled"])

        rule = self.upstream.control(fault="invalid_key")["rule"]
        told = self.all_tested()
        self.assertEqual([told["failed"], told["withheld"], told["banned"]], [21, 21, 0])
        self.assertEqual(self.statuses(), before)
        self.upstream.control(remove=rule)
        self.assertEqual(self.proxy.post("/v1/chat/completions", CHAT).status, 200)

        self.upstream.kill()
        told = self.all_tested()
        self.assertEqual([told["inconclusive"], told["banned"]], [21, 0])
        self.assertEqual(self.statuses(), before)

    def test_ten_thousand_keys_after_the_caller_left(self):
        self.start(tls=False)
        for first in range(0, MANY, 2500):
            text = "\n".join(f"sk-mock-many-{n:05}" for n in range(first, first + 2500))
            self.assertEqual(self.data("POST", "/admin/keys/batch", {"text": text, "poolGroup": GROUP})["added"], 2500)
        for n in (7, 77, 777):
            self.upstream.control(key=f"sk-mock-many-{n:05}", behaviour="invalid")
        begun = time.monotonic()
        told = self.all_tested()
        seconds = time.monotonic() - begun
        self.assertEqual([told["total"], told["success"], told["failed"], told["banned"]], [MANY + 1, MANY - 2, 3, 3])
        quarantined = self.data("GET", "/admin/keys?status=quarantined")["pagination"]["total"]
        self.assertEqual(quarantined, 3)
        print(f"figure: key_tests: test of all keys: {MANY / seconds:.0f} keys/s", flush=True)

        answer = self.proxy.admin("GET", "/admin/keys/export?status=quarantined")
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        self.assertTrue(answer.headers["content-disposition"].startswith("attachment"))
        self.assertEqual(sorted(answer.body.split()),
                         [b"sk-mock-many-00007", b"sk-mock-many-00077", b"sk-mock-many-00777"])
        self.assertEqual(len(self.proxy.admin("GET", "/admin/keys/export").body.split()), MANY + 1)
        counts = harness.wait_until("the exports in the log", lambda: [
            e["count"] for e in self.proxy.events() if e.get("event") == "admin.keys_exported"])
        self.assertEqual(counts[0], 3)
        self.assertNotIn("sk-mock-", self.proxy.log())
        # An end in the midst of a task is an end all the same.
        self.upstream.control(fault="silent")
        self.assertEqual(self.data("POST", "/admin/keys/test-all", status=202)["state"], "running")
        self.assertEqual(self.proxy.stop(), 0)


if __name__ == "__main__":
    harness.main()
