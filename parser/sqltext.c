/*
 * Names and constants as text.
 */
#include "parser/sqltext.h"

#include "parser/tree.h"

#include "common/keywords.h"

#include <string.h>

bool
pv_sql_is_keyword(const char *word)
{
    return ScanKeywordLookup(word, &ScanKeywords) >= 0;
}

/* Plain: what the scanner would read as this very word, and no grammar knows. */
static bool
is_plain(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || !((name[0] >= 'a' && name[0] <= 'z') || name[0] == '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '_'))
            return false;
    return !pv_sql_is_keyword(name);
}

static void
put_quoted(struct pv_buf *buf, const char *text, char quote)
{
    pv_buf_put(buf, &quote, 1);
    for (;;) {
        size_t run = strcspn(text, quote == '"' ? "\"" : "'");

        pv_buf_put(buf, text, run);
        if (text[run] == '\0')
            break;
        pv_buf_put(buf, &quote, 1);
        pv_buf_put(buf, &quote, 1);
        text += run + 1;
    }
    pv_buf_put(buf, &quote, 1);
}

void
pv_sql_quote_identifier(struct pv_buf *buf, const char *name)
{
    if (is_plain(name))
        pv_buf_put_text(buf, name);
    else
        put_quoted(buf, name, '"');
}

void
pv_sql_quote_literal(struct pv_buf *buf, const char *text)
{
    put_quoted(buf, text, '\'');
}

void
pv_sql_quote_qualified(struct pv_buf *buf, const char *schema, const char *name)
{
    if (schema != NULL) {
        pv_sql_quote_identifier(buf, schema);
        pv_buf_put_u8(buf, '.');
    }
    pv_sql_quote_identifier(buf, name);
}
