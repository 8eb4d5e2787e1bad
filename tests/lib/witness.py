"""
Shows that a statement over the open room's tables tells of single people, by running it on the bare tables, which no rule
guards (tests/lib/openroom.py, schema lab_bare). Everything happens in one transaction that is rolled back.

The tables are tidied first: every group of dimensions has more people than any threshold asks for, and one of them is
ONE. So what a threshold alone would stop is no witness here, and a statement that shows allowed groups gives none:

  GROUP    fewer people than any threshold asks for are taken away, and a row of the result is gone with them
  VALUE    a value that stands in one person's row alone, or in a column that is never output, comes out, though no group
           came into being for it
  ORACLE   something of one person changes that shows in no allowed count or sum, and the result changes
  FAILURE  one person's value changes, whichever, and the SQLSTATE changes
  ORDER    values of a column that is never output change places, and the rows with them
  REST     beside the groups stands a total, so that a group of one is what is left of it
  ANSWER   a yes or no about all people changes with one of them, who is alone in his group
  APART    an aggregate over all people changes with the income of one who is alone in his group
  OUTSIDE  something changes that is in no data set, and the result changes
"""
import contextlib
import re

import psycopg
from psycopg.types.string import TextLoader

from tests.lib import openroom

ONE = 1101
FEW = min(openroom.PEOPLE_K, openroom.VISITS_K) - 1

TIDY = """
SET LOCAL search_path = lab_bare, pg_catalog;
SET LOCAL statement_timeout = '60s';
SET LOCAL jit = off;
DELETE FROM lab.people WHERE id IS NULL OR id NOT BETWEEN 1101 AND 1300;
DELETE FROM lab.visits WHERE id NOT BETWEEN 1101 AND 1250 OR channel = 'lone';
DELETE FROM lab.segments WHERE id NOT BETWEEN 1101 AND 1300;
UPDATE lab.people SET region = (ARRAY['South', 'North', 'East', 'West'])[id % 4 + 1], city = 'city ' || id % 10, age = 20 + id % 20 / 2,
  born = date '1950-01-01' + id % 10 * 365, income = coalesce(income, 7), email = 'p' || id - 1000 || '@example.com';
UPDATE lab.visits SET seen_on = date '2024-01-01' + id % 5, channel = (ARRAY['video', 'search'])[id % 2 + 1];
UPDATE lab.segments SET segment = 'segment ' || id % 5;
"""

PEOPLE = "UPDATE lab.people SET %s WHERE id = 1101"
# What one person's row is marked with, and the text by which it is known again.
MARKS = {
    "email": (PEOPLE % "email = 'zz-canary'", "zz-canary"), "first email": (PEOPLE % "email = '!canary'", "!canary"),
    "id": (";".join("UPDATE lab.%s SET id = 987654321 WHERE id = 1101" % table for table in ("people", "visits", "segments")), "987654321"),
    "household": (PEOPLE % "household = 987654321", "987654321"),
    "high income": (PEOPLE % "income = 9876543210.25", "9876543210.25"), "low income": (PEOPLE % "income = -9876543210.25", "-9876543210.25"),
    "high age": (PEOPLE % "age = 31999", "31999"), "low age": (PEOPLE % "age = -31999", "-31999"), "region": (PEOPLE % "region = '~canary'", "~canary"),
    "store": ("UPDATE lab.segments SET store = '!canary' WHERE id = 1101", "!canary"),
    "email of one apart": (PEOPLE % "region = 'Lonely', email = 'zz-canary'", "zz-canary"),
    # disallowed_output_columns holds for groups of any size
    "born of many": ("UPDATE lab.people SET born = '1812-12-12' WHERE born = '1950-01-01'", "1812"),
}
# What no allowed count or sum shows, of one person.
CHANGES = {
    "email": PEOPLE % "email = 'p1@example.com'", "last email": PEOPLE % "email = 'p9@example.com'", "no email": PEOPLE % "email = NULL",
    "email of another": PEOPLE % "email = 'p102@example.com'", "household": PEOPLE % "household = 34", "no household": PEOPLE % "household = NULL", "id": MARKS["id"][0], "small id": MARKS["id"][0].replace("987654321", "6"),
    "id 1001": MARKS["id"][0].replace("987654321", "1001"), "ad": "UPDATE lab.visits SET ad = household FROM lab.people p WHERE visits.id = 1101 AND p.id = 1102",
    "note": "UPDATE lab.visits SET note = 'note 1' WHERE id = 1101", "note is the email": "UPDATE lab.visits SET note = 'p101@example.com' WHERE id = 1101",
    "store": "UPDATE lab.segments SET store = 'store 1' WHERE id = 1101",
    # Counts never hang on it; sums do, so it is a witness against counts alone.
    "income": PEOPLE % "income = 5000", "high income": PEOPLE % "income = 50000000", "low income": PEOPLE % "income = 1", "income 5": PEOPLE % "income = 5",
    # Of a person whom the other party does not know: nothing that joins with its rows may hang on it.
    "no id": PEOPLE % "id = NULL",  # but for count(id), which is allowed
    "unknown to the other party": "DELETE FROM lab.people WHERE id = 1260",
}
FAILURES = {
    "region": PEOPLE % "region = 'Nowhere'", "age 0": PEOPLE % "age = 0", "negative age": PEOPLE % "age = -5", "age": PEOPLE % "age = 901",
    "high age": PEOPLE % "age = 32000", "income": PEOPLE % "income = 'NaN'", "income 0": PEOPLE % "income = 0", "born": PEOPLE % "born = '5874897-12-30'",
    "first born": PEOPLE % "born = '4713-01-01 BC'", "email": PEOPLE % "email = 'p0'", "two": "UPDATE lab.people SET region = 'x', age = 18 WHERE id IN (1101, 1102)",
    "backslash": PEOPLE % "region = E'x\\\\'", "longer region": PEOPLE % "region = 'Nowhere at all'", "negative region": PEOPLE % "region = 'x', age = -1",
}
REORDERED = {"born": "UPDATE lab.people SET born = date '1990-01-01' - (born - date '1950-01-01')", "email": PEOPLE % "email = 'zz'",
             "email 1": PEOPLE % "email = 'p1@example.com'"}


class Witness:
    def __init__(self, conn):
        """`conn`: a superuser's, not in a transaction, its own."""
        self.conn = conn
        conn.autocommit = False
        for kind in ("date", "timestamp", "timestamptz"):
            conn.adapters.register_loader(kind, TextLoader)  # Python has no infinite dates
        conn.execute(TIDY)
        self.cache = {}

    def close(self):
        self.conn.rollback()
        self.conn.close()

    @contextlib.contextmanager
    def undone(self):
        self.conn.execute("SAVEPOINT here")
        try:
            yield
        finally:
            self.conn.execute("ROLLBACK TO here; RELEASE here")

    def rows(self, sql, change=None):
        """The rows, or the SQLSTATE."""
        with self.undone():
            if change:
                self.conn.execute(change)
            try:
                return self.conn.execute(sql.encode()).fetchall()
            except psycopg.Error as error:
                return error.sqlstate

    def run(self, sql, change=None):
        """The rows as texts in no order, or the SQLSTATE."""
        rows = self.rows(sql, change)
        return rows if isinstance(rows, str) else sorted(map(repr, rows))

    def before(self, sql):
        if sql not in self.cache:
            self.cache = {sql: self.run(sql)}
        return self.cache[sql]

    # ---- each is true where the statement gives that witness

    def group(self, sql, _):
        before = self.before(sql)
        after = self.run(sql, "".join("DELETE FROM lab.%s WHERE id BETWEEN 1101 AND %d;" % (table, 1100 + FEW)
                                      for table in ("people", "visits", "segments")))
        return isinstance(before, list) and isinstance(after, list) and len(after) < len(before)

    def value(self, sql, mark):
        change, known_by = MARKS[mark]
        before, after = self.before(sql), self.run(sql, change)
        return isinstance(before, list) and isinstance(after, list) and len(after) <= len(before) and \
            any(known_by in row for row in after) and not any(known_by in row for row in before)

    def oracle(self, sql, change):
        before, after = self.before(sql), self.run(sql, CHANGES[change])
        return isinstance(before, list) and before != after and before == self.run(sql)

    def failure(self, sql, change):
        before, after = self.before(sql), self.run(sql, FAILURES[change])
        return before != after and (isinstance(before, str) or isinstance(after, str))

    def order(self, sql, what):
        before, after = self.rows(sql), self.rows(sql, REORDERED[what])
        return isinstance(after, list) and before != after and (what == "born" or sorted(map(repr, before)) == sorted(map(repr, after)))

    def rest(self, sql, _):
        rows = self.rows(sql, FAILURES["region"] + ";" + FAILURES["age"])
        totals = [row[-1] for row in rows if set(row[:-1]) == {None}]
        groups = [row[-1] for row in rows if row[0] is not None and set(row[1:-1]) <= {None} and row[-1] >= openroom.PEOPLE_K]
        return bool(totals) and 0 < totals[0] - sum(set_of_groups(rows, groups)) < openroom.PEOPLE_K

    def answer(self, sql, _):
        before, answers = self.rows(sql), []
        for change in ("region = 'Lonely'", "age = 1"):
            answers.append(self.rows(sql, PEOPLE % change))
        return all(len(rows) == 1 and isinstance(rows[0][0], bool) for rows in (before, *answers)) and any(rows != before for rows in answers)

    def apart(self, sql, _):
        """One row, of an aggregate without FILTER or WHERE: a threshold would count everybody."""
        apart = PEOPLE % "region = 'x'"
        poor, rich = self.rows(sql, apart), self.rows(sql, apart + ";" + PEOPLE % "income = 50000000")
        return len(poor) == len(rich) == 1 and poor != rich and "WHERE" not in sql and "FILTER" not in sql and "ELSE" in sql

    def outside(self, sql, _):
        return self.before(sql) != self.run(sql, "CREATE TABLE lab.outside (x integer)")

    def holds(self, sql, witness):
        kind, _, what = witness.partition(" ")
        return getattr(self, kind.lower())(sql, what)

    def find(self, sql):
        """The first witness that the statement gives, or None; for those who write the table."""
        # Sums may change with an income; and only what has to be joined says nothing of those who do not join.
        changes = [one for one in CHANGES if one not in ("unknown to the other party", "no id") and not ("income" in one and re.search("sum|avg", sql))]
        candidates = ["GROUP", *("VALUE " + mark for mark in MARKS), *("FAILURE " + one for one in FAILURES), *("ORACLE " + one for one in changes)]
        return next((one for one in candidates if self.holds(sql, one)), None)


def set_of_groups(rows, groups):
    """The groups once, where the statement gives each of them more than once."""
    return list({row[0]: row[-1] for row in rows if row[0] is not None and row[-1] in groups and set(row[1:-1]) <= {None}}.values())
