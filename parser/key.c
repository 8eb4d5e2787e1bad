/*
 * SipHash-1-3, written from the paper.
 */
#include "parser/key.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

static inline uint64_t
rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void
round_once(struct pv_key_state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline void
compress(struct pv_key_state *s, uint64_t word)
{
    s->v3 ^= word;
    round_once(s);
    s->v0 ^= word;
}

/* Up to eight bytes, least significant first, whatever the machine. */
static uint64_t
load(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;

    for (size_t i = 0; i < len; i++)
        word |= (uint64_t) bytes[i] << (8 * i);
    return word;
}

/* A whole word at once: this is on every statement's road. */
static inline uint64_t
load_word(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return le64toh(word);
}

static inline struct pv_key_state
begin(const struct pv_key *key)
{
    struct pv_key_state s = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                             key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u, 0};

    return s;
}

/* Of the text the whole words. */
static inline void
take_words(struct pv_key_state *s, struct pv_slice text)
{
    for (size_t i = 0; i + 8 <= text.len; i += 8)
        compress(s, load_word(text.data + i));
    s->len += text.len;
}

static inline uint64_t
end(struct pv_key_state *s, struct pv_slice text)
{
    size_t rest = text.len % 8;
    uint64_t last = 0;

    take_words(s, text);
    if (rest > 0)
        last = text.len > 8 ? load_word(text.data + text.len - 8) >> (64 - 8 * rest)
                            : load(text.data + text.len - rest, rest);
    compress(s, s->len << 56 | last);
    s->v2 ^= 0xff;
    round_once(s);
    round_once(s);
    round_once(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

enum pv_status
pv_key_make(struct pv_key *key)
{
    uint8_t bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes))
        return PV_IO;
    *key = pv_key_of(bytes);
    return PV_OK;
}

struct pv_key
pv_key_of(const uint8_t bytes[16])
{
    struct pv_key key = {load(bytes, 8), load(bytes + 8, 8)};

    return key;
}

uint64_t
pv_key_hash(const struct pv_key *key, struct pv_slice text)
{
    struct pv_key_state s = begin(key);

    return end(&s, text);
}

uint64_t
pv_key_hash_with(const struct pv_key *key, uint64_t salt, struct pv_slice text)
{
    struct pv_key_state s = begin(key);

    compress(&s, salt);
    s.len = sizeof(salt);
    return end(&s, text);
}

struct pv_key_state
pv_key_begin(const struct pv_key *key, struct pv_slice head)
{
    struct pv_key_state s = begin(key);

    pv_assert(head.len % 8 == 0);
    take_words(&s, head);
    return s;
}

uint64_t
pv_key_end(const struct pv_key_state *state, struct pv_slice text)
{
    struct pv_key_state s = *state;

    return end(&s, text);
}
