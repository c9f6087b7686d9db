"""HTTP/1.1 as bytes: a client that shows everything a peer sent, and an upstream that a test scripts.

Client libraries hide what matters here: interim answers, framing, trailers, what comes after an
answer. `Wire` reads one answer at a time and keeps every byte; `ScriptedUpstream` answers exactly
what a test's function writes, so that "seen before the next is sent" needs no clock.
"""
import contextlib
import socket
import threading


class WireAnswer:
    """One answer as received. `raw_body` has the framing in it, `body` has not."""

    def __init__(self, line, fields):
        version, status, reason = (line + b"  ").split(b" ", 2)
        self.version, self.status, self.reason = version, int(status), reason.strip()
        self.fields = fields  # [(name, value)] in order, case kept
        self.raw_body = b""
        self.body = b""
        self.trailers = []
        self.whole = True

    def all(self, name):
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == name.lower().encode()]

    def one(self, name):
        """The only header of that name; None when there is none."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} came {len(values)} times: {values}")
        return values[0] if values else None

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:300]!r}"


class Wire:
    """A connection on which bytes are sent as given."""

    def __init__(self, port, timeout=30.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.interim = []  # 1xx before the last answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data: bytes):
        self.socket.sendall(data)

    def more(self) -> bool:
        """Reads what is there; False at the end of the connection."""
        got = self.socket.recv(1 << 16)
        self.buffer += got
        return bool(got)

    def at_end(self) -> bool:
        """The peer closes and sends nothing more."""
        while not self.buffer and self.more():
            pass
        return not self.buffer

    def _take(self, size) -> bytes:
        while len(self.buffer) < size and self.more():
            pass
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _line(self) -> bytes:
        while b"\n" not in self.buffer:
            if not self.more():
                raise ConnectionError(f"closed inside a line: {self.buffer[:200]!r}")
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"

    def _fields(self):
        fields = []
        while (line := self._line()) != b"\r\n":
            name, _, value = line[:-2].partition(b":")
            fields.append((name, value.strip(b" \t")))
        return fields

    def head(self) -> WireAnswer:
        """The head of the next answer, interim ones passed over (and kept in `interim`)."""
        self.interim = []
        while True:
            line = self._line()
            answer = WireAnswer(line[:-2], self._fields())
            if answer.status >= 200:
                return answer
            self.interim.append(answer)

    def chunk(self) -> bytes:
        """The next chunk's payload; b"" for the last one, whose trailers stay unread."""
        size = int(self._line(), 16)
        if size == 0:
            return b""
        return self._take(size + 2)[:-2]

    def answer(self, to_head=False) -> WireAnswer:
        """A whole answer; `to_head`: that of a HEAD, which has no body."""
        answer = self.head()
        if to_head or answer.status in (204, 304):
            return answer
        if answer.one("transfer-encoding") == "chunked":
            self._chunked(answer)
        elif (length := answer.one("content-length")) is not None:
            answer.body = answer.raw_body = self._take(int(length))
            answer.whole = len(answer.body) == int(length)
        else:
            while self.more():
                pass
            answer.body = answer.raw_body = self.buffer
            self.buffer = b""
        return answer

    def _chunked(self, answer):
        pieces, raw = [], []
        while True:
            try:
                line = self._line()
            except ConnectionError:
                answer.whole = False
                break
            raw.append(line)
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                answer.trailers = self._fields()
                break
            data = self._take(size + 2)
            raw.append(data)
            pieces.append(data[:-2])
        answer.body, answer.raw_body = b"".join(pieces), b"".join(raw)


class ScriptedUpstream:
    """Serves plain HTTP on 127.0.0.1; calls script(connection, head, body) for each request.

    The script writes its answer to the socket itself. A request's body must have a length.
    """

    ca = None

    def __init__(self, script):
        self.script = script
        self.failures = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as reader:
            try:
                while line := reader.readline():
                    head, length = line, 0
                    while line not in (b"\r\n", b""):
                        line = reader.readline()
                        head += line
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    self.script(connection, head, reader.read(length))
            except OSError as failure:
                self.failures.append(failure)
