/*
 * What the parts of result.c share.
 */
#ifndef PV_RESULT_INT_H
#define PV_RESULT_INT_H

#include "proxy/session/session_int.h"

struct pv_reply {
    uint8_t tag;
    struct pv_slice body;
    struct pv_slice raw; /* head and body */
};

typedef void (*pv_reply_handler)(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply);

/* ---- result.c ---- */
extern const pv_reply_handler pv_result_replies[PV_REQUEST_KIND_COUNT][128];
void pv_result_violation(struct pv_session *s); /* ends the session */
void pv_result_dispatch(struct pv_session *s, const struct pv_reply *reply);

/* ---- result_error.c ---- */
void pv_result_on_error(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply);
void pv_result_fail_request(struct pv_session *s, struct pv_request *r);

#endif
