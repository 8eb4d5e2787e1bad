"""
Random open questions against brute force. One that keeps the rules is also written flat over the source tables without
any threshold, with the distinct entities of each reference beside each group: pgveil's answer is exactly the groups
with enough of every one. One that breaks a rule somewhere is refused. BRUTE_FORCE=N asks N questions (default 600),
BRUTE_FORCE_SEED another series.
"""
import os
import random

import psycopg
import pytest

from tests.lib import openroom

COUNT = int(os.environ.get("BRUTE_FORCE", "600"))
SEED = int(os.environ.get("BRUTE_FORCE_SEED", "20260"))
K = {"people": openroom.PEOPLE_K, "peers": openroom.PEOPLE_K, "visits": openroom.VISITS_K}
SOURCES = {"people": "people", "peers": "people", "visits": "visits"}  # peers: suppression "remainder"
COLUMNS = {"people": ["id", "household", "region", "city", "born", "age", "income", "email"],
           "visits": ["id", "ad", "channel", "seen_on", "cost", "note"]}
# As sent (with {c} the column), and as computed over the source.
DIMENSIONS = {
    "people": [("region", "{c}", "{c}"), ("age", "{c}", "{c}"), ("city", "{c}", "{c}"), ("region", "lower({c})", "lower({c})"),
               ("born", "date_trunc('year', {c})", "date_trunc('year', date_trunc('month', {c}))"),
               ("age", "CASE WHEN {c} < 40 THEN 'young' ELSE 'old' END", "CASE WHEN {c} < 40 THEN 'young' ELSE 'old' END"),
               ("born", "{c}", "date_trunc('month', {c})::date"),
               ("age", "floor({c} / 10.0) * 10.0", "(floor({c} / 10.0) * 10.0)"), ("age", "{c} / 10 * 10", "({c} / 10 * 10)"),
               ("born", "extract(year FROM {c})::integer", "extract(year FROM {c})::integer"),
               ("born", "floor(extract(epoch FROM {c}) / 864000) * 864000",
                "floor(extract(epoch FROM date_trunc('month', {c})::date) / 864000) * 864000"),
               ("region", "{c} || '-' || {c}", "{c} || '-' || {c}"), ("born", "to_char({c} + INTERVAL '1 month', 'YYYY')",
                                                                    "to_char(date_trunc('month', {c}) + interval '1 month', 'YYYY')")],
    "visits": [("channel", "{c}", "{c}"), ("seen_on", "{c}", "{c}"),
               ("seen_on", "date_trunc('month', {c})::date", "date_trunc('month', {c})::date"),
               ("channel", "coalesce({c}, 'x')", "coalesce({c}, 'x')")],
}
FILTERS = {
    "people": ["{region} IN ('North', 'Lonely')", "{region} IS NOT NULL", "{age} BETWEEN 30 AND 44", "NOT {age} > 60",
               "{region} LIKE '%t%' OR {age} = 20", "{region} = 'Lonely'"],
    "visits": ["{channel} <> 'audio'", "{channel} = 'lone'", "{seen_on} >= '2024-06-01'", "{channel} IN ('video', 'search')",
               "{seen_on} < DATE '2024-03-01' + INTERVAL '10 days'"],
}
AGGREGATES = {"people": [("income", "sum({c})"), ("income", "avg({c})"), ("income", "count({c})"), ("id", "count(DISTINCT {c})"),
                         ("id", "count({c})")],
              "visits": [("cost", "sum({c})"), ("cost", "avg({c})"), ("cost", "sum(DISTINCT {c})"), ("id", "count(DISTINCT {c})")]}
COLUMNS["peers"], DIMENSIONS["peers"] = COLUMNS["people"], DIMENSIONS["people"]
FILTERS["peers"], AGGREGATES["peers"] = FILTERS["people"], AGGREGATES["people"]
POOLS = [["people", "visits"]] * 3 + [["peers"], ["people", "visits", "peers"]]


def join_columns(one, other):
    return ["id", "household"] if "visits" not in (one, other) else ["id"]



class Reference:
    """One reference to a data set: `flat` is its alias over the source, `name(column)` what the question calls it."""

    def __init__(self, rng, kind, number):
        self.kind, self.flat, self.alias = kind, "s%d" % number, "t%d" % number
        self.renamed = {}
        self.ctes, self.filters = [], []
        columns = COLUMNS[kind]
        style = rng.choice(["table", "table", "star", "renamed", "listed", "cte", "nested"])
        inner = rng.random() < 0.3 and style not in ("table",) and rng.choice(FILTERS[kind])
        where = " WHERE " + inner.format(**{c: "z." + c for c in columns}) if inner else ""
        if inner:
            self.filters.append(inner)
        if style == "table":
            self.text = "public.%s AS %s" % (kind, self.alias)
        elif style == "star":
            self.text = "(SELECT * FROM %s z%s) AS %s" % (kind, where, self.alias)
        elif style == "renamed":
            self.renamed = {c: "%s_%d" % (c[::-1], number) for c in columns}
            self.text = "(SELECT %s FROM %s AS z%s) %s" % (", ".join("z.%s AS %s" % p for p in self.renamed.items()), kind, where, self.alias)
        elif style == "listed":
            # Names that mean other columns in the source: the list's order alone tells.
            shuffled = columns[1:] + columns[:1]
            self.renamed = dict(zip(columns, shuffled))
            self.text = "(SELECT %s FROM %s z%s) AS %s(%s)" % (", ".join("z." + c for c in columns), kind, where, self.alias,
                                                              ", ".join(shuffled))
        elif style == "cte":
            self.ctes.append("w%d AS (SELECT * FROM public.%s z%s)" % (number, kind, where))
            self.text = "w%d %s" % (number, self.alias)
        else:
            self.text = "(SELECT * FROM (SELECT z.* FROM %s AS z%s) AS y) AS %s" % (kind, where, self.alias)

    def name(self, column):
        return "%s.%s" % (self.alias, self.renamed.get(column, column))

    def flat_names(self):
        return {c: "%s.%s" % (self.flat, c) for c in COLUMNS[self.kind]}

    def names(self):
        return {c: self.name(c) for c in COLUMNS[self.kind]}


class Question:
    def __init__(self, rng, first):
        pool = rng.choice(POOLS)
        self.refs = [Reference(rng, rng.choice(pool), first)]
        self.joins = []
        for number in range(rng.choice([0, 0, 1, 1, 2])):
            before = rng.choice(self.refs)
            ref = Reference(rng, rng.choice(pool), first + number + 1)
            self.joins.append((before, ref, rng.choice(join_columns(before.kind, ref.kind))))
            self.refs.append(ref)
        self.filters = [(ref, rng.choice(FILTERS[ref.kind])) for ref in self.refs if rng.random() < 0.4]
        self.dimensions = [(ref, *rng.choice(DIMENSIONS[ref.kind])) for ref in rng.choices(self.refs, k=rng.choice([0, 1, 1, 2]))]
        self.aggregates = [self.aggregate(rng) for _ in range(rng.choice([1, 2]))]
        self.is_distinct = bool(self.dimensions) and rng.random() < 0.1
        if self.is_distinct:
            self.aggregates = []
        self.having = None if self.is_distinct or rng.random() < 0.75 else (
            self.aggregate(rng), rng.choice([">", "<", "<>"]), rng.choice([3, 12, 30, 500, 100000]))
        # Where every data set gathers what is left out, groups below the threshold are one row.
        self.is_remainder = bool(self.dimensions) and all(ref.kind == "peers" for ref in self.refs)
        self.rng = rng

    def aggregate(self, rng):
        ref = rng.choice(self.refs)
        condition = (ref, rng.choice(FILTERS[ref.kind])) if rng.random() < 0.3 else None
        if rng.random() < 0.3:
            return None, None, "count(*)", condition
        return (ref, *rng.choice(AGGREGATES[ref.kind]), condition)

    def sql(self):
        """(WITH queries, the question)"""
        rng = self.rng
        parts, conditions = self.refs[0].text, []
        for before, ref, column in self.joins:
            equal = "%s = %s" % tuple(rng.sample([before.name(column), ref.name(column)], 2))
            if rng.random() < 0.5:
                parts += " JOIN %s ON %s" % (ref.text, equal)
            else:
                parts += " CROSS JOIN " + ref.text
                conditions.append(equal)
        conditions += ["(%s)" % text.format(**ref.names()) for ref, text in self.filters]
        dims = [sent.format(c=ref.name(column)) for ref, column, sent, _ in self.dimensions]
        aggs = [self.spell(one) for one in self.aggregates]
        is_by_position = rng.random() < 0.3
        group = ", ".join(str(n + 1) if is_by_position else dim for n, dim in enumerate(dims))
        group = " GROUP BY " + group if dims and not self.is_distinct else ""
        if self.having:
            group += " HAVING %s %s %d" % (self.spell(self.having[0]), *self.having[1:])
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        order = " ORDER BY %s" % rng.choice(dims + aggs) if rng.random() < 0.3 and not is_by_position and not self.is_distinct else ""
        return [cte for ref in self.refs for cte in ref.ctes], "SELECT %s%s FROM %s%s%s%s" % (
            "DISTINCT " if self.is_distinct else "", ", ".join(self.cast(dims + aggs)), parts, where, group, order)

    def spell(self, aggregate):
        """An aggregate as the question writes it: its condition in a FILTER, or in a CASE that means the same."""
        ref, column, text, condition = aggregate
        name = ref.name(column) if ref else None
        if not condition:
            return text.format(c=name) if ref else self.rng.choice([text, "count(1)", "sum(1)"])
        when = condition[1].format(**condition[0].names())
        if self.rng.random() < 0.4:
            if not ref:
                return self.rng.choice(["sum(CASE WHEN %s THEN 1 ELSE 0 END)", "count(CASE WHEN %s THEN 1 END)"]) % when
            if text.startswith("sum({c}") and self.rng.random() < 0.5:
                return text.format(c="CASE WHEN %s THEN %s ELSE 0 END" % (when, name))
            return text.replace("{c}", "CASE WHEN %s THEN %s END" % (when, name))
        return "%s FILTER (WHERE %s)" % (text.format(c=name) if ref else text, when)

    def flat_aggregate(self, aggregate):
        ref, column, text, condition = aggregate
        one = text.format(c="%s.%s" % (ref.flat, column)) if ref else text
        if not condition:
            return one
        when = " FILTER (WHERE %s)" % condition[1].format(**condition[0].flat_names())
        enough = " AND ".join("count(DISTINCT %s.id)%s >= %d" % (r.flat, when, K[r.kind]) for r in self.refs)
        return "CASE WHEN %s THEN %s%s END" % (enough, one, when)

    @staticmethod
    def cast(columns):
        return ["(%s)::text AS o%d" % (c, i) for i, c in enumerate(columns)]

    def flat(self):
        """Over the source tables: the same outputs, then the distinct entities of each reference."""
        parts, conditions = "lab.%s %s" % (SOURCES[self.refs[0].kind], self.refs[0].flat), ["true"]
        for before, ref, column in self.joins:
            parts += " JOIN lab.%s %s ON %s.%s = %s.%s" % (SOURCES[ref.kind], ref.flat, before.flat, column, ref.flat, column)
        for ref in self.refs:
            conditions += ["(%s)" % text.format(**ref.flat_names()) for text in ref.filters]
        conditions += ["(%s)" % text.format(**ref.flat_names()) for ref, text in self.filters]
        dims = [computed.format(c=ref.flat + "." + column) for ref, column, _, computed in self.dimensions]
        aggs = [self.flat_aggregate(one) for one in self.aggregates]
        counts = ["count(DISTINCT %s.id)" % ref.flat for ref in self.refs]
        where, head = " AND ".join(conditions), ""
        group = " GROUP BY " + ", ".join(dims) if dims else ""
        if self.is_remainder:
            head = "WITH g AS (SELECT %s, %s AS ok FROM %s WHERE %s%s) " % (
                ", ".join("%s AS d%d" % (d, i) for i, d in enumerate(dims)),
                " AND ".join("%s >= %d" % (count, K[ref.kind]) for count, ref in zip(counts, self.refs)), parts, where, group)
            parts += " JOIN g ON " + " AND ".join("coalesce((%s)::text, 'no') = coalesce(g.d%d::text, 'no')" % (d, i) for i, d in enumerate(dims))
            dims = ["CASE WHEN g.ok THEN g.d%d END" % i for i in range(len(dims))]
            group = " GROUP BY %s, g.ok" % ", ".join(dims)
        having = " HAVING %s %s %d" % (self.flat_aggregate(self.having[0]), *self.having[1:]) if self.having else ""
        return "%sSELECT %s FROM %s WHERE %s%s%s" % (head, ", ".join(self.cast(dims + aggs) + counts), parts, where, group, having)

    def expected(self, conn):
        rows, width = conn.execute(self.flat()).fetchall(), len(self.dimensions) + len(self.aggregates)
        return [row[:width] for row in rows
                if all(n >= K[ref.kind] for ref, n in zip(self.refs, row[width:]))], len(rows)

    @property
    def width(self):
        return len(self.dimensions) + len(self.aggregates)


def wrapped(rng, ctes, sql):
    head = "WITH %s " % ", ".join(ctes) if ctes else ""
    style = rng.choice(["plain", "plain", "derived", "cte", "limited", "outer"])
    if style == "derived":
        return head + "SELECT * FROM (%s) AS virtual_table" % sql
    if style == "cte":
        return "WITH %s SELECT q.* FROM q" % ", ".join(ctes + ["q AS (%s)" % sql])
    if style == "limited":
        return head + "SELECT * FROM (%s) x LIMIT 1000000" % sql
    if style == "outer":
        return head + OUTER % sql
    return head + sql


# Over released groups: how many, the first and the last.
OUTER = "SELECT count(*)::text, min(o0), max(o0) FROM (%s) outermost"


def outermost(rows):
    texts = [row[0] for row in rows if row[0] is not None]
    return [(str(len(rows)), min(texts, default=None), max(texts, default=None))]


def canonical(rows):
    return sorted(repr(row) for row in rows)


def test_answers_are_the_groups_with_enough(lab, cluster):
    rng = random.Random(SEED)
    kept = dropped = 0
    with lab.connect("alice", openroom.ROOM) as conn, cluster.connect() as bare:
        for number in range(COUNT * 2 // 3):
            question = Question(rng, 1)
            ctes, sql = question.sql()
            expected, groups = question.expected(bare)
            if rng.random() < 0.15 and " ORDER BY " not in sql:
                other = Question(rng, 11)
                if other.width == question.width:
                    more, second = other.sql()
                    if " ORDER BY " not in second:
                        ctes, sql = ctes + more, sql + " UNION ALL " + second
                        expected, groups = expected + other.expected(bare)[0], groups + other.expected(bare)[1]
            text = wrapped(rng, ctes, sql)
            try:
                got = conn.execute(text).fetchall()
            except psycopg.Error as error:
                pytest.fail("seed %d, question %d: %s\n%s\n%s" % (SEED, number, text, error, error.diag.message_detail))
            if ") outermost" in text:
                kept, expected = kept + len(expected), outermost(expected)
            assert canonical(got) == canonical(expected), "seed %d, question %d:\n%s\n%s" % (SEED, number, text, question.flat())
            assert "@example.com" not in repr(got)
            kept, dropped = kept + len(expected), dropped + groups - len(expected)
    assert kept > COUNT and dropped > COUNT, "too few groups on one side for this to prove anything"


# What breaks a rule wherever it is put: {id} and {email} are such columns of the first reference, {dim} a dimension.
BROKEN_OUTPUTS = ["{id}", "max({email})", "min({id})", "array_agg({dim})", "lower({email})", "string_agg({email}, ',')", "sum({id})",
                  "count(DISTINCT {email})", "count(*) FILTER (WHERE {email} = 'p1@example.com')", "rank() OVER (ORDER BY count(*))",
                  "(SELECT max(email) FROM people)", "ARRAY(SELECT {email})", "generate_series(1, 2)", "CASE WHEN {email} > 'p' THEN 1 END",
                  "count(DISTINCT ({id}, {email}))", "any_value({email})", "stddev({dim})", "sum(CASE WHEN {id} = 1 THEN 1 ELSE 0 END)"]
BROKEN_CONDITIONS = ["{id} = 1001", "{email} = 'p1@example.com'", "{email} LIKE 'p1%'", "{id} IN (SELECT id FROM visits)", "{id} IS NOT NULL",
                     "CASE WHEN {email} = 'x' THEN true ELSE false END", "random() < 0.5", "{dim}::text::int > 5", "EXISTS (SELECT 1 FROM people)",
                     "NOT ({email} <> 'p1@example.com')", "{email} = ANY (ARRAY['p1@example.com'])", "{dim} ~ 'x'",
                     "coalesce({email}, 'x') = 'x'", "({email} || '') = 'p1@example.com'"]


def test_what_breaks_a_rule_is_refused(lab):
    rng = random.Random(SEED + 1)
    with lab.connect("alice", openroom.ROOM) as conn:
        for number in range(COUNT // 3):
            question = Question(rng, 1)
            ref = question.refs[0]
            names = {"id": ref.name("id"), "email": ref.name("note" if ref.kind == "visits" else "email"),
                     "dim": ref.name("channel" if ref.kind == "visits" else "region")}
            ctes, sql = question.sql()
            if rng.random() < 0.5 and "extract(" not in sql:
                head, tail = sql.split(" FROM ", 1)
                broken = "%s, %s AS extra FROM %s" % (head, rng.choice(BROKEN_OUTPUTS).format(**names), tail)
            else:
                question.filters.append((ref, rng.choice(BROKEN_CONDITIONS).format(**names).replace("{", "{{").replace("}", "}}")))
                ctes, broken = question.sql()
            text = wrapped(rng, ctes, broken)
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(text)
                pytest.fail("seed %d, question %d was answered: %s" % (SEED, number, text))
            assert caught.value.diag.sqlstate == "42501", (text, str(caught.value))
