/* What a JDBC tool asks of a database that it browses. Run by test_auditor.py. */
import java.sql.*;
public class Auditor {
    static String rows(ResultSet r, String... names) throws SQLException {
        StringBuilder s = new StringBuilder();
        while (r.next()) { for (String n : names) s.append(r.getString(n)).append('|'); s.append('/'); }
        return s.toString();
    }
    static void step(String name, String value) { System.out.println(name + "\t" + value); }
    public static void main(String[] a) throws Exception {
        try (Connection c = DriverManager.getConnection(a[0])) {
            DatabaseMetaData m = c.getMetaData();
            step("schemas", rows(m.getSchemas(), "TABLE_SCHEM"));
            step("tables", rows(m.getTables(null, null, "%", null), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE"));
            step("views", rows(m.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME"));
            step("columns", rows(m.getColumns(null, "public", "query_log", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME"));
            step("keys", rows(m.getPrimaryKeys(null, "public", "query_log"), "COLUMN_NAME"));
            try (PreparedStatement p = c.prepareStatement("SELECT count(*) AS n FROM query_log WHERE decision = ? AND seq > ?")) {
                p.setString(1, "allowed"); p.setLong(2, 0L);
                step("count", rows(p.executeQuery(), "n"));
            }
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) { s.setFetchSize(2); step("fetched", rows(s.executeQuery("SELECT seq FROM query_log ORDER BY seq LIMIT 5"), "seq")); }
        }
    }
}
