/* psqlODBC: catalog calls, a parameter, declare/fetch, errors. Prints `step<TAB>value`. argv[1]: the driver's file. */
#include <sql.h>
#include <sqlext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static SQLHENV env;
static SQLHDBC dbc;

static const char *
state_of(SQLSMALLINT kind, SQLHANDLE handle)
{
    static SQLCHAR state[6];
    SQLCHAR text[500];
    SQLINTEGER native;
    SQLSMALLINT len;

    if (SQLGetDiagRec(kind, handle, 1, state, &native, text, sizeof(text), &len) != SQL_SUCCESS)
        return "?????";
    return (const char *) state;
}

/* Rows of an executed statement, columns from first to last. */
static void
print_rows(const char *step, SQLHSTMT stmt, SQLUSMALLINT first, SQLUSMALLINT last)
{
    char value[4000];
    SQLLEN len;

    printf("%s\t", step);
    while (SQL_SUCCEEDED(SQLFetch(stmt))) {
        for (SQLUSMALLINT i = first; i <= last; i++) {
            if (!SQL_SUCCEEDED(SQLGetData(stmt, i, SQL_C_CHAR, value, sizeof(value), &len)))
                printf("(%s)|", state_of(SQL_HANDLE_STMT, stmt));
            else
                printf("%s|", len == SQL_NULL_DATA ? "NULL" : value);
        }
        printf("/");
    }
    printf("\n");
    SQLFreeStmt(stmt, SQL_CLOSE);
}

static void
ask(const char *step, const char *sql)
{
    SQLHSTMT stmt;
    SQLSMALLINT columns = 0;

    SQLAllocHandle(SQL_HANDLE_STMT, dbc, &stmt);
    if (!SQL_SUCCEEDED(SQLExecDirect(stmt, (SQLCHAR *) (size_t) sql, SQL_NTS))) {
        printf("%s\t%s\n", step, state_of(SQL_HANDLE_STMT, stmt));
    } else {
        SQLNumResultCols(stmt, &columns);
        print_rows(step, stmt, 1, (SQLUSMALLINT) columns);
    }
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
}

static void
parameters(void)
{
    SQLHSTMT stmt;
    SQLINTEGER wanted;
    SQLLEN indicator = 0;
    char step[40];

    SQLAllocHandle(SQL_HANDLE_STMT, dbc, &stmt);
    SQLPrepare(stmt, (SQLCHAR *) "SELECT n, label FROM questions.one_step(?)", SQL_NTS);
    SQLBindParameter(stmt, 1, SQL_PARAM_INPUT, SQL_C_SLONG, SQL_INTEGER, 0, 0, &wanted, 0, &indicator);
    for (wanted = 1; wanted < 5; wanted++) {
        snprintf(step, sizeof(step), "parameter %d", (int) wanted);
        if (SQL_SUCCEEDED(SQLExecute(stmt)))
            print_rows(step, stmt, 1, 2);
        else
            printf("%s\t%s\n", step, state_of(SQL_HANDLE_STMT, stmt));
    }
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
}

static void
catalog(void)
{
    static const char *const schemas[] = {"public", "ads", "questions"};
    SQLHSTMT stmt;
    char step[40];

    SQLAllocHandle(SQL_HANDLE_STMT, dbc, &stmt);
    for (size_t i = 0; i < 3; i++) {
        SQLCHAR *schema = (SQLCHAR *) (size_t) schemas[i];

        snprintf(step, sizeof(step), "tables %s", schemas[i]);
        SQLTables(stmt, NULL, 0, schema, SQL_NTS, (SQLCHAR *) "%", SQL_NTS, NULL, 0);
        print_rows(step, stmt, 2, 5);
        snprintf(step, sizeof(step), "columns %s", schemas[i]);
        SQLColumns(stmt, NULL, 0, schema, SQL_NTS, (SQLCHAR *) "%", SQL_NTS, (SQLCHAR *) "%", SQL_NTS);
        print_rows(step, stmt, 2, 11);
    }
    SQLPrimaryKeys(stmt, NULL, 0, (SQLCHAR *) "public", SQL_NTS, (SQLCHAR *) "customers", SQL_NTS);
    print_rows("keys", stmt, 1, 4);
    SQLStatistics(stmt, NULL, 0, (SQLCHAR *) "public", SQL_NTS, (SQLCHAR *) "customers", SQL_NTS, SQL_INDEX_ALL, SQL_QUICK);
    print_rows("statistics", stmt, 1, 6);
    SQLProcedures(stmt, NULL, 0, (SQLCHAR *) "questions", SQL_NTS, (SQLCHAR *) "%", SQL_NTS);
    print_rows("procedures", stmt, 2, 3);
    SQLFreeHandle(SQL_HANDLE_STMT, stmt);
}

int
main(int argc, char **argv)
{
    int is_veiled = getenv("VEILED") != NULL && strcmp(getenv("VEILED"), "1") == 0;
    static const char *const more[] = {"", ";UseDeclareFetch=1;Fetch=100", ";Protocol=7.4-2;UseServerSidePrepare=0"};
    char text[1000], step[60];

    if (argc != 2)
        return 2;
    SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &env);
    SQLSetEnvAttr(env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER) SQL_OV_ODBC3, 0);
    for (int i = 0; i < 3; i++) {
        SQLAllocHandle(SQL_HANDLE_DBC, env, &dbc);
        snprintf(text, sizeof(text), "Driver=%s;Server=%s;Port=%s;Database=%s;Uid=%s;Pwd=%s;SSLmode=disable%s", argv[1], getenv("PGHOST"),
                 getenv("PGPORT"), getenv("PGDATABASE"), getenv("PGUSER"), getenv("PGPASSWORD"), more[i]);
        if (!SQL_SUCCEEDED(SQLDriverConnect(dbc, NULL, (SQLCHAR *) text, SQL_NTS, NULL, 0, NULL, SQL_DRIVER_NOPROMPT))) {
            fprintf(stderr, "connect: %s\n", state_of(SQL_HANDLE_DBC, dbc));
            return 1;
        }
        snprintf(step, sizeof(step), "everything %d", i);
        ask(step, "SELECT * FROM questions.everything WHERE id <> 2");
        snprintf(step, sizeof(step), "steps %d", i);
        ask(step, "SELECT n, label FROM questions.steps WHERE n > 2500");
        snprintf(step, sizeof(step), "missing %d", i);
        ask(step, "SELECT * FROM nosuch");
        snprintf(step, sizeof(step), "after %d", i);
        ask(step, "SELECT 1");
        if (i == 0) {
            catalog();
            parameters();
            SQLSetConnectAttr(dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER) SQL_AUTOCOMMIT_OFF, 0);
            ask("in transaction", "SELECT 1");
            ask("error in transaction", "SELECT 1/0");
            SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_ROLLBACK);
            ask("after rollback", "SELECT 2");
            SQLEndTran(SQL_HANDLE_DBC, dbc, SQL_COMMIT);
            SQLSetConnectAttr(dbc, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER) SQL_AUTOCOMMIT_ON, 0);
        }
        if (i == 0 && is_veiled) {
            ask("veil.temp", "CREATE TEMP TABLE mine (n integer)");
            ask("veil.insert", "INSERT INTO public.steps VALUES (1, 'x')");
            ask("veil.table", "SELECT label FROM public.steps");
            ask("veil.after", "SELECT 1");
        }
        SQLDisconnect(dbc);
        SQLFreeHandle(SQL_HANDLE_DBC, dbc);
    }
    SQLFreeHandle(SQL_HANDLE_ENV, env);
    return 0;
}
