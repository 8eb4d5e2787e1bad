#include "policy/policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file with more faults than this is not being edited, it is the wrong file. */
#define FAULTS_MAX 10000u

struct pv_faults {
    struct pv_fault *items;
    size_t count;
    size_t size;
    size_t warning_count;
    bool is_lost; /* a fault could not be kept */
};

struct pv_faults *
pv_faults_new(void)
{
    return pv_calloc(1, sizeof(struct pv_faults));
}

void
pv_faults_free(struct pv_faults *faults)
{
    if (faults == NULL)
        return;
    for (size_t i = 0; i < faults->count; i++) {
        union {
            const char *borrowed;
            char *owned;
        } file = {faults->items[i].file}, message = {faults->items[i].message};

        pv_free(file.owned);
        pv_free(message.owned);
    }
    pv_free(faults->items);
    pv_free(faults);
}

size_t
pv_faults_count(const struct pv_faults *faults)
{
    return faults->count - faults->warning_count;
}

size_t
pv_faults_total(const struct pv_faults *faults)
{
    return faults->count;
}

bool
pv_faults_complete(const struct pv_faults *faults)
{
    return !faults->is_lost;
}

const struct pv_fault *
pv_faults_at(const struct pv_faults *faults, size_t i)
{
    pv_assert(i < faults->count);
    return &faults->items[i];
}

static bool
grow(struct pv_faults *faults)
{
    size_t size = faults->size == 0 ? 16 : faults->size * 2;
    struct pv_fault *items;

    if (faults->count < faults->size)
        return true;
    items = pv_realloc(faults->items, size * sizeof(*items));
    if (items == NULL)
        return false;
    faults->items = items;
    faults->size = size;
    return true;
}

static char *format_text(const char *format, va_list args) PV_PRINTF(1, 0);

static char *
format_text(const char *format, va_list args)
{
    va_list again;
    int len;
    char *text;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0)
        return NULL;
    text = pv_alloc((size_t) len + 1);
    if (text != NULL)
        (void) vsnprintf(text, (size_t) len + 1, format, args);
    return text;
}

void
pv_faults_add(struct pv_faults *faults, const char *file, unsigned line, unsigned column, bool is_warning,
              const char *format, ...)
{
    va_list args;
    char *message;
    char *file_copy;

    if (faults->count >= FAULTS_MAX)
        return;
    va_start(args, format);
    message = format_text(format, args);
    va_end(args);
    file_copy = pv_strdup(file);
    /* A fault is one line, whatever stood in the file. */
    for (char *c = message; c != NULL && *c != '\0'; c++)
        if ((unsigned char) *c < 0x20 || *c == 0x7F)
            *c = '?';
    if (message == NULL || file_copy == NULL || !grow(faults)) {
        pv_free(message);
        pv_free(file_copy);
        faults->is_lost = true;
        return;
    }
    faults->items[faults->count++] = (struct pv_fault){file_copy, line, column, is_warning, message};
    faults->warning_count += is_warning ? 1 : 0;
}

static bool
stands_before(const struct pv_fault *a, const struct pv_fault *b)
{
    return strcmp(a->file, b->file) == 0 && (a->line < b->line || (a->line == b->line && a->column < b->column));
}

/* Insertion within each run of one file: lists are short, and equal places keep their order. */
void
pv_faults_sort(struct pv_faults *faults)
{
    for (size_t i = 1; i < faults->count; i++) {
        struct pv_fault moved = faults->items[i];
        size_t at = i;

        while (at > 0 && stands_before(&moved, &faults->items[at - 1])) {
            faults->items[at] = faults->items[at - 1];
            at--;
        }
        faults->items[at] = moved;
    }
}
