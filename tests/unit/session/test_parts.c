/* Pieces of the engine by themselves: search_path texts, what is cut out of a server's words, options, the server's login. */
#include "harness.h"

#include "proxy/session/backend.h"

static void
test_path_split(void **state)
{
    static const struct {
        const char *text, *joined; /* NULL: refused */
    } rows[] = {
        {"", ""},
        {"public", "public|"},
        {" Public , ADS", "public|ads|"},
        {"\"Mixed \"\"Name\", x", "Mixed \"Name|x|"},
        {"\"$user\", public", "$user|public|"},
        {"\"My Sch\",\"\", b", "My Sch|b|"},
        {"\"open", NULL},
        {"a b", NULL},
        {",", NULL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_arena *arena = pv_arena_new(0);
        struct pv_names path;
        char joined[128] = "";
        enum pv_status status = pv_track_path_split(arena, rows[i].text, &path);

        assert_int_equal(status, rows[i].joined == NULL ? PV_INVALID : PV_OK);
        for (size_t j = 0; status == PV_OK && j < path.count; j++) {
            strcat(joined, path.names[j]);
            strcat(joined, "|");
        }
        if (rows[i].joined != NULL)
            assert_string_equal(joined, rows[i].joined);
        pv_arena_free(arena);
    }
}

static void
test_scrub(void **state)
{
    static const struct {
        const char *text, *shown; /* NULL: the text cannot be shown */
    } rows[] = {
        {"nothing here", "nothing here"},
        {"relation \"pgveil_room$public.orders\"", "relation \"public.orders\""},
        {"pgveil_a$x and pgveil_b$y", "x and y"},
        {"role \"pgveil_room_login\"", NULL},
        {"ends in pgveil_", NULL},
        {"", ""},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_arena *arena = pv_arena_new(0);
        const char *shown = pv_result_scrub(arena, pv_slice_cstr(rows[i].text));

        if (rows[i].shown == NULL)
            assert_null(shown);
        else
            assert_string_equal(shown, rows[i].shown);
        pv_arena_free(arena);
    }
}

static char taken[256];

static enum pv_status
take(struct pv_session *s, const char *name, const char *value)
{
    (void) s;
    strcat(strcat(strcat(strcat(taken, name), "="), value), "|");
    return PV_OK;
}

static void
test_options(void **state)
{
    static const struct {
        const char *text, *taken; /* NULL: refused */
    } rows[] = {
        {"", ""},
        {"-c a=b", "a=b|"},
        {"-ca=b --c-d=e", "a=b|c_d=e|"},
        {"-c a=x\\ y\\\\z", "a=x y\\z|"},
        {"  -c\ta=b  ", "a=b|"},
        {"-c a=", "a=|"},
        {"-c", NULL},
        {"-c =b", NULL},
        {"-c ab", NULL},
        {"-d 5", NULL},
        {"a=b", NULL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct stage stage;

        stage_open(&stage);
        taken[0] = '\0';
        assert_int_equal(pv_startup_options(stage.session, pv_slice_cstr(rows[i].text), take),
                         rows[i].taken == NULL ? PV_INVALID : PV_OK);
        if (rows[i].taken != NULL)
            assert_string_equal(taken, rows[i].taken);
        stage_close_all(&stage);
    }
}

/* What a server may say to end a login, and how it is told. */
static void
test_backend_refusals(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum pv_status status;
        const char *sqlstate, *words;
    } rows[] = {
        {"R\0\0\0\10\0\0\0\3", 9, PV_AUTH, "", "clear text"},
        {"R\0\0\0\14\0\0\0\5abcd", 13, PV_AUTH, "", "MD5"},
        {"R\0\0\0\10\0\0\0\7", 9, PV_AUTH, "", "do not speak"},
        {"E\0\0\0\24C28P01\0Mno\033way\0\0", 0, PV_AUTH, "28P01", "no?way"},
        {"E\0\0\0\17C57P03\0Mx\0\0", 0, PV_CLOSED, "57P03", "x"},
        {"R\0\0\0\27\0\0\0\12SCRAM-SHA-256\0\0", 24, PV_AUTH, "", "none is configured"},
        {"Z\0\0\0\5I", 6, PV_PROTOCOL, "", "malformed"},
        {"?", 5, PV_PROTOCOL, "", "malformed"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_backend_options options = {.user = "u", .dbname = "d"};
        struct pv_backend_login *login = pv_backend_login_new(&options);
        struct pv_buf out = {0};
        size_t used = 0, len = rows[i].len;

        assert_non_null(login);
        if (len == 0)
            len = 1u + (uint8_t) rows[i].bytes[4];
        assert_int_equal(pv_backend_login_feed(login, pv_slice_of(NULL, 0), &used, &out), PV_MORE);
        assert_true(pv_buf_len(&out) > 8);
        assert_int_equal(pv_backend_login_feed(login, pv_slice_of(rows[i].bytes, len), &used, &out), rows[i].status);
        assert_string_equal(pv_backend_login_sqlstate(login), rows[i].sqlstate);
        assert_non_null(strstr(pv_backend_login_error(login), rows[i].words));
        pv_backend_login_free(login);
        pv_buf_clear(&out);
    }
}

/* Our two sides of SCRAM against each other; then the server's parameters, in pieces of one byte. */
static void
test_backend_login(void **state)
{
    static const char tail[] = "R\0\0\0\10\0\0\0\0S\0\0\0\10a\0b\0K\0\0\0\14\0\0\22\147abcdZ\0\0\0\5I";
    static const char *const parameters[] = {"search_path", "pg_catalog"};
    struct pv_backend_options options = {
        .user = "u", .dbname = "d", .password = "secret", .parameters = parameters, .parameter_count = 1};
    struct pv_backend_login *login = pv_backend_login_new(&options);
    static const char *const mechanisms[] = {PV_SCRAM_MECHANISM};
    struct pv_scram_verifier verifier;
    struct pv_scram_server *server;
    struct pv_msg_sasl_initial initial;
    struct pv_msg_auth auth = {PV_AUTH_SASL_CONTINUE, {NULL, 0}};
    struct pv_buf out = {0}, in = {0}, answer = {0};
    struct pv_frame frame;
    size_t used = 0;
    enum pv_status status = PV_MORE;

    (void) state;
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("secret"), 4096, pv_slice_of("0123456789abcdef", 16), &verifier),
                     PV_OK);
    assert_int_equal(pv_scram_server_new(&verifier, pv_slice_of(NULL, 0), &server), PV_OK);
    assert_int_equal(pv_msg_auth_sasl_write(&in, mechanisms, 1), PV_OK);
    assert_int_equal(pv_backend_login_feed(login, pv_slice_of(NULL, 0), &used, &out), PV_MORE);
    pv_buf_clear(&out);
    assert_int_equal(pv_backend_login_feed(login, pv_buf_slice(&in), &used, &out), PV_MORE);
    assert_int_equal(used, pv_buf_len(&in));
    assert_int_equal(pv_frame_next(pv_buf_slice(&out), PV_FRAME_AUTH, 0, &frame), PV_OK);
    assert_int_equal(pv_msg_sasl_initial_read(frame.body, &initial), PV_OK);
    assert_int_equal(pv_scram_server_first(server, initial.mechanism, initial.data, &answer), PV_OK);
    pv_buf_clear(&in);
    pv_buf_clear(&out);
    auth.data = pv_buf_slice(&answer);
    assert_int_equal(pv_msg_auth_write(&in, &auth), PV_OK);
    pv_buf_clear(&answer);
    assert_int_equal(pv_backend_login_feed(login, pv_buf_slice(&in), &used, &out), PV_MORE);
    assert_int_equal(pv_frame_next(pv_buf_slice(&out), PV_FRAME_AUTH, 0, &frame), PV_OK);
    assert_int_equal(pv_scram_server_final(server, frame.body, &answer), PV_OK);
    pv_buf_clear(&in);
    auth.kind = PV_AUTH_SASL_FINAL;
    auth.data = pv_buf_slice(&answer);
    assert_int_equal(pv_msg_auth_write(&in, &auth), PV_OK);
    pv_buf_put(&in, tail, sizeof(tail) - 1);
    for (size_t len = 1; status == PV_MORE && len <= pv_buf_len(&in); len++) {
        status = pv_backend_login_feed(login, pv_slice_of(pv_buf_slice(&in).data, len), &used, &out);
        pv_buf_consume(&in, used);
        len = used > 0 ? 0 : len;
    }
    assert_int_equal(status, PV_OK);
    assert_int_equal(pv_backend_pid(login), 4711);
    assert_true(pv_slice_is(pv_backend_key(login), "abcd"));
    assert_int_equal(pv_backend_parameter_count(login), 1);
    assert_string_equal(pv_backend_parameter_name(login, 0), "a");
    assert_string_equal(pv_backend_parameter_value(login, 0), "b");
    pv_backend_login_free(login);
    pv_scram_server_free(server);
    pv_buf_clear(&in);
    pv_buf_clear(&out);
    pv_buf_clear(&answer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_split),       cmocka_unit_test(test_scrub),
        cmocka_unit_test(test_options),          cmocka_unit_test(test_backend_refusals),
        cmocka_unit_test(test_backend_login),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
