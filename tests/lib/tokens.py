"""An issuer of JSON Web Tokens for tests: keys and signatures by the openssl command, the rest by hand."""
import base64
import json
import os
import subprocess
import time

from tests.lib.certs import private


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _openssl(*args, stdin=b""):
    done = subprocess.run(["openssl", *args], input=stdin, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (args[0], done.stderr.decode().strip()))
    return done.stdout


def _raw_pair(der):
    """r and s of a DER ECDSA signature, 32 bytes each."""
    assert der[0] == 0x30
    out, at = b"", 2
    for _ in range(2):
        assert der[at] == 0x02
        size = der[at + 1]
        out += der[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return out


class Issuer:
    """Keys by kid; `key(kid, alg)` makes one, `token(kid, **claims)` signs, `jwks(*kids)` is the key set."""

    NAME = "https://issuer.test/realm"
    AUDIENCE = "pgveil"

    def __init__(self, folder):
        self.folder = folder
        self.algs = {}
        os.makedirs(folder, exist_ok=True)

    def _path(self, kid):
        return os.path.join(self.folder, kid + ".key")

    def key(self, kid, alg):
        kinds = {"RS256": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                 "ES256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "EdDSA": ("ed25519",)}
        _openssl("genpkey", "-algorithm", *kinds[alg], "-out", self._path(kid))
        private(self._path(kid))
        self.algs[kid] = alg
        return self

    def jwk(self, kid):
        alg = self.algs[kid]
        der = _openssl("pkey", "-in", self._path(kid), "-pubout", "-outform", "DER")
        if alg == "RS256":
            text = _openssl("rsa", "-in", self._path(kid), "-noout", "-modulus").decode().strip()
            numbers = {"kty": "RSA", "n": b64(bytes.fromhex(text.split("=")[1])), "e": "AQAB"}
        elif alg == "ES256":
            numbers = {"kty": "EC", "crv": "P-256", "x": b64(der[-64:-32]), "y": b64(der[-32:])}
        else:
            numbers = {"kty": "OKP", "crv": "Ed25519", "x": b64(der[-32:])}
        return {**numbers, "kid": kid, "use": "sig", "alg": alg}

    def jwks(self, *kids):
        return {"keys": [self.jwk(kid) for kid in kids or self.algs]}

    def sign(self, kid, data):
        path, alg = self._path(kid), self.algs[kid]
        if alg == "EdDSA":
            source = os.path.join(self.folder, "to-sign")
            with open(source, "wb") as out:
                out.write(data)
            return _openssl("pkeyutl", "-sign", "-rawin", "-inkey", path, "-in", source)
        signature = _openssl("dgst", "-sha256", "-sign", path, stdin=data)
        return _raw_pair(signature) if alg == "ES256" else signature

    def token(self, kid, user, header=None, seconds=300, **claims):
        now = int(time.time())
        body = {"iss": self.NAME, "aud": self.AUDIENCE, "sub": user, "iat": now, "exp": now + seconds, **claims}
        head = {"alg": self.algs[kid], "typ": "JWT", "kid": kid, **(header or {})}
        text = ".".join(b64(json.dumps(part).encode()) for part in (head, body))
        return text + "." + b64(self.sign(kid, text.encode()))
