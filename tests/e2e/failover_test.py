"""Sixteen ways an upstream fails, each with a model of its own on the mock and a fallback model.

The clients know nothing of any of it: what they get is a whole answer, or (three scenarios, in which
half an answer has already been shown) an error that no client takes for success. Settings are the
defaults; where a row needs another one it says so. Every scenario has its group of keys at an
address of its own, so that all can run side by side without sharing a breaker.

The last lines are the table: result, what was measured, and the count.
"""
import concurrent.futures
import http.client
import json
import threading
import time
import traceback

import harness

TOKENS = 60
OUTAGE_MS = 12000
PASS, SAFE, FAIL = "pass", "safe", "fail"

# Own settings of a scenario's group, below `upstream:`.
UPSTREAM = {
    "s06p": {"first_byte_timeout": "3s"},  # a plain answer has no first token to wait for
    "s09": {"idle_timeout": "4s"},
}
KEYS = {"s01k": 1}  # three keys otherwise
GROUPS = [f"s{n:02}" for n in range(1, 17)] + ["s01k", "s06p", "s09d"]


def primary(group):
    """The model on the mock: a suffix gives it counters of its own."""
    base = group[:3]
    if base == "s15":
        return f"s15-{OUTAGE_MS}"
    return base if group == base else f"{base}-{group[3:]}"


def fallback(group):
    return "s12-large" if group == "s12" else f"{group[:3]}-fallback"


def configuration(port):
    lines = ["groups:"]
    for number, group in enumerate(GROUPS, 1):
        keys = ", ".join(f"sk-{group}-{i}" for i in range(KEYS.get(group, 3)))
        lines += [f"  - id: {group}", f"    base_url: http://127.0.0.{10 + number}:{port}/v1", f"    keys: [{keys}]",
                  f"    models: [\"{primary(group)}\", \"{fallback(group)}\"]"]
        if group in UPSTREAM:
            lines += ["    upstream:"] + [f"      {name}: {value}" for name, value in UPSTREAM[group].items()]
    lines.append("aliases:")
    for group in GROUPS:
        lines.append(f"  ask-{group}: {{model: {primary(group)}, group: {group}, "
                     f"fallbacks: [\"{fallback(group)}@{group}\"]}}")
    lines += ["prices:", "  - {model: s16-fallback, input: 1, output: 2}"]
    return "\n".join(lines) + "\n"


class Reply:
    """What a careful client makes of an answer."""

    def __init__(self, proxy, model, stream=True, timeout=100.0):
        self.status, self.headers = 0, {}
        self.texts, self.error, self.finish, self.usage, self.model = [], None, None, None, None
        self.done = self.broken = False
        body = {"model": model, "messages": [{"role": "user", "content": "Say something."}], "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        begun = time.monotonic()
        connection, response = proxy.open_stream("/v1/chat/completions", body, timeout=timeout)
        try:
            self.status, self.headers = response.status, response.headers
            if response.status == 200 and stream:
                self._events(response)
            else:
                self._whole(json.loads(response.read()))
        except (http.client.IncompleteRead, ConnectionError):
            self.broken = True
        finally:
            connection.close()
        self.seconds = time.monotonic() - begun

    def _take(self, chunk):
        self.model = chunk.get("model") or self.model
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices", []):
            part = choice.get("delta") or choice.get("message") or {}
            if part.get("content"):
                self.texts.append(part["content"])
            self.finish = choice.get("finish_reason") or self.finish

    def _whole(self, answer):
        self.error = answer.get("error")
        self.done = self.error is None
        self._take(answer)

    @staticmethod
    def _lines(response):
        rest = b""
        while piece := response.read1(65536):  # raises when the body breaks off
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines

    def _events(self, response):
        for line in self._lines(response):
            if not line.startswith(b"data: "):
                continue
            data = line[6:].strip()
            if data == b"[DONE]":
                self.done = True
                continue
            chunk = json.loads(data)  # an event that is no JSON would stop an SDK
            if "error" in chunk:
                self.error = chunk["error"]
            else:
                self._take(chunk)

    @property
    def whole(self):
        return self.status == 200 and not self.error and not self.broken and self.finish is not None

    @property
    def tries(self):
        return int(self.headers.get("x-keywheel-attempts", 0))

    @property
    def served(self):
        return self.headers.get("x-keywheel-model")


class Table(harness.EndToEnd):
    def tries(self, group, at_least=1):
        """The mock's books of a group: each try's model, key and time, in order of beginning."""
        def entries():
            found = [e for e in self.upstream.books()["entries"] if e["key"].startswith(f"sk-{group}-")]
            return found if len(found) >= at_least else None
        found = harness.wait_until(f"{at_least} tries of {group} in the mock's books", entries)
        return sorted(found, key=lambda e: e["start_ms"])

    def ask(self, group, **more):
        return Reply(self.proxy, f"ask-{group}", **more)

    def healthy_afterwards(self, group):
        reply = Reply(self.proxy, fallback(group))
        self.assertTrue(reply.whole, f"{group}: the next request failed: {reply.error}")

    def on_model(self, tries, group):
        return [t for t in tries if t["model"] == primary(group)]

    def assert_whole(self, reply, tokens=TOKENS):
        self.assertTrue(reply.whole, f"status {reply.status}, error {reply.error}, finish {reply.finish}")
        self.assertEqual(reply.usage["completion_tokens"], tokens)

    def assert_cut_honestly(self, reply, least, most):
        """Half an answer: an error event, no end mark, no end of the body."""
        self.assertEqual(reply.status, 200)
        self.assertIsNotNone(reply.error, "no error event")
        self.assertIn("code", reply.error)
        self.assertTrue(reply.broken, "the body was ended as if all were well")
        self.assertFalse(reply.done, "[DONE] after a cut")
        self.assertIsNone(reply.finish, "a finish reason was made up")
        self.assertTrue(least <= len(reply.texts) <= most, f"{len(reply.texts)} tokens")

    def s01(self):
        """429 with Retry-After: 2 once: another key at once; with a single key after that time."""
        reply = self.ask("s01")
        self.assert_whole(reply)
        tries = self.tries("s01", 2)
        self.assertEqual([len(tries), reply.tries, reply.served], [2, 2, primary("s01")])
        gap = (tries[1]["start_ms"] - tries[0]["start_ms"]) / 1000
        self.assertTrue(tries[0]["key"] != tries[1]["key"] or gap >= 1.8)
        alone = self.ask("s01k")
        self.assert_whole(alone)
        tries = self.tries("s01k", 2)
        self.assertEqual([len(tries), alone.served], [2, primary("s01k")])
        waited = (tries[1]["start_ms"] - tries[0]["start_ms"]) / 1000
        self.assertGreaterEqual(waited, 1.8)
        return PASS, f"2 tries, another key after {gap:.2f} s; with one key again after {waited:.2f} s"

    def never_well(self, group):
        reply = self.ask(group)
        self.assert_whole(reply)
        tries = self.tries(group, reply.tries)
        first = self.on_model(tries, group)
        self.assertEqual(reply.served, fallback(group))
        self.assertEqual(len(tries), reply.tries)
        self.assertLessEqual(len(tries), 6)
        return reply, tries, first

    def s02(self):
        """429 for ever without a header: at most 4 tries in 3 s, 6 in all, then the fallback."""
        reply, tries, first = self.never_well("s02")
        early = [t for t in first if t["start_ms"] - first[0]["start_ms"] <= 3000]
        self.assertLessEqual(len(early), 4)
        return PASS, f"{len(first)} tries, fallback served, {reply.seconds:.2f} s"

    def s03(self):
        """One 500: a retry, success."""
        reply = self.ask("s03")
        self.assert_whole(reply)
        tries = self.tries("s03", 2)
        self.assertEqual([len(tries), reply.tries, reply.served], [2, 2, primary("s03")])
        return PASS, f"2 tries, {reply.seconds:.2f} s"

    def s04(self):
        """503 for ever: at most 6 tries, then the fallback."""
        reply, tries, first = self.never_well("s04")
        return PASS, f"{len(first)} tries, fallback served, {reply.seconds:.2f} s"

    def s05(self):
        """Reset before any byte: the answer comes."""
        reply = self.ask("s05")
        self.assert_whole(reply)
        self.assertEqual([reply.tries, reply.served], [2, primary("s05")])
        return PASS, f"{reply.tries} tries, {reply.seconds:.2f} s"

    def s06(self):
        """A silent upstream: exactly one try, then the fallback. Plain: first_byte_timeout 3 s."""
        for group in ("s06", "s06p"):
            reply = self.ask(group, stream=group == "s06")
            self.assert_whole(reply)
            tries = self.tries(group, 2)
            self.assertEqual([t["model"] for t in tries], [primary(group), fallback(group)])
            self.assertEqual([reply.tries, reply.served], [2, fallback(group)])
            if group == "s06":
                streamed = reply.seconds
                self.assertLess(streamed, 15)
        return PASS, f"1 try, fallback served after {streamed:.1f} s; plain {reply.seconds:.1f} s"

    def s07(self):
        """The head at once, the first token after 20 s: first-token limit, fallback, under 15 s."""
        reply = self.ask("s07")
        self.assert_whole(reply)
        tries = self.tries("s07", 2)
        self.assertEqual([t["model"] for t in tries], [primary("s07"), fallback("s07")])
        self.assertEqual(reply.served, fallback("s07"))
        self.assertLess(reply.seconds, 15)
        return PASS, f"1 try, fallback served after {reply.seconds:.1f} s"

    def s08(self):
        """Cut after 40 of 60 tokens: an error event, never success."""
        reply = self.ask("s08")
        self.assert_cut_honestly(reply, 39, 40)
        self.assertEqual(len(self.tries("s08")), 1)
        self.healthy_afterwards("s08")
        return SAFE, f"{len(reply.texts)} tokens, then {reply.error['code']}"

    def s09(self):
        """A 30 s stall after 20 tokens. Idle limit of 4 s: bounded, a clean error. Default: whole."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            patient = pool.submit(self.ask, "s09d")
            reply = self.ask("s09")
            self.assert_cut_honestly(reply, 20, 20)
            self.assertLess(reply.seconds, 20)
            self.healthy_afterwards("s09")
            whole = patient.result()
        self.assert_whole(whole)
        return SAFE, (f"{len(reply.texts)} tokens, {reply.error['code']} after {reply.seconds:.1f} s; "
                      f"by default all {len(whole.texts)} after {whole.seconds:.1f} s")

    def s10(self):
        """One event of broken JSON: passed over, the stream completes."""
        reply = self.ask("s10")
        self.assert_whole(reply)
        self.assertTrue(reply.done)
        self.assertEqual([len(reply.texts), reply.tries], [TOKENS, 1])
        return PASS, f"1 try, {len(reply.texts)} tokens"

    def s11(self):
        """No [DONE]: done promptly, usage booked."""
        reply = self.ask("s11")
        self.assert_whole(reply)
        self.assertLess(reply.seconds, 10)
        usage = self.booked("s11")
        self.assertEqual(usage["output"], TOKENS)
        return PASS, f"1 try, {reply.seconds:.2f} s, {usage['output']} tokens booked"

    def s12(self):
        """context_length_exceeded: one try on that model, then the larger one."""
        reply = self.ask("s12")
        self.assert_whole(reply)
        tries = self.tries("s12", 2)
        self.assertEqual([t["model"] for t in tries], [primary("s12"), "s12-large"])
        self.assertEqual(reply.served, "s12-large")
        return PASS, f"1 try, s12-large served, {reply.seconds:.2f} s"

    def s13(self):
        """Content filter: one try, the reason passed on, no fallback."""
        reply = self.ask("s13")
        self.assertTrue(reply.whole)
        self.assertEqual([reply.finish, reply.tries, len(self.tries("s13"))], ["content_filter", 1, 1])
        return PASS, f"1 try, finish reason {reply.finish}"

    def s14(self):
        """As S08, with a fallback that refuses prefill: that refusal is never the client's error."""
        reply = self.ask("s14")
        self.assert_cut_honestly(reply, 39, 40)
        self.assertNotIn("prefill", json.dumps(reply.error).lower())
        self.assertEqual(reply.error["code"], "upstream_stream_cut")
        return SAFE, f"{len(reply.texts)} tokens, then {reply.error['code']}"

    def s15(self):
        """503 for a time, then healthy, 20 requests: all served, the primary is back within 30 s."""
        begun, served, back = time.monotonic(), [], None
        recovered = None
        for number in range(20):
            asked = time.monotonic()
            recovered = recovered or begun + OUTAGE_MS / 1000
            reply = self.ask("s15")
            self.assert_whole(reply)
            served.append(reply.served)
            if back is None and asked > recovered and reply.served == primary("s15"):
                back = time.monotonic() - recovered
            if number < 19:
                time.sleep(max(0.0, begun + 1.2 * (number + 1) - time.monotonic()))
        while back is None and time.monotonic() < recovered + 30:
            time.sleep(1.2)
            if self.ask("s15").served == primary("s15"):
                back = time.monotonic() - recovered
        self.assertIsNotNone(back, "the primary model is not used again")
        return PASS, f"20 of 20 served, {served.count(fallback('s15'))} by the fallback, primary back after {back:.1f} s"

    def s16(self):
        """The fallback's model and usage are reported and billed, failed tries are not."""
        reply = self.ask("s16", stream=False)
        self.assert_whole(reply)
        self.assertEqual([reply.served, reply.model], [fallback("s16")] * 2)
        used = reply.usage
        cost = (used["prompt_tokens"] * 1 + used["completion_tokens"] * 2) / 1e6
        self.assertAlmostEqual(float(reply.headers["x-keywheel-cost"]), cost, places=9)
        usage = self.booked("s16")
        mock = [e for e in self.tries("s16", reply.tries) if e["status"] == 200]
        self.assertEqual(len(mock), 1)
        self.assertEqual([usage["model"], usage["requests"], usage["input"], usage["output"]],
                         [fallback("s16"), 1, mock[0]["input_tokens"], mock[0]["output_tokens"]])
        return PASS, f"{reply.tries} tries, 1 billed: {used['total_tokens']} tokens of {reply.model}, {cost:.6f} USD"

    def booked(self, group):
        """The one request of a group as the access log has it."""
        def lines():
            return [e for e in self.proxy.events() if e.get("event") == "request.done" and e.get("group") == group]
        found = harness.wait_until(f"{group} in the log", lines)
        return {"model": found[0]["model_served"], "requests": len(found), "input": found[0]["input_tokens"],
                "output": found[0]["output_tokens"]}

    def test_sixteen_scenarios(self):
        self.upstream = self.mock(tls=False, host="0.0.0.0")
        self.proxy = self.keywheel(config=configuration(self.upstream.port))
        names = [f"s{n:02}" for n in range(1, 17)]
        results, lock = {}, threading.Lock()

        def run(name):
            try:
                got = getattr(self, name)()
            except Exception as fault:
                traceback.print_exc()
                got = FAIL, f"{fault}"
            with lock:
                results[name] = got

        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(run, names))
        print()
        for name in names:
            print(f"{name.upper()} {results[name][0]}  {results[name][1]}")
        outcome = [results[name][0] for name in names]
        print(f"{outcome.count(PASS)} pass, {outcome.count(SAFE)} safe, {outcome.count(FAIL)} fail", flush=True)
        safe = [name for name in names if results[name][0] == SAFE]
        self.assertEqual(safe, ["s08", "s09", "s14"])
        self.assertEqual(outcome.count(PASS), 13)


if __name__ == "__main__":
    harness.main()
