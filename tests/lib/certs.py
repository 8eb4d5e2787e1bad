"""Keys and certificates for tests, made with the openssl command: a CA, leaf certificates, Ed25519 pairs."""
import os
import subprocess


def _openssl(*args):
    done = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (args[0], done.stderr.strip()))


def private(path):
    os.chmod(path, 0o600)
    return path


class Authority:
    """A certificate authority in `folder`; `issue` gives (certificate, key) paths."""

    def __init__(self, folder, name="pgveil test CA"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.cert = os.path.join(folder, "ca.crt")
        self.key = os.path.join(folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", "/CN=" + name, "-keyout", self.key, "-out", self.cert)
        private(self.key)

    def issue(self, common_name, names="IP:127.0.0.1,DNS:localhost", days=30):
        stem = os.path.join(self.folder, common_name.replace("/", "_").replace("@", "_at_"))
        cert, key, request, extensions = stem + ".crt", stem + ".key", stem + ".csr", stem + ".ext"
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", "/CN=" + common_name, "-keyout", key, "-out", request)
        with open(extensions, "w") as out:
            out.write("subjectAltName=%s\n" % names if names else "basicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                 "-days", str(days), "-extfile", extensions, "-out", cert)
        private(key)
        return cert, key


def ed25519(stem):
    """Makes stem.key (private) and stem.pem (public); gives both paths."""
    os.makedirs(os.path.dirname(stem), exist_ok=True)
    _openssl("genpkey", "-algorithm", "ed25519", "-out", stem + ".key")
    _openssl("pkey", "-in", private(stem + ".key"), "-pubout", "-out", stem + ".pem")
    return stem + ".key", stem + ".pem"
