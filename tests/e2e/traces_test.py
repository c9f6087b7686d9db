"""Traces by OTLP over HTTP: a span for each request, a child for each try, continued from the client to the upstream.

A collector of the test decodes what comes: ids, parents, gen_ai attributes, the client's sampled flag; the upstream
sees the try's span as its parent; nothing of prompts, answers or keys is in any span, and of a stranger's request there is none. A collector that hangs or
refuses delays no request and costs no more than a bounded queue.
"""
import json
import socket
import time

import harness
import receiver

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROMPT = "canary-prompt-0123456789"


class Collector(receiver.Receiver):
    def __init__(self):
        self.spans = []
        super().__init__()

    def take(self, path, headers, body):
        super().take(path, headers, body)
        for resource in json.loads(body)["resourceSpans"]:
            named = self.flat(resource["resource"]["attributes"])
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    self.spans.append({**span, "attributes": self.flat(span["attributes"]),
                                       "service": named["service.name"]})

    @staticmethod
    def flat(attributes):
        return {a["key"]: a["value"].get("stringValue", int(a["value"].get("intValue", 0))) for a in attributes}

    def of(self, request_id):
        """The request's span and those of its tries."""
        for span in list(self.spans):
            if span["attributes"].get("keywheel.request_id") == request_id:
                return span, [s for s in list(self.spans) if s.get("parentSpanId") == span["spanId"]]
        return None


class Traces(harness.EndToEnd):
    def start(self, url, **env):
        self.upstream = self.mock(tls=False)
        return self.keywheel(self.upstream, env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_SERVICE_NAME": "gateway",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=canary-tenant", **env})

    def ask(self, proxy, headers=None, stream=False):
        body = {"model": "mock-model", "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}
        answer = proxy.post("/v1/chat/completions", body, headers=headers or {})
        return answer, answer.headers["x-keywheel-request-id"]

    def test_spans(self):
        collector = Collector()
        self.addCleanup(collector.server_close)
        self.addCleanup(collector.shutdown)
        proxy = self.start(collector.url)
        parent = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        for stream in (False, True):
            answer, request_id = self.ask(proxy, parent, stream)
            self.assertEqual(answer.status, 200)
            request, tries = harness.wait_until("its spans", lambda: (found := collector.of(request_id)) and found[1] and found)
            self.assertEqual([request["traceId"], request["parentSpanId"], request["kind"], request["service"]],
                             [TRACE, SPAN, 2, "gateway"])
            self.assertEqual([len(tries), tries[0]["traceId"], tries[0]["kind"], tries[0]["name"]],
                             [1, TRACE, 3, "chat mock-model"])
            told = tries[0]["attributes"]
            record = harness.wait_until("its record", lambda: (got := proxy.get("/v1/keywheel/requests/" + request_id)).status == 200
                                        and got.json())
            self.assertEqual([told["gen_ai.operation.name"], told["gen_ai.provider.name"], told["gen_ai.request.model"],
                              told["http.response.status_code"], told["server.port"]],
                             ["chat", "openai", "mock-model", 200, self.upstream.port])
            self.assertGreater(told["gen_ai.usage.input_tokens"], 0)
            self.assertIn(str(told["gen_ai.usage.output_tokens"]), json.dumps(record))
            self.assertLessEqual(int(request["startTimeUnixNano"]), int(tries[0]["startTimeUnixNano"]))
            self.assertLessEqual(int(tries[0]["endTimeUnixNano"]), int(request["endTimeUnixNano"]))
        # A try that fails is a child of its own, and the next one another.
        answer, request_id = self.ask(proxy, {**parent, "x-mock-fault": "status;500"})
        request, tries = harness.wait_until("its spans", lambda: collector.of(request_id))
        print(f"figure: traces: {len(tries)} tries in a request that ended with {answer.status}", flush=True)
        self.assertEqual(len(tries), request["attributes"]["keywheel.attempts"])
        self.assertGreater(len(tries), 1)
        self.assertEqual({(t["status"].get("code"), t["attributes"]["error.type"]) for t in tries}, {(2, "500")})
        self.assertEqual(len({t["attributes"]["keywheel.upstream_key"] for t in tries}), 2)
        # Without a traceparent a trace begins here; one that says no is left alone.
        _, request_id = self.ask(proxy)
        request, _ = harness.wait_until("its spans", lambda: collector.of(request_id))
        self.assertNotIn("parentSpanId", request)
        self.assertNotEqual(request["traceId"], TRACE)
        _, unsampled = self.ask(proxy, {"traceparent": f"00-{TRACE}-{SPAN}-00"})
        refused, stranger = self.ask(proxy, {**parent, "authorization": "Bearer sk-stranger"})
        self.assertEqual(refused.status, 401)
        # What a client makes up is kept in part.
        long = proxy.post("/v1/chat/completions", {"model": "é" * 100_000, "messages": []})
        made_up, _ = harness.wait_until("its span", lambda: collector.of(long.headers["x-keywheel-request-id"]))
        self.assertEqual(made_up["attributes"]["gen_ai.request.model"], "é" * 128)
        _, last = self.ask(proxy)
        # What still waits at the end leaves with it.
        proxy.stop()
        self.assertIsNotNone(collector.of(last))
        self.assertIsNone(collector.of(unsampled))
        self.assertIsNone(collector.of(stranger), "nobody's")
        for path, headers, body in collector.got:
            self.assertEqual([path, headers["x-tenant"], headers["Content-Type"]],
                             ["/v1/traces", "canary-tenant", "application/json"])
            for secret in (PROMPT, "sk-mock", harness.ACCESS_KEY):
                self.assertNotIn(secret.encode(), body)
        self.assertNotIn("canary-tenant", proxy.log())
        print(f"figure: traces: {len(collector.spans)} spans in {len(collector.got)} exports", flush=True)

    def test_the_upstream_continues_the_trace(self):
        collector = Collector()
        self.addCleanup(collector.server_close)
        self.addCleanup(collector.shutdown)
        proxy = self.start(collector.url)
        seen = {}
        for name, sent in (("traced", f"00-{TRACE}-{SPAN}-01"), ("not", f"00-{TRACE}-{SPAN}-00"), ("none", None)):
            _, request_id = self.ask(proxy, {"traceparent": sent} if sent else None)
            heads = json.dumps(self.upstream.seen()).lower()
            seen[name] = (request_id, heads)
        _, tries = harness.wait_until("its spans", lambda: (found := collector.of(seen["traced"][0])) and found[1] and found)
        self.assertIn(f"00-{TRACE}-{tries[0]['spanId']}-01", seen["traced"][1])
        self.assertIn(f"00-{TRACE}-{SPAN}-00", seen["not"][1])

    def test_a_collector_that_hangs(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        proxy = self.start(f"http://127.0.0.1:{silent.getsockname()[1]}", OTEL_BSP_MAX_QUEUE_SIZE="64",
                           OTEL_EXPORTER_OTLP_TIMEOUT="30000")
        slowest = 0
        for _ in range(100):
            began = time.monotonic()
            self.assertEqual(self.ask(proxy)[0].status, 200)
            slowest = max(slowest, time.monotonic() - began)
        self.assertLess(slowest, 15)  # an export is waited for twice as long

        def dropped():
            for line in proxy.get("/metrics").body.decode().splitlines():
                if line.startswith("keywheel_spans_dropped "):
                    return float(line.split()[1])
            return 0
        harness.wait_until("spans are dropped and counted", dropped)
        print(f"figure: traces: {dropped():.0f} spans dropped beside a collector that hangs, slowest request "
              f"{slowest * 1000:.1f} ms", flush=True)


if __name__ == "__main__":
    harness.main()
