"""Clients that `make test-clients` adds: Perl's DBD::Pg, PHP, Ruby's pg, postgres.js, knex. Run where CLIENTS=all."""
import os

import pytest

from tests.clients.compare import check, run
from tests.clients.test_programs import npm

pytestmark = pytest.mark.skipif(os.environ.get("CLIENTS") != "all", reason="part of `make test-clients`")

PERL = r"""
use DBI; $| = 1; sub step { print join("\t", @_), "\n" }
my $d = DBI->connect("dbi:Pg:dbname=$ENV{PGDATABASE};sslmode=disable", $ENV{PGUSER}, $ENV{PGPASSWORD}, {RaiseError => 0, PrintError => 0});
sub rows { my ($sql, @a) = @_; my $r = $d->selectall_arrayref($sql, undef, @a); $r ? join("/", map { join("|", map { $_ // "NULL" } @$_) } @$r) : $d->state }
step("regions", rows("SELECT * FROM questions.by_region ORDER BY 1"));
step("parameter $_", rows("SELECT * FROM questions.one_step(?)", $_)) for 1 .. 4;
step("tables", join(",", sort map { "$_->[1].$_->[2]" } grep { $_->[1] !~ /^(pg_|information)/ } @{$d->table_info(undef, undef, "%", "TABLE,VIEW")->fetchall_arrayref}));
step("columns", join(",", map { "$_->[3] $_->[5]" } @{$d->column_info(undef, "public", "customers", "%")->fetchall_arrayref}));
step("keys", scalar(() = $d->primary_key(undef, "public", "customers")));
step("missing", rows("SELECT * FROM nosuch")); step("after", rows("SELECT 1")); step("ping", $d->ping > 0 ? 1 : 0);
$d->begin_work; rows("SELECT 1/0"); step("aborted", rows("SELECT 1")); $d->rollback; step("rolled back", rows("SELECT 2"));
if ($ENV{VEILED}) { step("veil.insert", rows("INSERT INTO public.steps VALUES (1, 'x')")); step("veil.table", rows("SELECT label FROM public.steps")); step("veil.after", rows("SELECT 1")) }
"""
PHP = r"""<?php
function step($name, $value) { echo $name, "\t", is_string($value) ? $value : json_encode($value), "\n"; }
$d = new PDO("pgsql:sslmode=disable", null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
function rows($d, $sql, $args = []) { try { $s = $d->prepare($sql); $s->execute($args); return $s->fetchAll(PDO::FETCH_NUM); } catch (PDOException $e) { return $e->getCode(); } }
step("regions", rows($d, "SELECT * FROM questions.by_region ORDER BY 1"));
for ($i = 1; $i < 5; $i++) step("parameter $i", rows($d, "SELECT * FROM questions.one_step(?)", [$i]));
$s = $d->query("SELECT * FROM questions.steps LIMIT 1"); step("meta", array_map(fn ($m) => [$m["name"], $m["native_type"]], [$s->getColumnMeta(0), $s->getColumnMeta(1)]));
step("missing", rows($d, "SELECT * FROM nosuch")); step("after", rows($d, "SELECT 1"));
$d->beginTransaction(); rows($d, "SELECT 1/0"); step("aborted", rows($d, "SELECT 1")); $d->rollBack(); step("rolled back", rows($d, "SELECT 2"));
$c = pg_connect("sslmode=disable"); step("pg", pg_fetch_all(pg_query_params($c, 'SELECT * FROM questions.one_step($1)', [7])));
step("pg meta", array_keys(pg_meta_data($c, "customers")));
if (getenv("VEILED")) { step("veil.insert", rows($d, "INSERT INTO public.steps VALUES (1, 'x')")); step("veil.table", rows($d, "SELECT label FROM public.steps")); step("veil.after", rows($d, "SELECT 1")[0][0] . ""); }
"""
RUBY = r"""
require 'pg'
def step(name, value) puts "#{name}\t#{value}" end
C = PG.connect(sslmode: 'disable')
def rows(sql, args = nil)
  (args ? C.exec_params(sql, args) : C.exec(sql)).values.inspect
rescue PG::Error => e
  e.result ? e.result.error_field(PG::PG_DIAG_SQLSTATE) : e.class.name
end
step 'regions', rows('SELECT * FROM questions.by_region ORDER BY 1')
C.prepare('one', 'SELECT * FROM questions.one_step($1)')
4.times { |n| step "prepared #{n}", C.exec_prepared('one', [n]).values.inspect }
step 'parameter', rows('SELECT * FROM questions.one_step($1)', [3])
C.send_query('SELECT n FROM questions.steps'); C.set_single_row_mode
count = 0
while (r = C.get_result) do r.check; count += r.ntuples end
step 'single rows', count
step 'missing', rows('SELECT * FROM nosuch'); step 'after', rows('SELECT 1')
copied = 0
C.copy_data('COPY (SELECT * FROM questions.some_steps) TO STDOUT') { while C.get_copy_data do copied += 1 end }
step 'copied', copied
if ENV['VEILED'] == '1'
  step 'veil.insert', rows("INSERT INTO public.steps VALUES (1, 'x')"); step 'veil.table', rows('SELECT label FROM public.steps'); step 'veil.after', C.exec('SELECT 1').getvalue(0, 0)
end
"""


@pytest.mark.parametrize("command,script", [(["perl"], PERL), (["php"], PHP), (["ruby"], RUBY)], ids=["perl", "php", "ruby"])
def test_scripted(veiled, plain, tmp_path, command, script):
    path = tmp_path / "script"
    path.write_text(script)
    ours, theirs = (run(command + [str(path)], end) for end in (veiled, plain))
    check(ours, theirs, {"veil.insert": "42501", "veil.table": "42501", "veil.after": "1"})


NODE = r"""
const step = (name, value) => console.log(name + '\t' + JSON.stringify(value));
const code = (promise) => promise.then((r) => r, (e) => e.code);
(async () => {
  const sql = require('postgres')({ssl: false, max: 2, onnotice: () => {}});
  step('regions', await sql`SELECT * FROM questions.by_region ORDER BY 1`);
  step('at once', await Promise.all([1, 2, 3, 4, 5].map((n) => sql`SELECT * FROM questions.one_step(${n})`)));
  let count = 0;
  await sql`SELECT n FROM questions.steps`.cursor(500, (rows) => { count += rows.length; });
  step('cursor', count);
  step('missing', await code(sql`SELECT * FROM nosuch`));
  step('after', await sql`SELECT 1 AS one`);
  const knex = require('knex')({client: 'pg', connection: {ssl: false}, pool: {min: 0, max: 2}});
  step('knex', await knex.withSchema('questions').from('steps').select('n', 'label').where('n', '<', 4).orderBy('n'));
  step('knex count', await knex.withSchema('questions').from('steps').count('* as n'));
  step('knex has', [await knex.schema.withSchema('questions').hasTable('steps'), await knex.schema.hasTable('nosuch')]);
  step('knex columns', await knex('customers').columnInfo());
  if (process.env.VEILED) {
    step('veil.insert', await code(sql`INSERT INTO public.steps VALUES (1, 'x')`));
    step('veil.table', await code(knex.raw('SELECT label FROM public.steps')));
    step('veil.after', (await sql`SELECT 1 AS one`)[0].one);
  }
  await sql.end();
  await knex.destroy();
})().catch((e) => { console.error(e); process.exit(1); });
"""


def test_postgres_js_and_knex(veiled, plain, tmp_path):
    modules = npm("pg@8", "postgres@3", "knex@3")
    path = tmp_path / "script.js"
    path.write_text(NODE)
    ours, theirs = (run(["node", str(path)], end, NODE_PATH=modules) for end in (veiled, plain))
    check(ours, theirs, {"veil.insert": '"42501"', "veil.table": '"42501"', "veil.after": "1"})
