/*
 * Which settings a client may change or read, and what changing does (INTERFACE: harmless
 * SET and SHOW). The proxy owns the server session: whatever is not here does not exist for clients.
 */
#ifndef PV_SETTINGS_H
#define PV_SETTINGS_H

#include "proxy/base/base.h"

/* The end user whom a trusted service asks for. */
#define PV_SETTING_END_USER "pgveil.user"

enum pv_setting_class {
    PV_SETTING_FORWARD, /* the server's, set as asked when the value passes */
    PV_SETTING_PATH,    /* search_path: ours; names resolve along it, the server's stays pinned */
    PV_SETTING_FIXED,   /* pinned to one value: setting it to that is fine, to another refused */
    PV_SETTING_IGNORED, /* accepted without effect: it changes nothing that a read-only session can see */
    PV_SETTING_SHOWN,   /* may be read, not set */
    PV_SETTING_USER     /* PV_SETTING_END_USER: the session's, for trusted services alone */
};

struct pv_setting {
    const char *name; /* lower case */
    enum pv_setting_class class;
    /* FIXED: accepted spellings, by '|'; FORWARD: allowed values by '|', or NULL for any. Compared without case. */
    const char *values;
    const char *shown; /* what SHOW gives in place of the server's value; NULL: the server's */
};

/*
 * Values of the time zone, whatever the case, as a regular expression for both POSIX and PostgreSQL: names, and whole
 * quarters of an hour up to those that somebody lives by. A rule of one's own ('X+167', 'A0B-100,J1/0,J300/0') would move
 * days by a week or a second, for row filters and groups that are made of days.
 */
#define PV_ZONE_PATTERN \
    "[a-z_/ +-]*|est5edt|cst6cdt|mst7mdt|pst8pdt|" \
    "(<[-+]?[0-9a-z:]{1,9}>|(etc/)?[a-z]{0,10})[-+]?(0?[0-9]|1[0-5])(:(00|15|30|45)(:00)?|[.](0|25|5|75)0*)?"

/* The name in any case, with PostgreSQL's special spellings (`timezone`, `transaction_isolation`). NULL: not there. */
const struct pv_setting *pv_setting_find(const char *name);
bool pv_setting_value_is_allowed(const struct pv_setting *setting, const char *value);
bool pv_setting_is_zone(const struct pv_setting *setting); /* its values are those of PV_ZONE_PATTERN */
size_t pv_setting_count(void);
const struct pv_setting *pv_setting_at(size_t i);

#endif
