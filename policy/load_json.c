#include "policy/load_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files -------------------------------------------------------------- */

static int
read_all(int fd, uint8_t *to, size_t size, size_t *len)
{
    *len = 0;
    while (*len < size) {
        ssize_t got = read(fd, to + *len, size - *len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            break;
        *len += (size_t) got;
    }
    return 0;
}

int
pv_file_read(struct pv_arena *arena, const char *path, size_t bytes_max, struct pv_slice *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    uint8_t *bytes = NULL;
    size_t len = 0, size;
    int error = 0;

    if (fd < 0)
        return errno;
    if (fstat(fd, &info) != 0)
        error = errno;
    else if (S_ISDIR(info.st_mode))
        error = EISDIR;
    else if (!S_ISREG(info.st_mode))
        error = EINVAL;
    else if (info.st_size < 0 || (uint64_t) info.st_size > bytes_max)
        error = EFBIG;
    if (error == 0) {
        size = (size_t) info.st_size;
        bytes = pv_arena_alloc(arena, size + 1);
        error = bytes == NULL ? ENOMEM : read_all(fd, bytes, size, &len);
    }
    (void) close(fd);
    if (error == 0)
        *text = pv_slice_of(bytes, len);
    return error;
}

/* ---- places ------------------------------------------------------------- */

struct cursor {
    const char *at;
    const char *end;
    unsigned line, column; /* of `at` */
};

static void
step(struct cursor *cursor)
{
    if (*cursor->at == '\n') {
        cursor->line++;
        cursor->column = 1;
    } else if (((uint8_t) cursor->at[1] & 0xC0) != 0x80) {
        cursor->column++;
    }
    cursor->at++;
}

static void
skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) != NULL && *cursor->at != '\0')
        step(cursor);
}

static void
skip_string(struct cursor *cursor)
{
    step(cursor);
    while (cursor->at < cursor->end && *cursor->at != '"') {
        if (*cursor->at == '\\')
            step(cursor);
        if (cursor->at < cursor->end)
            step(cursor);
    }
    if (cursor->at < cursor->end)
        step(cursor);
}

/* A string, a run of letters and digits, or one character of punctuation. */
static void
skip_token(struct cursor *cursor)
{
    if (*cursor->at == '"') {
        skip_string(cursor);
        return;
    }
    if (strchr("{}[]:,", *cursor->at) != NULL) {
        step(cursor);
        return;
    }
    while (cursor->at < cursor->end && strchr("{}[]:,\" \t\r\n", *cursor->at) == NULL)
        step(cursor);
}

/* ---- the locator: walks text that jansson has accepted, beside jansson's values ---- */

static bool locate(struct pv_doc *doc, struct cursor *cursor, const json_t *json, struct pv_located *value);

/* The closing bracket; in one that holds nothing the opening one was not passed yet. */
static void
close_bracket(struct cursor *cursor, bool is_empty)
{
    if (is_empty) {
        step(cursor);
        skip_space(cursor);
    }
    step(cursor);
}

static bool
locate_object(struct pv_doc *doc, struct cursor *cursor, const json_t *json, struct pv_located *value)
{
    union {
        const json_t *borrowed;
        json_t *iterable; /* jansson iterates non-const objects only, and changes nothing */
    } object = {json};
    void *member = json_object_iter(object.iterable);

    value->child_count = json_object_size(json);
    value->children = pv_arena_alloc(doc->scratch, value->child_count * sizeof(*value->children));
    if (value->children == NULL)
        return false;
    for (size_t i = 0; i < value->child_count; i++) {
        struct pv_located *child = &value->children[i];

        step(cursor); /* the brace or the comma */
        skip_space(cursor);
        child->key = json_object_iter_key(member);
        child->key_line = cursor->line;
        child->key_column = cursor->column;
        skip_string(cursor);
        skip_space(cursor);
        step(cursor); /* the colon */
        if (!locate(doc, cursor, json_object_iter_value(member), child))
            return false;
        skip_space(cursor);
        member = json_object_iter_next(object.iterable, member);
    }
    close_bracket(cursor, value->child_count == 0);
    return true;
}

static bool
locate_array(struct pv_doc *doc, struct cursor *cursor, const json_t *json, struct pv_located *value)
{
    value->child_count = json_array_size(json);
    value->children = pv_arena_alloc(doc->scratch, value->child_count * sizeof(*value->children));
    if (value->children == NULL)
        return false;
    for (size_t i = 0; i < value->child_count; i++) {
        step(cursor); /* the bracket or the comma */
        if (!locate(doc, cursor, json_array_get(json, i), &value->children[i]))
            return false;
        skip_space(cursor);
    }
    close_bracket(cursor, value->child_count == 0);
    return true;
}

/* Jansson bounds the depth (2048), so this recursion is bounded too. */
static bool
locate(struct pv_doc *doc, struct cursor *cursor, const json_t *json, struct pv_located *value)
{
    const char *start;
    bool is_located = true;

    skip_space(cursor);
    start = cursor->at;
    value->json = json;
    value->line = cursor->line;
    value->column = cursor->column;
    if (json_is_object(json))
        is_located = locate_object(doc, cursor, json, value);
    else if (json_is_array(json))
        is_located = locate_array(doc, cursor, json, value);
    else
        skip_token(cursor);
    value->raw = pv_slice_of(start, (size_t) (cursor->at - start));
    return is_located;
}

/* ---- documents ---------------------------------------------------------- */

/* Jansson knows where the offending token ends; its start is what an editor should go to. */
static void
say_syntax(struct pv_doc *doc, struct pv_slice text, const json_error_t *error)
{
    struct cursor cursor = {(const char *) text.data, (const char *) text.data + text.len, 1, 1};
    const char *end = cursor.at + (error->position < 0 ? 0 : (size_t) error->position);
    struct cursor token = cursor;

    while (cursor.at < cursor.end && cursor.at < end) {
        skip_space(&cursor);
        token = cursor;
        if (cursor.at < cursor.end)
            skip_token(&cursor);
    }
    pv_faults_add(doc->load->faults, doc->file, token.line, token.column, false, "not valid JSON: %s", error->text);
}

static bool
parse(struct pv_doc *doc, struct pv_slice text)
{
    struct cursor cursor = {(const char *) text.data, (const char *) text.data + text.len, 1, 1};
    json_error_t error = {0};

    doc->root = json_loadb((const char *) text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (doc->root == NULL && (error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory)) {
        doc->load->is_out_of_memory = true;
        return false;
    }
    if (doc->root == NULL) {
        say_syntax(doc, text, &error);
        return false;
    }
    doc->top = pv_arena_alloc(doc->scratch, sizeof(*doc->top));
    if (doc->top == NULL || !locate(doc, &cursor, doc->root, doc->top)) {
        doc->load->is_out_of_memory = true;
        return false;
    }
    return true;
}

bool
pv_doc_open(struct pv_doc *doc, struct pv_load *load, const char *file, const char *dir, const char *path,
            size_t bytes_max)
{
    const char *slash = strrchr(file, '/');
    struct pv_slice text;
    int error;

    memset(doc, 0, sizeof(*doc));
    doc->load = load;
    doc->file = file;
    doc->dir = dir;
    doc->scratch = pv_arena_new(pv_load_block_bytes);
    if (doc->scratch != NULL)
        doc->shown_dir = pv_arena_strndup(doc->scratch, file, slash == NULL ? 0 : (size_t) (slash - file) + 1);
    if (doc->scratch == NULL || doc->shown_dir == NULL) {
        load->is_out_of_memory = true;
        return false;
    }
    error = pv_file_read(doc->scratch, path, bytes_max, &text);
    if (error == ENOMEM) {
        load->is_out_of_memory = true;
        return false;
    }
    if (error != 0) {
        pv_faults_add(load->faults, file, 1, 1, false, "cannot read the file: %s", strerror(error));
        return false;
    }
    return parse(doc, text);
}

void
pv_doc_close(struct pv_doc *doc)
{
    json_decref(doc->root);
    pv_arena_free(doc->scratch);
}

unsigned
pv_located_kind(const struct pv_located *value)
{
    switch (json_typeof(value->json)) {
    case JSON_OBJECT:
        return PV_J_OBJECT;
    case JSON_ARRAY:
        return PV_J_ARRAY;
    case JSON_STRING:
        return PV_J_STRING;
    case JSON_INTEGER:
        return PV_J_INTEGER;
    case JSON_REAL:
        return PV_J_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return PV_J_BOOL;
    case JSON_NULL:
        return PV_J_NULL;
    }
    return 0;
}

const char *
pv_located_string(const struct pv_located *value)
{
    return json_string_value(value->json);
}

const struct pv_located *
pv_located_find(const struct pv_located *object, const char *key)
{
    for (size_t i = 0; i < object->child_count; i++)
        if (object->children[i].key != NULL && strcmp(object->children[i].key, key) == 0)
            return &object->children[i];
    return NULL;
}

/* A character of the value is one of the file, or an escape; a pair of \u escapes is one character. */
static void
step_character(struct cursor *cursor)
{
    bool is_high = false;

    if (*cursor->at != '\\') {
        do
            step(cursor);
        while (cursor->at < cursor->end && ((uint8_t) *cursor->at & 0xC0) == 0x80);
        return;
    }
    if (cursor->at[1] == 'u' && (cursor->at[2] == 'd' || cursor->at[2] == 'D'))
        is_high = strchr("89abAB", cursor->at[3]) != NULL;
    for (int i = cursor->at[1] == 'u' ? (is_high ? 12 : 6) : 2; i > 0 && cursor->at < cursor->end; i--)
        step(cursor);
}

void
pv_located_place(const struct pv_located *value, unsigned character, unsigned *line, unsigned *column)
{
    const char *raw = (const char *) value->raw.data;
    struct cursor cursor = {raw, raw + value->raw.len, value->line, value->column};

    *line = value->line;
    *column = value->column;
    if (character == 0)
        return;
    step(&cursor);
    for (unsigned i = 1; i < character && cursor.at < cursor.end && *cursor.at != '"'; i++)
        step_character(&cursor);
    if (cursor.at < cursor.end && *cursor.at != '"')
        *column = cursor.column;
}
