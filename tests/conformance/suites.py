"""
Other people's suites, each a function of an end and a folder of its own, that gives what came of its cases: a dict of
names to "pass", "fail" or "skip". A name is the suite's own. `SUITES` says what each needs from Debian or npm.
"""
import glob
import os
import re
import shutil
import subprocess
import threading

GOPATH = "/usr/share/gocode"
ONE_AT_A_TIME = threading.Lock()  # to compile or to fetch
# The longest that one suite may take at one end: a case that hangs is a case that fails.
SECONDS = int(os.environ.get("CONFORMANCE_SECONDS", "900"))


def run(command, env, cwd, log, seconds=SECONDS):
    """Its standard output; what it said goes to `log` whole."""
    with open(log, "ab") as err:
        child = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                                 start_new_session=True)
        try:
            out = child.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            out = child.communicate()[0]
            err.write(b"\n(stopped after %d seconds)\n" % seconds)
        err.write(out)
    return out.decode("utf-8", "replace")


# ---- Go: the _test.go files that Debian's -dev packages ship, compiled once

def go_binary(package, folder):
    with ONE_AT_A_TIME:
        return _go_binary(package, folder)


def _go_binary(package, folder):
    path = os.path.join(folder, package.replace("/", "_") + ".test")
    if not os.path.exists(path):
        done = subprocess.run(["go", "test", "-c", "-o", path, "github.com/" + package], capture_output=True, text=True, cwd="/", timeout=600,
                              env=dict(os.environ, GO111MODULE="off", GOPATH=GOPATH, GOFLAGS="-p=2",
                                       GOCACHE=os.path.join(folder, "gocache")))
        assert done.returncode == 0, done.stdout + done.stderr
    return path


GO_CASE = re.compile(r"^ *--- (PASS|FAIL|SKIP): (\S+) \(", re.M)


def go(package):
    def suite(end, shared, folder):
        dsn = "host=%s port=%d user=%s password=%s dbname=%s sslmode=disable" % (end.host, end.port, end.user, end.password, end.dbname)
        env = dict(end.env, PGX_TEST_DATABASE=dsn, PGX_TEST_CONN_STRING=dsn, PGX_TEST_TCP_CONN_STRING=dsn)
        # Some find their data beside them.
        out = run([go_binary(package, shared), "-test.v"], env, os.path.join(GOPATH, "src/github.com", package), os.path.join(folder, "log"))
        return {name: result.lower() for result, name in GO_CASE.findall(out)}
    return suite


# ---- SQLAlchemy's suite for dialects, which its package holds

SQLALCHEMY_CONFTEST = """
import pytest
pytest.register_assert_rewrite("sqlalchemy.testing.assertions")
from sqlalchemy.testing.plugin.pytestplugin import *
"""
SQLALCHEMY_CFG = """
[db]
default = %s
[sqla_testing]
requirement_cls = sqlalchemy.testing.requirements:SuiteRequirements
profile_file = profiles.txt
"""
PYTEST_CASE = re.compile(r"^(\S+::\S.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.M)
PYTEST_WORD = {"PASSED": "pass", "XFAIL": "pass", "XPASS": "pass", "FAILED": "fail", "ERROR": "fail", "SKIPPED": "skip"}


def pytest_cases(out):
    cases = {}
    for name, word in PYTEST_CASE.findall(out):
        # A failure to tear down comes after the case's own word.
        if cases.get(name) != "fail":
            cases[name] = PYTEST_WORD[word]
    return cases


def sqlalchemy(end, shared, folder):
    run(["psql", "-X", "-q", "-c", "CREATE SCHEMA IF NOT EXISTS test_schema"], end.env, folder, os.path.join(folder, "log"))
    with open(os.path.join(folder, "conftest.py"), "w") as out:
        out.write(SQLALCHEMY_CONFTEST)
    with open(os.path.join(folder, "setup.cfg"), "w") as out:
        out.write(SQLALCHEMY_CFG % end.url.replace("postgresql:", "postgresql+psycopg2:"))
    with open(os.path.join(folder, "test_suite.py"), "w") as out:
        out.write("from sqlalchemy.testing.suite import *\n")
    out = run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", "--tb=short", "test_suite.py"], end.env, folder,
              os.path.join(folder, "log"))
    return {name.replace("_postgresql+psycopg2_15_20", ""): word for name, word in pytest_cases(out).items()}


# ---- pandas' own tests of its SQL

PANDAS_PLUGIN = """
import os, sqlalchemy
made = sqlalchemy.create_engine
def create_engine(url, *args, **more):
    return made(os.environ["CONFORMANCE_URL"] if str(url).startswith("postgresql+psycopg2") else url, *args, **more)
sqlalchemy.create_engine = create_engine
"""


# Debian leaves the data out: 150 flowers of the same shape.
FLOWERS = "SepalLength,SepalWidth,PetalLength,PetalWidth,Name\n" + "".join("%.1f,%.1f,%.1f,%.1f,Iris-%s\n" % (
    5.1 + n % 7 / 10, 3.5 - n % 5 / 10, 1.4 + n / 40, 0.2 + n / 90, ("setosa", "versicolor", "virginica")[n // 50]) for n in range(150))


def pandas(end, shared, folder):
    os.makedirs(os.path.join(folder, "data/io/data/csv"))
    with open(os.path.join(folder, "data/io/data/csv/iris.csv"), "w") as out:
        out.write(FLOWERS)
    with open(os.path.join(folder, "redirect.py"), "w") as out:
        out.write(PANDAS_PLUGIN)
    env = dict(end.env, PYTHONPATH=folder, CONFORMANCE_URL=end.url.replace("postgresql:", "postgresql+psycopg2:"))
    out = run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-p", "redirect", "-v", "--tb=short", "-k", "Postgres or postgres",
               "--deb-data-root-dir=" + os.path.join(folder, "data"),
               "/usr/lib/python3/dist-packages/pandas/tests/io/test_sql.py"], env, folder, os.path.join(folder, "log"))
    return pytest_cases(out)


# ---- node: the tests that older releases of pg-cursor, pg-query-stream and pg-pool hold, over today's packages

NODE_PACKAGES = ["pg@8", "pg-cursor@2", "pg-query-stream@4", "pg-pool@3", "mocha@6", "expect.js@0.3", "lodash@4", "bluebird@3", "co@4",
                 "JSONStream@0.7", "concat-stream@1.0", "stream-spec@0.3", "through@2",
                 "pg-cursor-tests@npm:pg-cursor@2.0.1", "pg-query-stream-tests@npm:pg-query-stream@2.1.2",
                 "pg-pool-tests@npm:pg-pool@2.0.10", "pg-query-parser@0.3.0"]


def npm(folder):
    """Where node_modules is; fetched once."""
    with ONE_AT_A_TIME:
        return _npm(folder)


def _npm(folder):
    modules = os.path.join(folder, "node_modules")
    if not os.path.isdir(os.path.join(modules, "pg-query-parser")):
        os.makedirs(folder, exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--legacy-peer-deps",
                               "--prefix", folder, *NODE_PACKAGES], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, "npm cannot fetch the suites: " + done.stderr[-2000:]
    return modules


MOCHA_JSON = """
const mocha = require('mocha');
module.exports = function (runner) {
  const say = (word) => (test) => console.log('\\n#CASE ' + word + ' ' + test.fullTitle());
  runner.on('pass', say('pass')).on('fail', (test, error) => { say('fail')(test); console.log(error && error.stack); }).on('pending', say('skip'));
};
"""


def give_time(path):
    """pg-pool looks after 100 ms whether ten logins and twenty queries were done: a second, at either end."""
    if os.path.exists(path):
        with open(path) as source:
            text = source.read()
        assert text.count("}, 100)") == 1, "the wait in %s is written in another way" % path
        with open(path, "w") as out:
            out.write(text.replace("}, 100)", "}, 1000)"))


def node(package, tests, left_out=()):
    """`left_out`: files that test the package's own timers, which a busy machine fails at either end."""
    def suite(end, shared, folder):
        modules = npm(shared)
        os.symlink(modules, os.path.join(folder, "node_modules"))
        shutil.copytree(os.path.join(modules, tests, "test"), os.path.join(folder, "test"))
        give_time(os.path.join(folder, "test", "events.js"))
        with open(os.path.join(folder, "index.js"), "w") as out:
            out.write("module.exports = require('%s')\n" % package)
        with open(os.path.join(folder, "say.js"), "w") as out:
            out.write(MOCHA_JSON)
        cases = {}
        # One program a file, so that a hang takes its own file with it.
        for path in sorted(glob.glob(os.path.join(folder, "test", "*.js"))):
            if os.path.basename(path) in left_out:
                continue
            out = run(["node", os.path.join(modules, "mocha", "bin", "_mocha"), "--exit", "--timeout", "60000", "--reporter", "./say.js", path],
                      dict(end.env, TZ="UTC"), folder, os.path.join(folder, "log"))
            for word, name in re.findall(r"^#CASE (\w+) (.*)$", out, re.M):
                cases["%s: %s" % (os.path.basename(path), name)] = word
        return cases
    return suite


# ---- PostgreSQL's regression scripts, by pg_regress: a case is a script, and what came of it is all that psql said

REGRESS = "/usr/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress"
HERE = os.path.dirname(os.path.abspath(__file__))
# What others build upon; fill.sql is ours, with rows for the tables that PostgreSQL's own run would load from files.
FIRST = ("boolean char name varchar text int2 int4 int8 oid float4 float8 bit numeric txid uuid enum money rangetypes pg_lsn regproc point "
         "lseg line box path polygon circle date time timetz timestamp timestamptz interval inet macaddr tsearch create_type create_table fill "
         "create_misc create_operator create_index create_view").split()
# What needs a standby, or shows what is each server's own.
LEFT_OUT = {"fill", "hs_primary_extremes", "hs_primary_setup", "hs_standby_allowed", "hs_standby_check", "hs_standby_disallowed",
            "hs_standby_functions", "random"}


def scripts(shared):
    """A folder with sql/*.sql: from $PGREGRESS, PostgreSQL's src/test/regress, where somebody has it; else those that npm has."""
    if "PGREGRESS" in os.environ:
        return glob.glob(os.path.join(os.environ["PGREGRESS"], "sql", "*.sql"))
    return glob.glob(os.path.join(npm(shared), "pg-query-parser", "test", "fixtures", "upstream", "*.sql"))


def regress(end, shared, folder):
    os.makedirs(os.path.join(folder, "sql"))
    os.makedirs(os.path.join(folder, "expected"))
    found = {}
    for path in scripts(shared) + [os.path.join(HERE, "fill.sql")]:
        found[os.path.basename(path)[:-4]] = shutil.copy(path, os.path.join(folder, "sql"))
    first = ["test_setup", "fill"] if "test_setup" in found else [name for name in FIRST if name in found]
    names = first + sorted(set(found) - set(first) - LEFT_OUT)
    for name in names:
        open(os.path.join(folder, "expected", name + ".out"), "w").close()
    env = dict(end.env, LC_ALL="C")
    del env["PGTZ"], env["TZ"]
    run([REGRESS, "--bindir=/usr/lib/postgresql/15/bin", "--inputdir=" + folder, "--outputdir=" + folder, "--use-existing",
         "--dbname=" + end.dbname, "--host=" + end.host, "--port=%d" % end.port, "--user=" + end.user,
         "--dlpath=/usr/lib/postgresql/15/lib", *names], env, folder, os.path.join(folder, "log"), SECONDS)
    cases = {}
    for name in names:
        path = os.path.join(folder, "results", name + ".out")
        with open(path, errors="replace") as source:
            cases[name] = source.read().replace(folder, "FOLDER")
    return cases


SUITES = {
    "regress": regress,
    "lib/pq": go("lib/pq"),
    "pgx": go("jackc/pgx/v4"),
    "pgx/pgxpool": go("jackc/pgx/v4/pgxpool"),
    "pgx/stdlib": go("jackc/pgx/v4/stdlib"),
    "pgconn": go("jackc/pgconn"),
    "sqlalchemy": sqlalchemy,
    "pandas": pandas,
    "pg-cursor": node("pg-cursor", "pg-cursor-tests"),
    "pg-query-stream": node("pg-query-stream", "pg-query-stream-tests"),
    "pg-pool": node("pg-pool", "pg-pool-tests", ("connection-timeout.js", "idle-timeout.js", "timeout.js")),
}
