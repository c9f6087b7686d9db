"""keywheel's own TLS: a certificate that is replaced while streams run.

The streams go on; whoever connects from then on sees the new one. A pair that does not fit together is
refused and the old one stays in force.
"""
import http.client
import json
import os
import signal
import ssl
import subprocess
import threading

import harness
from books import records, settle

STREAMS = 6


class ListenerTls(harness.EndToEnd):
    def make(self, name):
        paths = [self.folder / f"{name}.crt", self.folder / f"{name}.key"]
        subprocess.run([harness.PROGRAM, "self-signed", "--cert", paths[0], "--key", paths[1]], check=True,
                       stdout=subprocess.DEVNULL)
        return paths

    def setUp(self):
        super().setUp()
        self.first, self.second = self.make("first"), self.make("second")
        self.live = [self.folder / "live.crt", self.folder / "live.key"]
        self.install(self.first)
        self.upstream = self.mock()
        self.proxy = self.keywheel(self.upstream, wait=False, env={"KEYWHEEL_SERVER_TLS_CERTIFICATE": self.live[0],
                                                                   "KEYWHEEL_SERVER_TLS_KEY": self.live[1]})
        self.proxy.ca = self.live[0]
        self.proxy.wait_ready("/readyz")

    def install(self, pair):
        for source, target in zip(pair, self.live):
            beside = target.with_suffix(".new")
            beside.write_bytes(source.read_bytes())
            os.replace(beside, target)

    def shown(self):
        """The certificate that a new handshake sees."""
        return ssl.get_server_certificate(("127.0.0.1", self.proxy.port))

    def swap(self, tell):
        context = ssl.create_default_context(cafile=str(self.first[0]))
        opened, halfway = [], threading.Barrier(STREAMS + 1)
        for _ in range(STREAMS):
            connection = http.client.HTTPSConnection("127.0.0.1", self.proxy.port, timeout=30, context=context)
            connection.request("POST", "/v1/chat/completions", json.dumps(
                {"model": "mock-tokens-60-pace-60", "stream": True, "messages": []}),
                {"content-type": "application/json", **self.proxy.default_headers()})
            opened.append((connection, connection.getresponse()))
        bodies = [b""] * STREAMS

        def read(number):
            response = opened[number][1]
            bodies[number] = response.readline()
            halfway.wait(30)
            bodies[number] += response.read()
        readers = [threading.Thread(target=read, args=(n,)) for n in range(STREAMS)]
        for reader in readers:
            reader.start()
        halfway.wait(30)  # every stream has begun
        self.assertEqual(self.shown(), self.first[0].read_text())
        self.install(self.second)
        tell()
        harness.wait_until("new handshakes see the new certificate",
                           lambda: self.shown() == self.second[0].read_text(), 20, 0.1)
        running = sum(reader.is_alive() for reader in readers)
        for reader in readers:
            reader.join(60)
        self.assertEqual([b"data: [DONE]" in body for body in bodies], [True] * STREAMS)
        # A kept connection carries the next request too.
        for connection, _ in opened:
            connection.request("GET", "/healthz")
            self.assertEqual(connection.getresponse().read(), b'{"status":"ok"}')
            connection.close()
        settle(self.proxy, self.upstream)
        self.assertEqual({(r["end"], r["usage"]) for r in records(self.proxy)}, {("completed", "exact")})
        return running

    def test_swap_told_by_sighup(self):
        running = self.swap(lambda: self.proxy.signal(signal.SIGHUP))
        self.assertGreater(running, 0, "no stream was running any more")
        print(f"figure: certificate_swap: {running} of {STREAMS} streams running at the swap, all completed", flush=True)

    def test_swap_found_by_itself(self):
        self.swap(lambda: None)

    def test_a_pair_that_does_not_fit_is_refused(self):
        self.install([self.second[0], self.first[1]])
        self.proxy.signal(signal.SIGHUP)
        harness.wait_until("it is refused", lambda: "certificate.refused" in self.proxy.log(), 20)
        self.assertEqual(self.shown(), self.first[0].read_text())
        self.install(self.second)
        self.proxy.signal(signal.SIGHUP)
        harness.wait_until("the right pair is taken", lambda: self.shown() == self.second[0].read_text(), 20, 0.1)


if __name__ == "__main__":
    harness.main()
