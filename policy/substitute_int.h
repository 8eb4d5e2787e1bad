/* Shared between substitute.c and substitute_use.c alone. */
#ifndef PV_SUBSTITUTE_INT_H
#define PV_SUBSTITUTE_INT_H

#include "policy/decide_int.h"
#include "policy/views.h"

struct pv_substitution {
    struct pv_trial *trial; /* NULL at load: a question's own text */
    const struct pv_room *room;
    const struct pv_resolution *resolution;
    Node **root;
    char catalog_schema[PV_VIEWS_NAME_SIZE]; /* our own functions are called by it; no caller can name it */
    enum pv_status status;
};

/*
 * Marks what each value of a type that looks names up is for, in locations, which carry no other meaning once a
 * statement is judged. PV_NOMEM.
 */
enum pv_status pv_use_mark(struct pv_substitution *sub) PV_MUST_CHECK;
/* Takes the mark, and gives the location back. */
enum pv_lookup_use pv_use_take(int *location);
bool pv_use_is_marked(int location);
/* A node that was seen to already; what the location says is kept in it. */
bool pv_use_is_seen(int location);
int pv_use_seen(int location);
/* A call, not seen to, whose result is of such a type. */
bool pv_use_is_call(const Node *node);

#endif
