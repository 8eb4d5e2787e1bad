"""COPY out, cursors, PREPARE and EXECUTE, prepared statements of drivers: the question behind each is judged."""
import psycopg
import psycopg2
import pytest

from tests.integration.conftest import ROOM
from tests.lib import wire as w

OTHERS = "SELECT id, ref, h_text FROM public.others ORDER BY id"
BELOW = "SELECT id, grp FROM public.cells WHERE id >= {0} AND id < {0} + 5 ORDER BY id"


@pytest.fixture
def direct(conn):
    return conn.execute(OTHERS).fetchall()


def test_copy_out_text(conn, direct):
    with conn.cursor().copy("COPY (%s) TO STDOUT" % OTHERS) as copy:
        copy.set_types(["int4", "int8", "text"])
        assert list(copy.rows()) == direct


def test_copy_out_binary(conn, direct):
    with conn.cursor().copy("COPY (%s) TO STDOUT (FORMAT binary)" % OTHERS) as copy:
        copy.set_types(["int4", "int8", "text"])
        assert list(copy.rows()) == direct


def test_copy_out_csv(conn, direct):
    with conn.cursor().copy("COPY (%s) TO STDOUT WITH (FORMAT csv, HEADER)" % OTHERS) as copy:
        text = b"".join(bytes(part) for part in copy).decode()
    lines = text.splitlines()
    assert lines[0] == "id,ref,h_text" and len(lines) == 61
    assert lines[1] == ",".join(str(v) for v in direct[0])


def test_copy_of_a_question_by_name(conn):
    want = conn.execute("SELECT * FROM questions.by_group").fetchall()
    with conn.cursor().copy("COPY (SELECT * FROM questions.by_group) TO STDOUT") as copy:
        copy.set_types(["text", "int8", "int8"])
        assert [r[:2] for r in copy.rows()] == [r[:2] for r in want]


def test_copy_on_the_wire(wire):
    got = wire().ask(w.query("COPY (%s) TO STDOUT" % OTHERS))
    assert w.tags(got) == "H" + "d" * 60 + "cCZ"
    got = wire().ask(w.parse("COPY (%s) TO STDOUT" % OTHERS), w.bind(), w.execute(), w.SYNC)
    assert w.tags(got) == "12H" + "d" * 60 + "cCZ"


@pytest.mark.parametrize("sql", [
    "COPY public.customers TO STDOUT", "COPY customers (region) TO STDOUT", "COPY (SELECT region FROM customers) TO STDOUT",
    "COPY (TABLE public.customers) TO STDOUT", "COPY public.cells TO STDOUT",
    "COPY (%s) TO '/tmp/pgveil-never'" % OTHERS, "COPY (%s) TO PROGRAM 'cat'" % OTHERS, "COPY public.others FROM STDIN",
    "COPY (INSERT INTO public.others VALUES (1) RETURNING *) TO STDOUT"])
def test_copy_denied(wire, guard, sql):
    guard.denied.append(sql)
    conn = wire()
    got = conn.ask(w.query(sql))
    assert w.tags(got) == "EZ" and w.errors(got)[0] in ("42501", "0A000")
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_declare_fetch_move_close(wire):
    conn = wire()
    for sql, tags in (("BEGIN", "CZ"), ("DECLARE c SCROLL CURSOR FOR " + OTHERS, "CZ"), ("FETCH 2 FROM c", "TDDCZ"),
                      ("MOVE 3 IN c", "CZ"), ("FETCH NEXT FROM c", "TDCZ"), ("FETCH BACKWARD 1 IN c", "TDCZ"),
                      ("CLOSE c", "CZ"), ("COMMIT", "CZ")):
        assert w.tags(conn.ask(w.query(sql))) == tags, sql
    assert w.errors(conn.ask(w.query("FETCH 1 FROM c"))) == ["34000"]


def test_fetch_all_gives_everything(conn, direct):
    with conn.transaction():
        conn.execute("DECLARE everything CURSOR FOR " + OTHERS)
        assert conn.execute("FETCH ALL FROM everything").fetchall() == direct


def test_with_hold_as_psqlodbc_sends_it(wire):
    conn = wire()
    got = conn.ask(w.query('BEGIN;declare "SQL_CUR1" cursor with hold for %s;fetch 20 in "SQL_CUR1"' % OTHERS))
    assert w.tags(got) == "CCT" + "D" * 20 + "CZ"
    assert w.tags(conn.ask(w.query("COMMIT"))) == "CZ"
    got = conn.ask(w.query('fetch 100 in "SQL_CUR1"'))
    assert w.tags(got) == "T" + "D" * 40 + "CZ"
    assert w.tags(conn.ask(w.query('close "SQL_CUR1"'))) == "CZ"


def test_server_side_cursors_of_drivers(connect, veil, direct):
    conn = connect(autocommit=False)
    with conn.cursor("named") as cur:
        cur.itersize = 7
        cur.execute(OTHERS)
        assert list(cur) == direct
    conn.rollback()
    old = psycopg2.connect(**veil.dsn("alice", ROOM, veil.tap.port))
    with old.cursor("named", scrollable=True) as cur:
        cur.itersize = 9
        cur.execute(OTHERS)
        assert [tuple(r) for r in cur] == direct
        cur.scroll(0, "absolute")
    old.close()


@pytest.mark.parametrize("sql", ["DECLARE c CURSOR WITH HOLD FOR SELECT region FROM customers",
                                 "DECLARE c CURSOR WITH HOLD FOR TABLE public.customers"])
def test_declare_denied(conn, denied, sql):
    denied(conn, sql)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("FETCH 1 FROM c")
    assert caught.value.diag.sqlstate == "34000"


def test_sql_prepare_and_execute(conn):
    conn.execute("PREPARE five (integer) AS " + BELOW.format("$1"))
    assert conn.execute("EXECUTE five (3)").fetchall() == conn.execute(BELOW.format("3")).fetchall()
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("EXECUTE five (101)")
    assert caught.value.diag.sqlstate == "22023"
    conn.execute("DEALLOCATE five")
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("EXECUTE five (3)")
    assert caught.value.diag.sqlstate == "26000"


def test_sql_execute_with_an_array(conn):
    conn.execute("PREPARE several AS SELECT * FROM questions.several(ids => $1)")
    want = [(3, "g0"), (5, "g2")]
    for argument in ("ARRAY[3, 5]", "'{3,5}'", "ARRAY[3, 5]::integer[]", "ARRAY['3', '5']", "CAST('{3,5}' AS integer[])"):
        assert conn.execute("EXECUTE several (%s)" % argument).fetchall() == want, argument
    for argument in ("ARRAY[121]", "ARRAY[1, 1 + 1]", "1 + 1", "B'101'"):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("EXECUTE several (%s)" % argument)
        assert caught.value.diag.sqlstate == "22023" and "120" in caught.value.diag.message_detail, argument


def test_sql_prepare_of_what_is_not_approved(conn, denied):
    denied(conn, "PREPARE p AS SELECT region FROM customers")
    denied(conn, "PREPARE p (text) AS SELECT region FROM customers WHERE region = $1")
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("EXECUTE p")
    assert caught.value.diag.sqlstate == "26000"


def test_sql_execute_of_a_protocol_statement_and_back(wire):
    conn = wire()
    conn.ask(w.parse(BELOW.format("$1"), "s", [23]), w.SYNC)
    assert len(w.rows(conn.ask(w.query("EXECUTE s (3)")))) == 5
    assert w.errors(conn.ask(w.query("EXECUTE s (0)"))) == ["22023"]
    conn.ask(w.query("PREPARE t (integer) AS " + BELOW.format("$1")))
    assert len(w.rows(conn.ask(w.bind([3], "t"), w.execute(), w.SYNC))) == 5
    assert w.errors(conn.ask(w.bind([0], "t"), w.execute(), w.SYNC)) == ["22023"]


def test_psycopg3_prepares_by_itself(connect):
    conn = connect(prepare_threshold=1)
    for n in range(1, 8):
        assert conn.execute(BELOW.format("%(n)s").replace("%(n)s + 5", "%(n)s + 5"), {"n": n}).fetchone()[0] == n


def test_executemany_and_pipeline_mode(conn):
    cur = conn.cursor()
    cur.executemany(BELOW.format("%(n)s"), [{"n": n} for n in (1, 2, 3)], returning=True)
    got = [cur.fetchone()[0]]
    while cur.nextset():
        got.append(cur.fetchone()[0])
    assert got == [1, 2, 3]
    with conn.pipeline():
        cursors = [conn.execute(BELOW.format("%(n)s"), {"n": n}) for n in (4, 5, 6)]
    assert [c.fetchone()[0] for c in cursors] == [4, 5, 6]


def test_a_portal_sees_max_rows_over_all_its_executes(wire):
    conn = wire()
    frames = [w.parse("SELECT id FROM public.cells WHERE id <= $1 ORDER BY id"), w.bind([20])]
    got = conn.ask(*frames, *[w.execute("", 4)] * 5, w.SYNC)
    assert "54000" in w.errors(got)
    assert len(w.rows(got)) <= 10


def test_cursor_sees_max_rows_over_all_its_fetches(conn):
    conn.execute("BEGIN")
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("DECLARE c CURSOR FOR SELECT id FROM public.cells WHERE id <= 20 ORDER BY id")
        for _ in range(5):
            conn.execute("FETCH 4 FROM c")
    assert caught.value.diag.sqlstate == "54000"
    conn.execute("ROLLBACK")


def test_copy_sees_max_rows(conn):
    with pytest.raises(psycopg.Error) as caught:
        with conn.cursor().copy("COPY (SELECT id FROM public.cells WHERE id <= 20 ORDER BY id) TO STDOUT") as copy:
            for _ in copy:
                pass
    assert caught.value.diag.sqlstate == "54000"


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_prepare_by_the_extended_protocol_keeps_its_parameters(own_veil, mode):
    """As JDBC sends it, and whoever else prepares each statement: $n of the PREPARE are none of the Parse."""
    veil = own_veil(config={"pool": {"mode": mode}})
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as one:
        def ask(sql):
            done = one.pgconn.exec_params(sql.encode(), [])
            if done.error_field(psycopg.pq.DiagnosticField.SQLSTATE):
                return done.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode()
            rows = [tuple(done.get_value(i, k) for k in range(done.nfields)) for i in range(done.ntuples)]
            return rows or done.command_status.decode()

        assert ask("PREPARE plain AS SELECT $1, $2::int + 1") == "PREPARE"
        assert ask("EXECUTE plain('x', 5)") == [(b"x", b"6")]
        assert ask("EXECUTE plain('x')") == "42601"
        assert ask("PREPARE typed (int) AS SELECT id, grp FROM public.cells WHERE id <= $1 ORDER BY id") == "PREPARE"
        assert ask("EXECUTE typed(2)") == [(b"1", b"g1"), (b"2", b"g2")]
        assert ask("EXECUTE typed(0)") == "22023"
        assert ask("PREPARE named AS SELECT id FROM questions.first(n => $1)") == "PREPARE"
        assert (ask("EXECUTE named(1)"), ask("EXECUTE named(1001)")) == ([(b"1",)], "22023")
        assert [ask("DEALLOCATE " + name) for name in ("plain", "typed", "named")] == ["DEALLOCATE"] * 3
        one.pgconn.prepare(b"outer", b"PREPARE inside (int) AS SELECT $1")
        assert one.pgconn.describe_prepared(b"outer").nparams == 0
        one.pgconn.exec_prepared(b"outer", [])
        assert ask("EXECUTE inside(7)") == [(b"7",)]


@pytest.mark.parametrize("name", ["search_path", "client_encoding", "work_mem", "default_transaction_read_only", "timezone", "row_security"])
def test_set_to_default_is_a_set(conn, name):
    assert [conn.execute(sql % name).statusmessage for sql in ("SET %s TO DEFAULT", "SET LOCAL %s TO DEFAULT", "RESET %s")] == ["SET", "SET", "RESET"]


def test_a_setting_that_is_missing_has_no_place(conn, cluster):
    with cluster.connect() as straight:
        said = []
        for one in (conn, straight):
            with pytest.raises(psycopg.Error) as caught:
                one.execute("SELECT current_setting('nosuch')")
            diag = caught.value.diag
            said.append((diag.sqlstate, diag.message_primary, diag.statement_position))
        assert said[0] == said[1]
