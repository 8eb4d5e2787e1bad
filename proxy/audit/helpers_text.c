/*
 * Functions on texts that stand in for SQLite's. One of those is one instruction of its machine, so that no clock is looked
 * at within: theirs takes time by the product of two lengths, or makes a text of any length from a short one. These are
 * linear, or refuse what would take long.
 */
#include "proxy/audit/helpers_int.h"

#include "proxy/base/bytes.h"

#include <string.h>

/* Steps of a pattern over a text: about a second's worth. */
#define STEPS_MAX UINT64_C(200000000)
/* Of `%100d`, `%.100s`. */
#define FIELD_MAX 1000

bool
pv_helper_is_long(sqlite3_context *context, sqlite3_value *a, sqlite3_value *b)
{
    if ((uint64_t) sqlite3_value_bytes(a) * (uint64_t) sqlite3_value_bytes(b) <= STEPS_MAX)
        return false;
    sqlite3_result_error(context, "these texts are too long for each other", -1);
    return true;
}

static size_t
length_of(sqlite3_value *value)
{
    return (size_t) sqlite3_value_bytes(value);
}

/* ---- Looking and replacing ---- */

void
pv_helper_instr(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *text, *found;
    sqlite3_int64 at = 1;

    if (pv_helper_has_null(context, count, values))
        return;
    text = pv_helper_text(values[0]);
    found = memmem(text, length_of(values[0]), pv_helper_text(values[1]), length_of(values[1]));
    for (const char *c = text; found != NULL && c < found; c++)
        at += ((unsigned char) *c & 0xC0) != 0x80;
    sqlite3_result_int64(context, found == NULL ? 0 : at);
}

void
pv_helper_replace(sqlite3_context *context, int count, sqlite3_value **values)
{
    size_t most = (size_t) sqlite3_limit(sqlite3_context_db_handle(context), SQLITE_LIMIT_LENGTH, -1), len, old_len;
    const char *text, *old, *found;
    sqlite3_str *out;

    if (pv_helper_has_null(context, count, values))
        return;
    text = pv_helper_text(values[0]);
    old = pv_helper_text(values[1]);
    len = length_of(values[0]);
    old_len = length_of(values[1]);
    if (old_len == 0) {
        sqlite3_result_value(context, values[0]);
        return;
    }
    out = sqlite3_str_new(sqlite3_context_db_handle(context));
    while ((found = memmem(text, len, old, old_len)) != NULL && (size_t) sqlite3_str_length(out) <= most) {
        sqlite3_str_append(out, text, (int) (found - text));
        sqlite3_str_append(out, pv_helper_text(values[2]), (int) length_of(values[2]));
        len -= (size_t) (found - text) + old_len;
        text = found + old_len;
    }
    sqlite3_str_append(out, text, (int) len);
    pv_helper_give_str(context, out);
}

void
pv_helper_glob(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (!pv_helper_has_null(context, count, values) && !pv_helper_is_long(context, values[0], values[1]))
        sqlite3_result_int(context, sqlite3_strglob(pv_helper_text(values[0]), pv_helper_text(values[1])) == 0);
}

/* ---- Cutting ends off ---- */

static bool
is_in(const char *character, size_t len, sqlite3_value *set)
{
    return memmem(pv_helper_text(set), length_of(set), character, len) != NULL;
}

static void
trim(sqlite3_context *context, sqlite3_value **values, bool at_start, bool at_end)
{
    const char *from, *to;

    if (pv_helper_has_null(context, 2, values) || pv_helper_is_long(context, values[0], values[1]))
        return;
    from = pv_helper_text(values[0]);
    to = from + length_of(values[0]);
    while (at_start && from < to) {
        size_t len = 1;

        while (from + len < to && ((unsigned char) from[len] & 0xC0) == 0x80)
            len++;
        if (!is_in(from, len, values[1]))
            break;
        from += len;
    }
    while (at_end && from < to) {
        size_t len = 1;

        while (to - len > from && ((unsigned char) *(to - len) & 0xC0) == 0x80)
            len++;
        if (!is_in(to - len, len, values[1]))
            break;
        to -= len;
    }
    sqlite3_result_text64(context, from, (sqlite3_uint64) (to - from), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void
pv_helper_trim(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    trim(context, values, true, true);
}

void
pv_helper_ltrim(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    trim(context, values, true, false);
}

void
pv_helper_rtrim(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    trim(context, values, false, true);
}

/* ---- printf and format ---- */

void
pv_helper_give_str(sqlite3_context *context, sqlite3_str *out)
{
    int rc = sqlite3_str_errcode(out), len = sqlite3_str_length(out);
    char *text = sqlite3_str_finish(out);

    if (rc == SQLITE_TOOBIG)
        sqlite3_result_error_toobig(context);
    else if (rc != SQLITE_OK)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_text(context, text == NULL ? "" : text, text == NULL ? 0 : len, SQLITE_TRANSIENT);
    sqlite3_free(text);
}

/* A directive from its % on: how long it is, with its letter last; 0: one that is not answered here. */
static size_t
directive_len(const char *at)
{
    size_t len = 1 + strspn(at + 1, "-+ 0#,!");
    int field = 0;

    for (int part = 0; part < 2; part++) {
        for (field = 0; at[len] >= '0' && at[len] <= '9'; len++)
            if ((field = field * 10 + (at[len] - '0')) > FIELD_MAX)
                return 0;
        if (part == 0 && at[len] != '.')
            break;
        len += part == 0 ? 1 : 0;
    }
    len += strspn(at + len, "l");
    return at[len] != '\0' && strchr("diuxXosfeEgGqQw%", at[len]) != NULL ? len + 1 : 0;
}

static void
put_value(sqlite3_str *out, const char *directive, size_t len, sqlite3_value *value)
{
    char format[64], letter = directive[len - 1];
    size_t head = len - 1;

    while (head > 0 && directive[head - 1] == 'l')
        head--;
    memcpy(format, directive, head);
    (void) sqlite3_snprintf((int) (sizeof(format) - head), format + head, "%s%c", strchr("diuxXo", letter) != NULL ? "ll" : "", letter);
    /* A format of our own making: flags, numbers within bounds, one letter of the list above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (strchr("diuxXo", letter) != NULL)
        sqlite3_str_appendf(out, format, value == NULL ? (sqlite3_int64) 0 : sqlite3_value_int64(value));
    else if (strchr("feEgG", letter) != NULL)
        sqlite3_str_appendf(out, format, value == NULL ? 0.0 : sqlite3_value_double(value));
    else
        sqlite3_str_appendf(out, format, value == NULL ? NULL : (const char *) sqlite3_value_text(value));
#pragma GCC diagnostic pop
}

void
pv_helper_printf(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *at;
    sqlite3_str *out;
    int used = 1;

    if (count == 0 || pv_helper_has_null(context, 1, values)) {
        sqlite3_result_null(context);
        return;
    }
    out = sqlite3_str_new(sqlite3_context_db_handle(context));
    for (at = pv_helper_text(values[0]); *at != '\0';) {
        size_t run = strcspn(at, "%"), len;

        sqlite3_str_append(out, at, (int) run);
        at += run;
        if (*at == '\0')
            break;
        len = directive_len(at);
        if (len == 0 || len > 40) {
            sqlite3_free(sqlite3_str_finish(out));
            sqlite3_result_error(context, "this format is not supported for the query log", -1);
            return;
        }
        if (at[len - 1] == '%')
            sqlite3_str_appendchar(out, 1, '%');
        else
            put_value(out, at, len, used < count ? values[used] : NULL);
        used += at[len - 1] != '%';
        at += len;
    }
    pv_helper_give_str(context, out);
}
