/*
 * The one table of node kinds that we know, with every field of each. It drives
 * walking, counting, comparing and matching. A kind that is not here is denied
 * wherever it stands. Source: nodes/parsenodes.h, primnodes.h and value.h of PostgreSQL 15.
 *
 * Each kind is a list F(kind of field, member). Kinds of fields:
 *   NODE      pointer to a node, may be NULL
 *   LIST      List of nodes; an element may be NULL
 *   NAMES     List of String, or of A_Star: a name
 *   STRING    char *, may be NULL
 *   INT BOOL CHAR LONG   by value; enums are INT
 *   CONST     the value inside A_Const
 *   LOCATION  where it stood: carries no meaning
 *   FORM      how a call was spelled (CoercionForm): carries no meaning. RowExpr.row_format is not one of these:
 *             GROUP BY (a, b) takes the columns of an implicit row one by one
 *   NO_PTR NO_INT NO_BOOL NO_CHAR   what must be absent: anything else is denied
 */
#ifndef PV_NODES_H
#define PV_NODES_H

#include "parser/tree.h"

#define PV_FIELDS_SelectStmt(F) \
    F(LIST, distinctClause) F(NO_PTR, intoClause) F(LIST, targetList) F(LIST, fromClause) F(NODE, whereClause) \
    F(LIST, groupClause) F(BOOL, groupDistinct) F(NODE, havingClause) F(LIST, windowClause) F(LIST, valuesLists) \
    F(LIST, sortClause) F(NODE, limitOffset) F(NODE, limitCount) F(INT, limitOption) F(LIST, lockingClause) \
    F(NODE, withClause) F(INT, op) F(BOOL, all) F(NODE, larg) F(NODE, rarg)
#define PV_FIELDS_ResTarget(F) F(STRING, name) F(NO_PTR, indirection) F(NODE, val) F(LOCATION, location)
#define PV_FIELDS_ColumnRef(F) F(NAMES, fields) F(LOCATION, location)
#define PV_FIELDS_A_Star(F)
#define PV_FIELDS_A_Const(F) F(CONST, val) F(LOCATION, location)
#define PV_FIELDS_A_Expr(F) F(INT, kind) F(NAMES, name) F(NODE, lexpr) F(NODE, rexpr) F(LOCATION, location)
#define PV_FIELDS_BoolExpr(F) F(INT, boolop) F(LIST, args) F(LOCATION, location)
#define PV_FIELDS_NullTest(F) F(NODE, arg) F(INT, nulltesttype) F(NO_BOOL, argisrow) F(LOCATION, location)
#define PV_FIELDS_BooleanTest(F) F(NODE, arg) F(INT, booltesttype) F(LOCATION, location)
#define PV_FIELDS_FuncCall(F) \
    F(NAMES, funcname) F(LIST, args) F(LIST, agg_order) F(NODE, agg_filter) F(NODE, over) F(BOOL, agg_within_group) \
    F(BOOL, agg_star) F(BOOL, agg_distinct) F(BOOL, func_variadic) F(FORM, funcformat) F(LOCATION, location)
#define PV_FIELDS_TypeCast(F) F(NODE, arg) F(NODE, typeName) F(LOCATION, location)
#define PV_FIELDS_TypeName(F) \
    F(NAMES, names) F(NO_INT, typeOid) F(NO_BOOL, setof) F(NO_BOOL, pct_type) F(LIST, typmods) F(INT, typemod) \
    F(LIST, arrayBounds) F(LOCATION, location)
#define PV_FIELDS_CaseExpr(F) \
    F(NO_INT, casetype) F(NO_INT, casecollid) F(NODE, arg) F(LIST, args) F(NODE, defresult) F(LOCATION, location)
#define PV_FIELDS_CaseWhen(F) F(NODE, expr) F(NODE, result) F(LOCATION, location)
#define PV_FIELDS_CoalesceExpr(F) \
    F(NO_INT, coalescetype) F(NO_INT, coalescecollid) F(LIST, args) F(LOCATION, location)
#define PV_FIELDS_MinMaxExpr(F) \
    F(NO_INT, minmaxtype) F(NO_INT, minmaxcollid) F(NO_INT, inputcollid) F(INT, op) F(LIST, args) F(LOCATION, location)
#define PV_FIELDS_SubLink(F) \
    F(INT, subLinkType) F(NO_INT, subLinkId) F(NODE, testexpr) F(NAMES, operName) F(NODE, subselect) \
    F(LOCATION, location)
#define PV_FIELDS_RangeVar(F) \
    F(STRING, catalogname) F(STRING, schemaname) F(STRING, relname) F(BOOL, inh) F(CHAR, relpersistence) \
    F(NODE, alias) F(LOCATION, location)
#define PV_FIELDS_RangeSubselect(F) F(BOOL, lateral) F(NODE, subquery) F(NODE, alias)
#define PV_FIELDS_RangeFunction(F) \
    F(BOOL, lateral) F(BOOL, ordinality) F(BOOL, is_rowsfrom) F(LIST, functions) F(NODE, alias) F(LIST, coldeflist)
#define PV_FIELDS_RangeTableSample(F) \
    F(NODE, relation) F(NAMES, method) F(LIST, args) F(NODE, repeatable) F(LOCATION, location)
#define PV_FIELDS_ColumnDef(F) \
    F(STRING, colname) F(NODE, typeName) F(NO_PTR, compression) F(NO_INT, inhcount) F(BOOL, is_local) \
    F(NO_BOOL, is_not_null) F(NO_BOOL, is_from_type) F(NO_CHAR, storage) F(NO_PTR, raw_default) \
    F(NO_PTR, cooked_default) F(NO_CHAR, identity) F(NO_PTR, identitySequence) F(NO_CHAR, generated) \
    F(NODE, collClause) F(NO_INT, collOid) F(NO_PTR, constraints) F(NO_PTR, fdwoptions) F(LOCATION, location)
#define PV_FIELDS_JoinExpr(F) \
    F(INT, jointype) F(BOOL, isNatural) F(NODE, larg) F(NODE, rarg) F(NAMES, usingClause) F(NODE, join_using_alias) \
    F(NODE, quals) F(NODE, alias) F(NO_INT, rtindex)
#define PV_FIELDS_Alias(F) F(STRING, aliasname) F(NAMES, colnames)
#define PV_FIELDS_SortBy(F) \
    F(NODE, node) F(INT, sortby_dir) F(INT, sortby_nulls) F(NAMES, useOp) F(LOCATION, location)
#define PV_FIELDS_WindowDef(F) \
    F(STRING, name) F(STRING, refname) F(LIST, partitionClause) F(LIST, orderClause) F(INT, frameOptions) \
    F(NODE, startOffset) F(NODE, endOffset) F(LOCATION, location)
#define PV_FIELDS_CommonTableExpr(F) \
    F(STRING, ctename) F(NAMES, aliascolnames) F(INT, ctematerialized) F(NODE, ctequery) F(NO_PTR, search_clause) \
    F(NO_PTR, cycle_clause) F(LOCATION, location) F(NO_BOOL, cterecursive) F(NO_INT, cterefcount) \
    F(NO_PTR, ctecolnames) F(NO_PTR, ctecoltypes) F(NO_PTR, ctecoltypmods) F(NO_PTR, ctecolcollations)
#define PV_FIELDS_WithClause(F) F(LIST, ctes) F(BOOL, recursive) F(LOCATION, location)
#define PV_FIELDS_A_ArrayExpr(F) F(LIST, elements) F(LOCATION, location)
#define PV_FIELDS_A_Indirection(F) F(NODE, arg) F(LIST, indirection)
#define PV_FIELDS_A_Indices(F) F(BOOL, is_slice) F(NODE, lidx) F(NODE, uidx)
#define PV_FIELDS_RowExpr(F) \
    F(LIST, args) F(NO_INT, row_typeid) F(INT, row_format) F(NO_PTR, colnames) F(LOCATION, location)
#define PV_FIELDS_GroupingSet(F) F(INT, kind) F(LIST, content) F(LOCATION, location)
#define PV_FIELDS_GroupingFunc(F) \
    F(LIST, args) F(NO_PTR, refs) F(NO_PTR, cols) F(NO_INT, agglevelsup) F(LOCATION, location)
#define PV_FIELDS_ParamRef(F) F(INT, number) F(LOCATION, location)
#define PV_FIELDS_SQLValueFunction(F) F(INT, op) F(NO_INT, type) F(INT, typmod) F(LOCATION, location)
#define PV_FIELDS_CollateClause(F) F(NODE, arg) F(NAMES, collname) F(LOCATION, location)
#define PV_FIELDS_NamedArgExpr(F) F(NODE, arg) F(STRING, name) F(INT, argnumber) F(LOCATION, location)
#define PV_FIELDS_LockingClause(F) F(LIST, lockedRels) F(INT, strength) F(INT, waitPolicy)
#define PV_FIELDS_Integer(F) F(INT, ival)
#define PV_FIELDS_Float(F) F(STRING, fval)
#define PV_FIELDS_Boolean(F) F(BOOL, boolval)
#define PV_FIELDS_String(F) F(STRING, sval)
#define PV_FIELDS_BitString(F) F(STRING, bsval)
#define PV_FIELDS_DefElem(F) \
    F(STRING, defnamespace) F(STRING, defname) F(NODE, arg) F(INT, defaction) F(LOCATION, location)
#define PV_FIELDS_TransactionStmt(F) \
    F(INT, kind) F(LIST, options) F(STRING, savepoint_name) F(STRING, gid) F(BOOL, chain)
#define PV_FIELDS_VariableSetStmt(F) F(INT, kind) F(STRING, name) F(LIST, args) F(BOOL, is_local)
#define PV_FIELDS_VariableShowStmt(F) F(STRING, name)
#define PV_FIELDS_PrepareStmt(F) F(STRING, name) F(LIST, argtypes) F(NODE, query)
#define PV_FIELDS_ExecuteStmt(F) F(STRING, name) F(LIST, params)
#define PV_FIELDS_DeallocateStmt(F) F(STRING, name)
#define PV_FIELDS_DeclareCursorStmt(F) F(STRING, portalname) F(INT, options) F(NODE, query)
#define PV_FIELDS_FetchStmt(F) F(INT, direction) F(LONG, howMany) F(STRING, portalname) F(BOOL, ismove)
#define PV_FIELDS_ClosePortalStmt(F) F(STRING, portalname)
#define PV_FIELDS_CopyStmt(F) \
    F(NODE, relation) F(NODE, query) F(NAMES, attlist) F(BOOL, is_from) F(BOOL, is_program) F(STRING, filename) \
    F(LIST, options) F(NODE, whereClause)
#define PV_FIELDS_ListenStmt(F) F(STRING, conditionname)
#define PV_FIELDS_UnlistenStmt(F) F(STRING, conditionname)
#define PV_FIELDS_NotifyStmt(F) F(STRING, conditionname) F(STRING, payload)
#define PV_FIELDS_DiscardStmt(F) F(INT, target)
#define PV_FIELDS_ExplainStmt(F) F(NODE, query) F(LIST, options)

#define PV_NODE_TABLE(K) \
    K(SelectStmt) K(ResTarget) K(ColumnRef) K(A_Star) K(A_Const) K(A_Expr) K(BoolExpr) K(NullTest) K(BooleanTest) \
    K(FuncCall) K(TypeCast) K(TypeName) K(CaseExpr) K(CaseWhen) K(CoalesceExpr) K(MinMaxExpr) K(SubLink) K(RangeVar) \
    K(RangeSubselect) K(RangeFunction) K(RangeTableSample) K(ColumnDef) K(JoinExpr) K(Alias) K(SortBy) K(WindowDef) \
    K(CommonTableExpr) K(WithClause) K(A_ArrayExpr) K(A_Indirection) K(A_Indices) K(RowExpr) K(GroupingSet) \
    K(GroupingFunc) K(ParamRef) K(SQLValueFunction) K(CollateClause) K(NamedArgExpr) K(LockingClause) K(Integer) \
    K(Float) K(Boolean) K(String) K(BitString) K(DefElem) K(TransactionStmt) K(VariableSetStmt) K(VariableShowStmt) \
    K(PrepareStmt) K(ExecuteStmt) K(DeallocateStmt) K(DeclareCursorStmt) K(FetchStmt) K(ClosePortalStmt) K(CopyStmt) \
    K(ListenStmt) K(UnlistenStmt) K(NotifyStmt) K(DiscardStmt) K(ExplainStmt)

enum pv_field_kind {
    PV_FIELD_NODE,
    PV_FIELD_LIST,
    PV_FIELD_NAMES,
    PV_FIELD_STRING,
    PV_FIELD_INT,
    PV_FIELD_BOOL,
    PV_FIELD_CHAR,
    PV_FIELD_LONG,
    PV_FIELD_CONST,
    PV_FIELD_LOCATION,
    PV_FIELD_FORM,
    PV_FIELD_NO_PTR,
    PV_FIELD_NO_INT,
    PV_FIELD_NO_BOOL,
    PV_FIELD_NO_CHAR
};

struct pv_field {
    enum pv_field_kind kind;
    unsigned offset;
    const char *name;  /* "whereClause" */
    const char *words; /* "SelectStmt.whereClause" */
};

struct pv_fields {
    const struct pv_field *list;
    unsigned count;
};

struct pv_kind {
    const char *name;
    struct pv_fields fields;
    struct pv_fields children; /* those that are nodes and lists of nodes */
    struct pv_fields guarded;  /* what must be absent, and names */
    struct pv_fields values;   /* all that carries meaning but children */
};

/* By tag, of which PostgreSQL 15 has fewer; those that the table does not hold have no name. */
#define PV_KINDS_END 512u
extern const struct pv_kind pv_kinds[];

/* NULL for a kind that the table does not hold. T_List is in it, with no fields: its elements are its children. */
static inline const struct pv_kind *
pv_kind_of(NodeTag tag)
{
    size_t index = (size_t) tag;

    return index >= PV_KINDS_END || pv_kinds[index].name == NULL ? NULL : &pv_kinds[index];
}

static inline void *
pv_field_pointer(const Node *node, const struct pv_field *field)
{
    void *value;

    __builtin_memcpy(&value, (const char *) node + field->offset, sizeof(value));
    return value;
}

#endif
