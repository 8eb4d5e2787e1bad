/* Shared between views*.c, catalog*.c, and allow.c, lookup.c, own_type.c, which know what schemas callers see. */
#ifndef PV_VIEWS_INT_H
#define PV_VIEWS_INT_H

#include "policy/views.h"

#define PV_VIEWS_QUESTIONS "questions" /* the published schema of questions */
#define PV_SETTING_IDENTITY "pgveil.identity"
#define PV_SETTING_IDENTITY_MAC "pgveil.identity_mac"

const char *pv_views_published_schema(const struct pv_room *room, size_t i);
enum pv_status pv_made_finish(struct pv_arena *arena, struct pv_made *made, struct pv_buf *create) PV_MUST_CHECK;


/*
 * Appends text that print.h printed, calling `put` for each $n (n from 1). Such text holds strings in '…' and names in
 * "…" with quotes doubled, and nothing else that hides a `$`. PV_INTERNAL when `put` says false.
 */
enum pv_status pv_views_put_printed(struct pv_buf *sql, const char *text,
                                    bool (*put)(void *context, struct pv_buf *sql, size_t number),
                                    void *context) PV_MUST_CHECK;
/* views_tame.c: the functions PV_VIEWS_TAME and kin; `list` has room for as many, schema is shared. */
size_t pv_views_tame_count(void);
enum pv_status pv_views_make_tame(struct pv_arena *arena, const char *schema, struct pv_made *list) PV_MUST_CHECK;
/* views_meet.c: the functions PV_VIEWS_COMPARES and PV_VIEWS_JOINS, likewise. */
size_t pv_views_meet_count(void);
enum pv_status pv_views_make_meet(struct pv_arena *arena, const char *schema, struct pv_made *list) PV_MUST_CHECK;
/* `head` + `text`, cut to a name's length as views.h says. */
void pv_views_cut_name(const char *head, const char *text, char name[PV_VIEWS_NAME_SIZE]);

#endif
