/* Sessions at rest: what they keep, what keeps them whole, and how they end. Invariants of session_fold.c. */
#include "harness.h"

static void
login(struct stage *stage)
{
    stage_login_as(stage, PV_PROTOCOL_3_0, false);
    stage_rest(stage);
    assert_int_equal(stage->folds > 0, true);
    stage_forget(stage);
}

static void
query(struct stage *stage, const char *text)
{
    struct pv_buf out = {0};

    assert_int_equal(pv_msg_text_write(&out, PV_CLIENT_QUERY, pv_slice_cstr(text)), PV_OK);
    pv_session_client_bytes(stage->session, stage->now_us, pv_buf_slice(&out));
    pv_session_rest(stage->session);
    pv_buf_clear(&out);
}

static void
test_what_is_left(void **state)
{
    struct stage stage;
    struct pv_session_glance glance;

    (void) state;
    login(&stage);
    stage.now_us += 5;
    assert_true(pv_session_fold(&stage.session));
    assert_true(pv_session_fold(&stage.session));
    pv_session_look(stage.session, &glance);
    assert_string_equal(glance.user, "alice");
    assert_string_equal(glance.room, "room");
    assert_string_equal(glance.party, "acme");
    assert_string_equal(glance.client, "10.0.0.1:5");
    assert_string_equal(glance.state, "idle");
    assert_int_equal(glance.query.len, 0);
    assert_true(pv_session_is_at_rest(stage.session));
    assert_string_equal(pv_session_user(stage.session), "alice");
    assert_true(pv_session_quiet_us(stage.session) < stage.now_us);
    assert_int_equal(pv_session_unfold(&stage.session), PV_OK);
    assert_int_equal(pv_session_unfold(&stage.session), PV_OK);
    /* The member is the session's own copy, wherever that lies. */
    assert_ptr_equal(stage.session->member, &stage.session->own_member);
    assert_string_equal(stage.session->member->user, "alice");
    query(&stage, "SELECT 1");
    assert_true(pv_buf_len(&stage.server) > 0);
    stage_close_all(&stage);
}

static void
test_what_keeps_it_whole(void **state)
{
    struct stage stage;

    (void) state;
    stage_open(&stage);
    assert_false(pv_session_fold(&stage.session)); /* logging in */
    stage_close_all(&stage);
    login(&stage);
    query(&stage, "SELECT 1");
    assert_false(pv_session_fold(&stage.session)); /* a reply is due */
    stage_close_all(&stage);
    login(&stage);
    pv_session_client_bytes(stage.session, stage.now_us, pv_slice_of("Q", 1));
    pv_session_rest(stage.session);
    assert_false(pv_session_fold(&stage.session)); /* half a message */
    stage_close_all(&stage);
    login(&stage);
    pv_session_server_bytes(stage.session, stage.now_us, pv_slice_of("N", 1));
    pv_session_rest(stage.session);
    assert_false(pv_session_fold(&stage.session)); /* likewise */
    stage_close_all(&stage);
    login(&stage);
    pv_session_drain(stage.session, stage.now_us);
    assert_false(pv_session_fold(&stage.session)); /* it has ended */
    stage_close_all(&stage);
}

static void
test_without_memory(void **state)
{
    struct stage stage;

    (void) state;
    login(&stage);
    pv_alloc_fail_at(1);
    assert_false(pv_session_fold(&stage.session)); /* stays as it is */
    assert_true(pv_session_fold(&stage.session));
    pv_alloc_fail_at(1);
    assert_int_equal(pv_session_unfold(&stage.session), PV_NOMEM);
    stage_close_all(&stage); /* a folded one can end */
}

/* The login's leavings are packed; without memory for that they stay as they are. */
static void
test_login_without_memory(void **state)
{
    (void) state;
    for (long nth = 1; nth < 12; nth++) {
        struct stage stage;

        login(&stage);
        pv_alloc_fail_at(nth);
        pv_session_login_done(stage.session);
        pv_alloc_fail_at(0);
        assert_string_equal(stage.session->user, "alice");
        assert_string_equal(stage.session->login_user, "alice");
        assert_string_equal(stage.session->room_name, "room");
        assert_string_equal(stage.session->member->user, "alice");
        assert_int_equal(stage.session->setting_count, 1);
        assert_string_equal(stage.session->settings[0].name, "application_name");
        assert_string_equal(stage.session->settings[0].value, "app");
        stage_close_all(&stage);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_left),
        cmocka_unit_test(test_what_keeps_it_whole),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_login_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
