"""Redis that fails over, with two keywheel processes on it under load: a six-node Cluster whose master is killed and
comes back as a replica, one whose master is frozen and goes on later, and one whose slots move meanwhile; three
Sentinels whose master is killed, with confirmed batches that its replica does not have, and by TLS one that is frozen;
TLS with the right authority and with a wrong one; an ACL user with the least rights, of which Redis notes no refusal;
backup and restore of a Cluster. No request fails, each is booked once, and the books are the mock's own."""
import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import time

import harness
from books import Compared, Load, in_thread, metric, settle

TOGETHER = 8
SECONDS = float(os.environ.get("KW_FAILOVER_SECONDS", "2"))  # of load before and after
MASTER_KEY = {"ENCRYPTION_KEY": "a master key of the test, long enough"}
MODEL = "mock-tokens-20-pace-10"


def low_port() -> int:
    """Free, with that of a Cluster's bus 10,000 above; below those that connections of the load take, as a server
    that was killed wants its own again."""
    for port in random.sample(range(12_000, 22_000), 1000):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def listens(process):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", process.port)) == 0


class Server(harness.Redis):
    """A Redis with more settings; persistent, as restarts are part of the tests."""

    def __init__(self, folder, name, *settings):
        self.port = low_port()
        (folder / name).mkdir(exist_ok=True)
        # The last word of a setting counts.
        harness.Process.__init__(self, name, ["redis-server", "--port", self.port, *settings, "--bind", "127.0.0.1", "--dir",
                                              folder / name, "--save", "", "--appendonly", "yes",
                                              "--repl-diskless-sync-delay", "0"], folder)

    password = None

    def ping(self):
        try:
            return "PONG" in self.cli("ping")
        except AssertionError:
            return False

    def cli(self, *words, code=0):
        login = ["-a", self.password, "--no-auth-warning"] if self.password else []
        done = subprocess.run(["redis-cli", "-p", str(self.port), *login, *map(str, words)], text=True, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        assert done.returncode == code, done.stdout
        return done.stdout


class HighAvailability(harness.EndToEnd):
    probes = 0  # requests beside the load

    def server(self, name, *settings):
        return self._keep(Server(self.folder, name, *settings))

    def sentinel(self, name, master, *more):
        """A Sentinel that watches the master; its file is its own to write."""
        port = low_port()
        file = self.folder / f"{name}.conf"
        file.write_text("\n".join([f"port {port}", "bind 127.0.0.1", f"dir {self.folder}",
                                   f"sentinel monitor prime 127.0.0.1 {getattr(master, 'tls', master.port)} 2",
                                   "sentinel down-after-milliseconds prime 1000",
                                   "sentinel failover-timeout prime 6000", "requirepass p-of-the-sentinels",
                                   "sentinel sentinel-pass p-of-the-sentinels",
                                   "sentinel auth-pass prime p-of-the-servers", *more, ""]))
        process = self._keep(harness.Process(name, ["redis-server", file, "--sentinel"], self.folder))
        process.port = port
        return process

    def cluster(self):
        """Three masters and a replica of each."""
        nodes = [self.server(f"node-{i}", "--cluster-enabled", "yes", "--cluster-node-timeout", "1500")
                 for i in range(6)]
        for node in nodes:
            harness.wait_until("a node is ready", node.ping)
        nodes[0].cli("--cluster", "create", *(f"127.0.0.1:{n.port}" for n in nodes), "--cluster-replicas", "1",
                     "--cluster-yes")
        for node in nodes:
            harness.wait_until("the cluster is whole", lambda: "cluster_state:ok" in node.cli("cluster", "info") and
                               "master_link_status:down" not in node.cli("info", "replication"), 20)
        harness.wait_until("each master has its replica", lambda: sum(
            "connected_slaves:1" in node.cli("info", "replication") for node in nodes) == 3, 20)
        return nodes

    def pair(self, mock, url, env=None):
        return [self.keywheel(mock, name=f"keywheel-{n}", env={"REDIS_URL": url, **MASTER_KEY, **(env or {})})
                for n in "ab"]

    def check(self, mock, proxies, loads):
        """All answers came whole, and each is in the books once. How many requests."""
        for proxy in proxies:
            settle(proxy, mock)
        shots = [shot for load in loads for shot in load.shots]
        self.assertEqual([shot for shot in shots if not shot.whole or shot.status != 200], [])
        compared = Compared(self, proxies[0], mock, shots)
        compared.each_once()
        count, tokens = compared.exact_equal()
        everything = len(shots) + self.probes
        self.assertEqual((count, len(compared.entries), len(compared.records)), (len(shots), everything, everything))
        return count, tokens

    def under_load(self, mock, proxies, what, script):
        """Load on both while script() breaks something; then all is compared."""
        loads = [Load(proxy, TOGETHER, name=f"load-{n}", model=MODEL) for n, proxy in enumerate(proxies)]

        async def go():
            broken = asyncio.Event()

            async def wait(load):
                await broken.wait()
                await load.until(len(load.done) + 3 * TOGETHER)  # it goes on

            async def first(load):
                await asyncio.sleep(SECONDS)
                await script()
                await asyncio.sleep(SECONDS)
                broken.set()
                await wait(load)
            await asyncio.gather(loads[0].run(first), loads[1].run(wait))
        asyncio.run(go())
        count, tokens = self.check(mock, proxies, loads)
        print(f"figure: {what}: {count} requests by two processes, 0 failed, each booked once; {tokens['input']} in + "
              f"{tokens['output']} out, equal in both books", flush=True)

    async def away_and_back(self, proxies, what):
        """Until each process has seen the store go and come back."""
        begun = time.monotonic()
        for state in (0, 1):
            for proxy in proxies:
                await in_thread(harness.wait_until, f"keywheel_store_up {state}",
                                lambda: metric(proxy, "keywheel_store_up") == state, 40)
        print(f"figure: {what}: the store was back after: {time.monotonic() - begun:.1f} s", flush=True)

    def owner(self, nodes, tag):
        """The master of a hash tag's slot, and the slot."""
        alive = next(n for n in nodes if n.alive())
        slot = int(alive.cli("cluster", "keyslot", tag))
        for line in alive.cli("cluster", "nodes").splitlines():
            words = line.split()
            for span in words[8:]:
                first, _, last = span.partition("-")
                if first.isdigit() and int(first) <= slot <= int(last or first):
                    port = int(re.search(r":(\d+)@", words[1]).group(1))
                    return next(n for n in nodes if n.port == port), slot
        raise AssertionError(f"slot {slot} has no master")

    def limited(self, proxy):
        """An access key whose limits are asked of Redis at each request, by the worker's own connections."""
        made = proxy.admin("POST", "/admin/access-keys", {"name": "limited", "limits": [
            {"unit": "requests", "per": "1h", "cap": 1_000_000}, {"unit": "concurrent", "cap": 1000}]})
        self.assertEqual(made.status, 201, made)
        return made.json()["data"]["key"]

    def with_limits(self, proxies):
        key = self.limited(proxies[0])
        for proxy in proxies:
            harness.wait_until("the access key is known", lambda: proxy.get(
                "/v1/models", headers={"authorization": f"Bearer {key}"}).status == 200)
            proxy.access_key = key
            self.probes += 1

    def test_cluster_master_killed_under_load(self):
        mock = self.mock()
        nodes = self.cluster()
        proxies = self.pair(mock, f"redis://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[4].port}",
                            {"KEYWHEEL_STORE_REDIS_MODE": "cluster"})
        self.with_limits(proxies)
        victim, _ = self.owner(nodes, "{m}")

        async def script():
            victim.kill()
            await self.away_and_back(proxies, "cluster_master_killed")
            victim.start()  # as a replica
            await in_thread(harness.wait_until, "the old master follows",
                            lambda: victim.ping() and "master_link_status:up" in victim.cli("info", "replication"), 40)
            # The next does not die: it answers no more, and wakes up when another has its place.
            frozen, _ = self.owner(nodes, "{m}")
            frozen.signal(signal.SIGSTOP)
            await self.away_and_back(proxies, "cluster_master_frozen")
            frozen.signal(signal.SIGCONT)
            await in_thread(harness.wait_until, "the frozen master follows",
                            lambda: frozen.ping() and "role:slave" in frozen.cli("info", "replication"), 40)
        self.under_load(mock, proxies, "cluster_master_killed_and_another_frozen", script)

    def test_cluster_slots_move_under_load_and_a_backup(self):
        mock = self.mock()
        nodes = self.cluster()
        env = {"KEYWHEEL_STORE_REDIS_MODE": "cluster"}
        proxies = self.pair(mock, f"redis://127.0.0.1:{nodes[0].port}", env)
        self.with_limits(proxies)

        async def script():
            # The slots of all that is nobody's shard, and of some shards, go to another master.
            for tag in ("{m}", *(f"{{{i}}}" for i in range(0, 16, 3))):
                source, slot = self.owner(nodes, tag)
                others = [n for n in nodes if n is not source and "role:master" in n.cli("info", "replication")]
                await in_thread(self.move, source, others[0], slot)
        self.under_load(mock, proxies, "cluster_slots_moved", script)

        file = self.folder / "all.kwbackup"
        self.verb(proxies[0], "backup", "--out", file)
        before = proxies[0].admin("GET", "/admin/usage?by=access_key&span=all").json()["data"]
        for proxy in proxies:
            proxy.stop()
        self.verb(proxies[0], "restore", file, "--replace")
        proxies[0].start()
        proxies[0].wait_ready("/readyz")
        after = proxies[0].admin("GET", "/admin/usage?by=access_key&span=all").json()["data"]
        self.assertEqual(before["totals"], after["totals"])

    def verb(self, proxy, *words, code=0, env=None):
        done = subprocess.run([harness.PROGRAM, *map(str, words)], text=True, timeout=60, cwd=self.folder,
                              env={**proxy.env, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}")
        return done.stdout

    @staticmethod
    def move(source, target, slot):
        """A slot with all its keys, as an operator's tool does it."""
        ids = {n: n.cli("cluster", "myid").strip() for n in (source, target)}
        target.cli("cluster", "setslot", slot, "importing", ids[source])
        source.cli("cluster", "setslot", slot, "migrating", ids[target])
        while True:
            keys = source.cli("cluster", "getkeysinslot", slot, 10).split()
            if not keys:
                break
            source.cli("migrate", "127.0.0.1", target.port, "", 0, 5000, "keys", *keys)
        for node in (target, source):
            node.cli("cluster", "setslot", slot, "node", ids[target])

    def watched(self, tls=()):
        """A master, its replica and three Sentinels; with a certificate and its key all talk by TLS."""
        login = ("--requirepass", "p-of-the-servers", "--masterauth", "p-of-the-servers")
        files = tls and ("tls-cert-file", tls[0], "tls-key-file", tls[1], "tls-ca-cert-file", tls[0],
                         "tls-auth-clients", "no", "tls-replication", "yes")

        def settings():
            return (("tls-port", low_port()) + files) if tls else ()

        def server(name, *more):
            own = settings()
            made = self.server(name, *more, *login, *(f"--{word}" if at % 2 == 0 else word
                                                      for at, word in enumerate(own)))
            made.password = "p-of-the-servers"
            if own:
                made.tls = own[1]
            return made
        master = server("prime")
        replica = server("second", "--replicaof", "127.0.0.1", getattr(master, "tls", master.port))
        for one in (master, replica):
            harness.wait_until("a server is ready", one.ping)
        harness.wait_until("the replica follows",
                           lambda: "master_link_status:up" in replica.cli("info", "replication"), 20)
        sentinels = []
        for number in range(3):
            own = settings()
            sentinels.append(self.sentinel(f"sentinel-{number}", master,
                                           *(f"{own[at]} {own[at + 1]}" for at in range(0, len(own), 2))))
            if own:
                sentinels[-1].tls = own[1]
        for one in sentinels:
            probe = Server.__new__(Server)
            probe.port, probe.password = one.port, "p-of-the-sentinels"
            harness.wait_until("the sentinels know one another and the replica", lambda: probe.ping() and all(
                f"{what}\n2" in probe.cli("sentinel", "master", "prime") or
                what == "num-slaves" and f"{what}\n1" in probe.cli("sentinel", "master", "prime")
                for what in ("num-other-sentinels", "num-slaves")), 20)
        return master, replica, sentinels

    def test_sentinels_by_tls_master_frozen_under_load(self):
        mock = self.mock()
        cert, key = self.certificate("server")
        master, replica, sentinels = self.watched((cert, key))
        proxies = self.pair(mock, "rediss://:p-of-the-servers@" + ",".join(f"127.0.0.1:{s.tls}" for s in sentinels),
                            {"KEYWHEEL_STORE_REDIS_MODE": "sentinel", "KEYWHEEL_STORE_REDIS_MASTER": "prime",
                             "KEYWHEEL_STORE_REDIS_SENTINEL_PASSWORD": "p-of-the-sentinels",
                             "KEYWHEEL_STORE_REDIS_CA": cert})
        self.with_limits(proxies)

        async def script():
            master.signal(signal.SIGSTOP)
            await self.away_and_back(proxies, "sentinels_by_tls_master_frozen")
            self.assertIn("role:master", replica.cli("info", "replication"))
            # What it was sent before it stopped, it does now, and nobody counts that.
            master.signal(signal.SIGCONT)
            await in_thread(harness.wait_until, "the old master follows", lambda: master.ping() and
                            "role:slave" in master.cli("info", "replication"), 40)
        self.under_load(mock, proxies, "sentinels_by_tls_master_frozen", script)

    def test_sentinels_master_killed_under_load(self):
        mock = self.mock()
        master, replica, sentinels = self.watched()
        proxies = self.pair(mock, "redis://:p-of-the-servers@" + ",".join(f"127.0.0.1:{s.port}" for s in sentinels),
                            {"KEYWHEEL_STORE_REDIS_MODE": "sentinel", "KEYWHEEL_STORE_REDIS_MASTER": "prime",
                             "KEYWHEEL_STORE_REDIS_SENTINEL_PASSWORD": "p-of-the-sentinels"})
        self.with_limits(proxies)

        async def script():
            # What the master confirms from now on, the replica never hears of.
            replica.cli("config", "set", "masterauth", "no longer")
            master.cli("client", "kill", "type", "replica")
            await asyncio.sleep(1.5)
            master.kill()
            sentinels[0].kill()  # it was asked first
            await self.away_and_back(proxies, "sentinels_master_killed")
            master.start()  # with what it held; the Sentinels make it a replica
        self.under_load(mock, proxies, "sentinels_master_killed", script)
        lost = [event for proxy in proxies for event in proxy.events() if event.get("event") == "journal.store_fell_back"]
        self.assertNotEqual(lost, [], "batches that were confirmed are sent again")
        print(f"figure: sentinels_master_killed: confirmed batches that the new master did not hold, sent again: "
              f"{sum(event['confirmed'] - event['held'] for event in lost)}", flush=True)

    # What the operations guide tells an operator to grant.
    def least_rights(self):
        text = (harness.ROOT / "docs" / "operations.md").read_text()
        found = re.search(r"ACL SETUSER keywheel .*?(?=\n\n|```)", text, re.DOTALL)
        self.assertTrue(found, "the line in docs/operations.md")
        return found.group(0).replace("\\\n", " ").replace(">PASSWORD", ">p-of-the-user").split()

    def certificate(self, name):
        """A certificate for 127.0.0.1 that is its own authority."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:redis.test",
                        "-keyout", key, "-out", cert], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return cert, key

    def test_tls_and_least_rights(self):
        mock = self.mock()
        cert, key = self.certificate("server")
        ours, our_key = self.certificate("client")
        stranger, _ = self.certificate("stranger")
        tls = low_port()
        # It takes TLS with a client's certificate; the plain port is the test's own.
        server = self.server("secure", "--tls-port", tls, "--tls-cert-file", cert, "--tls-key-file", key,
                             "--tls-ca-cert-file", ours, "--tls-auth-clients", "yes")
        harness.wait_until("the server is ready", server.ping)
        server.cli(*self.least_rights())
        url = f"rediss://keywheel:p-of-the-user@127.0.0.1:{tls}"
        right = {"KEYWHEEL_STORE_REDIS_CA": cert, "KEYWHEEL_STORE_REDIS_CERT": ours, "KEYWHEEL_STORE_REDIS_KEY": our_key}
        proxies = self.pair(mock, url, right)
        self.with_limits(proxies)

        async def script():
            pass
        self.under_load(mock, proxies, "tls_with_client_certificate_and_least_rights", script)
        for path in ("/admin/keys", "/admin/usage?by=all&span=all", "/admin/audit", "/admin/access-keys"):
            self.assertEqual(proxies[0].admin("GET", path).status, 200, path)
        self.verb(proxies[0], "backup", "--out", self.folder / "secure.kwbackup")
        for proxy in proxies:
            proxy.stop()
        self.verb(proxies[0], "restore", self.folder / "secure.kwbackup", "--replace")
        # What Redis refused to this user, if anything.
        self.assertEqual(server.cli("acl", "log").strip(), "")
        self.assertNotIn("NOPERM", proxies[0].log())

        def refused(what, said, **env):
            proxy = self.keywheel(mock, name=f"keywheel-{what}", wait=False, env={
                "REDIS_URL": url, **MASTER_KEY, **right, **env})
            reason = harness.wait_until(what, lambda: next(
                (line for line in proxy.log().splitlines() if said in line), None), 15)
            harness.wait_until("it listens", lambda: listens(proxy), 15)
            self.assertEqual(proxy.get("/readyz").status, 503)
            proxy.stop()
            print(f"refused: {what}: {reason[:300]}", flush=True)
        refused("wrong_authority", f"set store.redis_ca to the file of the authority that signed it, not {stranger}",
                KEYWHEEL_STORE_REDIS_CA=stranger)
        refused("wrong_name", "(other.test): set store.redis_tls_name", KEYWHEEL_STORE_REDIS_TLS_NAME="other.test")
        refused("wrong_password", "WRONGPASS", REDIS_URL=url.replace("p-of-the-user", "another"))
        absent = self.keywheel(mock, name="keywheel-absent", wait=False, env={
            "REDIS_URL": url, **MASTER_KEY, **right, "KEYWHEEL_STORE_REDIS_CA": "/nonexistent/ca.pem"})
        harness.wait_until("a file that is not there ends the start", lambda: not absent.alive(), 15)
        self.assertIn("/nonexistent/ca.pem cannot be used: see store.redis_ca", absent.log())


if __name__ == "__main__":
    harness.main(together=2)
