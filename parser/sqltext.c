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

/* Characters of plain words: 1 may begin one, 2 may only follow. */
static const uint8_t plain[256] = {['a' ... 'z'] = 1, ['_'] = 1, ['0' ... '9'] = 2};

/* Plain: what the scanner would read as this very word, and no grammar knows. */
static bool
is_plain(const char *name, size_t *len)
{
    const uint8_t *at = (const uint8_t *) name;

    if (plain[*at] != 1)
        return false;
    while (plain[*at] != 0)
        at++;
    *len = (size_t) (at - (const uint8_t *) name);
    return *at == '\0' && !pv_sql_is_keyword(name);
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
    size_t len;

    if (is_plain(name, &len))
        pv_buf_put(buf, name, len);
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
