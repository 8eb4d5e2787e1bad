#include "policy/param_int.h"

#include <locale.h>
#include <pthread.h>
#include <regex.h>
#include <string.h>

/* A pattern is never tried on a text of more bytes: matching takes memory and time in proportion. */
#define PATTERN_TEXT_BYTES_MAX 65536u

static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;
static locale_t utf8_locale;

/* Regular expressions count characters only under a UTF-8 locale; the process itself stays in "C". */
static void
make_utf8_locale(void)
{
    utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);
}

static locale_t
enter_utf8(void)
{
    (void) pthread_once(&utf8_once, make_utf8_locale);
    return utf8_locale == (locale_t) 0 ? (locale_t) 0 : uselocale(utf8_locale);
}

static void
leave_utf8(locale_t before)
{
    if (before != (locale_t) 0)
        (void) uselocale(before);
}

static bool
has_back_reference(const char *pattern)
{
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '\\')
            continue;
        pattern++;
        if (*pattern >= '1' && *pattern <= '9')
            return true;
        if (*pattern == '\0')
            return false;
    }
    return false;
}

enum pv_status
pv_param_regex_new(struct pv_arena *arena, const char *pattern, void **regex, const char **words)
{
    regex_t *compiled;
    locale_t before;
    char reason[128];
    int error;

    if (has_back_reference(pattern)) {
        *words = "back-references are not allowed";
        return PV_INVALID;
    }
    compiled = pv_calloc(1, sizeof(*compiled));
    if (compiled == NULL)
        return PV_NOMEM;
    before = enter_utf8();
    error = regcomp(compiled, pattern, REG_EXTENDED);
    leave_utf8(before);
    if (error == 0) {
        *regex = compiled;
        return PV_OK;
    }
    (void) regerror(error, compiled, reason, sizeof(reason));
    pv_free(compiled);
    *words = pv_arena_strdup(arena, reason);
    return *words == NULL ? PV_NOMEM : PV_INVALID;
}

void
pv_param_regex_free(void *regex)
{
    if (regex == NULL)
        return;
    regfree(regex);
    pv_free(regex);
}

/* POSIX matching is leftmost and longest, so the whole text matches exactly when the match found is all of it. */
bool
pv_regex_matches(const void *regex, const char *text)
{
    size_t len = strlen(text);
    regmatch_t match;
    locale_t before;
    int error;

    if (len > PATTERN_TEXT_BYTES_MAX)
        return false;
    before = enter_utf8();
    error = regexec(regex, text, 1, &match, 0);
    leave_utf8(before);
    return error == 0 && match.rm_so == 0 && (size_t) match.rm_eo == len;
}
