import java.sql.*;
import java.util.*;
import java.util.concurrent.atomic.AtomicBoolean;

/* pgjdbc: metadata, paging, batches, prepared statements at the server, cancel. Prints `step<TAB>value`. */
public class Market {
    static final boolean VEILED = "1".equals(System.getenv("VEILED"));

    static void step(String name, Object value) {
        System.out.println(name + "\t" + String.valueOf(value).replace("\n", "\\n").replace("\t", "\\t"));
    }

    static String rows(ResultSet rs, String... columns) throws SQLException {
        StringBuilder out = new StringBuilder();
        while (rs.next()) {
            for (int i = 1; i <= (columns.length > 0 ? columns.length : rs.getMetaData().getColumnCount()); i++)
                out.append(columns.length > 0 ? rs.getString(columns[i - 1]) : rs.getString(i)).append('|');
            out.append('/');
        }
        rs.close();
        return out.toString();
    }

    static String code(Connection c, String sql) {
        try (Statement s = c.createStatement()) {
            return s.execute(sql) ? rows(s.getResultSet()) : "done";
        } catch (SQLException e) {
            return e.getSQLState();
        }
    }

    static Connection connect(String more) throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?sslmode=disable" + more, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    static void metadata(Connection c) throws SQLException {
        DatabaseMetaData m = c.getMetaData();
        step("catalogs", c.getCatalog());
        step("schemas", rows(m.getSchemas(), "TABLE_SCHEM").replace("pg_toast|/", ""));
        for (String schema : new String[] {"public", "ads", "questions", "nosuch"}) {
            step("tables " + schema, rows(m.getTables(null, schema, "%", null), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS"));
            step("columns " + schema, rows(m.getColumns(null, schema, "%", "%"), "TABLE_NAME", "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME",
                "COLUMN_SIZE", "DECIMAL_DIGITS", "NULLABLE", "REMARKS", "COLUMN_DEF", "ORDINAL_POSITION", "IS_AUTOINCREMENT"));
            step("functions " + schema, rows(m.getFunctions(null, schema, "%"), "FUNCTION_SCHEM", "FUNCTION_NAME", "FUNCTION_TYPE"));
            step("function columns " + schema, rows(m.getFunctionColumns(null, schema, "%", "%"), "FUNCTION_NAME", "COLUMN_NAME",
                "COLUMN_TYPE", "DATA_TYPE", "TYPE_NAME", "ORDINAL_POSITION"));
            step("procedures " + schema, rows(m.getProcedures(null, schema, "%"), "PROCEDURE_NAME"));
        }
        step("types of tables", rows(m.getTableTypes()));
        step("keys", rows(m.getPrimaryKeys(null, "public", "customers")) + rows(m.getImportedKeys(null, "public", "customers"))
            + rows(m.getExportedKeys(null, "public", "customers")) + rows(m.getIndexInfo(null, "public", "customers", false, true))
            + rows(m.getBestRowIdentifier(null, "public", "customers", 0, true)));
        step("user", m.getUserName() + m.getDatabaseProductVersion() + m.getSQLKeywords().length() + m.isReadOnly());
        step("types", rows(m.getTypeInfo(), "TYPE_NAME", "DATA_TYPE").contains("int4|4|"));
        step("maximum", m.getMaxColumnNameLength() + " " + m.getMaxIndexLength());
    }

    static void questions(Connection c) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet rs = s.executeQuery("SELECT * FROM questions.everything")) {
            StringBuilder kinds = new StringBuilder();
            for (int i = 1; i <= rs.getMetaData().getColumnCount(); i++)
                kinds.append(rs.getMetaData().getColumnName(i)).append(' ').append(rs.getMetaData().getColumnTypeName(i)).append(' ')
                    .append(rs.getMetaData().getPrecision(i)).append(' ').append(rs.getMetaData().getScale(i)).append(' ')
                    .append(rs.getMetaData().isNullable(i)).append(';');
            step("kinds", kinds);
            step("everything", rows(rs));
        }
        try (PreparedStatement p = c.prepareStatement("SELECT * FROM questions.one_step(?)")) {
            StringBuilder out = new StringBuilder();
            for (int n = 1; n <= 12; n++) { /* a server-side statement and binary results from the fifth on */
                p.setInt(1, n);
                out.append(rows(p.executeQuery()));
            }
            step("prepared", out);
            step("parameter", p.getParameterMetaData().getParameterTypeName(1));
        }
        try (PreparedStatement p = c.prepareStatement("SELECT * FROM questions.overlap_by_region(since => ?) ORDER BY region")) {
            p.setDate(1, java.sql.Date.valueOf("2024-06-01"));
            step("date", rows(p.executeQuery()));
            p.setObject(1, java.time.LocalDate.of(2024, 6, 1));
            step("local date", rows(p.executeQuery()));
        }
    }

    static void paging(Connection c) throws SQLException {
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.setFetchSize(70);
            long sum = 0;
            try (ResultSet rs = s.executeQuery("SELECT n, label FROM questions.steps")) {
                while (rs.next())
                    sum += rs.getInt(1) + rs.getString(2).length();
            }
            step("paged", sum);
            s.setMaxRows(5);
            step("maximum of rows", rows(s.executeQuery("SELECT n FROM questions.steps")));
        }
        Savepoint save = c.setSavepoint("here");
        step("error", code(c, "SELECT * FROM nosuch") + " " + code(c, "SELECT 1"));
        c.rollback(save);
        step("after savepoint", code(c, "SELECT 1"));
        c.commit();
        c.setReadOnly(true);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        step("isolation", code(c, "SHOW transaction_isolation") + c.isReadOnly());
        c.commit();
        c.setReadOnly(false);
        c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY);
             ResultSet rs = s.executeQuery("SELECT n FROM questions.some_steps")) {
            rs.last();
            step("scrolled", rs.getRow() + " " + rs.getInt(1));
        }
        c.commit();
        c.setAutoCommit(true);
    }

    static void cancel(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            AtomicBoolean isOver = new AtomicBoolean();
            Thread stopper = new Thread(() -> {
                try {
                    // A cancel may be there before what it is about.
                    while (!isOver.get()) {
                        Thread.sleep(400);
                        s.cancel();
                    }
                } catch (Exception e) {
                    step("cancel failed", e);
                }
            });
            stopper.start();
            try {
                s.executeQuery("SELECT n FROM questions.slow(1)");
                step("cancel", "nothing");
            } catch (SQLException e) {
                step("cancel", e.getSQLState());
            }
            isOver.set(true);
            stopper.join();
            s.setQueryTimeout(1);
            try {
                s.executeQuery("SELECT n FROM questions.slow(1)");
            } catch (SQLException e) {
                step("timeout", e.getSQLState());
            }
        }
        step("after cancel", code(c, "SELECT 1"));
    }

    static void refusals(Connection c) throws SQLException {
        step("veil.temp", code(c, "CREATE TEMP TABLE mine (n integer)") + " then " + code(c, "SELECT 1").charAt(0));
        step("veil.insert", code(c, "INSERT INTO public.steps VALUES (1, 'x')") + " then " + code(c, "SELECT 1").charAt(0));
        step("veil.table", code(c, "SELECT label FROM public.steps") + " then " + code(c, "SELECT 1").charAt(0));
        c.setAutoCommit(false);
        code(c, "SELECT 1");
        String first = code(c, "SELECT label FROM public.steps"), second = code(c, "SELECT 1");
        c.rollback();
        step("veil.transaction", first + " " + second + " then " + code(c, "SELECT 1").charAt(0));
        c.commit();
        c.setAutoCommit(true);
        try (PreparedStatement p = c.prepareStatement("INSERT INTO public.steps VALUES (?, 'x')")) {
            for (int n = 0; n < 255; n++) {
                p.setInt(1, n);
                p.addBatch();
            }
            p.executeBatch();
        } catch (BatchUpdateException e) {
            step("veil.batch", e.getSQLState() + " then " + code(c, "SELECT 1").charAt(0));
        }
        c.setAutoCommit(false);
        try {
            c.unwrap(org.postgresql.PGConnection.class).getLargeObjectAPI().open(1);
        } catch (SQLException e) {
            c.rollback();
            step("veil.large", e.getSQLState() + " then " + code(c, "SELECT 1").charAt(0));
        }
        c.setAutoCommit(true);
    }

    public static void main(String[] args) throws Exception {
        try (Connection c = connect("&ApplicationName=market")) {
            step("valid", c.isValid(5));
            metadata(c);
            questions(c);
            paging(c);
            cancel(c);
            if (VEILED)
                refusals(c);
        }
        try (Connection c = connect("&preferQueryMode=simple&currentSchema=ads,public")) {
            step("simple", rows(c.prepareStatement("SELECT current_schema(), label FROM questions.one_step(3)").executeQuery()));
        }
        try (Connection c = connect("&prepareThreshold=-1&defaultRowFetchSize=3")) {
            step("binary at once", rows(c.createStatement().executeQuery("SELECT * FROM questions.everything WHERE id <> 2"), "amount", "day",
                "stamp_tz", "u", "ints", "texts", "docb", "real_", "clock"));
            step("copy", new org.postgresql.copy.CopyManager(c.unwrap(org.postgresql.core.BaseConnection.class))
                .copyOut("COPY (SELECT * FROM questions.some_steps) TO STDOUT", new java.io.StringWriter()));
        }
    }
}
