/* Questions: INTERFACE 3. */
#include "policy/load_int.h"
#include "policy/question_int.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MS_MAX (UINT64_C(24) * 60 * 60 * 1000)

static const char *const type_words[] = {"analytical", "list", "cleanml", NULL};

/* A question while it is read. */
struct question_load {
    struct pv_question *question;
    struct pv_room_load *room;
    struct pv_doc *doc;
    const struct pv_located *sql; /* of `sql` or `sql_file` */
    const char *sql_file;         /* for faults, where the text stands in a file of its own */
    struct pv_budgets budgets;
};

/* ---- setters: the field is the question_load ---------------------------- */

static void
set_type(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_word(doc, value, &((struct question_load *) field)->question->type, key);
}

static void
set_title(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_string(doc, value, &((struct question_load *) field)->question->title, key);
}

static void
set_open(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_bool(doc, value, &((struct question_load *) field)->question->is_open, key);
}

static void
set_sql(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct question_load *load = field;

    load->sql = value;
    if (strlen(pv_located_string(value)) > PV_QUERY_BYTES_DEFAULT)
        pv_load_fault(doc, value, "\"sql\" is longer than %u bytes", PV_QUERY_BYTES_DEFAULT);
    else
        pv_set_string(doc, value, &load->question->sql, key);
}

static void
set_sql_file(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct question_load *load = field;
    struct pv_slice text;
    const char *path = NULL;
    int error;

    pv_set_file(doc, value, &path, key);
    if (path == NULL || doc->load->is_out_of_memory)
        return;
    error = pv_file_read(doc->load->arena, path, PV_QUERY_BYTES_DEFAULT, &text);
    if (error == ENOMEM) {
        doc->load->is_out_of_memory = true;
        return;
    }
    if (error != 0) {
        /* A file that cannot be opened was said by pv_set_file. */
        if (error == EFBIG)
            pv_load_fault(doc, value, "\"%s\" is longer than %u bytes", pv_located_string(value),
                          PV_QUERY_BYTES_DEFAULT);
        return;
    }
    load->sql = value;
    load->sql_file = pv_load_shown_path(doc, pv_located_string(value));
    if (!pv_utf8_valid(text))
        pv_faults_add(doc->load->faults, load->sql_file, 1, 1, false, "this must be valid UTF-8");
    else
        load->question->sql = (const char *) text.data;
}

/* ---- members, output, approvals, data sets --------------------------------------- */

static void
set_members(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct question_load *load = field;

    (void) key;
    load->question->has_members = true;
    pv_load_member_entries(doc, load->room->room, value, &load->question->members);
}

static void
set_output(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"entity", PV_J_STRING, false, pv_set_string, offsetof(struct pv_question, entity), 0, 0, NULL},
        {"minimum_entities", PV_J_INTEGER, false, pv_set_u64, offsetof(struct pv_question, minimum_entities), 1,
         INT64_MAX, NULL},
        {"max_rows", PV_J_INTEGER, false, pv_set_u64, offsetof(struct pv_question, max_rows), 1, INT64_MAX, NULL},
        {"timeout", PV_J_STRING, false, pv_set_time, offsetof(struct pv_question, timeout_ms), 1, TIMEOUT_MS_MAX, NULL},
    };
    struct question_load *load = field;
    const struct pv_located *entity = pv_located_find(value, "entity");
    const struct pv_located *minimum = pv_located_find(value, "minimum_entities");

    (void) key;
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), load->question);
    if (minimum != NULL && entity == NULL)
        pv_load_fault(doc, value, "missing key \"entity\": \"minimum_entities\" counts its distinct values");
    if (entity != NULL && minimum == NULL)
        pv_load_fault(doc, value, "missing key \"minimum_entities\": without it \"entity\" does nothing");
}

static void
set_approvals(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct question_load *load = field;

    (void) key;
    load->question->has_approvals = true;
    if (pv_located_kind(value) == PV_J_ARRAY)
        pv_load_party_names(doc, load->room->room, value, &load->question->approvals);
    else if (strcmp(pv_located_string(value), "owners") == 0)
        load->question->is_approved_by_owners = true;
    else
        pv_load_fault(doc, value, "\"approvals\" must be an array of parties or \"owners\", not \"%s\"",
                      pv_located_string(value));
}

static const struct pv_dataset *
find_dataset(const struct pv_room *room, const char *key)
{
    for (size_t i = 0; i < room->dataset_count; i++)
        if (strcmp(room->datasets[i].key, key) == 0)
            return &room->datasets[i];
    return NULL;
}

static void
set_datasets(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct question_load *load = field;
    struct pv_names names = {NULL, 0};
    const struct pv_dataset **datasets = pv_load_alloc(doc, value->child_count, sizeof(*datasets));

    pv_set_names(doc, value, &names, key);
    if (datasets == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];
        const struct pv_dataset *found;

        if (pv_located_kind(item) != PV_J_STRING)
            continue;
        found = find_dataset(load->room->room, pv_located_string(item));
        if (found == NULL)
            pv_load_fault(doc, item, "the room has no data set \"%s\"", pv_located_string(item));
        else if (found->rule == NULL)
            pv_load_fault(doc, item,
                          "data set \"%s\" has no \"analysis_rule\": it can take part in fixed questions only",
                          found->key);
        else if (load->question->dataset_count < names.count)
            datasets[load->question->dataset_count++] = found;
    }
    load->question->datasets = datasets;
}

static void
set_parameters(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct question_load *load = field;

    (void) key;
    pv_load_parameters(doc, load->room, value, load->question);
}

/* ---- what goes together ------------------------------------------------- */

static void
refuse_keys(struct pv_doc *doc, const struct pv_located *value, const char *const *names, size_t count,
            const char *words)
{
    for (size_t i = 0; i < count; i++) {
        const struct pv_located *found = pv_located_find(value, names[i]);

        if (found != NULL)
            pv_load_fault_key(doc, found, "\"%s\" %s", names[i], words);
    }
}

static void
check_open(struct pv_doc *doc, const struct pv_located *value)
{
    static const char *const fixed_keys[] = {"sql", "sql_file", "parameters"};
    static const char *const threshold_keys[] = {"entity", "minimum_entities"};
    const struct pv_located *output = pv_located_find(value, "output");
    const struct pv_located *datasets = pv_located_find(value, "datasets");

    refuse_keys(doc, value, fixed_keys, PV_COUNT_OF(fixed_keys), "is for fixed questions: an open one has no SQL");
    if (output != NULL)
        refuse_keys(doc, output, threshold_keys, PV_COUNT_OF(threshold_keys),
                    "is for fixed questions: an open one keeps to the analysis rules of its data sets");
    if (datasets == NULL)
        pv_load_fault(doc, value, "missing key \"datasets\": an open question lists what it may read");
    else if (pv_located_kind(datasets) == PV_J_ARRAY && datasets->child_count == 0)
        pv_load_fault(doc, datasets, "\"datasets\" must list at least one data set");
}

static void
check_fixed(struct pv_doc *doc, const struct pv_located *value)
{
    static const char *const open_keys[] = {"datasets"};
    const struct pv_located *sql = pv_located_find(value, "sql");
    const struct pv_located *sql_file = pv_located_find(value, "sql_file");

    refuse_keys(doc, value, open_keys, PV_COUNT_OF(open_keys), "is for open questions: a fixed one says it in its SQL");
    if (sql == NULL && sql_file == NULL)
        pv_load_fault(doc, value, "missing key \"sql\" or \"sql_file\"");
    if (sql != NULL && sql_file != NULL)
        pv_load_fault_key(doc, sql_file, "\"sql\" and \"sql_file\" exclude each other");
}

/* ---- compiling ---------------------------------------------------------- */

/* Line and column of the n-th character of a text. */
static void
place_in_text(const char *text, unsigned character, unsigned *line, unsigned *column)
{
    *line = 1;
    *column = 1;
    for (unsigned i = 1; i < character && *text != '\0'; i++) {
        *column = *text == '\n' ? 1 : *column + 1;
        *line += *text == '\n' ? 1 : 0;
        do
            text++;
        while (((uint8_t) *text & 0xC0) == 0x80);
    }
}

static void
report(void *context, const struct pv_compile_fault *fault)
{
    struct question_load *load = context;
    struct pv_doc *doc = load->doc;
    unsigned line, column;
    const struct pv_question *question = load->question;
    bool is_named = strncmp(fault->message, "question \"", 10) == 0;
    const char *said =
        is_named ? fault->message : pv_arena_printf(doc->load->arena, "question \"%s\": %s", question->id, fault->message);

    if (said == NULL) {
        doc->load->is_out_of_memory = true;
        return;
    }
    if (load->sql_file != NULL) {
        place_in_text(question->sql, fault->position, &line, &column);
        pv_faults_add(doc->load->faults, load->sql_file, line, column, false, "%s", said);
        return;
    }
    pv_located_place(load->sql, fault->position, &line, &column);
    pv_faults_add(doc->load->faults, doc->file, line, column, false, "%s", said);
}

static void
compile(struct pv_doc *doc, struct question_load *load)
{
    struct pv_held *held = pv_load_alloc(doc, 1, sizeof(*held));
    size_t faults_before = pv_faults_count(doc->load->faults);
    enum pv_status status;

    if (held == NULL || doc->load->is_out_of_memory)
        return;
    held->question = load->question;
    held->next = doc->load->snapshot->held;
    doc->load->snapshot->held = held;
    status = pv_question_compile(doc->load->arena, load->room->room, load->question, report, load);
    if (status == PV_NOMEM)
        doc->load->is_out_of_memory = true;
    else if (status != PV_OK && pv_faults_count(doc->load->faults) == faults_before)
        pv_load_fault(doc, load->sql, "question \"%s\": %s", load->question->id, pv_status_words(status));
}

/* ---- the whole ---------------------------------------------------------- */

static void
read_question(struct pv_doc *doc, struct pv_room_load *room, const struct pv_located *value,
              struct pv_question *question)
{
    static const struct pv_key keys[] = {
        {"type", PV_J_STRING, true, set_type, 0, 0, 0, type_words},
        {"title", PV_J_STRING, false, set_title, 0, 0, 0, NULL},
        {"open", PV_J_BOOL, false, set_open, 0, 0, 0, NULL},
        {"sql", PV_J_STRING, false, set_sql, 0, 0, 0, NULL},
        {"sql_file", PV_J_STRING, false, set_sql_file, 0, 0, 0, NULL},
        {"parameters", PV_J_OBJECT, false, set_parameters, 0, 0, 0, NULL},
        {"datasets", PV_J_ARRAY, false, set_datasets, 0, 0, 0, NULL},
        {"members", PV_J_ARRAY, false, set_members, 0, 0, 0, NULL},
        {"output", PV_J_OBJECT, false, set_output, 0, 0, 0, NULL},
        {"approvals", PV_J_ARRAY | PV_J_STRING, false, set_approvals, 0, 0, 0, NULL},
        {"access_budget", PV_J_ARRAY, false, pv_set_budgets, offsetof(struct question_load, budgets), 0, 0, NULL},
    };
    struct question_load load = {question, room, doc, NULL, NULL, {NULL, 0}};

    question->id = pv_load_strdup(doc, value->key);
    question->relation.kind = PV_RELATION_QUESTION;
    question->relation.schema = "questions";
    question->relation.name = question->id;
    question->relation.owner = question;
    /* What PostgreSQL takes between double quotes, since callers name it as a relation. */
    if (*value->key == '\0' || strlen(value->key) > PV_NAME_BYTES_MAX || pv_has_control(value->key))
        pv_load_fault_key(doc, value, "a question's name is 1 to %u bytes without control characters, not \"%s\"",
                          PV_NAME_BYTES_MAX, value->key);
    room->is_question_incomplete = false;
    if (!pv_load_object(doc, value, keys, PV_COUNT_OF(keys), &load))
        return;
    question->budgets = load.budgets.budgets;
    question->budget_count = load.budgets.count;
    if (question->is_open) {
        check_open(doc, value);
        return;
    }
    check_fixed(doc, value);
    if (question->sql != NULL && !room->is_incomplete && !room->is_question_incomplete &&
        pv_located_find(value, "datasets") == NULL)
        compile(doc, &load);
}

void
pv_load_questions(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value)
{
    struct pv_question *questions = pv_load_alloc(doc, value->child_count, sizeof(*questions));

    if (questions == NULL)
        return;
    for (size_t i = 0; i < value->child_count && !doc->load->is_out_of_memory; i++)
        read_question(doc, load, &value->children[i], &questions[i]);
    if (doc->load->is_out_of_memory)
        return;
    load->room->questions = questions;
    load->room->question_count = value->child_count;
    if (pv_question_index_make(doc->load->arena, questions, value->child_count, &load->room->question_index) != PV_OK)
        doc->load->is_out_of_memory = true;
}
