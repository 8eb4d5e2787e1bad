/*
 * Every node of a tree in a stable order (a parent before its children, children as
 * nodes.h lists their fields), without recursion. A kind that nodes.h does not list is a denial.
 * Names (lists of String) belong to the node that holds them and are not visited.
 */
#ifndef PV_WALK_H
#define PV_WALK_H

#include "parser/parse.h"

enum pv_walk { PV_WALK_ON, PV_WALK_SKIP, PV_WALK_STOP }; /* SKIP: not into this node's children */

struct pv_walk_at {
    Node *parent;      /* NULL at the root; a nested List counts as a node of its own */
    const char *field; /* of the parent, such as "whereClause"; static */
    unsigned depth;    /* 0 at the root; operator chains do not add */
};

typedef enum pv_walk (*pv_walk_visit)(void *ctx, Node *node, const struct pv_walk_at *at);

struct pv_walk_result {
    unsigned nodes;
    unsigned depth;          /* deepest seen */
    bool stopped;            /* by the visitor */
    NodeTag denied;          /* with PV_DENIED: the kind or the node with a field that is refused */
    const char *denied_name; /* with PV_DENIED: words such as "XmlExpr" or "SelectStmt.intoClause"; static */
    int location;            /* with PV_DENIED: byte offset in the text as far as known, else -1 */
};

/* PV_OK (also when stopped), PV_DENIED, PV_LIMIT (nodes), PV_DEPTH, PV_NOMEM. visit and result may be NULL. */
enum pv_status pv_tree_walk(Node *root, const struct pv_sql_limits *limits, pv_walk_visit visit, void *ctx,
                            struct pv_walk_result *result) PV_MUST_CHECK;

/* The kind's name as in PostgreSQL's source ("SelectStmt"); "unknown node" when it is none that a parse gives. */
const char *pv_node_name(NodeTag tag);
/* As in SQL, for people: "SELECT", "INSERT", "CREATE TABLE"; NULL when the kind is no statement. */
const char *pv_statement_name(const Node *stmt);

/*
 * Equal in every field that carries meaning: all but locations and display forms. Unlike
 * PostgreSQL's equal() it ignores nothing else, and does not recurse. PV_OK with *same set;
 * PV_DENIED for a kind that nodes.h does not list; PV_NOMEM.
 */
enum pv_status pv_tree_equal(const Node *a, const Node *b, bool *same) PV_MUST_CHECK;

/* The byte offset of a node in its text, -1 when the kind keeps none. */
int pv_node_location(const Node *node);

#endif
