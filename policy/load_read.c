#include "policy/load_int.h"

#include "proxy/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults ------------------------------------------------------------- */

static void say(struct pv_doc *doc, unsigned line, unsigned column, bool is_warning, const char *format, va_list args)
    PV_PRINTF(5, 0);

static void
say(struct pv_doc *doc, unsigned line, unsigned column, bool is_warning, const char *format, va_list args)
{
    char *message = pv_arena_vprintf(doc->scratch, format, args);

    if (message == NULL)
        doc->load->is_out_of_memory = true;
    else
        pv_faults_add(doc->load->faults, doc->file, line, column, is_warning, "%s", message);
}

void
pv_load_fault(struct pv_doc *doc, const struct pv_located *value, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(doc, value->line, value->column, false, format, args);
    va_end(args);
}

void
pv_load_fault_key(struct pv_doc *doc, const struct pv_located *value, const char *format, ...)
{
    bool has_key = value->key != NULL;
    va_list args;

    va_start(args, format);
    say(doc, has_key ? value->key_line : value->line, has_key ? value->key_column : value->column, false, format,
        args);
    va_end(args);
}

void
pv_load_warning(struct pv_doc *doc, const struct pv_located *value, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(doc, value->line, value->column, true, format, args);
    va_end(args);
}

/* ---- memory, paths, names ----------------------------------------------- */

void *
pv_load_alloc(struct pv_doc *doc, size_t count, size_t size)
{
    size_t bytes;
    void *memory = __builtin_mul_overflow(count, size, &bytes) ? NULL : pv_arena_alloc(doc->load->arena, bytes);

    if (memory == NULL)
        doc->load->is_out_of_memory = true;
    return memory;
}

/* An empty text, so that names may be compared until the load gives up. */
static const char *
out_of_memory(struct pv_doc *doc)
{
    doc->load->is_out_of_memory = true;
    return "";
}

const char *
pv_load_strdup(struct pv_doc *doc, const char *text)
{
    return pv_load_strndup(doc, text, strlen(text));
}

const char *
pv_load_strndup(struct pv_doc *doc, const char *text, size_t len)
{
    char *copy = pv_arena_strndup(doc->load->arena, text, len);

    return copy == NULL ? out_of_memory(doc) : copy;
}

const char *
pv_load_path(struct pv_doc *doc, const char *path)
{
    char *joined;

    if (*path == '/')
        return pv_load_strdup(doc, path);
    joined = pv_arena_printf(doc->load->arena, "%s%s%s", doc->dir, strcmp(doc->dir, "/") == 0 ? "" : "/", path);
    return joined == NULL ? out_of_memory(doc) : joined;
}

const char *
pv_load_shown_path(struct pv_doc *doc, const char *path)
{
    char *joined;

    if (*path == '/')
        return pv_load_strdup(doc, path);
    joined = pv_arena_printf(doc->load->arena, "%s%s", doc->shown_dir, path);
    return joined == NULL ? out_of_memory(doc) : joined;
}

bool
pv_name_fits(const char *name, const char *first, const char *rest, size_t bytes_max)
{
    size_t len = strlen(name);

    return len > 0 && len <= bytes_max && strchr(first, *name) != NULL && strspn(name + 1, rest) == len - 1;
}

/* ---- objects ------------------------------------------------------------ */

static const char *
kind_words(unsigned kinds)
{
    static const struct {
        unsigned kinds;
        const char *words;
    } rows[] = {
        {PV_J_OBJECT, "an object"},
        {PV_J_ARRAY, "an array"},
        {PV_J_STRING, "a string"},
        {PV_J_INTEGER, "an integer"},
        {PV_J_REAL, "a number with a fraction"},
        {PV_J_NUMBER, "a number"},
        {PV_J_BOOL, "true or false"},
        {PV_J_NULL, "null"},
        {PV_J_STRING | PV_J_OBJECT, "a string or an object"},
        {PV_J_STRING | PV_J_ARRAY, "a string or an array"},
        {PV_J_STRING | PV_J_INTEGER, "a string or an integer"},
        {PV_J_STRING | PV_J_INTEGER | PV_J_ARRAY, "a string, an integer or an array"},
        {PV_J_STRING | PV_J_NUMBER | PV_J_BOOL, "a string, a number, true or false"},
        {PV_J_STRING | PV_J_NUMBER | PV_J_BOOL | PV_J_NULL, "a string, a number, true, false or null"},
        {PV_J_STRING | PV_J_NUMBER | PV_J_BOOL | PV_J_ARRAY, "a string, a number, true, false or an array"},
        {PV_J_STRING | PV_J_NUMBER | PV_J_BOOL | PV_J_NULL | PV_J_ARRAY,
         "a string, a number, true, false, null or an array"},
    };

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        if (rows[i].kinds == kinds)
            return rows[i].words;
    return "of another type";
}

bool
pv_load_kind(struct pv_doc *doc, const struct pv_located *value, unsigned kinds, const char *name)
{
    unsigned kind = pv_located_kind(value);

    if ((kind & kinds) != 0)
        return true;
    if (name == NULL)
        name = value->key;
    if (name == NULL)
        pv_load_fault(doc, value, "this must be %s, not %s", kind_words(kinds), kind_words(kind));
    else
        pv_load_fault(doc, value, "\"%s\" must be %s, not %s", name, kind_words(kinds), kind_words(kind));
    return false;
}

#define NEAR_BYTES_MAX 40u

static size_t
least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein; names that are too long are far. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[NEAR_BYTES_MAX + 1];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);

    if (a_len > NEAR_BYTES_MAX || b_len > NEAR_BYTES_MAX)
        return NEAR_BYTES_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];

            row[j] = least_of(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
            diagonal = above;
        }
    }
    return row[b_len];
}

static void
say_unknown(struct pv_doc *doc, const struct pv_located *member, const struct pv_key *keys, size_t key_count)
{
    const char *nearest = NULL;
    size_t least = strlen(member->key) < 5 ? 2 : 3; /* one letter of a short key, two of a longer one */
    struct pv_buf list = {0};

    for (size_t i = 0; i < key_count; i++) {
        size_t edits = distance(member->key, keys[i].name);

        if (edits < least) {
            least = edits;
            nearest = keys[i].name;
        }
        pv_buf_printf(&list, "%s%s", i == 0 ? "" : ", ", keys[i].name);
    }
    if (!pv_buf_ok(&list))
        doc->load->is_out_of_memory = true;
    else if (nearest != NULL)
        pv_load_fault_key(doc, member, "unknown key \"%s\": did you mean \"%s\"?", member->key, nearest);
    else
        pv_load_fault_key(doc, member, "unknown key \"%s\": known here are %s", member->key, pv_buf_text(&list));
    pv_buf_clear(&list);
}

static const struct pv_key *
find_key(const struct pv_key *keys, size_t key_count, const char *name)
{
    for (size_t i = 0; i < key_count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

bool
pv_load_object(struct pv_doc *doc, const struct pv_located *value, const struct pv_key *keys, size_t key_count,
               void *target)
{
    if (!pv_load_kind(doc, value, PV_J_OBJECT, NULL))
        return false;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *member = &value->children[i];
        const struct pv_key *key = find_key(keys, key_count, member->key);

        if (key == NULL)
            say_unknown(doc, member, keys, key_count);
        else if (pv_load_kind(doc, member, key->kinds, NULL) && key->set != NULL)
            key->set(doc, member, (char *) target + key->offset, key);
    }
    for (size_t i = 0; i < key_count; i++)
        if (keys[i].is_required && pv_located_find(value, keys[i].name) == NULL)
            pv_load_fault(doc, value, "missing key \"%s\"", keys[i].name);
    return true;
}

/* ---- setters ------------------------------------------------------------ */

void
pv_set_string(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    (void) key;
    if (*pv_located_string(value) == '\0')
        pv_load_fault(doc, value, "\"%s\" must not be empty", value->key);
    else
        *(const char **) field = pv_load_strdup(doc, pv_located_string(value));
}

bool
pv_has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((uint8_t) *text < 0x20 || *text == 0x7F)
            return true;
    return false;
}

void
pv_set_name(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    const char *text = pv_located_string(value);
    size_t most = key->most == 0 ? PV_NAME_BYTES_MAX : (size_t) key->most;

    if (strlen(text) > most)
        pv_load_fault(doc, value, "\"%s\" must be at most %zu bytes long", value->key, most);
    else if (pv_has_control(text))
        pv_load_fault(doc, value, "\"%s\" must not hold control characters", value->key);
    else
        pv_set_string(doc, value, field, key);
}

void
pv_set_bool(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    (void) doc;
    (void) key;
    *(bool *) field = json_is_true(value->json);
}

static bool
read_integer(struct pv_doc *doc, const struct pv_located *value, const struct pv_key *key, uint64_t *number)
{
    json_int_t found = json_integer_value(value->json);

    if (found < 0 || (uint64_t) found < key->least || (uint64_t) found > key->most) {
        pv_load_fault(doc, value, "\"%s\" must be between %llu and %llu", value->key, (unsigned long long) key->least,
                      (unsigned long long) key->most);
        return false;
    }
    *number = (uint64_t) found;
    return true;
}

void
pv_set_u16(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    uint64_t number;

    pv_assert(key->most <= UINT16_MAX);
    if (read_integer(doc, value, key, &number))
        *(uint16_t *) field = (uint16_t) number;
}

void
pv_set_u32(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    uint64_t number;

    pv_assert(key->most <= UINT32_MAX);
    if (read_integer(doc, value, key, &number))
        *(uint32_t *) field = (uint32_t) number;
}

void
pv_set_u64(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    uint64_t number;

    if (read_integer(doc, value, key, &number))
        *(uint64_t *) field = number;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {{"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}};
static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", 24 * 60 * 60 * 1000},
};

/* Digits and a unit, nothing else. */
static bool
read_quantity(const char *text, const struct unit *units, size_t unit_count, uint64_t *amount)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number = 0;

    if (digits == 0)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t) (text[i] - '0'), &number))
            return false;
    for (size_t i = 0; i < unit_count; i++)
        if (strcmp(text + digits, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].factor, amount);
    return false;
}

/* The largest unit that divides the amount. */
static void
format_quantity(uint64_t amount, const struct unit *units, size_t unit_count, const char *base, char *text, size_t size)
{
    for (size_t i = unit_count; i > 0; i--) {
        if (amount > 0 && amount % units[i - 1].factor == 0) {
            (void) snprintf(text, size, "%llu%s", (unsigned long long) (amount / units[i - 1].factor),
                            units[i - 1].name);
            return;
        }
    }
    (void) snprintf(text, size, "%llu%s", (unsigned long long) amount, base);
}

static void
set_quantity(struct pv_doc *doc, const struct pv_located *value, uint64_t *field, const struct pv_key *key,
             bool is_size)
{
    const struct unit *units = is_size ? size_units : time_units;
    size_t unit_count = is_size ? PV_COUNT_OF(size_units) : PV_COUNT_OF(time_units);
    uint64_t amount;
    char least[32], most[32];

    if (!read_quantity(pv_located_string(value), units, unit_count, &amount)) {
        pv_load_fault(doc, value, "\"%s\" must be %s, not \"%s\"", value->key,
                      is_size ? "a size with its unit KiB, MiB or GiB, such as \"1MiB\""
                              : "a time with its unit ms, s, min, h or d, such as \"15s\"",
                      pv_located_string(value));
        return;
    }
    if (amount < key->least || amount > key->most) {
        format_quantity(key->least, units, unit_count, is_size ? "" : "ms", least, sizeof(least));
        format_quantity(key->most, units, unit_count, is_size ? "" : "ms", most, sizeof(most));
        pv_load_fault(doc, value, "\"%s\" must be between %s and %s", value->key, least, most);
        return;
    }
    *field = amount;
}

void
pv_set_size(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    set_quantity(doc, value, field, key, true);
}

void
pv_set_time(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    set_quantity(doc, value, field, key, false);
}

void
pv_set_word(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_buf list = {0};

    for (int i = 0; key->words[i] != NULL; i++) {
        if (strcmp(key->words[i], pv_located_string(value)) == 0) {
            *(int *) field = i;
            return;
        }
    }
    for (int i = 0; key->words[i] != NULL; i++)
        pv_buf_printf(&list, "%s\"%s\"", i == 0 ? "" : key->words[i + 1] == NULL ? " or " : ", ", key->words[i]);
    if (pv_buf_ok(&list))
        pv_load_fault(doc, value, "\"%s\" must be %s, not \"%s\"", value->key, pv_buf_text(&list),
                      pv_located_string(value));
    else
        doc->load->is_out_of_memory = true;
    pv_buf_clear(&list);
}

void
pv_set_path(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    (void) key;
    if (*pv_located_string(value) == '\0')
        pv_load_fault(doc, value, "\"%s\" must not be empty", value->key);
    else
        *(const char **) field = pv_load_path(doc, pv_located_string(value));
}

static bool
is_already_named(const struct pv_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0)
            return true;
    return false;
}

void
pv_set_names(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_names *names = field;
    const char **list = pv_load_alloc(doc, value->child_count, sizeof(*list));

    (void) key;
    if (list == NULL)
        return;
    names->names = list;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (!pv_load_kind(doc, item, PV_J_STRING, NULL))
            continue;
        if (is_already_named(names, pv_located_string(item))) {
            pv_load_fault(doc, item, "\"%s\" stands twice in \"%s\"", pv_located_string(item), value->key);
            continue;
        }
        list[names->count] = pv_load_strdup(doc, pv_located_string(item));
        if (list[names->count] == NULL)
            return;
        names->count++;
    }
}
