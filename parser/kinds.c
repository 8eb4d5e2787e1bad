/*
 * Names of node kinds for people, and the table of nodes.h as data.
 */
#include "parser/nodes.h"
#include "parser/walk.h"

#include <stddef.h>

/* Statements that the grammar can give, with their words; those of several kinds are told apart below. */
#define STATEMENT_TABLE(X) \
    X(InsertStmt, "INSERT") \
    X(DeleteStmt, "DELETE") \
    X(UpdateStmt, "UPDATE") \
    X(MergeStmt, "MERGE") \
    X(SelectStmt, "SELECT") \
    X(AlterTableStmt, "ALTER TABLE") \
    X(AlterDomainStmt, "ALTER DOMAIN") \
    X(GrantStmt, "GRANT") \
    X(GrantRoleStmt, "GRANT") \
    X(AlterDefaultPrivilegesStmt, "ALTER DEFAULT PRIVILEGES") \
    X(ClosePortalStmt, "CLOSE") \
    X(ClusterStmt, "CLUSTER") \
    X(CopyStmt, "COPY") \
    X(CreateStmt, "CREATE TABLE") \
    X(DefineStmt, "CREATE") \
    X(DropStmt, "DROP") \
    X(TruncateStmt, "TRUNCATE") \
    X(CommentStmt, "COMMENT") \
    X(FetchStmt, "FETCH") \
    X(IndexStmt, "CREATE INDEX") \
    X(CreateFunctionStmt, "CREATE FUNCTION") \
    X(AlterFunctionStmt, "ALTER FUNCTION") \
    X(DoStmt, "DO") \
    X(RenameStmt, "ALTER … RENAME") \
    X(RuleStmt, "CREATE RULE") \
    X(NotifyStmt, "NOTIFY") \
    X(ListenStmt, "LISTEN") \
    X(UnlistenStmt, "UNLISTEN") \
    X(TransactionStmt, "BEGIN") \
    X(ViewStmt, "CREATE VIEW") \
    X(LoadStmt, "LOAD") \
    X(CreateDomainStmt, "CREATE DOMAIN") \
    X(CreatedbStmt, "CREATE DATABASE") \
    X(DropdbStmt, "DROP DATABASE") \
    X(VacuumStmt, "VACUUM") \
    X(ExplainStmt, "EXPLAIN") \
    X(CreateTableAsStmt, "CREATE TABLE AS") \
    X(CreateSeqStmt, "CREATE SEQUENCE") \
    X(AlterSeqStmt, "ALTER SEQUENCE") \
    X(VariableSetStmt, "SET") \
    X(VariableShowStmt, "SHOW") \
    X(DiscardStmt, "DISCARD") \
    X(CreateTrigStmt, "CREATE TRIGGER") \
    X(CreatePLangStmt, "CREATE LANGUAGE") \
    X(CreateRoleStmt, "CREATE ROLE") \
    X(AlterRoleStmt, "ALTER ROLE") \
    X(DropRoleStmt, "DROP ROLE") \
    X(LockStmt, "LOCK") \
    X(ConstraintsSetStmt, "SET CONSTRAINTS") \
    X(ReindexStmt, "REINDEX") \
    X(CheckPointStmt, "CHECKPOINT") \
    X(CreateSchemaStmt, "CREATE SCHEMA") \
    X(AlterDatabaseStmt, "ALTER DATABASE") \
    X(AlterDatabaseRefreshCollStmt, "ALTER DATABASE") \
    X(AlterDatabaseSetStmt, "ALTER DATABASE") \
    X(AlterRoleSetStmt, "ALTER ROLE") \
    X(CreateConversionStmt, "CREATE CONVERSION") \
    X(CreateCastStmt, "CREATE CAST") \
    X(CreateOpClassStmt, "CREATE OPERATOR CLASS") \
    X(CreateOpFamilyStmt, "CREATE OPERATOR FAMILY") \
    X(AlterOpFamilyStmt, "ALTER OPERATOR FAMILY") \
    X(PrepareStmt, "PREPARE") \
    X(ExecuteStmt, "EXECUTE") \
    X(DeallocateStmt, "DEALLOCATE") \
    X(DeclareCursorStmt, "DECLARE CURSOR") \
    X(CreateTableSpaceStmt, "CREATE TABLESPACE") \
    X(DropTableSpaceStmt, "DROP TABLESPACE") \
    X(AlterObjectDependsStmt, "ALTER … DEPENDS") \
    X(AlterObjectSchemaStmt, "ALTER … SET SCHEMA") \
    X(AlterOwnerStmt, "ALTER … OWNER") \
    X(AlterOperatorStmt, "ALTER OPERATOR") \
    X(AlterTypeStmt, "ALTER TYPE") \
    X(DropOwnedStmt, "DROP OWNED") \
    X(ReassignOwnedStmt, "REASSIGN OWNED") \
    X(CompositeTypeStmt, "CREATE TYPE") \
    X(CreateEnumStmt, "CREATE TYPE") \
    X(CreateRangeStmt, "CREATE TYPE") \
    X(AlterEnumStmt, "ALTER TYPE") \
    X(AlterTSDictionaryStmt, "ALTER TEXT SEARCH DICTIONARY") \
    X(AlterTSConfigurationStmt, "ALTER TEXT SEARCH CONFIGURATION") \
    X(CreateFdwStmt, "CREATE FOREIGN DATA WRAPPER") \
    X(AlterFdwStmt, "ALTER FOREIGN DATA WRAPPER") \
    X(CreateForeignServerStmt, "CREATE SERVER") \
    X(AlterForeignServerStmt, "ALTER SERVER") \
    X(CreateUserMappingStmt, "CREATE USER MAPPING") \
    X(AlterUserMappingStmt, "ALTER USER MAPPING") \
    X(DropUserMappingStmt, "DROP USER MAPPING") \
    X(AlterTableSpaceOptionsStmt, "ALTER TABLESPACE") \
    X(AlterTableMoveAllStmt, "ALTER TABLE ALL") \
    X(SecLabelStmt, "SECURITY LABEL") \
    X(CreateForeignTableStmt, "CREATE FOREIGN TABLE") \
    X(ImportForeignSchemaStmt, "IMPORT FOREIGN SCHEMA") \
    X(CreateExtensionStmt, "CREATE EXTENSION") \
    X(AlterExtensionStmt, "ALTER EXTENSION") \
    X(AlterExtensionContentsStmt, "ALTER EXTENSION") \
    X(CreateEventTrigStmt, "CREATE EVENT TRIGGER") \
    X(AlterEventTrigStmt, "ALTER EVENT TRIGGER") \
    X(RefreshMatViewStmt, "REFRESH MATERIALIZED VIEW") \
    X(ReplicaIdentityStmt, "ALTER TABLE") \
    X(AlterSystemStmt, "ALTER SYSTEM") \
    X(CreatePolicyStmt, "CREATE POLICY") \
    X(AlterPolicyStmt, "ALTER POLICY") \
    X(CreateTransformStmt, "CREATE TRANSFORM") \
    X(CreateAmStmt, "CREATE ACCESS METHOD") \
    X(CreatePublicationStmt, "CREATE PUBLICATION") \
    X(AlterPublicationStmt, "ALTER PUBLICATION") \
    X(CreateSubscriptionStmt, "CREATE SUBSCRIPTION") \
    X(AlterSubscriptionStmt, "ALTER SUBSCRIPTION") \
    X(DropSubscriptionStmt, "DROP SUBSCRIPTION") \
    X(CreateStatsStmt, "CREATE STATISTICS") \
    X(AlterCollationStmt, "ALTER COLLATION") \
    X(CallStmt, "CALL") \
    X(AlterStatsStmt, "ALTER STATISTICS")
/* Other kinds that a parse can give and nodes.h does not list. */
#define OTHER_TABLE(X) \
    X(XmlExpr) \
    X(XmlSerialize) X(SetToDefault) X(CurrentOfExpr) X(IntoClause) X(IntList) X(OidList) X(MultiAssignRef) \
        X(RangeTableFunc) X(RangeTableFuncCol) X(IndexElem) X(Constraint) X(ObjectWithArgs) X(InferClause) \
            X(OnConflictClause) X(CTESearchClause) X(CTECycleClause) X(MergeWhenClause) X(RoleSpec) X(RawStmt)

/* Members are placed by their own struct, so each list is opened once a kind. */
#define FIELD(self, field_kind, member) \
    {PV_FIELD_##field_kind, (unsigned) offsetof(self, member), #member, #self "." #member},
#define F_SelectStmt(field_kind, member) FIELD(SelectStmt, field_kind, member)
#define F_ResTarget(field_kind, member) FIELD(ResTarget, field_kind, member)
#define F_ColumnRef(field_kind, member) FIELD(ColumnRef, field_kind, member)
#define F_A_Star(field_kind, member) FIELD(A_Star, field_kind, member)
#define F_A_Const(field_kind, member) FIELD(A_Const, field_kind, member)
#define F_A_Expr(field_kind, member) FIELD(A_Expr, field_kind, member)
#define F_BoolExpr(field_kind, member) FIELD(BoolExpr, field_kind, member)
#define F_NullTest(field_kind, member) FIELD(NullTest, field_kind, member)
#define F_BooleanTest(field_kind, member) FIELD(BooleanTest, field_kind, member)
#define F_FuncCall(field_kind, member) FIELD(FuncCall, field_kind, member)
#define F_TypeCast(field_kind, member) FIELD(TypeCast, field_kind, member)
#define F_TypeName(field_kind, member) FIELD(TypeName, field_kind, member)
#define F_CaseExpr(field_kind, member) FIELD(CaseExpr, field_kind, member)
#define F_CaseWhen(field_kind, member) FIELD(CaseWhen, field_kind, member)
#define F_CoalesceExpr(field_kind, member) FIELD(CoalesceExpr, field_kind, member)
#define F_MinMaxExpr(field_kind, member) FIELD(MinMaxExpr, field_kind, member)
#define F_SubLink(field_kind, member) FIELD(SubLink, field_kind, member)
#define F_RangeVar(field_kind, member) FIELD(RangeVar, field_kind, member)
#define F_RangeSubselect(field_kind, member) FIELD(RangeSubselect, field_kind, member)
#define F_RangeFunction(field_kind, member) FIELD(RangeFunction, field_kind, member)
#define F_RangeTableSample(field_kind, member) FIELD(RangeTableSample, field_kind, member)
#define F_ColumnDef(field_kind, member) FIELD(ColumnDef, field_kind, member)
#define F_JoinExpr(field_kind, member) FIELD(JoinExpr, field_kind, member)
#define F_Alias(field_kind, member) FIELD(Alias, field_kind, member)
#define F_SortBy(field_kind, member) FIELD(SortBy, field_kind, member)
#define F_WindowDef(field_kind, member) FIELD(WindowDef, field_kind, member)
#define F_CommonTableExpr(field_kind, member) FIELD(CommonTableExpr, field_kind, member)
#define F_WithClause(field_kind, member) FIELD(WithClause, field_kind, member)
#define F_A_ArrayExpr(field_kind, member) FIELD(A_ArrayExpr, field_kind, member)
#define F_A_Indirection(field_kind, member) FIELD(A_Indirection, field_kind, member)
#define F_A_Indices(field_kind, member) FIELD(A_Indices, field_kind, member)
#define F_RowExpr(field_kind, member) FIELD(RowExpr, field_kind, member)
#define F_GroupingSet(field_kind, member) FIELD(GroupingSet, field_kind, member)
#define F_GroupingFunc(field_kind, member) FIELD(GroupingFunc, field_kind, member)
#define F_ParamRef(field_kind, member) FIELD(ParamRef, field_kind, member)
#define F_SQLValueFunction(field_kind, member) FIELD(SQLValueFunction, field_kind, member)
#define F_CollateClause(field_kind, member) FIELD(CollateClause, field_kind, member)
#define F_NamedArgExpr(field_kind, member) FIELD(NamedArgExpr, field_kind, member)
#define F_LockingClause(field_kind, member) FIELD(LockingClause, field_kind, member)
#define F_Integer(field_kind, member) FIELD(Integer, field_kind, member)
#define F_Float(field_kind, member) FIELD(Float, field_kind, member)
#define F_Boolean(field_kind, member) FIELD(Boolean, field_kind, member)
#define F_String(field_kind, member) FIELD(String, field_kind, member)
#define F_BitString(field_kind, member) FIELD(BitString, field_kind, member)
#define F_DefElem(field_kind, member) FIELD(DefElem, field_kind, member)
#define F_TransactionStmt(field_kind, member) FIELD(TransactionStmt, field_kind, member)
#define F_VariableSetStmt(field_kind, member) FIELD(VariableSetStmt, field_kind, member)
#define F_VariableShowStmt(field_kind, member) FIELD(VariableShowStmt, field_kind, member)
#define F_PrepareStmt(field_kind, member) FIELD(PrepareStmt, field_kind, member)
#define F_ExecuteStmt(field_kind, member) FIELD(ExecuteStmt, field_kind, member)
#define F_DeallocateStmt(field_kind, member) FIELD(DeallocateStmt, field_kind, member)
#define F_DeclareCursorStmt(field_kind, member) FIELD(DeclareCursorStmt, field_kind, member)
#define F_FetchStmt(field_kind, member) FIELD(FetchStmt, field_kind, member)
#define F_ClosePortalStmt(field_kind, member) FIELD(ClosePortalStmt, field_kind, member)
#define F_CopyStmt(field_kind, member) FIELD(CopyStmt, field_kind, member)
#define F_ListenStmt(field_kind, member) FIELD(ListenStmt, field_kind, member)
#define F_UnlistenStmt(field_kind, member) FIELD(UnlistenStmt, field_kind, member)
#define F_NotifyStmt(field_kind, member) FIELD(NotifyStmt, field_kind, member)
#define F_DiscardStmt(field_kind, member) FIELD(DiscardStmt, field_kind, member)
#define F_ExplainStmt(field_kind, member) FIELD(ExplainStmt, field_kind, member)

/* Each list ends in one that is never counted, so that none is empty. */
#define LIST_END {PV_FIELD_LOCATION, 0, NULL, NULL}

#define KIND(self) static const struct pv_field fields_##self[] = {PV_FIELDS_##self(F_##self) LIST_END};
PV_NODE_TABLE(KIND)
#undef KIND
#undef FIELD

/* The same lists again, each time of some kinds of fields: which they are is told by a macro a kind of field. */
#define ALL_OF(self, field_kind, member) \
    {PV_FIELD_##field_kind, (unsigned) offsetof(self, member), #member, #self "." #member},
#define NONE_OF(self, field_kind, member)
#define FIELD(self, field_kind, member) IS_##field_kind(self, field_kind, member)

#define IS_NODE ALL_OF
#define IS_LIST ALL_OF
#define IS_NAMES NONE_OF
#define IS_STRING NONE_OF
#define IS_INT NONE_OF
#define IS_BOOL NONE_OF
#define IS_CHAR NONE_OF
#define IS_LONG NONE_OF
#define IS_CONST NONE_OF
#define IS_LOCATION NONE_OF
#define IS_FORM NONE_OF
#define IS_NO_PTR NONE_OF
#define IS_NO_INT NONE_OF
#define IS_NO_BOOL NONE_OF
#define IS_NO_CHAR NONE_OF
#define KIND(self) static const struct pv_field children_##self[] = {PV_FIELDS_##self(F_##self) LIST_END};
PV_NODE_TABLE(KIND)
#undef KIND
#undef IS_NODE
#undef IS_LIST
#undef IS_NAMES
#undef IS_NO_PTR
#undef IS_NO_INT
#undef IS_NO_BOOL
#undef IS_NO_CHAR

#define IS_NODE NONE_OF
#define IS_LIST NONE_OF
#define IS_NAMES ALL_OF
#define IS_NO_PTR ALL_OF
#define IS_NO_INT ALL_OF
#define IS_NO_BOOL ALL_OF
#define IS_NO_CHAR ALL_OF
#define KIND(self) static const struct pv_field guarded_##self[] = {PV_FIELDS_##self(F_##self) LIST_END};
PV_NODE_TABLE(KIND)
#undef KIND
#undef IS_STRING
#undef IS_INT
#undef IS_BOOL
#undef IS_CHAR
#undef IS_LONG
#undef IS_CONST

#define IS_STRING ALL_OF
#define IS_INT ALL_OF
#define IS_BOOL ALL_OF
#define IS_CHAR ALL_OF
#define IS_LONG ALL_OF
#define IS_CONST ALL_OF
#define KIND(self) static const struct pv_field values_##self[] = {PV_FIELDS_##self(F_##self) LIST_END};
PV_NODE_TABLE(KIND)
#undef KIND

static const struct pv_field no_fields[] = {LIST_END};

#define COUNTED(list) {list, (unsigned) PV_COUNT_OF(list) - 1}
const struct pv_kind pv_kinds[PV_KINDS_END] = {
#define KIND(self) \
    [T_##self] = {#self, COUNTED(fields_##self), COUNTED(children_##self), COUNTED(guarded_##self), \
                  COUNTED(values_##self)},
    PV_NODE_TABLE(KIND)
#undef KIND
        [T_List] = {"List", COUNTED(no_fields), COUNTED(no_fields), COUNTED(no_fields), COUNTED(no_fields)},
};

const char *
pv_node_name(NodeTag tag)
{
    static const struct {
        NodeTag tag;
        const char *name;
    } names[] = {
#define X(kind, words) {T_##kind, #kind},
        STATEMENT_TABLE(X)
#undef X
#define X(kind) {T_##kind, #kind},
            OTHER_TABLE(X)
#undef X
    };
    const struct pv_kind *kind = pv_kind_of(tag);

    if (kind != NULL)
        return kind->name;
    for (size_t i = 0; i < PV_COUNT_OF(names); i++)
        if (names[i].tag == tag)
            return names[i].name;
    return "unknown node";
}

static const char *
transaction_words(const TransactionStmt *stmt)
{
    switch (stmt->kind) {
    case TRANS_STMT_BEGIN:
        return "BEGIN";
    case TRANS_STMT_START:
        return "START TRANSACTION";
    case TRANS_STMT_COMMIT:
        return "COMMIT";
    case TRANS_STMT_ROLLBACK:
        return "ROLLBACK";
    case TRANS_STMT_SAVEPOINT:
        return "SAVEPOINT";
    case TRANS_STMT_RELEASE:
        return "RELEASE";
    case TRANS_STMT_ROLLBACK_TO:
        return "ROLLBACK TO SAVEPOINT";
    case TRANS_STMT_PREPARE:
        return "PREPARE TRANSACTION";
    case TRANS_STMT_COMMIT_PREPARED:
        return "COMMIT PREPARED";
    case TRANS_STMT_ROLLBACK_PREPARED:
        return "ROLLBACK PREPARED";
    }
    return "BEGIN";
}

const char *
pv_statement_name(const Node *stmt)
{
    static const struct {
        NodeTag tag;
        const char *words;
    } names[] = {
#define X(kind, words) {T_##kind, words},
        STATEMENT_TABLE(X)
#undef X
    };

    if (stmt == NULL)
        return NULL;
    if (IsA(stmt, TransactionStmt))
        return transaction_words((const TransactionStmt *) stmt);
    if (IsA(stmt, FetchStmt))
        return ((const FetchStmt *) stmt)->ismove ? "MOVE" : "FETCH";
    if (IsA(stmt, GrantStmt))
        return ((const GrantStmt *) stmt)->is_grant ? "GRANT" : "REVOKE";
    if (IsA(stmt, GrantRoleStmt))
        return ((const GrantRoleStmt *) stmt)->is_grant ? "GRANT" : "REVOKE";
    if (IsA(stmt, VacuumStmt))
        return ((const VacuumStmt *) stmt)->is_vacuumcmd ? "VACUUM" : "ANALYZE";
    if (IsA(stmt, VariableSetStmt) && ((const VariableSetStmt *) stmt)->kind >= VAR_RESET)
        return "RESET";
    for (size_t i = 0; i < PV_COUNT_OF(names); i++)
        if (names[i].tag == nodeTag(stmt))
            return names[i].words;
    return NULL;
}
