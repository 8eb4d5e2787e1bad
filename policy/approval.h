/*
 * What a party signs: the canonical text of a question, and of a consent given or
 * withdrawn (INTERFACE 1 and 3). One fact a line, names in JSON quotes, SQL as its tree is
 * printed, lists sorted where their order means nothing: layout, comments, titles and the order of keys in
 * the room's file do not show in it, everything that decides what leaves the room does.
 */
#ifndef PV_APPROVAL_H
#define PV_APPROVAL_H

#include "policy/policy.h"

struct pv_arena;

/*
 * The text in the arena, UTF-8 without control characters but line feeds: the room's name and time zone, the question's
 * id, type, SQL or data sets, parameters with their bounds, output controls, budgets, and the whole definition of every
 * data set that it reads. Parses and prints SQL: on a thread that may (parser/parse.h).
 */
enum pv_status pv_approval_text(struct pv_arena *arena, const struct pv_room *room, const struct pv_question *question,
                                struct pv_slice *text) PV_MUST_CHECK;

/*
 * What an approval's signature covers: that text, and under it who approves and when. So one party's approval is no
 * other's, and one that is copied stays as old as it is.
 */
enum pv_status pv_approval_signed_text(struct pv_arena *arena, struct pv_slice text, const char *party, int64_t at_us,
                                       struct pv_slice *signed_text) PV_MUST_CHECK;

/* The parties that must have signed: the question's own list, else the room's; `owners` names the owner of every data
 * set read. */
enum pv_status pv_approval_parties(struct pv_arena *arena, const struct pv_room *room,
                                   const struct pv_question *question, struct pv_names *parties) PV_MUST_CHECK;

/* ---- consent ------------------------------------------------------------ */

enum pv_subject_kind { PV_SUBJECT_ROOM, PV_SUBJECT_QUESTION, PV_SUBJECT_DATASET };

/* A consent as it was given or withdrawn; fields are borrowed. */
struct pv_given_consent {
    const char *room;
    enum pv_subject_kind kind;
    const char *subject; /* question or data set; NULL for the whole room */
    const char *party;
    bool is_withdrawn;
    int64_t at_us; /* microseconds since 1970-01-01 UTC */
    struct pv_slice signature;
};

/* What its signature covers: all of it but the signature. */
enum pv_status pv_consent_text(struct pv_arena *arena, const struct pv_given_consent *consent,
                               struct pv_slice *text) PV_MUST_CHECK;

/* `2026-01-31T12:00:00.123456Z`, with its NUL. */
#define PV_APPROVAL_TIME_SIZE 28u
void pv_approval_time(int64_t at_us, char text[PV_APPROVAL_TIME_SIZE]);

#endif
