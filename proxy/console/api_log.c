/* Who is asking, lists of records, one record whole. Each reading of records is an event of the log itself. */
#include "proxy/console/console_int.h"

#include "parser/literals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
pv_api_me(struct pv_call *call)
{
    json_t *rooms = json_array();

    for (size_t i = 0; i < call->room_count; i++) {
        const struct pv_room *room = pv_call_room(call, call->rooms[i]);

        if (room != NULL)
            (void) json_array_append_new(
                rooms, json_pack("{s:s,s:s?}", "name", room->name, "title", room->title));
    }
    pv_call_json(call, json_pack("{s:s,s:o,s:s,s:I,s:I}", "user", call->user, "rooms", rooms, "version", call->console->version,
                                 "left_ms", (json_int_t) call->left_ms, "idle_ms", (json_int_t) PV_LOGIN_IDLE_MS));
}

bool
pv_call_reader(struct pv_call *call, const struct pv_call_rooms *rooms, uint64_t timeout_ms,
               struct pv_log_reader **reader)
{
    const struct pv_log_reader_options options = {.rooms = rooms->names,
                                                  .room_count = rooms->count,
                                                  .timeout_ms = timeout_ms,
                                                  .mask = pv_call_policy(call)->config.is_masking_literals
                                                              ? pv_literals_mask
                                                              : NULL,
                                                  .cancel = pv_crew_cancel(call->console->crew)};
    char words[256] = "";

    if (pv_log_reader_open(call->console->state_path, &options, reader, words, sizeof(words)) == PV_OK)
        return true;
    pv_call_error(call, 503, "the query log cannot be read");
    return false;
}

bool
pv_call_pick_rooms(struct pv_call *call, struct pv_call_rooms *rooms)
{
    const char *name = pv_call_text(call, "room");

    rooms->names = call->rooms;
    rooms->count = call->room_count;
    for (size_t i = 0; name != NULL && i < call->room_count; i++) {
        if (strcmp(call->rooms[i], name) != 0)
            continue;
        rooms->names = &call->rooms[i];
        rooms->count = 1;
        return true;
    }
    if (name == NULL)
        return true;
    pv_call_error(call, 404, "you audit no room of that name");
    return false;
}

/* ---- Parameters ---- */

static bool
read_number(struct pv_call *call, const char *name, uint64_t most, uint64_t *number)
{
    const char *text = pv_call_text(call, name);
    char *end = NULL;

    if (text == NULL)
        return true;
    errno = 0;
    if (text[0] >= '0' && text[0] <= '9') {
        unsigned long long value = strtoull(text, &end, 10);

        if (errno == 0 && *end == '\0' && value <= most) {
            *number = value;
            return true;
        }
    }
    pv_call_error(call, 400, "\"%s\" must be a number up to %llu", name, (unsigned long long) most);
    return false;
}

static bool
read_time(struct pv_call *call, const char *name, bool *is_set, int64_t *at_us)
{
    const char *text = pv_call_text(call, name);

    *is_set = text != NULL;
    if (text == NULL || pv_record_time_parse(text, at_us) == PV_OK)
        return true;
    pv_call_error(call, 400, "\"%s\" must be a time such as 2026-01-31T12:00:00Z", name);
    return false;
}

static bool
read_word(struct pv_call *call, const char *name, const char *const *words, const char **word)
{
    const char *text = pv_call_text(call, name);

    *word = text;
    if (text == NULL)
        return true;
    for (; *words != NULL; words++)
        if (strcmp(*words, text) == 0)
            return true;
    pv_call_error(call, 400, "\"%s\" has no such value", name);
    return false;
}

static bool
read_filter(struct pv_call *call, struct pv_browse_filter *filter)
{
    static const char *const decisions[] = {"allowed", "denied", NULL};
    static const char *const outcomes[] = {"completed", "failed", "cancelled", "lost", "running", NULL};
    uint64_t limit = PV_CONSOLE_LIST_DEFAULT;

    memset(filter, 0, sizeof(*filter));
    filter->user = pv_call_text(call, "user");
    filter->question = pv_call_text(call, "question");
    filter->code = pv_call_text(call, "code");
    filter->column = pv_call_text(call, "column");
    filter->text = pv_call_text(call, "text");
    if (!read_number(call, "before_seq", INT64_MAX, &filter->before_seq) ||
        !read_word(call, "decision", decisions, &filter->decision) ||
        !read_word(call, "outcome", outcomes, &filter->outcome) ||
        !read_time(call, "since", &filter->has_since, &filter->since_us) ||
        !read_time(call, "until", &filter->has_until, &filter->until_us) ||
        !read_number(call, "limit", PV_CONSOLE_LIST_MAX, &limit))
        return false;
    filter->limit = limit == 0 ? PV_CONSOLE_LIST_DEFAULT : (uint32_t) limit;
    return true;
}

/* ---- Rows ---- */

/* JSON of rows goes straight into the reply's buffer, with the log's own printer. */
struct rows {
    struct pv_buf *out;
    size_t count;
};

static enum pv_status
put_row(void *context, const struct pv_row *row)
{
    struct rows *rows = context;

    if (rows->count++ > 0)
        pv_buf_put_u8(rows->out, ',');
    pv_row_put_json(row, rows->out);
    return pv_buf_ok(rows->out) ? PV_OK : PV_NOMEM;
}

static void
put_end(struct pv_buf *out, const struct pv_browse_end *end)
{
    pv_buf_printf(out, "],\"is_complete\":%s,\"is_overdue\":%s,\"before_seq\":%llu}",
                  end->is_complete ? "true" : "false", end->is_overdue ? "true" : "false",
                  (unsigned long long) end->last_seq);
}

void
pv_api_log(struct pv_call *call)
{
    struct pv_browse_filter filter;
    struct pv_browse_end end;
    struct pv_call_rooms rooms;
    struct pv_log_reader *reader = NULL;
    struct rows given = {.out = &call->body};
    enum pv_status status;

    if (!read_filter(call, &filter) || !pv_call_pick_rooms(call, &rooms))
        return;
    if (!pv_console_event_kept(call->console, "console_read", call->user, call->client,
                               json_pack("{s:s,s:O}", "what", "log", "filter", call->parameters))) {
        pv_call_error(call, 503, "the query log cannot be written, so it is not shown");
        return;
    }
    if (!pv_call_reader(call, &rooms, PV_CONSOLE_READ_MS, &reader))
        return;
    pv_buf_put_text(&call->body, "{\"rows\":[");
    status = pv_browse_list(reader, &filter, put_row, &given, &end);
    pv_log_reader_close(reader);
    if (status == PV_OK)
        put_end(&call->body, &end);
    if (status == PV_OK && pv_buf_ok(&call->body))
        call->code = 200;
    else
        pv_call_error(call, 503, "the query log cannot be read: %s",
                      pv_status_words(status == PV_OK ? PV_NOMEM : status));
}

void
pv_api_record(struct pv_call *call)
{
    const struct pv_call_rooms rooms = {call->rooms, call->room_count};
    struct pv_log_reader *reader = NULL;
    struct rows given = {.out = &call->body};
    uint64_t seq = 0;
    enum pv_status status;

    if (!read_number(call, "seq", INT64_MAX, &seq))
        return;
    if (!pv_console_event_kept(call->console, "console_read", call->user, call->client,
                               json_pack("{s:s,s:I}", "what", "record", "seq", (json_int_t) seq))) {
        pv_call_error(call, 503, "the query log cannot be written, so it is not shown");
        return;
    }
    if (!pv_call_reader(call, &rooms, PV_CONSOLE_READ_MS, &reader))
        return;
    pv_buf_put_text(&call->body, "{\"record\":");
    status = pv_log_show(reader, seq, put_row, &given);
    pv_log_reader_close(reader);
    pv_buf_put_u8(&call->body, '}');
    if (status == PV_NOTFOUND)
        pv_call_error(call, 404, "there is no such record in the rooms that you audit");
    else if (status != PV_OK || !pv_buf_ok(&call->body))
        pv_call_error(call, 503, "the query log cannot be read: %s", pv_status_words(status));
    else
        call->code = 200;
}
