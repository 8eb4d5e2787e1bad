"""
What common tools make of a question once it is a table to them: the statements that their query builders wrap around it, and
those with which they try to write. A tool itself is not run here; each of these is asked through pgveil and of the plain
database, and has to give the same, or to be refused with the session going on.
"""
import psycopg
import pytest

REGION, STEPS = "questions.by_region", "questions.steps"
ASKED = {
    # Virtual data set, chart, filter values, time grain, and the look for columns.
    "superset data set": "SELECT region AS region, sum(reached) AS \"SUM(reached)\" FROM (SELECT * FROM %s) AS virtual_table "
                         "GROUP BY region ORDER BY \"SUM(reached)\" DESC LIMIT 1000" % REGION,
    "superset values": "SELECT region AS region FROM (SELECT * FROM %s) AS virtual_table GROUP BY region ORDER BY 1 LIMIT 1000" % REGION,
    "superset grain": "SELECT DATE_TRUNC('month', day) AS day, COUNT(*) AS count FROM (SELECT * FROM questions.everything) AS virtual_table "
                      "WHERE day >= TO_DATE('2020-01-01', 'YYYY-MM-DD') AND day < TO_DATE('2025-01-01', 'YYYY-MM-DD') GROUP BY DATE_TRUNC('month', day) ORDER BY 1 LIMIT 10000",
    "superset columns": "SELECT * FROM (SELECT * FROM %s) AS inner_qry LIMIT 0" % REGION,
    # Native query as a source; the sync's look at a table; a bin.
    "metabase source": "-- Metabase:: userID: 1 queryType: MBQL queryHash: 00\nSELECT \"source\".\"region\" AS \"region\", SUM(\"source\".\"reached\") "
                       "AS \"sum\" FROM (SELECT * FROM %s) AS \"source\" GROUP BY \"source\".\"region\" ORDER BY \"source\".\"region\" ASC" % REGION,
    "metabase fingerprint": "SELECT \"questions\".\"by_region\".\"region\" AS \"region\", \"questions\".\"by_region\".\"reached\" AS \"reached\" "
                            "FROM \"questions\".\"by_region\" ORDER BY 1 LIMIT 10000",
    "metabase bin": "SELECT ((FLOOR(((\"source\".\"n\" - 0) / 500.0)) * 500.0) + 0) AS \"n\", COUNT(*) AS \"count\" FROM (SELECT * FROM %s) "
                    "AS \"source\" GROUP BY 1 ORDER BY 1" % STEPS,
    # Expanded macros.
    "grafana series": "SELECT floor(extract(epoch from stamp_tz)/3600)*3600 AS \"time\", count(*) AS value FROM questions.everything "
                      "WHERE stamp_tz BETWEEN '2020-01-01T00:00:00Z' AND '2025-01-01T00:00:00Z' GROUP BY 1 ORDER BY 1",
    "grafana now": "SELECT now() > '2020-01-01' AS \"time\", region AS metric, reached AS value FROM %s ORDER BY 1, 2" % REGION,
    "grafana variable": "SELECT region AS __text, region AS __value FROM %s ORDER BY 1" % REGION,
    # Import and folded steps.
    "power bi table": "select \"$Table\".\"region\" as \"region\", \"$Table\".\"reached\" as \"reached\" from \"questions\".\"by_region\" \"$Table\" order by 1",
    "power bi folded": "select \"rows\".\"region\" as \"region\", sum(\"rows\".\"reached\") as \"a0\" from (select * from %s) \"rows\" "
                       "group by \"region\" order by 1 limit 1000001" % REGION,
    # With the database's name in front, as ODBC tools write it.
    "excel": "SELECT by_region.region, by_region.reached FROM market.questions.by_region by_region ORDER BY by_region.region",
    "tableau": "SELECT \"by_region\".\"region\" AS \"region\", SUM(\"by_region\".\"reached\") AS \"sum:reached:ok\" FROM \"questions\".\"by_region\" "
               "\"by_region\" GROUP BY 1 ORDER BY 1",
    "tableau custom SQL": "SELECT \"Custom SQL Query\".\"region\" AS \"region\" FROM ( SELECT * FROM %s ) \"Custom SQL Query\" "
                          "GROUP BY 1 HAVING (COUNT(1) > 0) ORDER BY 1" % REGION,
    "tableau domain": "SELECT MIN(\"steps\".\"n\") AS \"TEMP(a)\", MAX(\"steps\".\"n\") AS \"TEMP(b)\" FROM \"questions\".\"steps\" \"steps\" "
                      "HAVING (COUNT(1) > 0)",
    "looker": "SELECT by_region.region AS \"by_region.region\", COALESCE(SUM(by_region.reached), 0) AS \"by_region.total\" FROM %s AS by_region "
              "GROUP BY 1 ORDER BY 2 DESC LIMIT 500" % REGION,
    "dbeaver rows": "SELECT x.* FROM questions.by_region x ORDER BY 1",
    "dbeaver count": "SELECT COUNT(*) FROM questions.by_region",
    "microstrategy derived": "select a11.region AS region, sum(a11.reached) AS wjxbfs1 from (select * from %s) a11 group by a11.region order by 1" % REGION,
}

REFUSED = {
    "tableau probe": 'CREATE LOCAL TEMPORARY TABLE "#Tableau_1_1_Connect_CheckCreateTempTableCap" ("COL" INTEGER) ON COMMIT PRESERVE ROWS',
    "tableau extract": 'SELECT * INTO TEMPORARY TABLE "#Tableau_1_2_Filter" FROM questions.by_region',
    "microstrategy temporary table": "create temporary table ZZTIS00001 as select region, sum(reached) AS wjxbfs1 from questions.by_region group by region",
    "microstrategy table": "create table ZZMD00 (region VARCHAR(20), WJXBFS1 DOUBLE PRECISION)",
    "superset CTAS": "CREATE TABLE tmp__1 AS SELECT * FROM questions.by_region",
    "metabase model": "CREATE SCHEMA IF NOT EXISTS \"metabase_cache_1_1\"",
    "looker derived table": "CREATE TEMPORARY TABLE looker_scratch AS SELECT 1",
    "pandas to_sql": "CREATE TABLE frame (n BIGINT)",
    "grafana plan": "EXPLAIN SELECT * FROM questions.by_region",
}


def connections(veiled, plain):
    return [psycopg.connect(autocommit=True, **end.dsn) for end in (veiled, plain)]


def answer(conn, sql):
    cursor = conn.execute(sql)
    return [(column.name, column.type_code) for column in cursor.description], cursor.fetchall()


def test_what_tools_ask(veiled, plain):
    ours, theirs = connections(veiled, plain)
    with ours, theirs:
        for name, sql in ASKED.items():
            try:
                got = answer(ours, sql)
            except psycopg.Error as error:
                got = "%s %s %s" % (error.sqlstate, error, error.diag.message_detail)
            assert got == answer(theirs, sql), name


@pytest.mark.parametrize("is_block", [False, True], ids=["alone", "in a block"])
def test_what_tools_try_to_write(veiled, plain, is_block):
    conn = psycopg.connect(autocommit=not is_block, **veiled.dsn)
    with conn:
        for name, sql in REFUSED.items():
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
                conn.execute(sql)
            assert refusal.value.diag.message_detail, name
            conn.rollback()
            assert conn.execute("SELECT count(*) > 0 FROM questions.by_region").fetchone() == (True,), name
