"""
A raw client for protocol 3.0: frames by hand, so that tests can send what no driver would. Knows just enough to log in
(SCRAM-SHA-256) and to read messages; it judges nothing.
"""
import base64
import functools
import hashlib
import hmac
import os
import socket
import ssl
import struct

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSSENC_REQUEST = struct.pack("!ii", 8, 80877104)


class Closed(Exception):
    """The peer closed the connection."""


class Message:
    """One backend message. `fields` of an ErrorResponse or NoticeResponse as a dict by their one-letter codes."""

    def __init__(self, tag, body):
        self.tag = tag
        self.body = body

    @property
    def fields(self):
        parts = self.body.split(b"\0")
        return {part[:1].decode(): part[1:].decode("utf-8", "replace") for part in parts if part}

    @property
    def sqlstate(self):
        return self.fields.get("C") if self.tag in "EN" else None

    @property
    def values(self):
        """Columns of a DataRow; None for NULL."""
        count = struct.unpack_from("!h", self.body)[0]
        at, out = 2, []
        for _ in range(count):
            size = struct.unpack_from("!i", self.body, at)[0]
            at += 4
            out.append(None if size < 0 else self.body[at:at + size])
            at += max(size, 0)
        return out

    @property
    def columns(self):
        """(name, table oid, attribute, type oid, length, modifier, format) of each column of a RowDescription."""
        count = struct.unpack_from("!h", self.body)[0]
        at, out = 2, []
        for _ in range(count):
            end = self.body.index(b"\0", at)
            out.append((self.body[at:end].decode(),) + struct.unpack_from("!ihihih", self.body, end + 1))
            at = end + 19
        return out

    @property
    def text(self):
        return self.body.rstrip(b"\0").decode("utf-8", "replace")

    def __repr__(self):
        return "%s(%r)" % (self.tag, self.fields if self.tag in "EN" else self.body[:60])


def frame(tag, body=b""):
    return tag.encode() + struct.pack("!i", len(body) + 4) + body


def z(text):
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def startup_packet(params, version=196608):
    body = struct.pack("!i", version) + b"".join(z(k) + z(v) for k, v in params) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def query(sql):
    return frame("Q", z(sql))


def parse(sql, name="", oids=()):
    return frame("P", z(name) + z(sql) + struct.pack("!h", len(oids)) + b"".join(struct.pack("!i", o) for o in oids))


def bind(params=(), statement="", portal="", formats=(), result_formats=()):
    out = z(portal) + z(statement) + struct.pack("!h", len(formats))
    out += b"".join(struct.pack("!h", f) for f in formats) + struct.pack("!h", len(params))
    for value in params:
        raw = None if value is None else value if isinstance(value, bytes) else str(value).encode()
        out += struct.pack("!i", -1) if raw is None else struct.pack("!i", len(raw)) + raw
    out += struct.pack("!h", len(result_formats)) + b"".join(struct.pack("!h", f) for f in result_formats)
    return frame("B", out)


def describe(kind, name=""):
    return frame("D", kind.encode() + z(name))


def execute(portal="", row_count_max=0):
    return frame("E", z(portal) + struct.pack("!i", row_count_max))


def close(kind, name=""):
    return frame("C", kind.encode() + z(name))


SYNC, FLUSH, TERMINATE = frame("S"), frame("H"), frame("X")


@functools.lru_cache(maxsize=256)
def salted_password(password, salt, iterations):
    """What makes a login dear for its client: kept, as a client may (RFC 5802, 5.1)."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)


class Wire:
    """A connection; `Wire.login(...)` goes on to ReadyForQuery."""

    def __init__(self, host, port, timeout=60):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.parameters = {}
        self.key = None
        self.pid = None

    @classmethod
    def login(cls, host, port, user, password, database, params=(), tls=None, timeout=60):
        wire = cls(host, port, timeout)
        if tls is not None:
            wire.start_tls(tls)
        wire.send(startup_packet([("user", user), ("database", database), *params]))
        wire.authenticate(password)
        wire.until("Z")
        return wire

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def start_tls(self, context):
        self.send(SSL_REQUEST)
        answer = self.sock.recv(1)
        assert answer == b"S", answer
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def _fill(self, size):
        while len(self.buffer) < size:
            try:
                chunk = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                chunk = b""
            if not chunk:
                raise Closed(bytes(self.buffer))
            self.buffer += chunk

    def take(self):
        self._fill(5)
        size = struct.unpack_from("!i", self.buffer, 1)[0]
        self._fill(size + 1)
        message = Message(chr(self.buffer[0]), bytes(self.buffer[5:size + 1]))
        del self.buffer[:size + 1]
        if message.tag == "S":
            name, value = message.body.split(b"\0")[:2]
            self.parameters[name.decode()] = value.decode()
        elif message.tag == "K":
            self.pid, self.key = struct.unpack_from("!i", message.body)[0], message.body[4:]
        return message

    def until(self, tags):
        """Messages up to and with the first whose tag is one of `tags`."""
        out = []
        while not out or out[-1].tag not in tags:
            out.append(self.take())
        return out

    def ask(self, *frames):
        """Sends and gives every message up to ReadyForQuery."""
        self.send(*frames)
        return self.until("Z")

    def at_end(self):
        """True when the peer closes without saying anything more."""
        try:
            self.take()
        except Closed:
            return True
        return False

    def quiet(self, seconds=0.3):
        """True when nothing arrives for that long."""
        previous = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self._fill(len(self.buffer) + 1)
            return False
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.sock.settimeout(previous)

    def authenticate(self, password):
        message = self.take()
        if message.tag == "E":
            raise PermissionError(message.fields)
        assert message.tag == "R" and struct.unpack("!i", message.body[:4])[0] == 10, message
        assert b"SCRAM-SHA-256" in message.body[4:].split(b"\0"), message
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = "n=,r=" + nonce
        self.send(frame("p", z("SCRAM-SHA-256") + struct.pack("!i", len(first) + 3) + b"n,," + first.encode()))
        message = self.take()
        if message.tag == "E":
            raise PermissionError(message.fields)
        server_first = message.body[4:].decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce)
        salted = salted_password(password, base64.b64decode(fields["s"]), int(fields["i"]))
        final = "c=biws,r=" + fields["r"]
        signed = ",".join((first, server_first, final)).encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.send(frame("p", (final + ",p=" + base64.b64encode(proof).decode()).encode()))
        message = self.take()
        if message.tag == "E":
            raise PermissionError(message.fields)
        verifier = dict(part.split("=", 1) for part in message.body[4:].decode().split(","))["v"]
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        assert base64.b64decode(verifier) == hmac.digest(server_key, signed, "sha256"), "server signature"
        message = self.take()
        if message.tag == "E":
            raise PermissionError(message.fields)
        assert message.tag == "R" and message.body == b"\0\0\0\0", message


def tags(messages):
    """The tags as one string, asynchronous messages left out."""
    return "".join(m.tag for m in messages if m.tag not in "NSA")


def rows(messages):
    return [tuple(None if v is None else v.decode() for v in m.values) for m in messages if m.tag == "D"]


def errors(messages):
    return [m.sqlstate for m in messages if m.tag == "E"]


def verifier(password, salt, iterations):
    """A SCRAM-SHA-256 verifier computed here (RFC 5802, RFC 7677), to compare with."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = lambda raw: base64.b64encode(raw).decode()
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (iterations, b64(salt), b64(stored), b64(server))
