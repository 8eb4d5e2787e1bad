#include "policy/cache_int.h"

#include <string.h>

/* A head that is longer is made anew each time: it would be held for as long as nobody takes its place. */
#define HEAD_KEPT_BYTES_MAX 1024u

static const uint8_t kind_words[PV_KEY_KIND_COUNT][8] = {[PV_KEY_OF_TEXT] = "=", [PV_KEY_OF_SHAPE] = "~"};

/* A name that is not there is a byte that no name begins with. */
static const char none[] = "\1";

struct counts {
    size_t is_parse, oids, path, roles;
};

static struct counts
counts_of(const struct pv_asking *asking)
{
    const struct pv_member *member = asking->caller->member;

    return (struct counts){asking->is_parse, asking->oid_count, asking->caller->search_path.count,
                           member == NULL ? SIZE_MAX : member->role_count};
}

static void
put_name(struct pv_buf *head, const char *name)
{
    const char *text = name == NULL ? none : name;

    pv_buf_put(head, text, strlen(text) + 1);
}

/* Counts and ends stand in it, so no two callers have the same bytes. */
static void
put_head(struct pv_buf *head, const struct pv_asking *asking)
{
    static const uint8_t zeros[8];
    const struct pv_caller *caller = asking->caller;
    const struct pv_member *member = caller->member;
    const struct counts counts = counts_of(asking);

    pv_buf_put(head, &counts, sizeof(counts));
    if (asking->oid_count > 0)
        pv_buf_put(head, asking->oids, asking->oid_count * sizeof(*asking->oids));
    put_name(head, caller->room->name);
    put_name(head, caller->user);
    put_name(head, caller->login);
    for (size_t i = 0; i < caller->search_path.count; i++)
        put_name(head, caller->search_path.names[i]);
    if (member != NULL) {
        put_name(head, member->user);
        put_name(head, member->party);
        for (size_t i = 0; i < member->role_count; i++)
            put_name(head, member->roles[i]);
    }
    pv_buf_put(head, zeros, (8 - pv_buf_len(head) % 8) % 8);
}

static bool
is_next(struct pv_reader *reader, const void *bytes, size_t len)
{
    if (reader->left < len || (len > 0 && memcmp(reader->at, bytes, len) != 0))
        return false;
    reader->at += len;
    reader->left -= len;
    return true;
}

static bool
is_next_name(struct pv_reader *reader, const char *name)
{
    const char *text = name == NULL ? none : name;

    return is_next(reader, text, strlen(text) + 1);
}

/* Whether put_head would write what is there. */
static bool
is_head_of(const struct pv_buf *head, const struct pv_asking *asking)
{
    const struct pv_caller *caller = asking->caller;
    const struct pv_member *member = caller->member;
    const struct counts counts = counts_of(asking);
    struct pv_reader reader = pv_reader_of(pv_buf_slice(head));
    bool is_same = is_next(&reader, &counts, sizeof(counts)) &&
                   is_next(&reader, asking->oids, asking->oid_count * sizeof(*asking->oids)) &&
                   is_next_name(&reader, caller->room->name) && is_next_name(&reader, caller->user) &&
                   is_next_name(&reader, caller->login);

    for (size_t i = 0; is_same && i < caller->search_path.count; i++)
        is_same = is_next_name(&reader, caller->search_path.names[i]);
    if (member == NULL)
        return is_same && reader.left < 8;
    is_same = is_same && is_next_name(&reader, member->user) && is_next_name(&reader, member->party);
    for (size_t i = 0; is_same && i < member->role_count; i++)
        is_same = is_next_name(&reader, member->roles[i]);
    return is_same && reader.left < 8;
}

void
pv_key_heads_clear(struct pv_key_heads *heads)
{
    for (size_t i = 0; i < PV_KEY_HEADS; i++)
        pv_buf_clear(&heads->heads[i].bytes);
}

const struct pv_key_head *
pv_key_head_of(struct pv_key_heads *heads, const struct pv_key *key, const struct pv_asking *asking)
{
    /* Where the session lies says which to look at first; what it is found by is its content. */
    size_t at = (size_t) ((uintptr_t) asking->caller->context >> 6) * 31 + asking->oid_count * 2 + asking->is_parse;
    struct pv_key_head *head = &heads->heads[at % PV_KEY_HEADS];

    if (is_head_of(&head->bytes, asking))
        return head;
    if (head->bytes.size > HEAD_KEPT_BYTES_MAX)
        pv_buf_clear(&head->bytes);
    pv_buf_truncate(&head->bytes, 0);
    put_head(&head->bytes, asking);
    for (int kind = 0; kind < PV_KEY_KIND_COUNT; kind++) {
        size_t len = pv_buf_len(&head->bytes);

        pv_buf_put(&head->bytes, kind_words[kind], sizeof(kind_words[kind]));
        if (!pv_buf_ok(&head->bytes)) {
            pv_buf_clear(&head->bytes);
            return NULL;
        }
        head->states[kind] = pv_key_begin(key, pv_buf_slice(&head->bytes));
        pv_buf_truncate(&head->bytes, len);
    }
    return head;
}

uint64_t
pv_key_head_hash(const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text)
{
    return pv_key_end(&head->states[kind], text);
}

bool
pv_key_head_equal(const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text, struct pv_slice key)
{
    struct pv_reader reader = pv_reader_of(key);
    struct pv_slice bytes = pv_buf_slice(&head->bytes);

    return key.len == bytes.len + sizeof(kind_words[kind]) + text.len && is_next(&reader, bytes.data, bytes.len) &&
           is_next(&reader, kind_words[kind], sizeof(kind_words[kind])) && is_next(&reader, text.data, text.len);
}

void
pv_key_put(struct pv_buf *out, const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text)
{
    pv_buf_put_slice(out, pv_buf_slice(&head->bytes));
    pv_buf_put(out, kind_words[kind], sizeof(kind_words[kind]));
    pv_buf_put_slice(out, text);
}
