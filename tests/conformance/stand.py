"""
Where other people's suites run: two servers that are twins, one asked straight, the other through `pgveil serve
--conformance`. The user, password and database are the same at both ends, a superuser, as those suites want it.
"""
import os

from tests.lib.cluster import Cluster
from tests.lib.pgveil import Pgveil

USER, PASSWORD, DATABASE = "postgres", "postgres", "regression"
# As pg_regress makes its database.
DATABASE_SQL = "CREATE DATABASE %s TEMPLATE template0;" % DATABASE + "".join(
    "ALTER DATABASE %s SET %s TO '%s';" % (DATABASE, name, value) for name, value in (
        ("lc_messages", "C"), ("lc_monetary", "C"), ("lc_numeric", "C"), ("lc_time", "C"), ("bytea_output", "hex"),
        ("timezone_abbreviations", "Default")))


def _cluster():
    cluster = Cluster({"log_statement": "none", "shared_buffers": "128MB", "max_prepared_transactions": 5, "wal_level": "logical"})
    cluster.psql("ALTER ROLE postgres PASSWORD '%s'" % PASSWORD, "postgres")
    cluster.psql(DATABASE_SQL, "postgres")
    return cluster


class End:
    def __init__(self, name, port):
        self.name, self.host, self.port, self.user, self.password, self.dbname = name, "127.0.0.1", port, USER, PASSWORD, DATABASE

    @property
    def env(self):
        """For libpq, and for drivers that read its variables."""
        return dict(os.environ, PGHOST=self.host, PGPORT=str(self.port), PGUSER=self.user, PGPASSWORD=self.password, PGDATABASE=self.dbname,
                    PGSSLMODE="disable", PGCONNECT_TIMEOUT="10", PGTZ="UTC", TZ="UTC", LC_ALL="C.UTF-8")

    @property
    def url(self):
        return "postgresql://%s:%s@%s:%d/%s?sslmode=disable" % (self.user, self.password, self.host, self.port, self.dbname)


class Stand:
    def __init__(self):
        self.clusters = [_cluster(), _cluster()]
        behind = self.clusters[1]
        self.veil = Pgveil([], {USER: {"password": PASSWORD}},
                           {"host": "127.0.0.1", "port": behind.port, "dbname": DATABASE, "user": USER, "password": PASSWORD,
                            "sslmode": "verify-full", "sslrootcert": behind.ca.cert}, {"audit": {"durability": "relaxed"}})
        self.veil.write_room({"room": DATABASE, "upstream": "main", "parties": {"one": {"public_key": "keys/one.pem"}},
                              "members": {USER: {"party": "one", "roles": ["tester"]}}, "datasets": {}, "questions": {}})
        self.veil.start("--conformance", DATABASE)
        self.direct, self.through = End("direct", self.clusters[0].port), End("through", self.veil.port)

    def renew(self):
        """An empty database at both servers: a suite trips over tables that another has left."""
        for cluster in self.clusters:
            cluster.psql("DROP DATABASE %s WITH (FORCE)" % DATABASE, "postgres")
            cluster.psql(DATABASE_SQL, "postgres")

    def stop(self):
        """(exit status, what it said)"""
        status = self.veil.stop()
        said = self.veil.stderr()
        self.veil.close()
        for cluster in self.clusters:
            cluster.stop()
        return status, said
