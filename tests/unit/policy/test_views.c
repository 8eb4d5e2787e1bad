#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/catalog.h"
#include "policy/catalog_columns.h"
#include "policy/mask.h"
#include "policy/views.h"
#include "proxy/base/arena.h"

/* ---- names ---- */

static void
names_are_short_and_apart(void **state)
{
    char name[PV_VIEWS_NAME_SIZE], other[PV_VIEWS_NAME_SIZE];
    const char *long_room = "a_room_with_a_name_that_is_as_long_as_a_name_may_be_in_postgres";

    (void) state;
    pv_views_login_role("retail_media", name);
    assert_string_equal(name, "pgveil_retail_media$login");
    pv_views_owner_role("retail_media", name);
    assert_string_equal(name, "pgveil_retail_media$owner");
    pv_views_schema("retail_media", "public", name);
    assert_string_equal(name, "pgveil_retail_media$public");
    pv_views_private_schema("retail_media", name);
    assert_string_equal(name, "pgveil_retail_media$$private");
    pv_views_catalog_schema("retail_media", name);
    assert_string_equal(name, "pgveil_retail_media$$catalog");

    pv_views_schema(long_room, "public", name);
    pv_views_schema(long_room, "publik", other);
    assert_int_equal(strlen(name), 63);
    assert_int_equal(name[46], '~');
    assert_int_equal(strncmp(name, other, 46), 0);
    assert_string_not_equal(name, other);

    /* 63 bytes stay whole, 64 do not; a cut falls between characters. */
    pv_views_schema("r", "123456789012345678901234567890123456789012345678901234", name);
    assert_string_equal(name, "pgveil_r$123456789012345678901234567890123456789012345678901234");
    pv_views_schema("r", "1234567890123456789012345678901234567890123456789012345", name);
    assert_non_null(strchr(name, '~'));
    pv_views_schema("r", "123456789012345678901234567890123456\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4",
                    name);
    assert_true(pv_utf8_valid(pv_slice_cstr(name)));
    assert_true(strlen(name) <= 63);
}

static void
search_path_begins_with_the_system(void **state)
{
    struct pv_dataset datasets[] = {
        {.relation = {.kind = PV_RELATION_DATASET, .schema = "ads", .name = "a"}, .key = "ads.a"},
        {.relation = {.kind = PV_RELATION_DATASET, .schema = "public", .name = "b"}, .key = "public.b"},
        {.relation = {.kind = PV_RELATION_DATASET, .schema = "ads", .name = "c"}, .key = "ads.c"},
    };
    struct pv_room room = {.name = "r", .datasets = datasets, .dataset_count = PV_COUNT_OF(datasets)};
    struct pv_buf buf = {0};

    (void) state;
    pv_views_search_path(&room, &buf);
    assert_string_equal(pv_buf_text(&buf), "pg_catalog, \"pgveil_r$public\", \"pgveil_r$ads\", \"pgveil_r$questions\"");
    pv_buf_clear(&buf);
}

/* ---- masks ---- */

static const struct pv_mask_context context = {"r", NULL, "Europe/Berlin", false};

static void
masks_fit_types_or_say_what_fits(void **state)
{
    static const struct {
        struct pv_mask mask;
        const char *base;
        enum pv_status status;
        const char *holds; /* a piece of the expression, or of the words */
    } rows[] = {
        {{.kind = PV_MASK_PLAIN}, "point", PV_OK, "\"Col \"\"1\""},
        {{.kind = PV_MASK_NULL}, "point", PV_OK, "NULL::point"},
        {{.kind = PV_MASK_CONSTANT, .constant = "it's"}, "text", PV_OK, "'it''s'::text"},
        {{.kind = PV_MASK_HASH}, "text", PV_OK, "convert_to("},
        {{.kind = PV_MASK_HASH}, "smallint", PV_OK, "::bit(64)::bigint"},
        {{.kind = PV_MASK_HASH}, "uuid", PV_OK, "'hex')::uuid"},
        {{.kind = PV_MASK_HASH}, "numeric", PV_OK, "numeric_send(trim_scale("},
        {{.kind = PV_MASK_HASH, .key_name = "team"}, "bytea", PV_OK, "'shared:team'"},
        {{.kind = PV_MASK_HASH}, "interval", PV_INVALID, "uuid"},
        {{.kind = PV_MASK_HASH}, "json", PV_INVALID, "uuid"},
        {{.kind = PV_MASK_HASH}, "text[]", PV_INVALID, "uuid"},
        {{.kind = PV_MASK_TRUNCATE_DATE, .unit = "week"}, "date", PV_OK, "date_trunc('week'"},
        {{.kind = PV_MASK_TRUNCATE_DATE, .unit = "day"}, "timestamp with time zone", PV_OK, "'Europe/Berlin'"},
        {{.kind = PV_MASK_TRUNCATE_DATE, .unit = "day"}, "text", PV_INVALID, "date and timestamp"},
        {{.kind = PV_MASK_BUCKET, .number = "10"}, "integer", PV_OK, "'-2147483648'"},
        {{.kind = PV_MASK_BUCKET, .number = "2.5"}, "integer", PV_INVALID, "whole numbers"},
        {{.kind = PV_MASK_BUCKET, .number = "2.5"}, "numeric", PV_OK, "'2.5'::numeric"},
        {{.kind = PV_MASK_BUCKET, .number = "2.5"}, "double precision", PV_OK, "'NaN'"},
        {{.kind = PV_MASK_BUCKET, .number = "10"}, "text", PV_INVALID, "number"},
        {{.kind = PV_MASK_ROUND, .digits = -2}, "bigint", PV_OK, "round("},
        {{.kind = PV_MASK_ROUND, .digits = 2}, "date", PV_INVALID, "number"},
        {{.kind = PV_MASK_PREFIX, .digits = 3}, "character varying", PV_OK, "left("},
        {{.kind = PV_MASK_SUFFIX, .digits = 4}, "text", PV_OK, "right("},
        {{.kind = PV_MASK_SUFFIX, .digits = 4}, "integer", PV_INVALID, "text"},
        {{.kind = PV_MASK_EMAIL_DOMAIN}, "text", PV_OK, "'***@'"},
        {{.kind = PV_MASK_EMAIL_DOMAIN}, "bytea", PV_INVALID, "text"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_column_type type = {.declared = rows[i].base, .full = rows[i].base, .base = rows[i].base};
        struct pv_buf buf = {0};
        const char *words = "";
        enum pv_status status = pv_mask_expression(&buf, &rows[i].mask, "Col \"1", &type, &context, &words);

        assert_int_equal(status, rows[i].status);
        if (strstr(status == PV_OK ? pv_buf_text(&buf) : words, rows[i].holds) == NULL)
            fail_msg("row %zu: %s", i, status == PV_OK ? pv_buf_text(&buf) : words);
        pv_buf_clear(&buf);
    }
}

/* mask.c, 4 */
static void
collations_of_a_room_are_alike(void **state)
{
    static const struct {
        bool is_alike, is_nondeterministic;
        enum pv_mask_kind kind;
        enum pv_status status;
        const char *sql; /* NULL: words are missing too, it is the collation */
    } rows[] = {
        {false, false, PV_MASK_PLAIN, PV_OK, "c"},
        {false, true, PV_MASK_PLAIN, PV_OK, "c"},
        {true, false, PV_MASK_PLAIN, PV_OK, "(c COLLATE \"default\")"},
        {true, true, PV_MASK_PLAIN, PV_INVALID, NULL},
        {false, false, PV_MASK_EMAIL_DOMAIN, PV_OK, "(CASE WHEN strpos(c::text,"},
        {false, true, PV_MASK_EMAIL_DOMAIN, PV_OK, "(CASE WHEN strpos((c COLLATE \"default\")::text,"},
        {true, true, PV_MASK_EMAIL_DOMAIN, PV_OK, "(CASE WHEN strpos((c COLLATE \"default\")::text,"},
        {true, false, PV_MASK_PREFIX, PV_OK, "(CASE WHEN length((c COLLATE \"default\")::text)"},
        {true, false, PV_MASK_SUFFIX, PV_OK, "(CASE WHEN length((c COLLATE \"default\")::text)"},
        {true, false, PV_MASK_HASH, PV_OK, "encode(sha256("},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_column_type type = {.declared = "text", .full = "text", .base = "text", .collation = "crm.de",
                                      .is_nondeterministic = rows[i].is_nondeterministic};
        struct pv_mask_context room = {"r", NULL, "UTC", rows[i].is_alike};
        struct pv_mask mask = {.kind = rows[i].kind, .digits = 2};
        struct pv_buf buf = {0};
        const char *words = "";

        assert_int_equal(pv_mask_expression(&buf, &mask, "c", &type, &room, &words), rows[i].status);
        if (rows[i].sql == NULL)
            assert_null(words);
        else
            assert_memory_equal(pv_buf_text(&buf), rows[i].sql, strlen(rows[i].sql));
        pv_buf_clear(&buf);
    }
}

static void
the_key_is_read_from_the_private_table(void **state)
{
    static const struct pv_mask_context with_pgcrypto = {"r", "ext", "UTC", false};
    struct pv_buf buf = {0};

    (void) state;
    pv_mask_hmac_sql(&buf, &with_pgcrypto, "hash", "x");
    assert_string_equal(pv_buf_text(&buf),
                        "ext.hmac(x, (SELECT s.key FROM \"pgveil_r$$private\".secret AS s WHERE s.name = 'hash'), 'sha256')");
    pv_buf_clear(&buf);
    pv_mask_hmac_sql(&buf, &context, "hash", "x");
    assert_string_equal(pv_buf_text(&buf),
                        "sha256((SELECT s.opad FROM \"pgveil_r$$private\".secret AS s WHERE s.name = 'hash') || "
                        "sha256((SELECT s.ipad FROM \"pgveil_r$$private\".secret AS s WHERE s.name = 'hash') || x))");
    pv_buf_clear(&buf);
}

static void
secrets_are_padded_for_hmac_and_hidden_when_shown(void **state)
{
    static const uint8_t key[PV_SECRET_BYTES] = {0x01, 0xFF};
    struct pv_buf buf = {0};

    (void) state;
    pv_views_secret_sql(&buf, "r", "hash", pv_slice_of(key, sizeof(key)), false);
    assert_non_null(strstr(pv_buf_text(&buf), "'\\x01ff0000"));
    assert_non_null(strstr(pv_buf_text(&buf), "'\\x37c93636"));
    assert_non_null(strstr(pv_buf_text(&buf), "'\\x5da35c5c"));
    pv_buf_clear(&buf);
    pv_views_secret_sql(&buf, "r", "hash", pv_slice_of(key, sizeof(key)), true);
    assert_null(strstr(pv_buf_text(&buf), "01ff"));
    assert_non_null(strstr(pv_buf_text(&buf), "'\\x***'"));
    pv_buf_clear(&buf);
}

/* ---- identity ---- */

static void
identity_is_signed_for_one_process(void **state)
{
    static const char *const countries[] = {"US", "O'Br\"ien"};
    static const char *const tier[] = {"gold"};
    static const struct pv_attribute attributes[] = {
        {.name = "tier", .values = tier, .value_count = 1},
        {.name = "countries", .is_list = true, .values = countries, .value_count = 2},
    };
    static const uint8_t key[PV_SECRET_BYTES] = {0};
    struct pv_room room = {.name = "r"};
    struct pv_buf buf = {0}, other = {0};

    (void) state;
    assert_int_equal(pv_identity_sql(&room, "alice", attributes, 2, 4711, pv_slice_of(key, sizeof(key)), &buf), PV_OK);
    /* The MAC by: printf '4711:{...}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00...00 */
    assert_string_equal(
        pv_buf_text(&buf),
        "SELECT pg_catalog.set_config('pgveil.identity', "
        "'{\"a\":{\"countries\":[\"US\",\"O''Br\\\"ien\"],\"tier\":\"gold\"},\"u\":\"alice\"}', false), "
        "pg_catalog.set_config('pgveil.identity_mac', "
        "'b9b32994d15bb54515cbd3d67f3e5c0c3329836dd796bd94d128eb14af93ddd8', false)");
    assert_int_equal(pv_identity_sql(&room, "alice", attributes, 2, 4712, pv_slice_of(key, sizeof(key)), &other), PV_OK);
    assert_string_not_equal(pv_buf_text(&buf), pv_buf_text(&other));
    pv_buf_clear(&other);
    assert_int_equal(pv_identity_sql(&room, "alice", NULL, 0, 1, pv_slice_of(key, 31), &other), PV_INVALID);
    assert_int_equal(pv_identity_sql(&room, "al\xFF", NULL, 0, 1, pv_slice_of(key, 32), &other), PV_INVALID);
    assert_int_equal(pv_buf_len(&other), 0);
    pv_buf_clear(&buf);
}

/* ---- views ---- */

static void
a_view_masks_filters_and_quotes(void **state)
{
    static const struct pv_column columns[] = {
        {.name = "id", .category = 3, .mask = {.kind = PV_MASK_HASH}},
        {.name = "secret", .category = 2, .mask = {.kind = PV_MASK_OMIT}},
        {.name = "Region", .category = 1},
    };
    static const struct pv_source_column found[] = {
        {"id", {"integer", "integer", "integer", false, false, NULL, false}},
        {"secret", {"text", "text", "text", false, false, NULL, false}},
        {"Region", {"text", "text", "text", false, false, NULL, false}},
    };
    static const struct pv_attribute_type types[] = {{"text", true, false}};
    static const struct pv_attribute_type unknown[] = {{"point", false, false}};
    struct pv_dataset dataset = {.relation = {.kind = PV_RELATION_DATASET, .schema = "public", .name = "people"},
                                 .key = "public.people", .source_schema = "crm", .source_name = "People",
                                 .row_filter = "\"Region\" = ANY (:regions) AND secret <> '$1 :x'",
                                 .columns = columns, .column_count = PV_COUNT_OF(columns)};
    struct pv_room room = {.name = "r", .timezone = "UTC", .datasets = &dataset, .dataset_count = 1};
    struct pv_source source = {found, PV_COUNT_OF(found), types, 1};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_row_filter filter;
    struct pv_made made;
    const char *words = "";

    (void) state;
    assert_non_null(arena);
    assert_int_equal(pv_views_row_filter(arena, &dataset, &filter, &words), PV_OK);
    assert_int_equal(filter.attributes.count, 1);
    assert_string_equal(filter.attributes.names[0], "regions");
    assert_int_equal(filter.columns.count, 2);
    assert_string_equal(filter.columns.names[0], "Region");
    assert_string_equal(filter.columns.names[1], "secret");

    assert_int_equal(pv_views_dataset(arena, &room, &dataset, &source, &context, &made, &words), PV_OK);
    assert_string_equal(made.schema, "pgveil_r$public");
    assert_int_equal(strlen(made.mark), 64);
    assert_non_null(strstr(made.create, "CREATE VIEW \"pgveil_r$public\".people WITH (security_barrier) AS SELECT "));
    assert_non_null(strstr(made.create, "\"Region\" AS \"Region\" FROM crm.\"People\" WHERE "));
    assert_non_null(strstr(made.create, " IS NOT NULL AND ("));
    assert_non_null(strstr(made.create, "'$1 :x'"));
    assert_null(strstr(made.create, "AS secret"));

    source.attribute_types = unknown;
    assert_int_equal(pv_views_dataset(arena, &room, &dataset, &source, &context, &made, &words), PV_INVALID);
    assert_non_null(strstr(words, ":regions"));
    source.attribute_types = types;
    source.column_count = 2;
    assert_int_equal(pv_views_dataset(arena, &room, &dataset, &source, &context, &made, &words), PV_INVALID);
    assert_non_null(strstr(words, "no column \"Region\""));
    pv_arena_free(arena);
}

static void
a_failing_allocation_is_a_status(void **state)
{
    struct pv_room room = {.name = "r", .timezone = "UTC"};
    bool is_done = false;

    (void) state;
    for (long nth = 1; !is_done; nth += nth < 50 ? 1 : 997) {
        struct pv_arena *arena = pv_arena_new(0);
        struct pv_made *made = NULL;
        size_t count = 0;
        enum pv_status status;

        assert_non_null(arena);
        pv_alloc_fail_at(nth);
        status = pv_catalog_views(arena, &room, &made, &count);
        pv_alloc_fail_at(0);
        is_done = status == PV_OK;
        assert_true(is_done || status == PV_NOMEM);
        pv_arena_free(arena);
    }
}

/* ---- catalogs ---- */

static void
catalogs_are_found_or_missing(void **state)
{
    static const char *const missing[] = {"pg_authid",  "pg_shadow", "pg_statistic",     "pg_stats", "pg_hba_file_rules",
                                          "pg_largeobject", "pg_file_settings", "pg_statistic_ext_data",
                                          "pg_user_mapping", "pgveil_space", "pgveil_me", "is_tables"};
    char schema[PV_VIEWS_NAME_SIZE];

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(missing); i++)
        assert_null(pv_catalog_find(NULL, missing[i]));
    assert_non_null(pv_catalog_find(NULL, "pg_class"));
    assert_ptr_equal(pv_catalog_find("pg_catalog", "pg_class"), pv_catalog_find(NULL, "pg_class"));
    assert_null(pv_catalog_find("public", "pg_class"));
    assert_null(pv_catalog_find(NULL, "tables"));
    assert_string_equal(pv_catalog_find("information_schema", "tables")->physical_name, "is_tables");
    pv_catalog_schema(pv_catalog_find(NULL, "pg_class"), "r", schema);
    assert_string_equal(schema, "pgveil_r$$catalog");
    pv_catalog_schema(pv_catalog_find(NULL, "pg_timezone_names"), "r", schema);
    assert_string_equal(schema, "pg_catalog");
    pv_catalog_schema(pv_catalog_find("information_schema", "sql_features"), "r", schema);
    assert_string_equal(schema, "information_schema");
}

static void
every_catalog_has_columns(void **state)
{
    struct pv_room room = {.name = "r", .timezone = "UTC"};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_made *made = NULL;
    size_t count = 0;

    (void) state;
    assert_int_equal(pv_catalog_views(arena, &room, &made, &count), PV_OK);
    assert_true(count > pv_catalog_count());
    for (size_t i = 0; i < count; i++) {
        assert_null(strstr(made[i].create, "{cat}"));
        assert_true(made[i].layer >= 100 && made[i].is_readable);
        if (made[i].kind == PV_MADE_VIEW)
            assert_non_null(strstr(made[i].create, "WITH (security_barrier)"));
    }
    for (size_t i = 0; i < pv_catalog_count(); i++) {
        const struct pv_catalog_relation *row = pv_catalog_at(i);
        struct pv_buf name = {0};

        pv_buf_printf(&name, "%s.%s", row->relation.schema, row->relation.name);
        assert_non_null(pv_catalog_column_list(pv_buf_text(&name)));
        pv_buf_clear(&name);
    }
    pv_arena_free(arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_short_and_apart),
        cmocka_unit_test(search_path_begins_with_the_system),
        cmocka_unit_test(masks_fit_types_or_say_what_fits),
        cmocka_unit_test(collations_of_a_room_are_alike),
        cmocka_unit_test(the_key_is_read_from_the_private_table),
        cmocka_unit_test(secrets_are_padded_for_hmac_and_hidden_when_shown),
        cmocka_unit_test(identity_is_signed_for_one_process),
        cmocka_unit_test(a_view_masks_filters_and_quotes),
        cmocka_unit_test(a_failing_allocation_is_a_status),
        cmocka_unit_test(catalogs_are_found_or_missing),
        cmocka_unit_test(every_catalog_has_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
