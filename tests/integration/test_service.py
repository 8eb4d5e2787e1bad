"""pgveil as a service: killed under load, a renewed certificate, what it tells a service manager."""
import os
import re
import shutil
import socket
import ssl
import struct
import threading
import time

import pytest

from tests.lib.certs import Authority


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_kill_9_under_load_misses_no_statement_of_the_servers_log(own_veil, cluster, durability):
    veil = own_veil(config={"audit": {"durability": durability}})
    veil.provision()
    veil.start()
    mark = cluster.log_size()
    count = [0]

    def load(number):
        try:
            with veil.connect("alice", veil.room) as conn:
                for turn in range(100000):
                    conn.execute("SELECT 'mark_%d_%d'" % (number, turn))
                    count[0] += 1
        except Exception:
            return  # the proxy is gone: that is the test

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while count[0] < 300 and time.monotonic() < deadline:
        time.sleep(0.02)
    veil.kill()
    for thread in threads:
        thread.join(120)
    assert count[0] >= 300
    time.sleep(0.5)
    assert veil.run("audit", "verify").returncode == 0
    veil.start()
    reached = set(re.findall(r"mark_\d+_\d+", cluster.log(mark)))
    recorded = {re.search(r"mark_\d+_\d+", row["query"]).group(0): row["outcome"] for row in veil.log_rows("query LIKE '%mark_%'")}
    assert len(reached) >= 300
    assert reached <= set(recorded)
    assert set(recorded.values()) <= {"completed", "lost"}
    assert veil.run("audit", "verify").returncode == 0
    assert veil.stop() == 0
    veil.provision("--drop")


def served_certificate(veil):
    with socket.create_connection(("127.0.0.1", veil.port), timeout=60) as plain:
        plain.sendall(struct.pack("!II", 8, 80877103))
        assert plain.recv(1) == b"S"
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(plain) as tls:
            return tls.getpeercert(binary_form=True)


def test_a_renewed_certificate_is_served_and_no_connection_drops(own_veil, tmp_path):
    veil = own_veil()
    ca = Authority(str(tmp_path / "ca"))
    cert, key = ca.issue("server")
    veil.config["tls"] = {"cert": cert, "key": key}
    veil.write_config()
    veil.provision()
    veil.start()
    before = served_certificate(veil)
    with veil.connect("alice", veil.room, sslmode="require") as conn:
        new_cert, new_key = ca.issue("server-renewed")
        shutil.copy(new_cert, cert)
        shutil.copy(new_key, key)
        veil.hup()
        deadline = time.monotonic() + 60
        while served_certificate(veil) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert served_certificate(veil) != before
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert veil.stop() == 0
    veil.provision("--drop")


def test_the_service_manager_is_told(own_veil, tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        told.settimeout(60)
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", path)
        veil = own_veil()
        veil.provision()
        veil.start()
        words = told.recv(4096).decode()
        assert "READY=1" in words
        veil.hup()
        seen = told.recv(4096).decode()
        assert "RELOADING=1" in seen
        while "READY=1" not in seen:
            seen = told.recv(4096).decode()
        assert veil.stop() == 0
        seen = told.recv(4096).decode()
        while "STOPPING=1" not in seen:
            seen = told.recv(4096).decode()
    veil.provision("--drop")
