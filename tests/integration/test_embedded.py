"""A room that lets a question's text stand inside another SELECT, as BI tools wrap it; oracle: the question by name."""
import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data

FIRST = "SELECT id, grp FROM public.cells WHERE id <= {} ORDER BY id"
WITHIN = "SELECT id FROM public.cells WHERE id >= {} AND id < {} + 5 ORDER BY id"
ROOM = "embedding"


def embedding_room():
    room = dict(data.small_room(ROOM), embedded_questions=True)
    room["questions"]["five"] = {"type": "list", "sql": WITHIN.format(":n", ":n"),
                                 "parameters": {"n": {"type": "integer", "minimum": 1, "maximum": 1000}}}
    return room


@pytest.fixture(scope="module")
def embedding(cluster):
    veil = make_veil(cluster, [embedding_room(), data.small_room("strict")])
    veil.provision()
    veil.start()
    yield veil
    veil.stop()
    veil.close()


def connect(veil, room):
    return psycopg.connect(host="127.0.0.1", port=veil.port, user="alice", dbname=room,
                           password=data.USERS["alice"]["password"], autocommit=True)


@pytest.fixture
def conn(embedding):
    with connect(embedding, ROOM) as conn:
        yield conn


@pytest.mark.parametrize("wrapped, by_name", [
    ("SELECT * FROM ({}) AS virtual_table LIMIT 1000", "SELECT * FROM {} AS virtual_table LIMIT 1000"),
    ("SELECT grp, count(*) AS n FROM ({}) t GROUP BY 1 ORDER BY 2 DESC, 1", "SELECT grp, count(*) AS n FROM {} t GROUP BY 1 ORDER BY 2 DESC, 1"),
    ("WITH q AS ({}) SELECT max(id) FROM q", "WITH q AS (SELECT * FROM {}) SELECT max(id) FROM q"),
    ("{} LIMIT 7 OFFSET 2", "SELECT * FROM {} ORDER BY id LIMIT 7 OFFSET 2"),
    ("SELECT * FROM ({}) a UNION ALL SELECT * FROM ({}) b", "SELECT * FROM {} UNION ALL SELECT * FROM {}"),
])
def test_the_text_stands_where_the_name_may(conn, wrapped, by_name):
    text, name = FIRST.format(30), "questions.first(n => 30)"
    got = conn.execute(wrapped.format(*[text] * 2))
    want = conn.execute(by_name.format(*[name] * 2))
    assert [c.name for c in got.description] == [c.name for c in want.description]
    assert got.fetchall() == want.fetchall() != []


def test_bound_parameters_keep_their_bounds(conn):
    sql = "SELECT count(*) FROM (" + FIRST.format("%s") + ") t WHERE id > %s"
    assert conn.execute(sql, (20, 5)).fetchone() == (15,)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='"n"'):
        conn.execute(sql, (100000, 5))


@pytest.mark.parametrize("prepare", [True, False])
def test_places_of_one_parameter_with_a_number_each(conn, prepare):
    sql = "SELECT count(*), min(id) FROM (" + WITHIN.format("%s", "%s") + ") q WHERE id > %s"
    for n in range(1, 9):
        assert conn.execute(sql, (n, n, n), prepare=prepare).fetchone() == (4, n + 1)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="takes one value: .1 and .2 differ"):
        conn.execute(sql, (4, 5, 5), prepare=prepare)
    # A value of the statement's own beside it is bound by the question where it stands in it as well.
    both = "SELECT * FROM (" + WITHIN.format("$1", "$2") + ") q, (" + WITHIN.format("$2", "$3") + ") r"
    conn.execute("PREPARE pair AS " + both)
    assert len(conn.execute("EXECUTE pair(7, 7, 7)").fetchall()) == 25
    for values in ("7, 7, 8", "7, 8, 7", "8, 7, 7", "7, 8, 8"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="takes one value"):
            conn.execute("EXECUTE pair(%s)" % values)
    conn.execute("DEALLOCATE pair")


def test_the_log_names_the_question_and_what_it_read(embedding, conn):
    sql = "SELECT count(*) FROM (" + FIRST.format(3) + ") logged_text"
    assert conn.execute(sql).fetchone() == (3,)
    row = embedding.log_rows("query = ?", (sql,))[-1]
    assert (row["question"], row["decision"], row["datasets"]) == ("first", "allowed", '["public.cells"]')
    assert row["columns"] == '["public.cells.id","public.cells.grp"]'


def test_data_beside_it_is_still_no_question(conn):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT * FROM (" + FIRST.format(3) + ") t JOIN public.others o ON o.id = t.id")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT * FROM (SELECT id, grp FROM public.cells WHERE id <= 3 OR true ORDER BY id) t")


def test_without_the_key_only_the_text_itself_is_a_question(embedding):
    with connect(embedding, "strict") as conn:
        assert len(conn.execute(FIRST.format(3)).fetchall()) == 3
        for sql in (FIRST.format(3) + " LIMIT 1", "SELECT * FROM (" + FIRST.format(3) + ") t"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(sql)
