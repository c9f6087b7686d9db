"""A request about an object among very many bound ids, on both stores: what the look-up costs the process that asks
(one round trip to the store at most, none when the worker has seen the id lately) and what the ids take. They are
written straight into the store, beside one that was made by a request and must still be found.

`./dev soak objects` has a million of them, in a release build. What it tells of CPU holds for an idle machine.
"""
import concurrent.futures
import http.client
import os
import random
import re
import socket
import sqlite3
import statistics
import time

import harness

MANY = int(os.environ.get("KW_OBJECTS", "20000"))
ASKED = min(5_000, MANY // 10)
CLIENTS = 8
OTHERS = 50
ROUNDS = 5
KEEP = 400 * 86400
CRC = []
for _number in range(256):
    for _ in range(8):
        _number = _number >> 1 ^ (0x82F63B78 if _number & 1 else 0)
    CRC.append(_number)


def crc32c(text):
    crc = 0xFFFFFFFF
    for byte in text.encode():
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def name_of(number):
    return f"file-{number * 2_654_435_761 % 2**40:012x}"


class ObjectLookups(harness.EndToEnd):
    def fill_embedded(self, account):
        ends = int((time.time() + KEEP) * 1000)
        path = self.folder / "keywheel-data" / "objects.db"
        with sqlite3.connect(path) as db:
            db.executemany("INSERT INTO objects VALUES (?,?,'',?)",
                           ((name_of(i), account, ends) for i in range(MANY)))
        db.close()
        return path.stat().st_size

    def fill_redis(self, account):
        before = self.redis_figure("memory", "used_memory")
        key = re.search(r"(\S*\{o\}:)\d+\r", self.redis_.command("KEYS", "*{o}:*").decode()).group(1)
        value = f"{int(time.time()) + KEEP} {account}\n".encode()
        with socket.create_connection(("127.0.0.1", self.redis_.port)) as s:
            for begin in range(0, MANY, 1000):
                out = bytearray()
                some = range(begin, min(begin + 1000, MANY))
                for i in some:
                    name = name_of(i)
                    part = f"{key}{crc32c(name) % 16_384}"
                    out += b"*4\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (
                        len(part), part.encode(), len(name), name.encode(), len(value), value)
                s.sendall(out)
                left = len(some)
                while left > 0:
                    left -= s.recv(65536).count(b"\n")
        return self.redis_figure("memory", "used_memory") - before

    def redis_figure(self, section, name):
        found = re.search(rf"^{name}:(?:calls=)?(\d+)", self.redis_.command("INFO", section).decode(), re.MULTILINE)
        return int(found.group(1)) if found else 0

    def ask_for_each(self, ids):
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=30)
        for each in ids:
            connection.request("GET", f"/v1/files/{each}", headers=self.proxy.default_headers())
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, 404)  # the mock's word
        connection.close()

    def ask(self, ids):
        """CPU of the process for each of these requests, in us, and the store's look-ups."""
        trips = self.redis_figure("commandstats", "cmdstat_hget") if self.redis_ else 0
        cpu = self.proxy.cpu_us()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self.ask_for_each, (ids[i::CLIENTS] for i in range(CLIENTS))))
        spent = (self.proxy.cpu_us() - cpu) / len(ids)
        trips = self.redis_figure("commandstats", "cmdstat_hget") - trips if self.redis_ else None
        return spent, trips

    def run_on(self, redis):
        self.redis_ = self.redis() if redis else None
        mock = self.mock(tls=False, accounts="sk-mock-a;sk-mock-b")
        self.proxy = proxy = self.keywheel(mock, env={
            "ENCRYPTION_KEY": "e" * 43, "KEYWHEEL_OBJECTS_MAX_BOUND": 2 * MANY,
            **({"REDIS_URL": self.redis_.url} if redis else {})})
        form = (b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n')
        made = proxy.request("POST", "/v1/files", form, headers={
            **proxy.default_headers(), "content-type": "multipart/form-data; boundary=b"}).json()["id"]
        account = proxy.admin("GET", "/admin/keys").json()["data"]["keys"][0]["id"]
        proxy.stop()
        size = self.fill_redis(account) if redis else self.fill_embedded(account)
        proxy.start()
        proxy.wait_ready("/readyz")
        self.assertEqual(proxy.get(f"/v1/files/{made}").status, 200)
        some = [name_of(i) for i in random.sample(range(MANY), ASKED)]
        memory = proxy.status_kib()
        seen = [name_of(i) for i in random.sample(range(MANY), 200)]
        self.ask(seen)  # what a first request makes
        # What else the machine does changes from second to second: each part is compared with itself.
        pairs = [(self.ask(some[i::ROUNDS]), self.ask(some[i::ROUNDS])) for i in range(ROUNDS)]
        adds = statistics.median(cold - warm for (cold, _), (warm, _) in pairs)
        warm = statistics.median(warm for _, (warm, _) in pairs)
        if redis:
            trips, again = sum(first for (_, first), _ in pairs), sum(second for _, (_, second) in pairs)
            # Beside these keywheel asks for little else, some times a second.
            self.assertLessEqual(trips, ASKED + OTHERS)
            self.assertLessEqual(again, OTHERS)
        name = "Redis" if redis else "embedded"
        told = f", {trips} trips for {ASKED} ids, {again} for those seen" if redis else ""
        print(f"figure: {MANY} bound ids, {name}: a look-up adds {adds:.1f} us CPU to the {warm:.1f} us of "
              f"a request{told}")
        print(f"figure: {MANY} bound ids, {name}: {size / MANY:.0f} bytes each in the store, keywheel grew by "
              f"{(proxy.status_kib() - memory) / 1024:.1f} MiB over {2 * ASKED} requests", flush=True)

    def test_embedded(self):
        self.run_on(False)

    def test_redis(self):
        self.run_on(True)


if __name__ == "__main__":
    harness.main()
