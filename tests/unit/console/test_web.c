/* What may come in to the page, what it is made of, and texts that are no UTF-8; requests whole are tests/integration's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/console/console_int.h"

static void
hosts(void **state)
{
    static const struct {
        const char *host;
        bool is_own;
    } rows[] = {
        {"localhost", true},         {"LocalHost:80", true},        {"127.0.0.1", true},
        {"127.0.0.1:65535", true},   {"[::1]", true},               {"[::1]:1", true},
        {"127.0.0.9", true},         {"127.0.0.9:6480", true},      {"", false},
        {":80", false},              {"localhost:", true},          {"localhost:80x", false},
        {"localhost.", false},       {"localhost.evil", false},     {"evil.localhost", false},
        {"127.0.0.1.evil", false},   {"127.0.0.2", false},          {"[::1]x", false},
        {"[::1", false},             {"::1", false},                {"[::2]", false},
        {"localhost:1:2", false},    {"a@localhost", false},        {"localhost/", false},
        {"localhos", false},         {"localhost\t", false},        {"[", false},
    };
    char host[] = "127.0.0.9";
    const struct pv_console console = {.host = host};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        if (pv_web_is_own_host(&console, rows[i].host) != rows[i].is_own)
            fail_msg("%s", rows[i].host);
}

static void
assets(void **state)
{
    static const char *const paths[] = {"/",          "/console.css", "/icon.svg", "/console.js", "/dom.js",
                                        "/charts.js", "/views.js",    "/log.js",   "/chart.js",   "/chart.LICENSE"};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(paths); i++) {
        const struct pv_asset *asset = pv_asset_find(paths[i]);

        assert_non_null(asset);
        assert_true(asset->end > asset->start + 100);
        assert_true(pv_utf8_valid(pv_slice_of(asset->start, (size_t) (asset->end - asset->start))));
    }
    assert_null(pv_asset_find(""));
    assert_null(pv_asset_find("/index.html"));
    assert_null(pv_asset_find("//"));
    /* The library's own notice stays with it, and its licence beside it. */
    assert_non_null(memmem(pv_asset_find("/chart.js")->start, 400, "MIT License", 11));
    assert_non_null(strstr((const char *) pv_asset_find("/chart.LICENSE")->start, "Permission is hereby granted"));
}

/* Nothing in the page's own files asks the browser for markup from text, or for anything from elsewhere. */
static void
the_page_makes_no_markup_from_text(void **state)
{
    static const char *const paths[] = {"/", "/console.js", "/dom.js", "/charts.js", "/views.js", "/log.js"};
    static const char *const words[] = {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                                        "new Function", "javascript:", "https://", "onclick=", "style="};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(paths); i++) {
        const struct pv_asset *asset = pv_asset_find(paths[i]);

        for (size_t k = 0; k < PV_COUNT_OF(words); k++)
            if (memmem(asset->start, (size_t) (asset->end - asset->start), words[k], strlen(words[k])) != NULL)
                fail_msg("%s: %s", paths[i], words[k]);
    }
}

static void
texts(void **state)
{
    static const struct {
        struct pv_slice bytes;
        const char *json;
    } rows[] = {
        {{(const uint8_t *) "", 0}, "\"\""},
        {{NULL, 0}, "\"\""},
        {{(const uint8_t *) "a\"\\\n", 4}, "\"a\\\"\\\\\\n\""},
        {{(const uint8_t *) "\xc3\xbc", 2}, "\"\xc3\xbc\""},
        {{(const uint8_t *) "x\xff\x01y", 4}, "\"x\\\\xFF\\\\x01y\""},
        {{(const uint8_t *) "a\0b", 3}, "\"a\\\\x00b\""},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        json_t *text = pv_console_text(rows[i].bytes);
        struct pv_buf out = {0};

        assert_non_null(text);
        assert_true(pv_console_dump(text, &out));
        assert_string_equal(pv_buf_text(&out), rows[i].json);
        json_decref(text);
        pv_buf_clear(&out);
    }
}

static void
a_dump_may_find_no_memory(void **state)
{
    json_t *object = json_pack("{s:s}", "error", "words");
    struct pv_buf out = {0};

    (void) state;
    pv_alloc_fail_at(1);
    assert_false(pv_console_dump(object, &out));
    pv_alloc_fail_at(0);
    pv_buf_clear(&out);
    assert_false(pv_console_dump(NULL, &out));
    pv_buf_clear(&out);
    json_decref(object);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(assets),
        cmocka_unit_test(the_page_makes_no_markup_from_text),
        cmocka_unit_test(texts),
        cmocka_unit_test(a_dump_may_find_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
