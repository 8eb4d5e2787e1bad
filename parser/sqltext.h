/*
 * Names and string constants as SQL text, by the printer's rules, for those who write DDL.
 */
#ifndef PV_SQLTEXT_H
#define PV_SQLTEXT_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

/* Quoted unless a lower-case word that is no keyword of any kind. The name holds no NUL. */
void pv_sql_quote_identifier(struct pv_buf *buf, const char *name);
/* '…' with quotes doubled; backslashes are plain (standard_conforming_strings = on). */
void pv_sql_quote_literal(struct pv_buf *buf, const char *text);
/* schema.name; schema may be NULL. */
void pv_sql_quote_qualified(struct pv_buf *buf, const char *schema, const char *name);
/* True for any keyword of PostgreSQL 15, reserved or not. The word is lower case. */
bool pv_sql_is_keyword(const char *word);

#endif
