/*
 * What a server connection holds of the clients that it has served: whose identity, which settings, which prepared
 * statements, and what it last reported. It lives as long as the connection, is handed with it from session to
 * session, and is touched by whoever holds the connection, on that one's thread.
 */
#ifndef PV_SIDE_H
#define PV_SIDE_H

#include "proxy/session/session.h"

struct pv_side;

/* A fresh connection's; copies the facts, among them the identity key. prepared_max: statements kept there. NULL: no
 * memory. */
struct pv_side *pv_side_new(const struct pv_server_facts *facts, size_t prepared_max) PV_MUST_CHECK;
void pv_side_free(struct pv_side *side); /* wipes the key; NULL is fine */

/* The facts of its start anew, in `facts`, borrowed from the side; `is_shared`: for a session that shares it with
 * others. */
void pv_side_facts(struct pv_side *side, bool is_shared, struct pv_server_facts *facts);

/* What it last reported of a setting; NULL: nothing. */
const char *pv_side_reported(const struct pv_side *side, const char *name);
/* A ParameterStatus that came while no session held the connection. PV_PROTOCOL: it left what is pinned; PV_NOMEM. */
enum pv_status pv_side_report(struct pv_side *side, struct pv_slice body) PV_MUST_CHECK;
/* Somebody sent a Query of their own: the unnamed statement is gone. */
void pv_side_queried(struct pv_side *side);
/* DISCARD ALL was confirmed: nothing of any client is left. */
void pv_side_discarded(struct pv_side *side);
/* What it holds is not known for sure: it may serve nobody else. */
bool pv_side_is_spoiled(const struct pv_side *side);

#endif
