"""
Names mean to pgveil what they mean to PostgreSQL: random SELECTs over three small relations, each output column's origin
as `pgveil explain` tells it against the table and column that PostgreSQL describes the result with.
RESOLUTION=N asks N (default 250), RESOLUTION_SEED another series.
"""
import json
import os
import random

import psycopg
import pytest

from tests.integration.conftest import make_veil

COUNT = int(os.environ.get("RESOLUTION", "250"))
SEED = int(os.environ.get("RESOLUTION_SEED", "11"))
TABLES = {"alpha": ["a", "b", "c"], "beta": ["b", "c", "d"], "gamma": ["a", "d", "e"]}


class Maker:
    """SELECTs that PostgreSQL takes more often than not; names collide as much as they can."""

    def __init__(self, rng):
        self.rng, self.number = rng, 0

    def pick(self, *choices):
        return self.rng.choice(choices)

    def select(self, depth=0, ctes=(), width=None, outer=()):
        rng = self.rng
        head, ctes = "", list(ctes)
        if rng.random() < 0.25 and depth < 3:
            queries = []
            for _ in range(self.pick(1, 2)):
                name = self.pick("alpha", "beta", "w", "x")
                if any(q.startswith(name + " ") or q.startswith(name + "(") for q in queries):
                    continue
                text, columns = self.select(depth + 1, ctes)
                if rng.random() < 0.4:
                    renamed = [self.pick("a", "b", "c", "d", "e", "f%d" % i) for i in range(rng.randint(1, len(columns)))]
                    queries.append("%s (%s) AS (%s)" % (name, ", ".join(renamed), text))
                    columns = renamed + columns[len(renamed):]
                else:
                    queries.append("%s AS %s(%s)" % (name, self.pick("", "MATERIALIZED ", ""), text))
                ctes = [(name, columns)] + ctes
            head = "WITH %s " % ", ".join(queries)
        if rng.random() < 0.12 and depth < 3:
            left, columns = self.select(depth + 1, ctes, width or rng.randint(1, 3))
            right, _ = self.select(depth + 1, ctes, len(columns))
            return "%s(%s) UNION ALL (%s)" % (head, left, right), columns
        items, spread = self.from_list(depth, ctes)
        targets, columns = [], []
        for _ in range(width or rng.randint(1, 3)):
            style = rng.random()
            if style < 0.12 and width is None:
                targets.append("*")
                columns += [c for _, cs in spread for c in cs]
            elif style < 0.24 and width is None:
                alias, cs = rng.choice(spread)
                targets.append(alias + ".*")
                columns += cs
            else:
                column, text = self.column(spread + list(outer))
                name = self.pick(None, None, "a", "b", "c", "x")
                targets.append(text + (" AS " + name if name else ""))
                columns.append(name or column)
        tail = ""
        if rng.random() < 0.3:
            tail += " WHERE %s = %s" % (self.column(spread)[1], self.column(spread)[1])
        if rng.random() < 0.15:
            tail += " AND " if " WHERE " in tail else " WHERE "
            inner, _ = self.select(depth + 1 if depth < 3 else 4, ctes, 1, spread)
            tail += "%s IN (%s)" % (self.column(spread)[1], inner)
        if rng.random() < 0.2 and "*" not in " ".join(targets):
            tail += " GROUP BY " + ", ".join(str(i + 1) if rng.random() < 0.5 else t.split(" AS ")[-1] for i, t in enumerate(targets))
        if rng.random() < 0.2:
            tail += " ORDER BY " + self.pick("1", *(t.split(" AS ")[-1] for t in targets if "*" not in t))
        return head + "SELECT %s FROM %s%s" % (", ".join(targets), items, tail), columns

    def column(self, spread):
        alias, columns = self.rng.choice(spread)
        column = self.rng.choice(columns)
        return column, self.pick(column, alias + "." + column, alias + "." + column)

    def item(self, depth, ctes):
        rng = self.rng
        self.number += 1
        alias = self.pick("t%d" % self.number, "t%d" % self.number, "alpha", "beta", "x")
        if depth < 3 and rng.random() < 0.35:
            text, columns = self.select(depth + 1, ctes)
            text = "(%s)" % text
        elif ctes and rng.random() < 0.6:
            text, columns = rng.choice(ctes)
        else:
            text = rng.choice(list(TABLES))
            columns = next((cs for name, cs in ctes if name == text), TABLES[text])
            if rng.random() < 0.2:
                columns, text = TABLES[text], "public." + text
            if rng.random() < 0.3:
                return text, (text.split(".")[-1], columns)
        if rng.random() < 0.25:
            renamed = [self.pick("a", "b", "c", "d", "g%d" % i) for i in range(rng.randint(1, len(columns)))]
            return "%s AS %s(%s)" % (text, alias, ", ".join(renamed)), (alias, renamed + columns[len(renamed):])
        return "%s %s" % (text, alias), (alias, columns)

    def from_list(self, depth, ctes):
        text, first = self.item(depth, ctes)
        spread = [first]
        for _ in range(self.pick(0, 0, 1, 1, 2)):
            more, entry = self.item(depth, ctes)
            style = self.pick("comma", "on", "using", "using", "natural", "aliased")
            shared = [c for c in entry[1] if any(c in cs for _, cs in spread)]
            if style == "comma":
                text += ", " + more
            elif style == "natural":
                text += " NATURAL %sJOIN %s" % (self.pick("", "LEFT ", "FULL "), more)
            elif style == "aliased":
                text = "(%s CROSS JOIN %s) AS j%d" % (text, more, self.number)
                spread = [("j%d" % self.number, [c for _, cs in spread for c in cs])]
                spread[0][1].extend(entry[1])
                continue
            elif style == "using" and shared:
                text += " %sJOIN %s USING (%s)" % (self.pick("", "LEFT ", "RIGHT "), more, self.rng.choice(shared))
            else:
                text += " %sJOIN %s ON %s = %s" % (self.pick("", "LEFT "), more, self.column(spread)[1], self.column([entry])[1])
            spread.append(entry)
        return text, spread


@pytest.fixture(scope="module")
def veil(cluster):
    room = {"room": "names", "upstream": "main",
            "parties": {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}},
            "members": {"alice": {"party": "acme", "roles": ["analyst"]}},
            "datasets": {"public." + name: {"owner": "acme", "columns": {c: {"category": 1} for c in columns}}
                         for name, columns in TABLES.items()},
            "questions": {"one": {"type": "list", "sql": "SELECT a FROM public.alpha"}}}
    cluster.psql("CREATE DATABASE names", "postgres")
    for name, columns in TABLES.items():
        cluster.psql("CREATE TABLE %s (%s)" % (name, ", ".join(c + " int" for c in columns)), "names")
    veil = make_veil(cluster, [room])
    yield veil
    veil.close()
    cluster.psql("DROP DATABASE names", "postgres")


def test_origins_agree(cluster, veil):
    rng = random.Random(SEED)
    compared = refused = 0
    with cluster.connect("names") as bare:
        oids = {oid: name for name, oid in bare.execute("SELECT relname, oid::int FROM pg_class WHERE relnamespace = 'public'::regnamespace")}
        for number in range(COUNT):
            sql, _ = Maker(rng).select()
            try:
                result = bare.execute(sql).pgresult
            except psycopg.Error as error:
                assert error.sqlstate[:2] in ("42", "0A"), str(error)
                refused += 1
                continue
            done = veil.run("explain", "--room", "names", "--user", "alice", "--json", "-", stdin=sql)
            lineage = json.loads(done.stdout)["lineage"]
            where = "seed %d, statement %d: %s\n%s" % (SEED, number, sql, done.stdout)
            assert len(lineage) == result.nfields, where
            for i, told in enumerate(lineage):
                assert told["output"] == result.fname(i).decode(), where
                table = oids.get(result.ftable(i))
                if table is None:
                    continue
                column = "public.%s.%s" % (table, TABLES[table][result.ftablecol(i) - 1])
                assert column in told["columns"], (column, where)
                # A merged column of an outer join and a set operation come from several.
                assert told["columns"] == [column] or "JOIN" in sql or "UNION" in sql, where
                compared += 1
    assert compared > COUNT / 2, (compared, refused)
