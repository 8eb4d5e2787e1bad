"""A statement that runs while the test goes on."""
import threading
import time

import psycopg


class Running:
    """A statement that runs on a thread of its own; `said` is the error that ended it."""

    def __init__(self, conn, sql):
        self.said = None
        self.thread = threading.Thread(target=self.run, args=(conn, sql))
        self.thread.start()

    def run(self, conn, sql):
        try:
            conn.execute(sql)
        except psycopg.Error as error:
            self.said = error

    def end(self):
        self.thread.join(120)
        assert not self.thread.is_alive()
        return self.said


def wait_running(cluster, count=1, seconds=60):
    """Until so many statements of rooms run in the database: from then on a cancel finds them there."""
    deadline = time.monotonic() + seconds
    before = set()
    while True:
        found = set(cluster.rows("SELECT pid, query_start, query FROM pg_stat_activity WHERE state = 'active' "
                                 "AND usename LIKE 'pgveil!_%' ESCAPE '!'"))
        # Seen twice, so that it is none of those that a session sends ahead of its client's.
        if len(found & before) >= count:
            return
        before = found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def patiently(sqlstate, ask, seconds=60):
    """What ask() gives; it is asked again where it fails with that, which tells of nothing but a slow machine."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except psycopg.Error as error:
            if error.sqlstate != sqlstate and sqlstate not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)
