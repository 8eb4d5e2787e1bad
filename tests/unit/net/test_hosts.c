#include "net_fixture.h"

#include "proxy/net/hosts.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static struct pv_address
address_of(const char *text)
{
    struct pv_address address = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *) &address.storage;

    in->sin_family = AF_INET;
    in->sin_port = htons(5432);
    assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
    return address;
}

static struct pv_choice *
choose(struct pv_hosts *hosts, enum pv_session_attrs attrs, enum pv_balance balance)
{
    const struct pv_upstream upstream = {.session_attrs = attrs, .balance = balance};
    const struct pv_candidate candidates[] = {
        {address_of("10.0.0.1"), 0}, {address_of("10.0.0.2"), 1}, {address_of("10.0.0.3"), 2}};
    struct pv_choice *choice = pv_choice_new(hosts, &upstream, candidates, PV_COUNT_OF(candidates));

    assert_non_null(choice);
    assert_int_equal(pv_choice_count(choice), PV_COUNT_OF(candidates));
    return choice;
}

/*
 * One connection: `world` says of each server what it is: + a primary, - a standby, x dead. Gives the servers tried, by
 * number, and the one that served behind a =.
 */
static const char *
connect_once(struct pv_hosts *hosts, enum pv_session_attrs attrs, const char *world)
{
    static char trace[32];
    struct pv_choice *choice = choose(hosts, attrs, PV_BALANCE_DISABLE);
    const struct pv_candidate *at;
    enum pv_session_attrs wanted;
    size_t len = 0;
    bool is_served = false;

    while (!is_served && (at = pv_choice_next(choice, &wanted)) != NULL) {
        const struct pv_server_kind kind = {.is_known = true, .is_standby = world[at->host] == '-'};
        bool is_dead = world[at->host] == 'x';

        assert_true(len < sizeof(trace) - 4);
        trace[len++] = (char) ('1' + at->host);
        is_served = !is_dead && pv_hosts_mismatch(wanted, &kind) == NULL;
        (void) pv_choice_note(choice, is_served ? PV_HOST_GOOD : is_dead ? PV_HOST_FAILED : PV_HOST_MISMATCH);
    }
    if (is_served)
        trace[len++] = '=';
    trace[len] = '\0';
    pv_choice_free(choice);
    return trace;
}

struct step {
    const char *world, *trace; /* NULL: nothing is remembered any more */
};

static void
play(enum pv_session_attrs attrs, const struct step *steps, size_t count)
{
    struct pv_hosts *hosts = pv_hosts_new();

    assert_non_null(hosts);
    for (size_t i = 0; i < count; i++) {
        if (steps[i].world == NULL) {
            pv_hosts_free(hosts);
            hosts = pv_hosts_new();
            assert_non_null(hosts);
            continue;
        }
        assert_string_equal(connect_once(hosts, attrs, steps[i].world), steps[i].trace);
    }
    pv_hosts_free(hosts);
}

static void
test_order_and_memory(void **state)
{
    static const struct step any[] = {
        {"+--", "1="}, {"x--", "12="}, {"x--", "2="}, {"xx-", "23="}, {"xx-", "3="},
        /* Nothing is left out. */
        {"+xx", "31="}, {"+xx", "1="}, {"xxx", "123"}, {"xx-", "123="}, {"xx-", "3="}};
    static const struct step primary[] = {
        {"-+-", "12="}, {"-+-", "2="},
        /* Before the promotion nobody serves; after it the new one is found by the first who asks. */
        {"-x-", "231"}, {"-x-", "132"}, {"-x+", "13="}, {"-x+", "3="}, {"-x+", "3="}};
    static const struct step standby[] = {{"+--", "12="}, {"+--", "2="}, {"+x-", "23="}, {"+xx", "312"}, {"-xx", "1="}};
    static const struct step prefer[] = {
        {"+--", "12="}, {"+--", "2="}, {"+xx", "231="}, {"+xx", "1="}, {"+xx", "1="}, {"xxx", "123"}, {"xxx", "123"},
        {NULL, NULL}, {"+++", "1231="}, {"+++", "1="}};

    (void) state;
    play(PV_ATTRS_ANY, any, PV_COUNT_OF(any));
    play(PV_ATTRS_PRIMARY, primary, PV_COUNT_OF(primary));
    play(PV_ATTRS_STANDBY, standby, PV_COUNT_OF(standby));
    play(PV_ATTRS_PREFER_STANDBY, prefer, PV_COUNT_OF(prefer));
}

static void
test_what_is_known_grows_old_for_one_at_a_time(void **state)
{
    struct pv_hosts *hosts = pv_hosts_new();
    const int64_t usual_us = pv_hosts_memory_us;
    const struct pv_address first = address_of("10.0.0.1");
    struct pv_choice *one, *two;
    enum pv_session_attrs wanted;

    (void) state;
    assert_non_null(hosts);
    pv_hosts_memory_us = 0;
    assert_string_equal(connect_once(hosts, PV_ATTRS_ANY, "x++"), "12=");
    assert_int_equal(pv_hosts_failures(hosts), 1);
    assert_int_equal(pv_hosts_state(hosts, &first, PV_ATTRS_ANY), PV_HOST_GOOD);
    pv_hosts_memory_us = usual_us;
    /* The time is over: one tries it again, and until that one knows the others do not. */
    one = choose(hosts, PV_ATTRS_ANY, PV_BALANCE_DISABLE);
    assert_int_equal(pv_choice_next(one, &wanted)->host, 0);
    two = choose(hosts, PV_ATTRS_ANY, PV_BALANCE_DISABLE);
    assert_int_equal(pv_choice_next(two, &wanted)->host, 1);
    assert_int_equal(pv_hosts_state(hosts, &first, PV_ATTRS_ANY), PV_HOST_FAILED);
    /* Another's wishes are another matter. */
    assert_int_equal(pv_hosts_state(hosts, &first, PV_ATTRS_STANDBY), PV_HOST_GOOD);
    assert_true(pv_choice_note(one, PV_HOST_GOOD));
    assert_int_equal(pv_hosts_state(hosts, &first, PV_ATTRS_ANY), PV_HOST_GOOD);
    assert_false(pv_choice_note(two, PV_HOST_GOOD));
    pv_choice_free(one);
    pv_choice_free(two);
    pv_hosts_free(hosts);
}

static void
test_the_default_is_remembered(void **state)
{
    struct pv_hosts *hosts = pv_hosts_new();
    const int64_t usual_us = pv_hosts_memory_us;
    const struct pv_address first = address_of("10.0.0.1"), second = address_of("10.0.0.2");
    bool is_read_only = false;

    (void) state;
    assert_non_null(hosts);
    assert_false(pv_hosts_default(hosts, &first, &is_read_only));
    pv_hosts_note_default(hosts, &first, true);
    assert_true(pv_hosts_default(hosts, &first, &is_read_only));
    assert_true(is_read_only);
    assert_false(pv_hosts_default(hosts, &second, &is_read_only));
    /* It says nothing against it. */
    assert_int_equal(pv_hosts_state(hosts, &first, PV_ATTRS_READ_WRITE), PV_HOST_GOOD);
    pv_hosts_memory_us = -1;
    pv_hosts_note_default(hosts, &first, false);
    pv_hosts_memory_us = usual_us;
    assert_false(pv_hosts_default(hosts, &first, &is_read_only));
    pv_hosts_free(hosts);
}

static void
test_who_matches(void **state)
{
    static const struct {
        enum pv_session_attrs attrs;
        bool matches[4]; /* a primary, one that is read-only by default, a standby, one that does not say */
    } rows[] = {
        {PV_ATTRS_ANY, {true, true, true, true}},          {PV_ATTRS_READ_WRITE, {true, false, false, false}},
        {PV_ATTRS_READ_ONLY, {false, true, true, false}},  {PV_ATTRS_PRIMARY, {true, true, false, false}},
        {PV_ATTRS_STANDBY, {false, false, true, false}},   {PV_ATTRS_PREFER_STANDBY, {false, false, true, false}},
    };
    static const struct pv_server_kind kinds[] = {
        {.is_known = true}, {.is_known = true, .is_read_only = true}, {.is_known = true, .is_standby = true}, {0}};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        for (size_t j = 0; j < PV_COUNT_OF(kinds); j++)
            assert_int_equal(pv_hosts_mismatch(rows[i].attrs, &kinds[j]) == NULL, rows[i].matches[j]);
}

static void
test_balanced_ones_take_turns(void **state)
{
    struct pv_hosts *hosts = pv_hosts_new();
    const struct pv_address first = address_of("10.0.0.1");
    unsigned counts[3] = {0};
    enum pv_session_attrs wanted;

    (void) state;
    assert_non_null(hosts);
    for (unsigned i = 0; i < 300; i++) {
        struct pv_choice *choice = choose(hosts, PV_ATTRS_ANY, PV_BALANCE_RANDOM);

        counts[pv_choice_next(choice, &wanted)->host]++;
        pv_choice_free(choice);
    }
    /* Each in a hundred of expected ones; none in thirty is less likely than one in ten to the twenty. */
    assert_true(counts[0] > 30 && counts[1] > 30 && counts[2] > 30);
    /* One that failed is nobody's first. */
    assert_true(pv_hosts_note(hosts, &first, PV_ATTRS_ANY, PV_HOST_FAILED));
    for (unsigned i = 0; i < 50; i++) {
        struct pv_choice *choice = choose(hosts, PV_ATTRS_ANY, PV_BALANCE_RANDOM);

        assert_int_not_equal(pv_choice_next(choice, &wanted)->host, 0);
        pv_choice_free(choice);
    }
    pv_hosts_free(hosts);
}

static void
test_addresses_are_told(void **state)
{
    struct pv_address path = {.storage = {.ss_family = AF_UNIX}, .len = sizeof(path.storage)};
    struct pv_address first = address_of("10.0.0.1");
    char text[PV_ADDRESS_TEXT_SIZE];

    (void) state;
    pv_address_print(&first, text);
    assert_string_equal(text, "10.0.0.1");
    pv_address_print(&path, text);
    assert_string_equal(text, "");
}

static void
test_out_of_memory(void **state)
{
    const struct pv_upstream upstream = {.session_attrs = PV_ATTRS_ANY};
    const struct pv_candidate candidate = {address_of("10.0.0.1"), 0};
    struct pv_hosts *hosts;
    bool is_read_only;

    (void) state;
    pv_alloc_fail_at(1);
    assert_null(pv_hosts_new());
    pv_alloc_fail_at(0);
    hosts = pv_hosts_new();
    assert_non_null(hosts);
    pv_alloc_fail_at(1);
    assert_null(pv_choice_new(hosts, &upstream, &candidate, 1));
    /* What cannot be remembered is forgotten. */
    pv_alloc_fail_at(1);
    assert_false(pv_hosts_note(hosts, &candidate.address, PV_ATTRS_ANY, PV_HOST_FAILED));
    pv_alloc_fail_at(1);
    pv_hosts_note_default(hosts, &candidate.address, true);
    pv_alloc_fail_at(0);
    assert_int_equal(pv_hosts_state(hosts, &candidate.address, PV_ATTRS_ANY), PV_HOST_GOOD);
    assert_false(pv_hosts_default(hosts, &candidate.address, &is_read_only));
    pv_hosts_free(hosts);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_memory),
        cmocka_unit_test(test_what_is_known_grows_old_for_one_at_a_time),
        cmocka_unit_test(test_the_default_is_remembered),
        cmocka_unit_test(test_who_matches),
        cmocka_unit_test(test_balanced_ones_take_turns),
        cmocka_unit_test(test_addresses_are_told),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
