"""
The session engine beside a real server: tests/unit/session/test_server.c sends random pipelines straight and through
the engine, and compares the answers byte by byte. It needs a cluster of its own, since it logs in without a password.
"""
import os
import subprocess

from tests.lib.cluster import Cluster

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_random_pipelines_are_answered_as_the_server_answers_them():
    build = os.path.join(ROOT, "build")
    program = os.path.join(build, "unit", "session", "test_server")
    subprocess.run(["make", "-s", "--no-print-directory", "BUILD=build", "build/unit/session/test_server"], cwd=ROOT, check=True,
                   stdin=subprocess.DEVNULL)
    cluster = Cluster()
    try:
        port = cluster.port
        socket = os.path.join(cluster.socket_dir, ".s.PGSQL.%d" % port)
        ran = subprocess.run([program], env={**os.environ, "PGVEIL_TEST_SERVER": "%s postgres postgres" % socket},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    finally:
        cluster.stop()
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "skipped" not in ran.stdout
    assert "1 test(s) run" in ran.stdout
