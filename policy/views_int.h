/* Shared between views*.c and catalog*.c alone. */
#ifndef PV_VIEWS_INT_H
#define PV_VIEWS_INT_H

#include "policy/views.h"

#define PV_VIEWS_QUESTIONS "questions" /* the published schema of questions */
#define PV_SETTING_IDENTITY "pgveil.identity"
#define PV_SETTING_IDENTITY_MAC "pgveil.identity_mac"

const char *pv_views_published_schema(const struct pv_room *room, size_t i);
enum pv_status pv_made_finish(struct pv_arena *arena, struct pv_made *made, struct pv_buf *create) PV_MUST_CHECK;

#endif
