#include "policy/words.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int
compare_word(const void *key, const void *row)
{
    return strcmp(key, *(const char *const *) row);
}

bool
pv_word_in_sorted(const char *word, const char *const *words, size_t count)
{
    return bsearch(word, words, count, sizeof(*words), compare_word) != NULL;
}

bool
pv_word_is_one_of(const char *word, const char *const *words, size_t count)
{
    /* Most words differ in their first letter. */
    for (size_t i = 0; i < count; i++)
        if (((word[0] ^ words[i][0]) & ~0x20) == 0 && strcasecmp(word, words[i]) == 0)
            return true;
    return false;
}
