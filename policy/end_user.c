/* pgveil.user: a trusted service names the end user for whom it asks. */
#include "policy/decide_int.h"
#include "policy/settings.h"

#include <string.h>
#include <strings.h>

bool
pv_room_trusts(const struct pv_room *room, const char *user)
{
    for (size_t i = 0; i < room->trusted_services.count; i++)
        if (strcmp(room->trusted_services.names[i], user) == 0)
            return true;
    return false;
}

enum pv_status
pv_judge_end_user(struct pv_trial *trial, const char *name)
{
    const struct pv_caller *caller = trial->caller;
    const char *login = caller->login == NULL ? caller->user : caller->login;

    if (!pv_room_trusts(caller->room, login))
        return pv_deny(trial, PV_REASON_SETTING, "42501", -1,
                       "user \"%s\" is not trusted to name an end user in clean room \"%s\"", login,
                       caller->room->name);
    if (name == NULL || *name == '\0' || strcmp(name, login) == 0)
        return PV_OK;
    if (pv_policy_user(caller->policy, pv_slice_cstr(name)) == NULL || pv_room_member(caller->room, name) == NULL)
        return pv_deny(trial, PV_REASON_SETTING, "42501", -1, "\"%s\" is no member of clean room \"%s\"", name,
                       caller->room->name);
    return PV_OK;
}

/* ---- USER is a reserved word, so PostgreSQL's grammar wants it quoted: SET pgveil."user" ---- */

static bool
is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           c >= 0x80;
}

static void
skip_space(struct pv_slice text, size_t *at)
{
    while (*at < text.len && is_space(text.data[*at]))
        (*at)++;
}

/* The word in any case, as a whole, and the space behind it. */
static bool
take_word(struct pv_slice text, size_t *at, const char *word)
{
    size_t len = strlen(word);

    if (text.len - *at < len || strncasecmp((const char *) text.data + *at, word, len) != 0 ||
        (text.len - *at > len && is_letter(text.data[*at + len])))
        return false;
    *at += len;
    skip_space(text, at);
    return true;
}

enum pv_status
pv_end_user_quote(struct pv_arena *arena, struct pv_slice text, struct pv_slice *quoted, struct pv_slice *statement)
{
    size_t at = 0, first, end = text.len;
    char *copy;

    skip_space(text, &at);
    first = at;
    if (!take_word(text, &at, "set") && !take_word(text, &at, "reset"))
        return PV_NOTFOUND;
    if (!take_word(text, &at, "session"))
        (void) take_word(text, &at, "local");
    if (!take_word(text, &at, "pgveil") || at == text.len || text.data[at] != '.')
        return PV_NOTFOUND;
    at++;
    skip_space(text, &at);
    if (!take_word(text, &at, "user"))
        return PV_NOTFOUND;
    while (is_space(text.data[at - 1]))
        at--;
    copy = pv_arena_printf(arena, "%.*s\"user\"%.*s", (int) (at - strlen("user")), (const char *) text.data,
                           (int) (text.len - at), (const char *) text.data + at);
    if (copy == NULL)
        return PV_NOMEM;
    while (end > first && (is_space(text.data[end - 1]) || text.data[end - 1] == ';'))
        end--;
    *quoted = pv_slice_cstr(copy);
    *statement = pv_slice_of(text.data + first, end - first);
    return PV_OK;
}
