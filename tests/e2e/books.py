"""Load, and the comparison of keywheel's books with those of the mock upstream.

`Load` sends many requests at once; each has an id of its own (`x-test-id`) that the mock writes down
and comes back with the id of keywheel's record, so that the two books can be compared line by line.
"""
import asyncio
import json
import random
import re
import socket
import struct
import urllib.parse

import harness

CLASSES = {"input": "input_tokens", "output": "output_tokens", "reasoning": "reasoning_tokens",
           "cached_read": "cached_tokens"}


class Shot:
    """One request and what became of it at the client."""

    def __init__(self, test_id):
        self.test_id = test_id
        self.request_id = None  # keywheel's
        self.status = 0
        self.whole = False      # the answer came to its proper end
        self.left = False       # the client went away by itself
        self.head = self.body = b""

    def __repr__(self):
        return (f"{self.test_id} {self.request_id} {self.status} whole={self.whole} left={self.left} "
                f"{self.body[-200:]!r}")

    def take(self, data, stream):
        self.head, _, self.body = data.partition(b"\r\n\r\n")
        if not self.head:
            return
        self.status = int(self.head[9:12])
        found = re.search(rb"(?i)\r\nx-keywheel-request-id: (\S+)", self.head)
        self.request_id = found and found.group(1).decode()
        if stream and self.status == 200:
            self.whole = b"data: [DONE]" in self.body and self.body.endswith(b"0\r\n\r\n")
        else:
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", self.head)
            self.whole = bool(length) and len(self.body) == int(length.group(1))


class Load:
    """Sends requests to one keywheel, `together` at a time, until told to stop."""

    def __init__(self, proxy, together, name="load", model="mock-tokens-30-pace-4", stream_share=0.8, seed=None):
        self.proxy, self.together, self.name, self.model = proxy, together, name, model
        self.stream_share = stream_share
        self.seed = random.randrange(1 << 30) if seed is None else seed
        self.random = random.Random(self.seed)
        self.shots = []
        self.stopping = False
        self.running = 0

    def next_shot(self):
        shot = Shot(f"{self.name}-{len(self.shots)}")
        self.shots.append(shot)
        return shot

    async def shoot(self, leave=None):
        """One request on a connection of its own. leave: (seconds, bytes, reset), whichever of the two
        comes first ends it from the client's side."""
        shot = self.next_shot()
        stream = self.random.random() < self.stream_share
        body = json.dumps({"model": self.model, "stream": stream, "messages": [
            {"role": "user", "content": "x" * self.random.randrange(4000)}]}).encode()
        data = b""
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
            writer.write((f"POST /v1/chat/completions HTTP/1.1\r\nHost: k\r\nConnection: close\r\n"
                          f"Authorization: Bearer {self.proxy.access_key}\r\nx-test-id: {shot.test_id}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
            seconds, size, reset = leave or (60, 1 << 30, False)
            end = asyncio.get_running_loop().time() + seconds
            while True:
                left = end - asyncio.get_running_loop().time()
                piece = await asyncio.wait_for(reader.read(1 << 16), max(left, 0))
                data += piece
                if not piece or len(data) >= size:
                    shot.left = bool(piece)
                    break
        except (asyncio.TimeoutError, TimeoutError):
            shot.left = leave is not None
        except OSError:
            pass
        shot.take(data, stream)
        if writer is not None:
            if leave and leave[2]:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                           struct.pack("ii", 1, 0))
            writer.transport.abort()
        return shot

    async def _loop(self):
        self.running += 1
        while not self.stopping:
            shot = await self.shoot()
            if not shot.whole:
                await asyncio.sleep(0.05)  # keywheel may be away
        self.running -= 1

    async def run(self, script):
        """Keeps `together` requests under way while script() runs, then lets the last ones end."""
        loops = [asyncio.create_task(self._loop()) for _ in range(self.together)]
        try:
            await script(self)
        finally:
            self.stopping = True
            await asyncio.gather(*loops)

    async def until(self, count):
        """Until so many answers came whole, all in all."""
        while sum(shot.whole for shot in self.shots) < count:
            await asyncio.sleep(0.02)

    @property
    def done(self):
        return [shot for shot in self.shots if shot.whole]

    @property
    def failed(self):
        return [shot for shot in self.shots if not shot.whole and not shot.left]


async def in_thread(call, *arguments):
    """Calls what blocks while the load goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def kill_and_restart(proxy, again_after=None):
    """SIGKILL and a new start; again_after: killed once more so many seconds into that start."""
    # Started by this thread: a child of the test dies with the thread that made it.
    proxy.kill()
    proxy.start()
    if again_after is not None:
        await asyncio.sleep(again_after)
        proxy.kill()
        proxy.start()
    await in_thread(proxy.wait_ready, "/readyz")


def metric(proxy, name) -> float:
    answer = proxy.get("/metrics")
    found = re.search(rf"^{name} (\S+)$", answer.body.decode(), re.MULTILINE)
    assert found, f"no {name} in {answer}"
    return float(found.group(1))


def settle(proxy, mock=None, seconds=60.0):
    """Until nothing runs and the store holds everything."""
    def settled():
        return (metric(proxy, "keywheel_store_up") == 1 and metric(proxy, "keywheel_exchanges_running") == 0
                and metric(proxy, "keywheel_journal_backlog_records") == 0)
    harness.wait_until("the books are complete", settled, seconds, 0.1)
    if mock is not None:
        harness.wait_until("the mock is idle", lambda: mock.books(limit=0)["active"] == 0, seconds, 0.1)


def records(proxy, **query):
    """All records of the ledger, as the admin API tells them."""
    found, cursor = [], ""
    while True:
        parts = dict(query, limit=1000, **({"cursor": cursor} if cursor else {}))
        path = "/admin/requests?" + urllib.parse.urlencode(parts)

        def answered():
            # A store that has just come back may be held away for a moment more.
            answer = proxy.admin("GET", path)
            assert answer.status in (200, 503), answer
            return answer.status == 200 and answer.json()["data"]
        data = harness.wait_until("a page of records", answered)
        found += data["requests"]
        cursor = data["pagination"]["next"]
        if not cursor:
            return found


def usage(proxy, by="all", span="all"):
    """Sums by subject, and the totals."""
    found, page = {}, 1
    while True:
        answer = proxy.admin("GET", f"/admin/usage?by={by}&span={span}&limit=1000&page={page}")
        assert answer.status == 200, answer
        data = answer.json()["data"]
        for cell in data["usage"]:
            found[(cell["bucket"], cell["subject"])] = cell
        page += 1
        if page > data["pagination"]["total_pages"]:
            return found, data["totals"]


def entries(mock):
    """All entries of the mock's books."""
    found, after = [], 0
    while after is not None:
        got = mock.books(after=after, limit=1000)
        assert got["dropped"] == 0, got
        found += got["entries"]
        after = got["next"]
    return found


def tokens_of(record):
    return {name: record["tokens"][name] for name in CLASSES}


def booked_by_mock(entry):
    return {name: entry[theirs] for name, theirs in CLASSES.items()}


def sum_up(token_sets):
    total = dict.fromkeys(CLASSES, 0)
    for tokens in token_sets:
        for name in CLASSES:
            total[name] += tokens[name]
    return total


class Compared:
    """The ledger beside the mock's books; every check names what does not fit."""

    def __init__(self, test, proxy, mock, shots):
        self.test, self.proxy, self.shots = test, proxy, shots
        self.records = records(proxy)
        self.entries = entries(mock)
        self.by_id = {record["id"]: record for record in self.records}
        self.by_test = {}
        for entry in self.entries:
            self.by_test.setdefault(entry["test_id"], []).append(entry)
        test.assertEqual(len(self.by_id), len(self.records), "no id is booked twice")

    def each_once(self):
        """Every request with an id has its record, and the sums are the records' own."""
        for shot in self.shots:
            if shot.request_id:
                self.test.assertTrue(shot.request_id in self.by_id, f"not booked: {shot}")
        _, totals = usage(self.proxy)
        self.test.assertEqual(totals["requests"], sum(not r["operator_cost"] for r in self.records))
        self.test.assertEqual({name: totals["tokens"][name] for name in CLASSES},
                              sum_up(map(tokens_of, self.records)))

    def exact_equal(self):
        """Whole answers: record and entry are alike, one by one and in sum. How many, and their tokens."""
        ours, theirs = [], []
        for shot in self.shots:
            if not shot.whole or shot.status != 200:
                continue
            record = self.by_id[shot.request_id]
            got = [e for e in self.by_test.get(shot.test_id, []) if e["outcome"] == "completed"]
            self.test.assertEqual(len(got), 1, shot)
            self.test.assertEqual((record["usage"], record["end"]), ("exact", "completed"), record)
            self.test.assertEqual(tokens_of(record), booked_by_mock(got[0]), shot)
            ours.append(tokens_of(record))
            theirs.append(booked_by_mock(got[0]))
        self.test.assertEqual(sum_up(ours), sum_up(theirs))
        return len(ours), sum_up(ours)
