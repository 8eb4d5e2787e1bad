"""
ATTACKS section 4 against open questions: one case or more an id. What is refused is refused by name; what is answered
shows no group below the threshold and no number that only such a group explains.
"""
import psycopg
import pytest

from tests.lib import openroom


@pytest.fixture
def ask(lab):
    with lab.connect("alice", openroom.ROOM) as conn:
        yield lambda sql: conn.execute(sql).fetchall()


@pytest.fixture
def refused(lab):
    def run(sql):
        with lab.connect("alice", openroom.ROOM) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
            conn.execute(sql)
        return error.value.diag.message_detail
    return run


@pytest.mark.parametrize("condition", [
    "email = 'p1@example.com'", "id = 1001", "id IN (1001)", "id = ANY (ARRAY[1001])", "email LIKE 'p1@%'",
    "CASE WHEN email = 'p1@example.com' THEN true ELSE false END", "id = (SELECT 1001)", "email::text = 'p1@example.com'",
    "coalesce(email, '') = 'p1@example.com'", "1001 BETWEEN id AND id"])
def test_T7_singling_out_by_a_literal(refused, condition):
    refused("SELECT count(*) FROM people WHERE " + condition)


def test_T8_a_rare_group_is_left_out(ask):
    regions = {row[0] for row in ask("SELECT region, count(*) FROM people GROUP BY region")}
    assert "North" in regions and "Lonely" not in regions
    assert ask("SELECT count(*) FROM people WHERE region = 'Lonely'") == []
    # at the inner level too, whatever stands around it
    inner = ask("SELECT region, sum(n) FROM (SELECT region, age, count(*) AS n FROM people GROUP BY 1, 2) x GROUP BY region")
    assert "Lonely" not in {row[0] for row in inner}


@pytest.mark.parametrize("aggregate", ["min(income)", "max(income)", "array_agg(income)", "string_agg(region, ',')",
                                       "mode() WITHIN GROUP (ORDER BY income)", "json_agg(region)",
                                       "percentile_cont(0.5) WITHIN GROUP (ORDER BY income)"])
def test_T9_aggregates_that_give_single_values(refused, aggregate):
    refused("SELECT region, %s FROM people GROUP BY region" % aggregate)


def test_T10_a_fan_out_passes_no_threshold(ask):
    # Two people were seen on the channel 'lone'; joined by household and ad they are many rows and still two people.
    assert ask("SELECT channel, count(*) FROM people p JOIN visits v ON p.id = v.id WHERE channel = 'lone' GROUP BY 1") == []


def test_T11_a_narrow_partner_does_not_narrow_the_other(ask):
    # The visitors of 'lone' are the asker's own rows: each data set's entities are counted after the join.
    assert ask("SELECT count(*) FROM people p JOIN visits v USING (id) WHERE v.channel = 'lone'") == []
    assert ask("SELECT x.region, count(*) FROM (SELECT p.region, v.channel FROM people p JOIN visits v ON p.id = v.id) x "
               "WHERE x.channel = 'lone' GROUP BY 1") == []


@pytest.mark.parametrize("sql", [
    "SELECT count(*) FROM people p LEFT JOIN visits v ON p.id = v.id", "SELECT count(*) FROM people p FULL JOIN visits v USING (id)",
    "SELECT count(*) FROM people WHERE id IS NULL", "SELECT region, count(*) FROM people GROUP BY ROLLUP (region)"])
def test_T16_outer_joins_nulls_and_totals(refused, sql):
    refused(sql)


def test_T16_an_entity_that_is_null_does_not_count(ask, cluster):
    rows = ask("SELECT age, count(*) FROM people GROUP BY age")
    enough = cluster.rows("SELECT age FROM lab.people GROUP BY age HAVING count(DISTINCT id) >= %d" % openroom.PEOPLE_K)
    assert sorted(row[0] for row in rows) == sorted(row[0] for row in enough)


def test_T17_each_reference_has_its_threshold(ask):
    assert ask("SELECT count(*) FROM people a JOIN people b ON a.id = b.id WHERE b.region = 'Lonely'") == []
    assert ask("WITH x AS (SELECT id, region FROM people) SELECT count(*) FROM x a JOIN x b ON a.id = b.id "
               "WHERE a.region = 'Lonely'") == []


@pytest.mark.parametrize("sql", [
    "SELECT region FROM people GROUP BY 1 EXCEPT SELECT 'North'", "SELECT region FROM people GROUP BY 1 INTERSECT SELECT 'North'",
    "SELECT count(*) FROM people p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.id = p.id)",
    "SELECT count(*) FROM people WHERE id NOT IN (SELECT id FROM visits)",
    "SELECT count(*) FROM people WHERE id IN (SELECT id FROM visits)"])
def test_T18_set_differences_and_anti_joins(refused, sql):
    refused(sql)


def test_T19_an_outer_aggregate_sees_released_groups_only(ask, refused):
    assert ask("SELECT min(n) FROM (SELECT region, count(*) AS n FROM people GROUP BY region) x")[0][0] >= openroom.PEOPLE_K
    assert "dimensions" in refused("SELECT n, count(*) FROM (SELECT region, count(*) AS n FROM people GROUP BY region) x GROUP BY n")
    refused("SELECT max(n) FROM (SELECT email, count(*) AS n FROM people GROUP BY email) x")
