"""WebSockets and what upstream accounts keep, with replicas on Redis: a response made over a socket is found by a GET
and by the next socket, whichever replica and key they meet; the first message of a responses socket leads to the
account of its `previous_response_id` and to a key that serves its model; idle and total limits close sockets; a
process that is killed with sockets open loses no finished response and books none twice."""
import time

import harness
from books import records
from websocket import Socket


class SocketPlaces(harness.EndToEnd):
    def open(self, proxy, path="/v1/responses"):
        return Socket(proxy.port, path, [("Authorization", f"Bearer {proxy.access_key}")])

    def respond(self, proxy, **fields):
        s = self.open(proxy)
        s.send({"type": "response.create", "model": "m", "tokens": 3, "input": "x", **fields})
        while (event := s.event())["type"] != "response.completed":
            self.assertNotEqual(event["type"], "error", event)
        s.close()
        return event["response"]["id"]

    def test_a_response_made_over_a_socket_is_found(self):
        mock, replicas = self.three_accounts()
        made = [self.respond(replicas[i % 2]) for i in range(12)]
        for i, each in enumerate(made):
            answer = replicas[(i + 1) % 2].get(f"/v1/responses/{each}")
            self.assertEqual((answer.status, answer.json()["id"]), (200, each))
        # Each account but one would not know it.
        made += [self.respond(replicas[(i + 1) % 2], previous_response_id=each) for i, each in enumerate(made)]
        for each in made[12:]:
            self.assertEqual(replicas[0].get(f"/v1/responses/{each}").status, 200)
        plain = replicas[0].post("/v1/responses", {"model": "m", "input": "x"}).json()["id"]
        self.respond(replicas[1], previous_response_id=plain)
        # Nor can a socket serve two accounts: what it began with is where it stays.
        accounts = {each: replicas[0].get(f"/v1/responses/{each}").headers["openai-organization"] for each in made}
        one = made[0]
        other = next(each for each in made if accounts[each] != accounts[one])
        s = self.open(replicas[0])
        s.send({"type": "response.create", "model": "m", "input": "x", "previous_response_id": one})
        s.until("response.completed")
        s.send({"type": "response.create", "model": "m", "input": "x", "previous_response_id": other})
        self.assertEqual(s.until("error")[-1]["error"]["code"], "accounts_differ")
        s.send({"type": "response.create", "model": "m", "input": "x", "previous_response_id": one})
        s.until("response.completed")
        s.close()
        s = self.open(replicas[0])
        s.send({"type": "response.create", "model": "m", "input": "x", "previous_response_id": one,
                "conversation": other})
        self.assertEqual(s.until("error")[-1]["error"]["code"], "accounts_differ")
        s.close()
        print(f"figure: responses of sockets in {len(set(accounts.values()))} accounts: {len(made)}, "
              f"continued by another socket 13, not found 0")

    def test_a_realtime_session_is_known_elsewhere(self):
        mock, (a, b) = self.three_accounts()
        s = self.open(a, "/v1/realtime?model=mock-realtime")
        talk = s.until("conversation.created")[-1]["conversation"]["id"]
        s.close()
        harness.wait_until("the socket is over", lambda: mock.books(limit=0)["active"] == 0)
        opened, = mock.books()["entries"]
        # The mock has no such conversation, but who would is asked, and nobody else.
        self.assertEqual(b.get(f"/v1/conversations/{talk}").status, 404)
        asked = mock.books()["entries"][1:]
        self.assertEqual([e["key"][:-1] for e in asked], [opened["key"][:-1]])

    def test_an_account_that_is_out(self):
        mock, (a, b) = self.three_accounts()
        made = self.respond(a)
        account = a.get(f"/v1/responses/{made}").headers["openai-organization"]
        first = int(account.rsplit("-", 1)[1]) * 2 - 2
        for key in harness.ACCOUNT_KEYS[first:first + 2]:
            mock.control(key=key, behaviour="billing")
        for _ in range(12):
            a.post("/v1/chat/completions", {"model": "m", "messages": []})
        harness.wait_until("the account is out", lambda: a.get(f"/v1/responses/{made}").status == 409)
        s = self.open(a)
        s.send({"type": "response.create", "model": "m", "input": "x", "previous_response_id": made})
        self.assertEqual(s.until("error")[-1]["error"]["code"], "upstream_key_unavailable")
        self.assertIsNone(s.read())
        self.assertEqual(s.close_code, 1013)
        s.answer_close()
        self.respond(a)

    def test_the_first_message_leads_to_a_key_that_serves_its_model(self):
        mock = self.mock(tls=False)
        config = "\n".join(["groups:", *(
            f"  - {{id: {group}, base_url: '{mock.url}/v1', priority: {i}, models: [{model}], keys: [sk-model-{group}]}}"
            for i, (group, model) in enumerate((("g", "one"), ("h", "two"), ("i", "three")))),
            "aliases:", "  mine: {model: three}", ""])
        proxy = self.keywheel(config=config, env={"WORKERS": 2})
        for model, group in (("one", "g"), ("two", "h"), ("mine", "i")):
            self.respond(proxy, model=model)
        harness.wait_until("all is booked", lambda: len(
            [r for r in records(proxy) if r["status"] == 200]) == 3)
        self.assertEqual({(r["model_asked"], r["group"]) for r in records(proxy) if r["status"] == 200},
                         {("one", "g"), ("two", "h"), ("mine", "i")})
        s = self.open(proxy)
        s.send({"type": "response.create", "model": "none", "input": "x"})
        self.assertEqual(s.until("error")[-1]["error"]["code"], "no_upstream_key")
        self.assertIsNone(s.read())
        s.answer_close()

    def test_idle_and_total_limits(self):
        mock = self.mock(tls=False)
        for limit, reason in (("IDLE_TIMEOUT", "Nothing was said"), ("MAX_DURATION", "time limit")):
            proxy = self.keywheel(mock, name=f"keywheel-{limit}", env={f"KEYWHEEL_WEBSOCKET_{limit}": "1s"})
            begun = time.monotonic()
            s = self.open(proxy, "/v1/realtime?model=mock-realtime")
            s.until("session.created")
            while s.read() is not None:
                pass
            self.assertGreaterEqual(time.monotonic() - begun, 0.9)
            self.assertEqual(s.close_code, 1001)
            self.assertIn(reason, s.close_reason)
            s.answer_close()
            proxy.stop()

    def test_killed_with_sockets_open(self):
        mock, (a, b) = self.three_accounts()
        open_ = [self.open(a) for _ in range(10)]
        for s in open_:
            for _ in range(2):
                s.send({"type": "response.create", "model": "m", "tokens": 5, "input": "x"})
                s.until("response.completed")
        # Half of them are at a third one, slowly.
        for s in open_[:5]:
            s.send({"type": "response.create", "model": "m", "tokens": 400, "pace": 30, "input": "x"})
            s.until("response.output_text.delta")
        a.restart(kill=True)
        exact = lambda: [r for r in records(b) if r["status"] == 200 and r["usage"] == "exact"]
        harness.wait_until("finished responses are booked", lambda: len(exact()) >= 20)
        harness.wait_until("and the others as estimates", lambda: len(
            [r for r in records(b) if r["usage"] == "estimated"]) >= 5)
        time.sleep(1)
        rows = records(b)
        self.assertEqual(len({r["id"] for r in rows}), len(rows))
        self.assertEqual(len(exact()), 20)
        theirs = [e for e in mock.books(limit=1000)["entries"] if e["outcome"] == "completed" and e["status"] == 200]
        self.assertEqual(sum(sum(r["tokens"][k] for k in ("input", "output")) for r in exact()),
                         sum(e["input_tokens"] + e["output_tokens"] for e in theirs))
        print(f"figure: killed with 10 sockets open: finished responses 20, booked exactly {len(exact())}, "
              f"estimates {len(rows) - 20}")
        self.respond(a)


if __name__ == "__main__":
    harness.main()
