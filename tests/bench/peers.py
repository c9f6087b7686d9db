"""What keywheel is compared with beside nginx: haproxy, a plain proxy in Node, and the Portkey AI gateway from npm."""
import pathlib
import shutil

import rig
from rig import harness

FOLDER = pathlib.Path(__file__).resolve().parent / "peers"

HAPROXY = """
global
    maxconn 4000
    nbthread 1
    tune.ssl.default-dh-param 2048
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    option http-keep-alive
frontend front
    bind 127.0.0.1:{port}
    default_backend mock
backend mock
    http-reuse always
    http-request set-header Authorization "Bearer {key}"
    server mock 127.0.0.1:{mock} ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost pool-max-conn 1024
"""


class Peer(harness.HttpProcess):
    headers = ()  # what a client must send beside its request

    def __init__(self, name, argv, folder, port, env=None, ready="/__health", statuses=(200,)):
        self.port = port
        super().__init__(name, argv, folder, env)
        self.wait_ready(ready, 30, statuses)


def haproxy(folder, mock):
    port, config = harness.free_port(), folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, mock=mock.port, ca=mock.ca, key=rig.UPSTREAM_KEY))
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    return Peer("haproxy", [program, "-db", "-f", config], folder, port)


def node_proxy(folder, mock):
    port = harness.free_port()
    return Peer("node", ["node", FOLDER / "node_proxy.mjs", port, mock.port, rig.UPSTREAM_KEY], folder, port,
                {"NODE_EXTRA_CA_CERTS": str(mock.ca)})


def portkey(folder, mock):
    port = harness.free_port()
    program = FOLDER / "node_modules/@portkey-ai/gateway/build/start-server.js"
    peer = Peer("portkey", ["node", program, "--headless", f"--port={port}"], folder, port,
                {"NODE_EXTRA_CA_CERTS": str(mock.ca), "NODE_ENV": "production"}, "/")
    # It takes the upstream and its key from each request; the name is what the certificate is made for.
    peer.headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: https://localhost:{mock.port}/v1",
                    "x-portkey-forward-headers: x-test-id")
    return peer
