/*
 * Inside of the loader: JSON documents whose values know their places, objects read
 * by tables of keys, and the parts that read config, users and rooms. A part says each fault where
 * it stands and goes on, so that one load says them all. Running out of memory is noted in the load, which then
 * fails as a whole; until it ends, every part must cope with a NULL from pv_load_alloc.
 */
#ifndef PV_LOAD_INT_H
#define PV_LOAD_INT_H

#include "policy/policy.h"
#include "proxy/base/arena.h"
#include "proxy/base/limits.h"

#include <jansson.h>
#include <pthread.h>

/* ---- the snapshot (snapshot.c) ------------------------------------------ */

/* What a snapshot holds outside its arena. */
struct pv_held {
    struct pv_held *next;
    void *regex;
    const struct pv_question *question;
    struct pv_jwt_key *token_key;
};

struct pv_snapshot {
    struct pv_policy policy; /* first, so that the door's pointer is ours */
    struct pv_arena *arena;
    struct pv_held *held;
    pthread_t owner;
    struct pv_snapshot *next; /* waiting for its owner to reap it */
};

/* Of the arenas of snapshots and documents. Tests make it small, so that each piece is an allocation that may fail. */
extern size_t pv_load_block_bytes;

struct pv_snapshot *pv_snapshot_new(void) PV_MUST_CHECK;
void pv_snapshot_free(struct pv_snapshot *snapshot);

/* ---- documents (load_json.c) -------------------------------------------- */

enum {
    PV_J_OBJECT = 1,
    PV_J_ARRAY = 2,
    PV_J_STRING = 4,
    PV_J_INTEGER = 8,
    PV_J_REAL = 16,
    PV_J_BOOL = 32,
    PV_J_NULL = 64,
    PV_J_NUMBER = PV_J_INTEGER | PV_J_REAL
};

/* A value with its place; columns count characters. Lives as long as its document. */
struct pv_located {
    const json_t *json;
    const char *key; /* NULL: an item of an array, or the whole document */
    unsigned key_line, key_column;
    unsigned line, column;
    struct pv_slice raw; /* as in the file */
    struct pv_located *children;
    size_t child_count;
};

struct pv_load {
    struct pv_snapshot *snapshot;
    struct pv_arena *arena; /* the snapshot's */
    struct pv_faults *faults;
    bool is_out_of_memory;
    bool has_users; /* the users were read */
};

struct pv_doc {
    struct pv_load *load;
    const char *file;      /* as its user would open it, for faults */
    const char *shown_dir; /* folder of `file` as given, with its slash; "" for the working directory */
    const char *dir;       /* the same, absolute */
    struct pv_arena *scratch;
    json_t *root;
    struct pv_located *top;
};

/* Reads and locates. False after a fault (or without memory); the document is to be closed either way. */
bool pv_doc_open(struct pv_doc *doc, struct pv_load *load, const char *file, const char *dir, const char *path,
                 size_t bytes_max) PV_MUST_CHECK;
void pv_doc_close(struct pv_doc *doc);

unsigned pv_located_kind(const struct pv_located *value);
const char *pv_located_string(const struct pv_located *value); /* of a string */
const struct pv_located *pv_located_find(const struct pv_located *object, const char *key);
/* Place of the n-th character (from 1) of a string value; of the value for 0 or one past its end. */
void pv_located_place(const struct pv_located *value, unsigned character, unsigned *line, unsigned *column);

/* The whole of a file as text with a NUL behind it; 0, or an errno. EFBIG above bytes_max. */
int pv_file_read(struct pv_arena *arena, const char *path, size_t bytes_max, struct pv_slice *text) PV_MUST_CHECK;

/* ---- faults and memory (load_read.c) ------------------------------------ */

void pv_load_fault(struct pv_doc *doc, const struct pv_located *value, const char *format, ...) PV_PRINTF(3, 4);
void pv_load_fault_key(struct pv_doc *doc, const struct pv_located *value, const char *format, ...) PV_PRINTF(3, 4);
void pv_load_warning(struct pv_doc *doc, const struct pv_located *value, const char *format, ...) PV_PRINTF(3, 4);

/* Of the snapshot; NULL notes that memory ran out. */
void *pv_load_alloc(struct pv_doc *doc, size_t count, size_t size) PV_MUST_CHECK;
/* Never NULL: an empty text notes that memory ran out. */
const char *pv_load_strdup(struct pv_doc *doc, const char *text) PV_MUST_CHECK;
const char *pv_load_strndup(struct pv_doc *doc, const char *text, size_t len) PV_MUST_CHECK;
/* Relative paths are relative to the document's folder. The second is for words. Never NULL either. */
const char *pv_load_path(struct pv_doc *doc, const char *path) PV_MUST_CHECK;
const char *pv_load_shown_path(struct pv_doc *doc, const char *path) PV_MUST_CHECK;
/* Not empty, at most so long, its first character of `first` and each other of `rest`. */
bool pv_name_fits(const char *name, const char *first, const char *rest, size_t bytes_max);
bool pv_has_control(const char *text);

/* ---- objects by table (load_read.c) ------------------------------------- */

struct pv_key;
typedef void pv_key_set(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key);

struct pv_key {
    const char *name;
    unsigned kinds; /* PV_J_ that it may be */
    bool is_required;
    pv_key_set *set;
    size_t offset;            /* of the field in the target */
    uint64_t least, most;     /* numbers, sizes in bytes, times in ms */
    const char *const *words; /* of pv_set_word, NULL at the end; the index is the value */
};

/* Every fault of shape is said; a key's setter runs only on a value of its kinds. False: the value is no object. */
bool pv_load_object(struct pv_doc *doc, const struct pv_located *value, const struct pv_key *keys, size_t key_count,
                    void *target);
/* Says a wrong kind; true when the kind is one of `kinds`. `name` NULL: the value's own key. */
bool pv_load_kind(struct pv_doc *doc, const struct pv_located *value, unsigned kinds, const char *name);

pv_key_set pv_set_string;      /* const char *, not empty */
pv_key_set pv_set_name;        /* the same, at most `most` bytes (0: PV_NAME_BYTES_MAX), no control characters */
pv_key_set pv_set_bool;        /* bool */
pv_key_set pv_set_u16;         /* uint16_t, uint32_t, uint64_t between least and most */
pv_key_set pv_set_u32;
pv_key_set pv_set_u64;
pv_key_set pv_set_size;        /* uint64_t bytes: "64KiB" */
pv_key_set pv_set_time;        /* uint64_t ms: "15s" */
pv_key_set pv_set_word;        /* an int-sized enum */
pv_key_set pv_set_path;        /* const char *, absolute */
pv_key_set pv_set_file;        /* the same, and the file can be read */
pv_key_set pv_set_secret_file; /* the same, and only its owner can */
pv_key_set pv_set_names;       /* struct pv_names: strings, none twice */

/* ---- the parts ---------------------------------------------------------- */

void pv_load_config(struct pv_doc *doc, struct pv_config *config);                     /* load_config.c */
pv_key_set pv_set_listen;                                                              /* const struct pv_listen * */
pv_key_set pv_set_upstreams;                                                           /* struct pv_config: load_upstream.c */
pv_key_set pv_set_tokens;                                                              /* const struct pv_tokens *: load_token.c */
void pv_load_users(struct pv_doc *doc, struct pv_policy *policy);                      /* load_users.c */
void pv_load_room(struct pv_doc *doc, const struct pv_policy *policy, struct pv_room *room); /* load_room.c */

/* A room while it is read. */
struct pv_room_load {
    struct pv_room *room;
    bool is_incomplete;          /* a data set could not be read: no question can be compiled */
    bool is_question_incomplete; /* a parameter of the question that is being read could not */
    const struct pv_policy *policy;
};

void pv_load_datasets(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value); /* load_dataset.c */
void pv_load_column(struct pv_doc *doc, const struct pv_located *value, struct pv_column *column);    /* load_mask.c */
void pv_load_rule(struct pv_doc *doc, const struct pv_located *value, struct pv_dataset *dataset);    /* load_rule.c */
void pv_load_questions(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value); /* load_question.c */
void pv_advise_room(struct pv_doc *doc, const struct pv_room *room); /* advise.c: of a room without faults */
/* load_param.c */
void pv_load_parameters(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value,
                        struct pv_question *question);
/* load_room.c: an array of parties of the room */
void pv_load_party_names(struct pv_doc *doc, const struct pv_room *room, const struct pv_located *value,
                         struct pv_names *names);
/* load_room.c: an array of role:R, party:P and user:U of the room */
void pv_load_member_entries(struct pv_doc *doc, const struct pv_room *room, const struct pv_located *value,
                            struct pv_names *entries);
bool pv_room_has_party(const struct pv_room *room, const char *name);

struct pv_budgets {
    const struct pv_budget *budgets;
    size_t count;
};
pv_key_set pv_set_budgets; /* struct pv_budgets: load_rule.c */

#endif
