/* What the two halves of the resolver share: the namespace while a level is being resolved. */
#ifndef PV_RESOLVE_INT_H
#define PV_RESOLVE_INT_H

#include "parser/resolve.h"

/* What a name may mean at some place: an RTE, visible by its own name, by its columns' names, or both. */
struct pv_ns_item {
    struct pv_rte *rte;
    bool is_named;   /* alias.column finds it */
    bool is_spread;  /* column alone finds it */
};

struct pv_ns {
    struct pv_ns_item *items;
    size_t count, size;
};

struct pv_cte {
    const char *name;
    struct pv_level *level;
    const char *const *columns;
    size_t column_count;
    struct pv_cte *next; /* further out, or earlier */
};

/* One level as it is being resolved: what it sees by itself, and where to look next. */
struct pv_scope {
    struct pv_level *level;
    struct pv_ns ns;
    struct pv_scope *parent;
    struct pv_cte *ctes;
};

/* Open addressing over the references by ColumnRef; rebuilt when half full. */
struct pv_reference_index {
    uint32_t *slots; /* reference number + 1; 0: free */
    size_t size;
};

struct pv_resolver {
    struct pv_arena *arena;
    const struct pv_catalogue *catalogue;
    struct pv_slice text;
    struct pv_resolution *resolution;
    struct pv_sql_error *err;
    size_t level_size, reference_size, relation_size;
    unsigned depth;
};

void *pv_resolver_grow(struct pv_resolver *resolver, void *items, size_t count, size_t *size, size_t item_bytes);
enum pv_status pv_resolve_error(struct pv_resolver *resolver, enum pv_status status, const char *sqlstate, int location,
                                const char *format, ...) PV_PRINTF(5, 6);
enum pv_status pv_resolve_level(struct pv_resolver *resolver, SelectStmt *stmt, struct pv_scope *parent,
                                struct pv_cte *ctes, bool is_sublink, struct pv_level **out) PV_MUST_CHECK;
enum pv_status pv_resolve_from(struct pv_resolver *resolver, struct pv_scope *scope, List *from) PV_MUST_CHECK;
/* Every name in an expression, sub-queries included. */
enum pv_status pv_resolve_expression(struct pv_resolver *resolver, struct pv_scope *scope, Node *expr) PV_MUST_CHECK;
enum pv_status pv_ns_add(struct pv_resolver *resolver, struct pv_ns *ns, struct pv_rte *rte, bool is_named,
                         bool is_spread) PV_MUST_CHECK;
/* Finds `name` among an RTE's columns; false when it has none. PV_INVALID when it has several. */
enum pv_status pv_rte_column(struct pv_resolver *resolver, const struct pv_rte *rte, const char *name, int location,
                             bool *is_found, uint32_t *index) PV_MUST_CHECK;
enum pv_status pv_resolver_refer(struct pv_resolver *resolver, const struct pv_reference *reference) PV_MUST_CHECK;
enum pv_status pv_resolve_column_ref(struct pv_resolver *resolver, struct pv_scope *scope,
                                     ColumnRef *ref) PV_MUST_CHECK;
/* A column by its bare name, in one scope. */
enum pv_status pv_ns_find_spread(struct pv_resolver *resolver, const struct pv_scope *scope, const char *name,
                                 int location, struct pv_column_at *column, bool *is_found) PV_MUST_CHECK;
/* The relation part of a qualified reference: all fields but the last. */
enum pv_status pv_ns_find_qualifier(struct pv_resolver *resolver, struct pv_scope *scope, const ColumnRef *ref,
                                    struct pv_rte **rte, struct pv_level **owner) PV_MUST_CHECK;
struct pv_rte *pv_rte_new(struct pv_resolver *resolver, struct pv_scope *scope, enum pv_rte_kind kind, Node *node);

#endif
