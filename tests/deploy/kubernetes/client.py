"""What the drill's client pod does: `load KEYWHEEL UPSTREAM` sends streams, each on a connection of its own, and plain
requests on connections that are kept, until /state/stop is there; then waits until keywheel's books have what the upstream
billed and prints one line of JSON. `active UPSTREAM` prints how many requests the upstream has under way, `idle` keeps
the pod."""
import http.client
import json
import pathlib
import signal
import sys
import threading
import time
import urllib.request

ACCESS, ADMIN = "access-key-0001", "admin-key-of-the-drill-0001"
STREAMS, PLAIN = 8, 4
STOP = pathlib.Path("/state/stop")
PATIENCE = 60
# Twenty seconds: longer than the pods' preStop, so that streams are under way when they are told to end.
LONG = "mock-pace-200-tokens-100"


def fetched(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return json.load(answer)


class Load:
    def __init__(self, at):
        self.at, self.lock = at, threading.Lock()
        self.ended = {"stream": 0, "plain": 0}
        self.failed, self.addresses = [], 0

    def count(self, kind, fault=None):
        with self.lock:
            if fault is None:
                self.ended[kind] += 1
            else:
                self.failed.append(f"{kind}: {fault}")

    def ask(self, connection, model, stream):
        connection.request("POST", "/v1/chat/completions",
                           json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}),
                           {"authorization": "Bearer " + ACCESS, "content-type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        good = answer.status == 200 and (body.rstrip().endswith(b"data: [DONE]") if stream else json.loads(body)["choices"])
        return None if good else f"{answer.status} {body[-200:]!r}"

    def streams(self):
        while not STOP.exists():
            connection = http.client.HTTPConnection(self.at, 80, timeout=PATIENCE)
            try:
                self.count("stream", self.ask(connection, LONG, True))
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.count("stream", repr(e))
            connection.close()

    def plain(self):
        connection = http.client.HTTPConnection(self.at, 80, timeout=PATIENCE)
        while not STOP.exists():
            kept = connection.sock is not None
            try:
                self.count("plain", self.ask(connection, "mock-tokens-20", False))
            except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected) as e:
                # A kept connection may end before the next request is read: every client tries these once more.
                connection.close()
                if not kept:
                    self.count("plain", repr(e))
            except (OSError, http.client.HTTPException, ValueError) as e:
                connection.close()
                self.count("plain", repr(e))
            time.sleep(0.05)
        connection.close()


def books(at, upstream):
    """(requests, input tokens, output tokens) of the upstream's books and of keywheel's."""
    theirs = fetched(f"http://{upstream}:9000/__books?limit=0")
    total = theirs["total"]
    ours = fetched(f"http://{at}/admin/usage?by=all&span=all", **{"x-admin-key": ADMIN})["data"]["totals"]
    return ([total["requests"], total["input_tokens"], total["output_tokens"]],
            [ours["requests"], ours["tokens"]["input"], ours["tokens"]["output"]], theirs["active"])


def load(at, upstream):
    STOP.unlink(missing_ok=True)
    urllib.request.urlopen(f"http://{upstream}:9000/__books/reset", data=b"", timeout=10).close()
    work = Load(at)
    threads = [threading.Thread(target=work.streams) for _ in range(STREAMS)]
    threads += [threading.Thread(target=work.plain) for _ in range(PLAIN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = time.monotonic() + PATIENCE
    while True:
        theirs, ours, active = books(at, upstream)
        if (theirs == ours and not active) or time.monotonic() > end:
            break
        time.sleep(0.5)
    print(json.dumps({"ended": work.ended, "failed": len(work.failed), "faults": work.failed[:5], "upstream": theirs, "keywheel": ours}))


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(*sys.argv[2:])
    elif sys.argv[1] == "active":
        print(fetched(f"http://{sys.argv[2]}:9000/__books?limit=0")["active"])
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
