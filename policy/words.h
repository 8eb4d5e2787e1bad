/* Names in short lists of constants. */
#ifndef PV_WORDS_H
#define PV_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* `words` is sorted by strcmp; letters count. */
bool pv_word_in_sorted(const char *word, const char *const *words, size_t count);

/* In any order, and whether letters are large or small: as PostgreSQL takes names of units and types. */
bool pv_word_is_one_of(const char *word, const char *const *words, size_t count);

#endif
