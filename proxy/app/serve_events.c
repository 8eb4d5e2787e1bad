/* What the query log is told of serving itself. */
#include "proxy/app/commands.h"
#include "proxy/app/serve_int.h"
#include "proxy/audit/journal.h"
#include "proxy/base/log.h"

#include <stdio.h>
#include <unistd.h>

static void
put_json_text(struct pv_buf *out, const char *text)
{
    pv_buf_put_u8(out, '"');
    for (; *text != '\0'; text++) {
        if ((unsigned char) *text < 0x20)
            pv_buf_printf(out, "\\u%04x", (unsigned) *text);
        else if (*text == '"' || *text == '\\')
            pv_buf_printf(out, "\\%c", *text);
        else
            pv_buf_put_u8(out, (uint8_t) *text);
    }
    pv_buf_put_u8(out, '"');
}

static void
record_event(struct serve *serve, const char *name, struct pv_buf *detail)
{
    const char *text = pv_buf_text(detail);
    const struct pv_event event = {.event = name, .detail = text};
    const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event, .is_kept = true};
    uint64_t ticket;
    enum pv_status status = pv_journal_put(serve->journal, &record, NULL, NULL, &ticket);

    if (status != PV_OK)
        pv_log(PV_LOG_WARNING, "event %s: %s", name, pv_status_words(status));
    pv_buf_clear(detail);
}

void
pv_serve_record_loaded(struct serve *serve, const char *name)
{
    const struct pv_policy *policy = pv_world_policy(serve->world);
    struct pv_buf detail = {0};

    pv_buf_printf(&detail, "{\"version\":\"%s\",\"pid\":%ld,\"generation\":%llu,\"rooms\":%zu,\"users\":%zu",
                  PV_VERSION, (long) getpid(), (unsigned long long) policy->generation, policy->room_count,
                  policy->user_count);
    if (serve->conformance_room != NULL) {
        pv_buf_put_text(&detail, ",\"conformance\":");
        put_json_text(&detail, serve->conformance_room);
    }
    pv_buf_put_text(&detail, "}");
    record_event(serve, name, &detail);
}

void
pv_serve_record_faults(struct serve *serve, const struct pv_faults *faults)
{
    struct pv_buf detail = {0};
    bool is_first = true;

    pv_buf_put_text(&detail, "{\"faults\":[");
    for (size_t i = 0; i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);
        char place[32];

        if (fault->is_warning)
            continue;
        if (!is_first)
            pv_buf_put_text(&detail, ",");
        is_first = false;
        (void) snprintf(place, sizeof(place), ":%u:%u", fault->line, fault->column);
        pv_buf_put_text(&detail, "{\"file\":");
        put_json_text(&detail, fault->file);
        pv_buf_printf(&detail, ",\"line\":%u,\"column\":%u,\"message\":", fault->line, fault->column);
        put_json_text(&detail, fault->message);
        pv_buf_put_text(&detail, "}");
    }
    pv_buf_put_text(&detail, "]}");
    record_event(serve, "reload_failed", &detail);
}
