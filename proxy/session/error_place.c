/*
 * Where an error of the server lies in what the client sent. The text is judged once more, which gives the tree that was
 * printed, and the tree knows where its parts stood. Errors are rare, and nothing is kept for them.
 */
#include "proxy/session/session_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The statement that the error is of, and where its text begins in what was forwarded, in characters. */
struct failed {
    const struct pv_judged *judged;
    size_t index;
    size_t before;
    bool is_parse;
};

static size_t
characters(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((uint8_t) *text & 0xC0u) != 0x80u;
    return count;
}

static bool
find_failed(const struct pv_request *r, const struct pv_run *run, struct failed *failed)
{
    memset(failed, 0, sizeof(*failed));
    if (r->kind == PV_REQUEST_PARSE && r->named != NULL) {
        *failed = (struct failed) {r->named->judged, r->named->index, 0, true};
        return true;
    }
    if (r->kind != PV_REQUEST_QUERY || run == NULL || run->judged == NULL || run->effective != run->decision)
        return false;
    *failed = (struct failed) {run->judged, run->index, 0, false};
    for (size_t i = 0; i < r->run_count && &r->runs[i] != run; i++) {
        const struct pv_decision *decision = r->runs[i].decision;

        if (r->runs[i].is_marker) {
            failed->before += strlen(PV_MARKER_SQL) + 2;
            continue;
        }
        /* Statements of ours stand behind a reset, and what they measure is not kept. */
        if (r->runs[i].is_internal)
            return false;
        failed->before += (decision->forwarded == NULL ? 0 : characters(decision->forwarded)) + 2;
    }
    return true;
}

/* Errors that speak of the function or cast itself, not of the expression that it begins. */
static bool
is_own(struct pv_slice sqlstate)
{
    static const char *const codes[] = {"42846", "42883", "42704", "42725", "42809"};

    for (size_t i = 0; i < PV_COUNT_OF(codes); i++)
        if (pv_slice_is(sqlstate, codes[i]))
            return true;
    return false;
}

/* The byte offset of a character, counted from 0; the text's length where it has fewer. */
static uint32_t
byte_offset(const char *text, size_t character)
{
    const char *at = text;

    while (*at != '\0' && character > 0) {
        at++;
        while (((uint8_t) *at & 0xC0u) == 0x80u)
            at++;
        character--;
    }
    return (uint32_t) (at - text);
}

static void
judge_again(struct pv_session *s, const struct failed *failed, struct pv_place *place)
{
    const struct pv_judged *judged = failed->judged;
    struct pv_arena *arena = pv_arena_new(4096);
    struct pv_decision decision, *decisions = NULL;
    struct pv_caller caller;
    size_t count = 0;
    bool has_stalled = s->has_stalled_inside;
    enum pv_status status;

    if (arena == NULL)
        return;
    pv_gate_caller(s, &caller, judged->path);
    caller.cache = NULL;
    caller.place = place;
    status = failed->is_parse ? s->judge->parse(arena, &caller, judged->text, judged->oids, judged->oid_count, &decision)
                              : s->judge->query(arena, &caller, judged->text, &decisions, &count);
    if (status != PV_OK)
        place->position = 0;
    s->has_stalled_inside = has_stalled;
    pv_arena_free(arena);
}

bool
pv_error_place(struct pv_session *s, const struct pv_msg_notice *notice, const struct pv_request *r,
               const struct pv_run *run, char position[16])
{
    struct pv_slice told = notice->fields[PV_NOTICE_POSITION];
    struct pv_place place = {0};
    struct failed failed;
    char text[16];
    unsigned long character;

    if (told.data == NULL || told.len == 0 || told.len >= sizeof(text) || !find_failed(r, run, &failed))
        return false;
    memcpy(text, told.data, told.len);
    text[told.len] = '\0';
    character = strtoul(text, NULL, 10);
    place.forwarded = failed.judged->decisions[failed.index].forwarded;
    /* Under another policy the text is another statement. */
    if (place.forwarded == NULL || character <= failed.before || failed.judged->policy->generation != s->policy->generation)
        return false;
    place.index = failed.index;
    place.offset = byte_offset(place.forwarded, character - failed.before - 1);
    place.is_own = is_own(notice->fields[PV_NOTICE_SQLSTATE]);
    judge_again(s, &failed, &place);
    if (place.position == 0)
        return false;
    (void) snprintf(position, 16, "%u", (unsigned) place.position);
    return true;
}
