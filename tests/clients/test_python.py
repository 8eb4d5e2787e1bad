"""psycopg 2 and 3, SQLAlchemy and pandas."""
import io
import threading

import psycopg
import psycopg2
import psycopg2.extras
import pytest

from tests.clients.compare import REFUSED, check

WRITES = {"veil.temp": "CREATE TEMP TABLE mine (n integer)", "veil.insert": "INSERT INTO public.steps VALUES (1, 'x')",
          "veil.table": "SELECT label FROM public.steps"}
SLOW = "SELECT n FROM questions.slow(1)"


def both(function, veiled, plain, expected=None, minimum=5):
    check(function(veiled), function(plain), expected, minimum)


# ---- psycopg 2

def code2(conn, sql, args=None):
    """The SQLSTATE of one statement, or its rows."""
    try:
        with conn.cursor() as cur:
            cur.execute(sql, args)
            return cur.fetchall() if cur.description else cur.statusmessage
    except psycopg2.Error as error:
        return error.pgcode


def cancelled(ask, cancel):
    """What ask() gives, which runs until it is cancelled: again and again, as a cancel may be there before what it is about."""
    is_over = threading.Event()

    def go_on():
        while not is_over.wait(0.5):
            cancel()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        return ask()
    finally:
        is_over.set()
        thread.join()


def refusals2(conn, steps):
    conn.autocommit = True
    for name, sql in WRITES.items():
        steps[name] = "%s then %d" % (code2(conn, sql), code2(conn, "SELECT 1")[0][0])
    conn.autocommit = False
    code2(conn, "SELECT 1")
    got = [code2(conn, WRITES["veil.table"]), code2(conn, "SELECT 1")]
    conn.rollback()
    steps["veil.transaction"] = "%s %s then %d" % (*got, code2(conn, "SELECT 1")[0][0])
    conn.rollback()


def psycopg2_steps(end):
    steps = {}
    conn = psycopg2.connect(**end.dsn)
    with conn.cursor() as cur:
        cur.execute("SELECT * FROM questions.everything")
        steps["everything"] = [bytes(v) if isinstance(v, memoryview) else repr(v) for row in cur.fetchall() for v in row]
        steps["types"] = [(c.name, c.type_code, c.internal_size, c.precision, c.scale) for c in cur.description]
        cur.execute("SELECT * FROM questions.one_step(%s)", (42,))
        steps["parameter"] = cur.fetchall()
        cur.execute("SELECT * FROM questions.overlap_by_region(since => %s) ORDER BY 1", ("2024-06-01",))
        steps["date"] = cur.fetchall()
        cur.execute("SELECT n, label FROM questions.steps WHERE n = ANY(%s) ORDER BY n", ([1, 5, 9],))
        steps["array"] = cur.fetchall()
    conn.commit()
    with conn.cursor(name="server side") as cur:
        cur.itersize = 100
        cur.execute("SELECT * FROM questions.steps")
        steps["named cursor"] = sum(row[0] for row in cur)
    conn.commit()
    with conn.cursor(name="scrolls", scrollable=True, withhold=True) as cur:
        cur.execute("SELECT * FROM questions.some_steps")
        steps["scroll"] = [cur.fetchmany(3)]
        cur.scroll(-2)
        steps["scroll"].append(cur.fetchone())
        conn.commit()
        cur.scroll(0, mode="absolute")
        steps["scroll"].append(cur.fetchall())
    conn.rollback()
    out = io.StringIO()
    with conn.cursor() as cur:
        cur.copy_expert("COPY (SELECT * FROM questions.everything) TO STDOUT WITH (FORMAT csv, HEADER true)", out)
        steps["copy"] = out.getvalue(), cur.rowcount
        psycopg2.extras.execute_values(cur, "SELECT v.a, s.label FROM (VALUES %s) AS v(a) JOIN questions.steps s ON s.n = v.a ORDER BY 1",
                                       [(3,), (7,)])
        steps["values"] = cur.fetchall()
    conn.commit()
    for name, sql in (("syntax", "SELEKT 1"), ("relation", "SELECT * FROM nosuch"), ("column", "SELECT nosuch FROM questions.steps"),
                      ("division", "SELECT 1/0"), ("function", "SELECT * FROM questions.nosuch(1)")):
        steps["error " + name] = code2(conn, sql), conn.get_transaction_status()
        conn.rollback()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True, autocommit=False)
    steps["isolation"] = code2(conn, "SHOW transaction_isolation"), code2(conn, "SELECT 1")
    conn.rollback()
    conn.set_session(isolation_level="DEFAULT", readonly=None)
    conn.set_client_encoding("UTF8")
    steps["encoding"] = conn.encoding
    conn.rollback()
    conn.autocommit = True
    with conn.cursor() as cur:
        cur.execute("SELECT 1; SELECT n FROM questions.one_step(2); SELECT 'last'")
        steps["several"] = cur.fetchall()
    steps["cancel"] = cancelled(lambda: code2(conn, SLOW), conn.cancel), code2(conn, "SELECT 2")
    if end.is_veiled:
        refusals2(conn, steps)
    conn.reset()
    steps["reset"] = code2(conn, "SELECT 3")
    conn.close()
    conn = psycopg2.connect(application_name="again", options="-c statement_timeout=150 -c timezone=Asia/Tokyo", **end.dsn)
    conn.autocommit = True  # what took too long leaves no failed transaction to what is asked next
    # A busy machine may take longer for that than the session has.
    steps["options"] = next(got for got in (code2(conn, "SHOW timezone") for _ in range(50)) if got != "57014"), code2(conn, SLOW)
    conn.close()
    return steps


def test_psycopg2(veiled, plain):
    both(psycopg2_steps, veiled, plain)


# ---- psycopg 3

def code3(conn, sql, args=None, **more):
    try:
        cur = conn.execute(sql, args, **more)
        return cur.fetchall() if cur.description else cur.statusmessage
    except psycopg.Error as error:
        return error.sqlstate


def pipeline_with_error(conn, sql):
    """Six statements in one libpq pipeline, the third refused, then a sync: what each came to."""
    pg, got = conn.pgconn, []
    pg.enter_pipeline_mode()
    for n in range(6):
        pg.send_query_params(sql.encode() if n == 2 else b"SELECT %d" % n, None)
    pg.pipeline_sync()
    while not got or got[-1] != "PIPELINE_SYNC":
        result = pg.get_result()
        if result is not None:
            state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
            got.append(state.decode() if state else psycopg.pq.ExecStatus(result.status).name)
    pg.exit_pipeline_mode()
    return got


def psycopg3_steps(end):
    steps = {}
    conn = psycopg.connect(**end.dsn)
    for binary in (False, True):
        with conn.cursor(binary=binary) as cur:
            cur.execute("SELECT * FROM questions.everything WHERE id < 2")
            steps["everything %s" % binary] = [repr(v) for row in cur.fetchall() for v in row]
            steps["types %s" % binary] = [(c.name, c.type_code, c.internal_size, c.precision, c.scale) for c in cur.description]
            cur.execute("SELECT * FROM questions.one_step(%s)", (42,))
            steps["parameter %s" % binary] = cur.fetchall()
    raw = conn.cursor(binary=True)
    raw.execute("SELECT * FROM questions.everything")
    steps["raw"] = [raw.pgresult.get_value(r, c) for r in range(raw.pgresult.ntuples) for c in range(raw.pgresult.nfields)]
    conn.rollback()
    for n in range(12):  # the driver prepares by itself at the sixth
        steps["prepared %d" % n] = conn.execute("SELECT label FROM questions.one_step(%s)", (n,)).fetchall()
    steps["prepared at once"] = conn.execute("SELECT * FROM questions.overlap_by_region(%s) ORDER BY 1",
                                             ("2024-06-01",), prepare=True).fetchall()
    conn.commit()
    with conn.cursor("named") as cur:
        cur.execute("SELECT * FROM questions.steps WHERE n > %s", (2900,))
        steps["named"] = [cur.fetchmany(4), cur.fetchone(), len(cur.fetchall())]
    with conn.cursor("binary named", binary=True) as cur:
        cur.execute("SELECT * FROM questions.some_steps")
        steps["binary named"] = cur.fetchall()
    conn.commit()
    with conn.cursor() as cur:
        with cur.copy("COPY (SELECT * FROM questions.everything) TO STDOUT") as copy:
            steps["copy"] = b"".join(bytes(block) for block in copy)
        with cur.copy("COPY (SELECT n, label FROM questions.some_steps) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            steps["copy binary"] = list(copy.rows())
        steps["stream"] = [row for row in cur.stream("SELECT * FROM questions.some_steps")]
    conn.commit()
    with conn.pipeline():
        cursors = [conn.execute("SELECT label FROM questions.one_step(%s)", (n,)) for n in range(60)]
        steps["pipeline"] = [cur.fetchall() for cur in cursors]
    conn.commit()
    steps["pipeline, missing relation"] = pipeline_with_error(conn, "SELECT * FROM nosuch")
    conn.rollback()
    with conn.cursor() as cur:
        cur.executemany("SELECT label FROM questions.one_step(%s)", [(1,), (2,), (3,)], returning=True)
        steps["executemany"] = [cur.fetchall()]
        while cur.nextset():
            steps["executemany"].append(cur.fetchall())
    conn.commit()
    with conn.transaction():
        with pytest.raises(psycopg.errors.DivisionByZero):
            with conn.transaction():
                conn.execute("SELECT 1/0")
        steps["savepoint"] = conn.execute("SELECT 1").fetchall()
    conn.autocommit = True
    for name, sql in (("syntax", "SELEKT 1"), ("relation", "SELECT * FROM nosuch"), ("column", "SELECT nosuch FROM questions.steps"),
                      ("type", "SELECT 'x'::nosuch"), ("prepared", "EXECUTE nosuch"), ("cursor", "FETCH FROM nosuch")):
        steps["error " + name] = code3(conn, sql)
    from psycopg.types import TypeInfo
    steps["type information"] = [(t.name, t.oid, t.array_oid) for t in (TypeInfo.fetch(conn, n) for n in ("jsonb", "int4range", "text"))]
    steps["no such type"] = TypeInfo.fetch(conn, "nosuch")
    steps["cancel"] = cancelled(lambda: code3(conn, SLOW), conn.cancel), code3(conn, "SELECT 2")
    if end.is_veiled:
        for name, sql in WRITES.items():
            steps[name] = "%s then %d" % (code3(conn, sql), code3(conn, "SELECT 1")[0][0])
        conn.autocommit = False
        conn.execute("SELECT 1")
        got = [code3(conn, WRITES["veil.table"]), code3(conn, "SELECT 1")]
        conn.rollback()
        steps["veil.transaction"] = "%s %s then %d" % (*got, code3(conn, "SELECT 1")[0][0])
        conn.rollback()
        steps["veil.pipeline"] = pipeline_with_error(conn, WRITES["veil.table"])
        conn.rollback()
        steps["veil.after"] = code3(conn, "SELECT 5")
        conn.rollback()
    conn.close()
    return steps


def test_psycopg3(veiled, plain):
    ours, theirs = psycopg3_steps(veiled), psycopg3_steps(plain)
    # What follows the refused one fares as what follows an error of the database's own.
    aborted = ours["pipeline, missing relation"]
    assert "42P01" in aborted
    expected = dict(REFUSED, **{"veil.pipeline": ["42501" if got == "42P01" else got for got in aborted], "veil.after": [(5,)]})
    check(ours, theirs, expected)


def test_psycopg3_async(veiled, plain):
    import asyncio

    async def steps_of(end):
        conn = await psycopg.AsyncConnection.connect(autocommit=True, **end.dsn)
        out = {}
        async with conn.cursor() as cur:
            await cur.execute("SELECT * FROM questions.by_region ORDER BY 1")
            out["rows"] = await cur.fetchall()
        gathered = await asyncio.gather(*(conn.execute("SELECT label FROM questions.one_step(%s)", (n,)) for n in range(9)))
        out["gathered"] = [await cur.fetchall() for cur in gathered]
        task = asyncio.ensure_future(conn.execute(SLOW))
        while not task.done():  # a cancel may be there before what it is about
            await asyncio.sleep(0.5)
            conn.cancel()
        try:
            await task
        except psycopg.Error as error:
            out["cancelled"] = error.sqlstate
        await conn.close()
        return out

    check(asyncio.run(steps_of(veiled)), asyncio.run(steps_of(plain)), {}, 3)


# ---- SQLAlchemy, pandas

def engine_of(end, driver="psycopg2", **more):
    import sqlalchemy
    url = sqlalchemy.engine.URL.create("postgresql+" + driver, end.user, end.password, end.host, end.port, end.dbname,
                                       {"sslmode": "disable"})
    return sqlalchemy.create_engine(url, future=True, **more)


def sqlalchemy_steps(end):
    import sqlalchemy as sa
    engine = engine_of(end)
    steps = {}
    inspector = sa.inspect(engine)
    steps["schemas"] = sorted(s for s in inspector.get_schema_names() if s not in ("pg_toast",))
    steps["default schema"] = inspector.default_schema_name
    for schema in (None, "public", "ads", "questions", "nosuch"):
        steps["tables %s" % schema] = sorted(inspector.get_table_names(schema=schema))
        steps["views %s" % schema] = sorted(inspector.get_view_names(schema=schema))
    for schema, name in ((None, "customers"), ("public", "kinds"), ("ads", "impressions"), ("questions", "by_region"),
                         ("questions", "everything")):
        steps["columns " + name] = repr(inspector.get_columns(name, schema=schema))
        steps["keys " + name] = repr((inspector.get_pk_constraint(name, schema=schema), inspector.get_foreign_keys(name, schema=schema),
                                      inspector.get_indexes(name, schema=schema), inspector.get_unique_constraints(name, schema=schema),
                                      inspector.get_check_constraints(name, schema=schema)))
        steps["comment " + name] = repr(inspector.get_table_comment(name, schema=schema))
    steps["has"] = [inspector.has_table("customers"), inspector.has_table("nosuch"), inspector.has_table("by_region"),
                    inspector.has_table("by_region", schema="questions"), inspector.has_table("staff", schema="crm"),
                    inspector.has_table("impressions")]
    try:
        inspector.get_columns("nosuch")
    except sa.exc.NoSuchTableError as error:
        steps["no such table"] = str(error)
    metadata = sa.MetaData()
    steps_table = sa.Table("steps", metadata, schema="questions", autoload_with=engine)
    steps["reflected"] = repr([(c.name, c.type, c.nullable) for c in steps_table.columns])
    with engine.connect() as conn:
        query = sa.select(steps_table.c.n, sa.func.upper(steps_table.c.label).label("shout")).where(
            steps_table.c.n.in_([2, 4, 6])).order_by(steps_table.c.n.desc()).limit(2)
        steps["core"] = [tuple(row) for row in conn.execute(query)]
        steps["grouped"] = [tuple(row) for row in conn.execute(
            sa.select((steps_table.c.n % 3).label("k"), sa.func.count()).group_by(sa.text("k")).order_by(sa.text("k")))]
        function = sa.func.questions.one_step(7).table_valued("n", "label")
        steps["function"] = [tuple(row) for row in conn.execute(sa.select(function))]
        with conn.begin_nested():
            steps["nested"] = conn.execute(sa.text("SELECT :x + 1"), {"x": 1}).scalar()
    with engine.connect().execution_options(stream_results=True) as conn:
        steps["streamed"] = sum(row[0] for row in conn.execute(sa.select(steps_table)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        steps["autocommit"] = conn.execute(sa.text("SELECT label FROM questions.one_step(:n)"), {"n": 9}).scalar()
    if end.is_veiled:
        with engine.connect() as conn:
            try:
                conn.execute(sa.text(WRITES["veil.table"]))
            except sa.exc.ProgrammingError as error:
                steps["veil.table"] = error.orig.pgcode
            conn.rollback()
            steps["veil.after"] = conn.execute(sa.text("SELECT 1")).scalar()
    engine.dispose()
    return steps


def test_sqlalchemy(veiled, plain):
    both(sqlalchemy_steps, veiled, plain, {"veil.table": "42501", "veil.after": 1})


def pandas_steps(end):
    import pandas
    engine = engine_of(end)
    steps = {}
    with engine.connect() as conn:
        import sqlalchemy as sa
        steps["read_sql"] = pandas.read_sql(sa.text("SELECT * FROM questions.by_region ORDER BY 1"), conn).to_csv()
        steps["parameters"] = pandas.read_sql(sa.text("SELECT * FROM questions.overlap_by_region(since => :since) ORDER BY 1"), conn,
                                              params={"since": "2024-06-01"}).to_csv()
        steps["table"] = pandas.read_sql_table("steps", conn, schema="questions").describe().to_csv()
        steps["chunks"] = [len(part) for part in pandas.read_sql(sa.text("SELECT * FROM questions.steps"), conn, chunksize=1000)]
        frame = pandas.read_sql(sa.text("SELECT id, day, stamp_tz, amount, flag FROM questions.everything WHERE id <> 2"), conn)
        steps["kinds"] = [str(t) for t in frame.dtypes] + [frame.to_csv()]
        if end.is_veiled:
            with pytest.raises(sa.exc.DBAPIError) as caught:
                frame.to_sql("mine", conn)
            steps["veil.to_sql"] = caught.value.orig.pgcode
    engine.dispose()
    return steps


def test_pandas(veiled, plain):
    both(pandas_steps, veiled, plain, {"veil.to_sql": "42501"})
