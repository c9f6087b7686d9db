"""Usage events on Redis streams: each record of the books once, through `kill -9` and an outage.

Real keywheel, Redis and mock upstream. Under load keywheel is killed and started again, then Redis is
stopped and comes back; afterwards the events are the records of the ledger, field by field, each once,
and their sums are those of the mock's books. Also shown: the bound of a stream, and that the embedded
store refuses the setting in clear words.
"""
import asyncio
import json
import socket
import subprocess

import harness
from books import CLASSES, Compared, Load, kill_and_restart, settle

SETTINGS = {"ENCRYPTION_KEY": "a master key of the test, long enough", "KEYWHEEL_USAGE_EVENTS": "true"}
SHARDS = 16


def ask(redis, *words):
    """One command, its reply as Python values."""
    with socket.create_connection(("127.0.0.1", redis.port), timeout=20) as s, s.makefile("rb") as answer:
        parts = [str(word).encode() for word in words]
        s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

        def read():
            line = answer.readline()
            kind, rest = line[:1], line[1:-2]
            if kind == b"*":
                return [read() for _ in range(int(rest))]
            if kind == b"$":
                return answer.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
            assert kind != b"-", line
            return int(rest) if kind == b":" else rest.decode()
        return read()


def events_of(redis):
    found = []
    for shard in range(SHARDS):
        for _, fields in ask(redis, "XRANGE", f"kw:{{{shard}}}:events", "-", "+"):
            assert fields[0::2] == ["v", "event"] and fields[1] == "1", fields
            found.append(json.loads(fields[3]))
    return found


class UsageEvents(harness.EndToEnd):
    def test_events_are_the_books(self):
        mock = self.mock()
        redis = self.redis(persistent=True)
        redis.command("CONFIG", "SET", "appendfsync", "always")
        proxy = self.keywheel(mock, env={"REDIS_URL": redis.url, **SETTINGS})
        load = Load(proxy, 16, model="mock-tokens-20-pace-10")

        async def script(load):
            await load.until(100)
            await kill_and_restart(proxy)
            await load.until(len(load.done) + 100)
            redis.kill()
            await load.until(len(load.done) + 100)
            await kill_and_restart(proxy)  # without its store, with a journal that it has not taken
            await load.until(len(load.done) + 50)
            redis.start()
            await load.until(len(load.done) + 100)

        asyncio.run(load.run(script))
        settle(proxy, mock)
        compared = Compared(self, proxy, mock, load.shots)
        compared.each_once()
        finished, tokens = compared.exact_equal()
        events = events_of(redis)
        by_id = {event["id"]: event for event in events}
        self.assertEqual(len(by_id), len(events), "no event twice")
        self.assertEqual(by_id.keys(), compared.by_id.keys())
        for record in compared.records:
            event = by_id[record["id"]]
            self.assertEqual(event["v"], 1)
            for name in ("access_key", "upstream_key", "group", "provider", "endpoint", "model_asked", "model_served",
                         "status", "attempts", "stream", "end", "error_code", "usage", "operator_cost"):
                self.assertEqual(event[name], record[name], (name, record))
            self.assertEqual(event["duration_us"], record["total_us"])
            for name in ("cost", "rated_cost"):
                self.assertEqual(event[name + "_nanodollars"], record[name] and record[name]["nanodollars"])
            for name in CLASSES:
                self.assertEqual(event["tokens"][name], record["tokens"][name])
        done = {shot.request_id for shot in load.done}
        for name in CLASSES:
            self.assertEqual(sum(e["tokens"][name] for e in events if e["id"] in done), tokens[name])
        text = json.dumps(events)
        for secret in (harness.ACCESS_KEY, "sk-mock-a", "sk-mock-b"):
            self.assertNotIn(secret, text)
        print(f"figure: usage events: 2 kills and an outage, {len(events)} records, as many events, each once, "
              f"{finished} of them compared with the mock's books")

    def test_streams_are_bounded(self):
        mock = self.mock()
        redis = self.redis()
        proxy = self.keywheel(mock, env={"REDIS_URL": redis.url, "KEYWHEEL_USAGE_MAX_EVENTS": 1000, **SETTINGS})
        load = Load(proxy, 16, model="mock-tokens-5", stream_share=0)
        asyncio.run(load.run(lambda load: load.until(600)))
        settle(proxy)
        # One access key, one stream; Redis cuts whole nodes of 100 entries.
        kept = [ask(redis, "XLEN", f"kw:{{{shard}}}:events") for shard in range(SHARDS)]
        self.assertEqual(sum(length > 0 for length in kept), 1)
        self.assertLessEqual(max(kept), 1000 // SHARDS + 200)

    def test_the_embedded_store_refuses_the_setting(self):
        done = subprocess.run([harness.PROGRAM, "check-config"], cwd=self.folder, text=True, capture_output=True,
                              timeout=30, env={"PATH": "/usr/bin:/bin", "KEYWHEEL_USAGE_EVENTS": "true"})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("usage.events", done.stdout + done.stderr)
        self.assertIn("needs Redis", done.stdout + done.stderr)


if __name__ == "__main__":
    harness.main()
