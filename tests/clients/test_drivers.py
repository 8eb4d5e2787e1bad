"""
More drivers that `make test-clients` adds: Go's lib/pq and pgx, R, sequelize, pg-query-stream, pg-copy-streams. Run where
CLIENTS=all.
"""
import json
import os
import subprocess

import pytest

from tests.clients.compare import check, run
from tests.clients.test_programs import HERE, npm

pytestmark = pytest.mark.skipif(os.environ.get("CLIENTS") != "all", reason="part of `make test-clients`")


def test_go(veiled, plain, tmp_path):
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "pgveil-clients", "go")
    program = str(tmp_path / "market_go")
    done = subprocess.run(["go", "build", "-o", program, os.path.join(HERE, "market_go.go")], capture_output=True, text=True, timeout=600,
                          env=dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="-p=2", GOCACHE=cache))
    assert done.returncode == 0, done.stderr
    ours, theirs = run([program], veiled), run([program], plain)
    one = {"pq": '42501 then one INT4,|"1"/', "pgx": "42501 then one 23 1,[1]/"}
    check(ours, theirs, {"veil.%s %s" % (name, kind): said for name, said in one.items() for kind in ("temp", "insert", "table")}, 35)


R = r"""
suppressMessages(library(RPostgreSQL))
step <- function(name, value) cat(name, "\t", paste(format(value), collapse = "|"), "\n", sep = "")
con <- dbConnect(PostgreSQL(), host = Sys.getenv("PGHOST"), port = Sys.getenv("PGPORT"), dbname = Sys.getenv("PGDATABASE"),
                 user = Sys.getenv("PGUSER"), password = Sys.getenv("PGPASSWORD"))
rows <- function(sql, ...) tryCatch({ got <- suppressWarnings(dbGetQuery(con, sql, ...)); if (is.null(got)) "NULL" else unlist(c(names(got), got)) },
                                    error = function(e) "error")
step("regions", rows("SELECT * FROM questions.by_region ORDER BY 1"))
step("parameter", rows("SELECT * FROM questions.one_step($1)", 42))
step("kinds", sapply(dbGetQuery(con, "SELECT id, flag, amount, txt, day, stamp FROM questions.everything"), function(x) paste(class(x), collapse = " ")))
step("tables", sort(dbListTables(con)))
step("fields", dbListFields(con, "customers"))
step("exists", c(dbExistsTable(con, "customers"), dbExistsTable(con, "nosuch")))
rs <- dbSendQuery(con, "SELECT n FROM questions.steps")
step("pages", c(nrow(fetch(rs, 100)), nrow(fetch(rs, -1))))
invisible(dbClearResult(rs))
step("missing", suppressWarnings(rows("SELECT * FROM nosuch")))
step("after", rows("SELECT 1 AS one"))
if (Sys.getenv("VEILED") == "1") {
  step("veil.write", suppressWarnings(tryCatch(dbWriteTable(con, "mine", data.frame(n = 1:3)), error = function(e) "error")))
  step("veil.table", suppressWarnings(rows("SELECT label FROM public.steps")))
  step("veil.after", rows("SELECT 1 AS one"))
}
invisible(dbDisconnect(con))
"""


def test_r(veiled, plain, tmp_path):
    path = tmp_path / "script.R"
    path.write_text(R)
    ours, theirs = (run(["Rscript", "--vanilla", str(path)], end) for end in (veiled, plain))
    assert "error" in ours["missing"] or "NULL" in ours["missing"]
    check(ours, theirs, {"veil.write": "FALSE", "veil.table": "NULL", "veil.after": ours["after"]})


NODE = r"""
const step = (name, value) => console.log(name + '\t' + JSON.stringify(value));
const code = (promise) => promise.then((r) => r, (e) => (e.original || e).code);
(async () => {
  const pg = require('pg');
  const connect = async () => {
    const made = new pg.Client({ssl: false});
    await made.connect();
    return made;
  };
  let client = await connect();
  const Stream = require('pg-query-stream');
  const read = async (sql, args, options) => {
    let rows = 0, first = null;
    for await (const row of client.query(new Stream(sql, args, options))) { first = first || row; rows++; }
    return [rows, first];
  };
  step('stream', await read('SELECT * FROM questions.steps WHERE n > $1', [500], {batchSize: 100, highWaterMark: 100}));
  step('stream missing', await code(read('SELECT * FROM nosuch')));
  // A stream that failed sends a Sync more, whose answer pg-copy-streams would take for its own.
  await client.end();
  client = await connect();
  const {to, from} = require('pg-copy-streams');
  const copy = async (sql) => {
    let text = '';
    for await (const chunk of client.query(to(sql))) text += chunk;
    return text;
  };
  step('copy', await copy('COPY (SELECT * FROM questions.some_steps) TO STDOUT CSV HEADER'));
  step('copy all', (await copy('COPY (SELECT * FROM questions.steps) TO STDOUT')).length);
  step('after copy', (await client.query('SELECT 1 AS one')).rows);
  const {Sequelize, QueryTypes} = require('sequelize');
  const env = process.env;
  const sequelize = new Sequelize(env.PGDATABASE, env.PGUSER, env.PGPASSWORD, {dialect: 'postgres', host: env.PGHOST, port: env.PGPORT, logging: false});
  const ask = (sql, more) => code(sequelize.query(sql, {type: QueryTypes.SELECT, ...more}));
  step('sequelize', await code(sequelize.authenticate().then(() => 'fine')));
  step('sequelize regions', await ask('SELECT * FROM questions.by_region ORDER BY region'));
  step('sequelize replaced', await ask('SELECT * FROM questions.one_step(:n)', {replacements: {n: 3}}));
  step('sequelize bound', await ask('SELECT * FROM questions.one_step($1)', {bind: [4]}));
  const Steps = sequelize.define('steps', {n: {type: Sequelize.INTEGER, primaryKey: true}, label: Sequelize.TEXT}, {schema: 'questions', timestamps: false});
  step('sequelize model', await code(Steps.findAll({where: {n: {[Sequelize.Op.lt]: 4}}, order: ['n'], raw: true})));
  step('sequelize count', await code(Steps.findAndCountAll({limit: 2, offset: 10, order: ['n'], raw: true})));
  step('sequelize tables', await code(sequelize.getQueryInterface().showAllTables()));
  step('sequelize describe', await code(sequelize.getQueryInterface().describeTable('customers')));
  step('sequelize transaction', await code(sequelize.transaction({isolationLevel: 'REPEATABLE READ'}, async (transaction) =>
    [await ask('SHOW transaction_isolation', {transaction}), await ask('SELECT n FROM questions.steps ORDER BY n LIMIT 1', {transaction})])));
  step('sequelize missing', await ask('SELECT * FROM nosuch'));
  if (process.env.VEILED) {
    step('veil.copy', await code(copy('COPY public.steps TO STDOUT')));
    step('veil.load', await new Promise((done) => {
      const stream = client.query(from('COPY public.steps FROM STDIN'));
      stream.on('error', (e) => done(e.code)).on('finish', () => done('taken'));
      stream.end('1\tx\n');
    }));
    step('veil.sync', await code(sequelize.define('fresh', {n: Sequelize.INTEGER}).sync()));
    step('veil.create', await code(Steps.create({n: 1, label: 'x'})));
    step('veil.stream', await code(read('SELECT label FROM public.steps')));
    step('veil.after', [(await client.query('SELECT 1 AS one')).rows, await ask('SELECT 1 AS one')]);
  }
  await client.end();
  await sequelize.close();
})().catch((e) => { console.error(e); process.exit(1); });
"""


def test_node(veiled, plain, tmp_path):
    modules = npm("pg@8", "pg-query-stream@4", "pg-copy-streams@7", "sequelize@6", "pg-hstore@2")
    path = tmp_path / "script.js"
    path.write_text(NODE)
    ours, theirs = (run(["node", str(path)], end, NODE_PATH=modules) for end in (veiled, plain))
    refused = {"veil." + name: '"42501"' for name in ("copy", "load", "sync", "create", "stream")}
    check(ours, theirs, dict(refused, **{"veil.after": json.dumps([[{"one": 1}]] * 2, separators=(",", ":"))}), 15)
