"""A WebSocket client of the standard library alone, strict about what it is sent."""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    """The handshake was answered with a plain HTTP answer."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body[:300]!r}")
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def opening(path, headers, key):
    lines = [f"GET {path} HTTP/1.1", "Host: k", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def accept_of(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def fresh_key():
    return base64.b64encode(os.urandom(16)).decode()


def read_answer(head):
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
    return int(lines[0].split()[1]), headers


def frame(opcode, payload=b"", fin=True, masked=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    long = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (len(payload) // 4 + 1))[:len(payload)], "big")
    return head + mask + long.to_bytes(len(payload), "big")


class Socket:
    """An open WebSocket, blocking."""

    def __init__(self, port, path="/v1/realtime?model=mock-realtime", headers=(), timeout=30.0, ca=None):
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ca:
            context = ssl.create_default_context(cafile=str(ca))
            self.raw = context.wrap_socket(self.raw, server_hostname="127.0.0.1")
        self.buffer = b""
        key = fresh_key()
        self.raw.sendall(opening(path, headers, key))
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status, self.headers = read_answer(head)
        if self.status != 101:
            while len(self.buffer) < int(self.headers.get("content-length", 0)):
                self._more()
            self.raw.close()
            raise Refused(self.status, self.headers, self.buffer)
        assert self.headers["sec-websocket-accept"] == accept_of(key), self.headers
        assert "sec-websocket-extensions" not in self.headers, self.headers
        self.close_code = self.close_reason = None
        self.pongs = []

    def _more(self):
        got = self.raw.recv(1 << 18)
        if not got:
            raise ConnectionError("cut")
        self.buffer += got

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_frame(self):
        """(opcode, fin, payload); ConnectionError when the peer is gone."""
        first, second = self._take(2)
        assert first & 0x70 == 0 and second & 0x80 == 0, "no extension, no mask"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8))[0]
        return first & 0x0F, bool(first & 0x80), self._take(size)

    def read(self):
        """The next text message; answers pings. None: closed, with close_code and close_reason."""
        message = b""
        while True:
            opcode, fin, payload = self.read_frame()
            if opcode == PING:
                self.raw.sendall(frame(PONG, payload))
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                self.close_reason = payload[2:].decode()
                return None
            else:
                message += payload
                if fin:
                    return message.decode()

    def event(self):
        text = self.read()
        return text and json.loads(text)

    def until(self, kind):
        """Events up to the first of that type, that one included."""
        seen = []
        while True:
            got = self.event()
            assert got is not None, (self.close_code, self.close_reason, seen[-3:])
            seen.append(got)
            if got["type"] == kind:
                return seen

    def send(self, event):
        self.raw.sendall(frame(TEXT, json.dumps(event).encode()))

    def close(self, code=1000, reason=""):
        """The closing handshake to its end; the code that came back."""
        self.raw.sendall(frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason.encode()))
        while self.close_code is None:
            self.read()
        self.drop()
        return self.close_code

    def answer_close(self):
        self.raw.sendall(frame(CLOSE, struct.pack(">H", self.close_code) if self.close_code != 1005 else b""))
        self.drop()

    def drop(self, reset=False):
        if reset:
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()
