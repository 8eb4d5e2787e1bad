#include "tests/unit/policy/load_fixture.h"

#include "policy/param.h"

/* Rooms, and the SQL in them. */

static void
sound_room_is_read(void **state)
{
    struct pv_policy *policy = load_sound();
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr("retail_media"));
    const struct pv_dataset *customers, *impressions;
    const struct pv_question *overlap, *explore;
    const struct pv_member *alice;

    (void) state;
    assert_non_null(room);
    assert_null(pv_policy_room(policy, pv_slice_cstr("retail")));
    assert_string_equal(room->file, "rooms/retail_media.json");
    assert_ptr_equal(room->upstream, &policy->config.upstreams[0]);
    assert_true(room->has_expiry);
    assert_int_equal(room->expires_us, INT64_C(1798761600000000));
    assert_string_equal(room->timezone, "UTC");
    customers = pv_room_dataset(room, "public", "customers");
    impressions = pv_room_dataset(room, "ads", "impressions");
    assert_string_equal(customers->source_schema, "crm");
    assert_string_equal(impressions->source_schema, "ads");
    assert_int_equal(customers->column_count, 6);
    assert_int_equal(customers->relation.column_count, 5);
    assert_string_equal(customers->relation.columns[2], "region");
    assert_ptr_equal(customers->relation.owner, customers);
    assert_int_equal(pv_dataset_column(customers, "full_name")->mask.kind, PV_MASK_OMIT);
    assert_int_equal(pv_dataset_column(customers, "customer_id")->mask.kind, PV_MASK_HASH);
    assert_string_equal(pv_dataset_column(customers, "birth_date")->mask.unit, "year");
    assert_int_equal(pv_dataset_column(customers, "postcode")->mask.digits, 3);
    assert_string_equal(pv_dataset_column(impressions, "amount")->mask.number, "0.50");
    assert_int_equal(customers->rule->constraints[0].minimum, 25);
    assert_true(customers->rule->has_literal_columns);
    assert_int_equal(impressions->rule->type, PV_RULE_LIST);
    assert_int_equal(impressions->budgets[0].runs, 10);
    assert_int_equal(impressions->budgets[0].runs_per_member, 0);
    assert_false(impressions->has_receivers);
    overlap = pv_room_question(room, "overlap_by_region");
    explore = pv_room_question(room, "explore");
    assert_string_equal(overlap->parameters[0].minimum, "2024-01-01");
    assert_string_equal(overlap->parameters[0].type->name, "date");
    assert_int_equal(overlap->timeout_ms, 60000);
    assert_int_equal(overlap->approvals.count, 2);
    assert_true(explore->is_open);
    assert_int_equal(explore->dataset_count, 2);
    alice = pv_room_member(room, "alice");
    assert_true(pv_member_has_role(alice, "analyst"));
    assert_true(pv_question_admits(explore, alice));
    assert_true(pv_question_admits(overlap, pv_room_member(room, "bi_service")));
    assert_false(pv_question_admits(explore, pv_room_member(room, "bi_service")));
    pv_policy_unref(policy);
}

/* What is made for a question bears the room's name: without one its faults are found all the same. */
static void
a_room_without_a_name_is_read_to_its_end(void **state)
{
    static const struct row rows[] = {
        {"\"SELECT c.region", "\"SELECT \1nothing.region",
         "\"room\" must be a string, not an integer\n"
         "question \"overlap_by_region\": missing FROM-clause entry for table \"nothing\" in room \"rooms/retail_media.json\""},
        {"\"title\": \"Acme", "\"title\": \"Ace", "\"room\" must be a string, not an integer"},
    };
    char *nameless = exchange(room_text, "\"room\": \"retail_media\"", "\"room\": \1" "7");

    (void) state;
    expect_rows("rooms/retail_media.json", nameless, rows, PV_COUNT_OF(rows));
    free(nameless);
}

static void
room_faults_have_their_place(void **state)
{
    static const struct row rows[] = {
        {"\"retail_media\"", "\1\"pgveil\"", "a room cannot be named \"pgveil\", which is the auditors' database"},
        {"\"retail_media\"", "\1\"-x\"",
         "a room's name is 1 to 40 letters, digits, _ and -, and does not begin with -, not \"-x\""},
        {"\"upstream\": \"main\"", "\"upstream\": \1\"other\"", "the config has no upstream \"other\""},
        {"\"2027-01-01T00:00:00Z\"", "\1\"2027-01-01\"",
         "\"expires\" must be a time as RFC 3339 writes it, such as \"2027-01-01T00:00:00Z\""},
        {"\"2027-01-01T00:00:00Z\"", "\1\"2027-02-30T00:00:00Z\"",
         "\"expires\" must be a time as RFC 3339 writes it, such as \"2027-01-01T00:00:00Z\""},
        {"\"2027-01-01T00:00:00Z\"", "\"2027-01-01T00:00:00.5+02:00\"", ""},
        {"\"keys/acme.pem\"}, ", "\1\"keys/absent.pem\"}, ", "cannot read \"keys/absent.pem\": No such file or directory"},
        {"\"keys/acme.pem\"}, ", "\1\"../ca.crt\"}, ", "\"../ca.crt\" holds no Ed25519 public key in PEM"},
        {"{\"party\": \"acme\"", "{\"party\": \1\"nobody\"", "the room has no party \"nobody\""},
        {"\"alice\": {\"party\": \"acme\", ", "\"alice\": \1{", "missing key \"party\""},
        {"\"roles\": [\"dashboard\"]", "\"roles\": [\1\"dash board\"]",
         "a role's name is made of letters, digits, _ and -, not \"dash board\""},
        {"\"members\": {\n", "\"members\": {\n    \1\"carol\": {\"party\": \"acme\"},\n",
         "warning: the users' file has no user \"carol\""},
        {"\"owner\": \"megamart\"", "\"owner\": \1\"nobody\"", "the room has no party \"nobody\""},
        {"\"public.customers\": {", "\1\"customers\": {\"owner\": \"acme\", \"columns\": {\"a\": {\"category\": 1}}}, "
         "\"public.customers\": {",
         "a data set's name must be SCHEMA.NAME, each 1 to 63 bytes long, not \"customers\""},
        {"\"public.customers\": {", "\1\"pg_catalog.x\": {\"owner\": \"acme\", \"columns\": {\"a\": {\"category\": 1}}}, "
         "\"public.customers\": {",
         "the schema \"pg_catalog\" is not for data sets"},
        {"\"entity\": \"customer_id\",\n      \"row", "\"entity\": \1\"nothing\",\n      \"row",
         "the data set lists no column \"nothing\""},
        {"\"entity\": \"customer_id\",\n      \"row", "\"entity\": \1\"full_name\",\n      \"row",
         "the entity column \"full_name\" is omitted from the room"},
        {"\"room\": \"retail_media\"", "\"room\": \1" "7", "\"room\" must be a string, not an integer"},
        {"{\"category\": 1},\n        \"birth", "{\"category\": \1" "4},\n        \"birth",
         "\"category\" must be 1 (shared), 2 (omitted) or 3 (masked)"},
        {"{\"category\": 1},\n        \"birth", "\1{},\n        \"birth", "missing key \"category\""},
        {"{\"category\": 1},\n        \"birth", "{\"category\": 1, \"mask\": \1\"hash\"},\n        \"birth",
         "category 1 is shared as it is: its mask can only be \"plain\""},
        {"\"full_name\":   {\"category\": 2}", "\"full_name\": {\"category\": 2, \"mask\": \1\"null\"}",
         "category 2 is omitted: its mask can only be \"omit\""},
        {"{\"truncate_date\": \"year\"}", "{\"truncate_date\": \1\"decade\"}",
         "\"truncate_date\" must be \"year\", \"quarter\", \"month\", \"week\", \"day\" or \"hour\", not \"decade\""},
        {"{\"prefix\": 3}", "{\"prefix\": \1" "0}", "\"prefix\" must be between 1 and 10000"},
        {"{\"prefix\": 3}", "{\"round\": \1" "1.5}", "\"round\" must be an integer, not a number with a fraction"},
        {"{\"bucket\": 0.50}", "{\"bucket\": \1-1}", "\"bucket\" must be a number above 0"},
        {"{\"prefix\": 3}", "\1{\"prefix\": 3, \"suffix\": 3}", "a mask written as an object has exactly one key"},
        {"{\"prefix\": 3}", "\1\"shuffle\"",
         "unknown mask \"shuffle\": known are plain, omit, null, hash, email_domain, and as objects hash, "
         "truncate_date, bucket, round, prefix, suffix, constant"},
        {"\"dimension_columns\": [\"region\", \"birth_date\"]", "\"dimension_columns\": [\1\"nothing\", \1\"full_name\"]",
         "data set \"public.customers\" lists no column \"nothing\"\ncolumn \"full_name\" is omitted from the room"},
        {"\"type\": \"aggregation\"", "\"type\": \1\"aggregate\"",
         "\"type\" must be \"aggregation\" or \"list\", not \"aggregate\""},
        {"[\"count\", \"count_distinct\"]", "[\"count\", \1\"max\"]",
         "unknown aggregate \"max\": known are count, count_distinct, sum, sum_distinct, avg, avg_distinct"},
        {"\"lower\"]", "\1\"pg_sleep\"]", "\"pg_sleep\" is no scalar function that a statement may use"},
        {"\"minimum\": 25}]", "\"minimum\": \1" "0}]", "\"minimum\" must be between 1 and 9223372036854775807"},
        {"comparison_columns\": [\"region\"", "comparison_columns\": [\1\"customer_id\"",
         "the entity column \"customer_id\" may never be compared with a literal"},
        {"\"list_columns\": [\"seen_on\"]", "\"list_columns\": [\"seen_on\"], \1\"suppression\": \"drop\"",
         "\"suppression\" belongs to rules of type \"aggregation\""},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": \1" "11}",
         "\"runs_per_member\" is a member's share of \"runs\" and cannot be more than 10"},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": \1" "0}",
         "\"runs_per_member\" must be between 1 and 1000000000"},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": \1\"all\"}",
         "\"runs_per_member\" must be an integer, not a string"},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": 10}", ""},
        {"\"access_budget\": [", "\"allowed_result_receivers\": [\1\"party:nobody\", \1\"user:nobody\", \1\"alice\"],\n"
         "      \"access_budget\": [",
         "the room has no party \"nobody\"\nthe room has no member \"nobody\"\nmust be role:R, party:P or user:U, not \"alice\""},
        {"\"access_budget\": [", "\"allowed_result_receivers\": \1\"party:acme\",\n      \"access_budget\": [",
         "\"allowed_result_receivers\" must be an array, not a string"},
        {"\"access_budget\": [", "\"allowed_result_receivers\": [\1\"role:nobodys\", \"party:acme\"],\n      \"access_budget\": [",
         "warning: no member of the room has the role \"nobodys\""},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \1\"year\", \"runs\": \1-1}",
         "\"per\" must be \"day\", \"week\", \"month\" or \"lifetime\", not \"year\"\n"
         "\"runs\" must be between 0 and 1000000000"},
        {"\"overlap_by_region\"", "\"Overlap-2026, by \\\"Region\\\" (\303\251)\"", ""},
        {"\"overlap_by_region\"", "\1\"\"", "a question's name is 1 to 63 bytes without control characters, not \"\""},
        {"\"overlap_by_region\"", "\1\"a\\tb\"", "a question's name is 1 to 63 bytes without control characters, not \"a?b\""},
        {"\"overlap_by_region\"", "\1\"1234567890123456789012345678901234567890123456789012345678901234\"",
         "a question's name is 1 to 63 bytes without control characters, not "
         "\"1234567890123456789012345678901234567890123456789012345678901234\""},
        {"\"role:analyst\", \"user:bi_service\"",
         "\1\"role:none\", \1\"user:none\", \1\"party:none\", \1\"analyst\", \1\"role:\"",
         "warning: no member of the room has the role \"none\"\nthe room has no member \"none\"\n"
         "the room has no party \"none\"\nmust be role:R, party:P or user:U, not \"analyst\"\n"
         "must be role:R, party:P or user:U, not \"role:\""},
        {"\"approvals\": [\"acme\", \"megamart\"]", "\"approvals\": [\"acme\", \1\"nobody\"]",
         "the room has no party \"nobody\""},
        {"\"approvals\": [\"acme\", \"megamart\"]", "\"approvals\": \1\"everybody\"",
         "\"approvals\" must be an array of parties or \"owners\", not \"everybody\""},
        {"{\"entity\": \"c.customer_id\", \"minimum_entities\": 25,", "\1{\"entity\": \"c.customer_id\",",
         "missing key \"minimum_entities\": without it \"entity\" does nothing"},
        {"\"open\": true, \"datasets\": [\"public.customers\"", "\"open\": true, \"datasets\": [\1\"public.nothing\"",
         "the room has no data set \"public.nothing\""},
        {"\"open\": true, ", "\"open\": true, \1\"sql\": \"SELECT 1\", ",
         "\"sql\" is for fixed questions: an open one has no SQL"},
        {"\"minimum\": \"2024-01-01\"", "\"minimum\": \1\"soon\"", "\"minimum\" must be of type date, which this is not"},
        {"\"minimum\": \"2024-01-01\"", "\"minimum\": \"2024-01-01\", \"default\": \1\"2023-01-01\"",
         "\"default\" is outside the parameter's own bounds: parameter \"since\" must be at least 2024-01-01"},
        {"\"minimum\": \"2024-01-01\"", "\1\"minimum\": \"2024-01-02\", \"maximum\": \"2024-01-01\"",
         "\"minimum\" is above \"maximum\""},
        {"\"type\": \"date\", ", "\"type\": \1\"interval\", ",
         "\"interval\": a parameter cannot be an interval, whose text depends on settings; use integer and multiply in "
         "the SQL"},
        {"\"minimum\": \"2024-01-01\"", "\1\"pattern\": \"x\"", "\"pattern\" is for text parameters, not for date"},
        {"\"minimum\": \"2024-01-01\"", "\1\"max_items\": 3", "\"max_items\" is for arrays, such as date[]"},
    };

    (void) state;
    expect_rows("rooms/retail_media.json", room_text, rows, PV_COUNT_OF(rows));
}

static void
faults_inside_sql_stand_on_their_character(void **state)
{
    struct pv_faults *faults = pv_faults_new();
    struct place places[PLACES_MAX];
    struct pv_policy *policy = NULL;
    char *changed = exchange(room_text, "SELECT c.region, count",
                             "SELECT \\\"region\\\", \\u0022\\ud83d\\ude00\\u0022, \xC3\xA9 FROM\\n \1WHERE count");

    (void) state;
    assert_non_null(faults);
    assert_int_equal(take_marks(changed, places), 1);
    write_file("rooms/retail_media.json", changed, 0644);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), PV_INVALID);
    assert_int_equal(pv_faults_count(faults), 1);
    assert_int_equal(pv_faults_at(faults, 0)->line, places[0].line);
    assert_int_equal(pv_faults_at(faults, 0)->column, places[0].column);
    pv_faults_free(faults);
    free(changed);
    write_sound_files();
}

static void
sql_may_stand_in_a_file(void **state)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    const char *start = strstr(room_text, "\"sql\": \"");
    const char *end = strstr(start, "\",\n");
    char *old = strndup(start, (size_t) (end - start) + 1);
    char *changed = exchange(room_text, old, "\"sql_file\": \"q.sql\"");
    char *sql = strndup(start + 8, (size_t) (end - start) - 8);

    (void) state;
    assert_non_null(faults);
    write_file("rooms/retail_media.json", changed, 0644);
    write_file("rooms/q.sql", sql, 0644);
    policy = load_sound();
    assert_string_equal(pv_room_question(&policy->rooms[0], "overlap_by_region")->sql, sql);
    pv_policy_unref(policy);
    policy = NULL;
    write_file("rooms/q.sql", "SELECT\n  \xC3\xA9 FROM WHERE\n", 0644);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), PV_INVALID);
    assert_string_equal(pv_faults_at(faults, 0)->file, "rooms/q.sql");
    assert_int_equal(pv_faults_at(faults, 0)->line, 2);
    assert_int_equal(pv_faults_at(faults, 0)->column, 10);
    pv_faults_free(faults);
    free(old);
    free(sql);
    free(changed);
    assert_int_equal(unlink("rooms/q.sql"), 0);
    write_sound_files();
}

static void
rooms_of_one_name_are_refused_and_others_sorted(void **state)
{
    char *second = exchange(room_text, "\"retail_media\"", "\1\"retail_media\"");
    char *other = exchange(room_text, "\"retail_media\"", "\"another\"");
    struct pv_policy *policy;

    (void) state;
    expect_faults("rooms/zz.json", second, "the room \"retail_media\" is defined in rooms/retail_media.json already");
    write_file("rooms/zz.json", other, 0644);
    policy = load_sound();
    assert_int_equal(policy->room_count, 2);
    assert_string_equal(policy->rooms[0].name, "another");
    assert_string_equal(pv_policy_room(policy, pv_slice_cstr("another"))->file, "rooms/zz.json");
    pv_policy_unref(policy);
    assert_int_equal(unlink("rooms/zz.json"), 0);
    free(second);
    free(other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_room_is_read),
        cmocka_unit_test(room_faults_have_their_place),
        cmocka_unit_test(a_room_without_a_name_is_read_to_its_end),
        cmocka_unit_test(faults_inside_sql_stand_on_their_character),
        cmocka_unit_test(sql_may_stand_in_a_file),
        cmocka_unit_test(rooms_of_one_name_are_refused_and_others_sorted),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
