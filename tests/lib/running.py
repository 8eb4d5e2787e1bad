"""A statement that runs while the test goes on."""
import threading

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
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.said
