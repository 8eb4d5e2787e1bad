#include "proxy/base/arena.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_BLOCK_BYTES 4096u

struct block {
    struct block *next;
    size_t size;
    size_t used;
    max_align_t data[];
};

/* Something of another's that lives as long as the arena; lies in the arena itself. */
struct kept {
    struct kept *next;
    void (*release)(void *object);
    void *object;
};

/* With its first block behind it, so that what needs no more is one piece of the heap. */
struct pv_arena {
    struct block *head;
    struct kept *kept;
    size_t block_bytes;
    size_t held_bytes;
    max_align_t first[];
};

static struct block *
first_of(struct pv_arena *arena)
{
    return (struct block *) (void *) arena->first;
}

struct pv_arena *
pv_arena_new(size_t block_bytes)
{
    size_t align = sizeof(max_align_t);
    size_t size = ((block_bytes == 0 ? DEFAULT_BLOCK_BYTES : block_bytes) + align - 1) / align * align;
    size_t held = sizeof(struct pv_arena) + sizeof(struct block) + size;
    struct pv_arena *arena = held < size ? NULL : pv_alloc(held);

    if (arena == NULL)
        return NULL;
    *arena = (struct pv_arena){.head = first_of(arena), .block_bytes = size, .held_bytes = held};
    *arena->head = (struct block){.size = size};
    return arena;
}

/* All but the first, which goes with the arena. */
static void
free_blocks(struct pv_arena *arena)
{
    while (arena->head != first_of(arena)) {
        struct block *next = arena->head->next;

        pv_free(arena->head);
        arena->head = next;
    }
}

static void
release_kept(struct pv_arena *arena)
{
    while (arena->kept != NULL) {
        struct kept *kept = arena->kept;

        arena->kept = kept->next;
        kept->release(kept->object);
    }
}

void
pv_arena_free(struct pv_arena *arena)
{
    if (arena == NULL)
        return;
    release_kept(arena);
    free_blocks(arena);
    pv_free(arena);
}

void
pv_arena_reset(struct pv_arena *arena)
{
    release_kept(arena);
    free_blocks(arena);
    arena->head->used = 0;
    arena->held_bytes = sizeof(*arena) + sizeof(*arena->head) + arena->head->size;
}

size_t
pv_arena_bytes(const struct pv_arena *arena)
{
    return arena->held_bytes;
}

/* As it lies. */
static inline void *
take(struct pv_arena *arena, size_t size)
{
    size_t align = sizeof(max_align_t);
    size_t rounded = (size + align - 1) / align * align;
    struct block *head = arena->head;
    void *piece;

    if (rounded < size)
        return NULL;
    if (head->size - head->used < rounded) {
        size_t block_size = rounded > arena->block_bytes ? rounded : arena->block_bytes;
        struct block *block;

        if (block_size > SIZE_MAX - sizeof(*block))
            return NULL;
        block = pv_alloc(sizeof(*block) + block_size);
        if (block == NULL)
            return NULL;
        block->next = head;
        block->size = block_size;
        block->used = 0;
        arena->head = head = block;
        arena->held_bytes += sizeof(*block) + block_size;
    }
    piece = (char *) head->data + head->used;
    head->used += rounded;
    return piece;
}

void *
pv_arena_alloc(struct pv_arena *arena, size_t size)
{
    void *piece = take(arena, size);

    if (piece != NULL)
        memset(piece, 0, size);
    return piece;
}

bool
pv_arena_keep(struct pv_arena *arena, void (*release)(void *object), void *object)
{
    struct kept *kept = pv_arena_alloc(arena, sizeof(*kept));

    if (kept == NULL)
        return false;
    *kept = (struct kept){arena->kept, release, object};
    arena->kept = kept;
    return true;
}

char *
pv_arena_strndup(struct pv_arena *arena, const char *text, size_t len)
{
    char *copy = len == SIZE_MAX ? NULL : take(arena, len + 1);

    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *
pv_arena_strdup(struct pv_arena *arena, const char *text)
{
    return pv_arena_strndup(arena, text, strlen(text));
}

char *
pv_arena_vprintf(struct pv_arena *arena, const char *format, va_list args)
{
    va_list again;
    char small[256]; /* what is formatted is mostly short: then once is enough */
    int len;
    char *text;

    va_copy(again, args);
    len = vsnprintf(small, sizeof(small), format, again);
    va_end(again);
    if (len < 0)
        return NULL;
    text = pv_arena_alloc(arena, (size_t) len + 1);
    if (text != NULL && (size_t) len < sizeof(small))
        memcpy(text, small, (size_t) len + 1);
    else if (text != NULL)
        (void) vsnprintf(text, (size_t) len + 1, format, args);
    return text;
}

char *
pv_arena_printf(struct pv_arena *arena, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = pv_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}
