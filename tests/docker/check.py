"""What tests/docker/run checks of a built container: python3 -m tests.docker.check CONTAINER ROOT (root as mounted here)."""
import json
import os
import stat
import subprocess
import sys
import time

from tests.lib import data, pgveil
from tests.lib.cluster import Cluster

UID = 6432


def in_container(container, *args, volumes=(), **more):
    command = ["buildah", "run", "--isolation", "chroot"]
    for volume in volumes:
        command += ["--volume", volume]
    return subprocess.run([*command, container, "--", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)


def wrapper(folder, container):
    """A program that runs pgveil in the container, as tests/lib expects a binary; the test's folder is mounted where it is."""
    path = os.path.join(folder, "pgveil-in-container")
    with open(path, "w") as out:
        out.write("#!/bin/sh\nexec buildah run --isolation chroot --volume %s:%s %s -- pgveil \"$@\"\n" % (folder, folder, container))
    os.chmod(path, 0o755)
    return path


def give(folder):
    for root, folders, files in os.walk(folder):
        for name in [root] + [os.path.join(root, f) for f in files]:
            os.chown(name, UID, UID)


def written_since(root, since):
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if os.path.join(folder, f)[len(root):] not in ("/proc", "/sys", "/dev", "/run", "/var/lib/pgveil")]
        for name in files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            # The engine itself writes these three into a container's root.
            if stat.S_ISREG(info.st_mode) and info.st_mtime > since and path[len(root):] not in (
                    "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"):
                found.append(path[len(root):])
    return found


def checks(container, root):
    config = json.loads(subprocess.run(["buildah", "inspect", container], capture_output=True, text=True).stdout)["OCIv1"]["config"]
    yield "runs as a user without rights", config.get("User") == "pgveil"
    yield "entry point and command", config.get("Entrypoint") == ["pgveil"] and config.get("Cmd") == ["serve"]
    yield "port and volume", "6432" in str(config.get("ExposedPorts")) and "/var/lib/pgveil" in str(config.get("Volumes"))
    done = in_container(container, "id", "-u")
    yield "user id inside", done.stdout.strip() == str(UID)
    done = in_container(container, "pgveil", "--version")
    yield "reports its version", done.returncode == 0 and done.stdout.startswith("pgveil ")
    done = in_container(container, "sh", "-c", "command -v gcc make git; ls /src 2>/dev/null")
    yield "holds no build tools and no source", done.stdout.strip() == ""

    cluster = Cluster()
    data.load(cluster)
    veil = pgveil.Pgveil([], {}, data.upstream(cluster, "require"))
    pgveil.BINARY = wrapper(veil.folder, container)
    veil.users = {"alice": data.USERS["alice"], "bi_service": data.USERS["bi_service"]}
    veil.write_room(data.small_room("container_room"))
    veil.write_users(veil.users)
    give(veil.folder)
    since = time.time()
    try:
        done = veil.run("check")
        yield "check", done.returncode == 0
        veil.provision()
        veil.start()
        with veil.connect("alice", "container_room") as conn:
            yield "serves a room", len(conn.execute("SELECT * FROM questions.labels").fetchall()) == 60
        done = subprocess.run(["docker/healthcheck"], env=dict(os.environ, PGVEIL_PORT=str(veil.port)))
        yield "health check says yes", done.returncode == 0
        done = subprocess.run(["docker/healthcheck"], env=dict(os.environ, PGVEIL_PORT="1"), stderr=subprocess.DEVNULL)
        yield "health check says no", done.returncode != 0
        yield "writes nowhere but into its volume", written_since(root, since) == []
        veil.stop()
    finally:
        veil.close()
        cluster.stop()


def main():
    passed = failed = 0
    for name, good in checks(*sys.argv[1:3]):
        print("%s: %s" % ("ok" if good else "FAILED", name), flush=True)
        passed, failed = passed + bool(good), failed + (not good)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
