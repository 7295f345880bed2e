// The matrix for MariaDB Connector/J: java -cp JAR Matrix.java PORT USER PASSWORD MODE CA_FILE
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.*;
import java.util.*;

public class Matrix {
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final Map<String, String> STATEMENTS = new HashMap<>();
    static Connection connection;

    static void tell(String name, Object value) {
        OUT.println(name + "\t" + (value == null ? "NULL" : value));
    }

    static void tellRows(String name, ResultSet rows, String column) throws SQLException {
        while (rows.next()) tell(name, rows.getString(column));
        rows.close();
    }

    static String fails(String sql, String told) {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) { }
            tell(told, "no error");
            return "";
        } catch (SQLException error) {
            tell(told, error.getErrorCode());
            return error.getMessage();
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of("statements.txt"))) {
            int at = line.indexOf('=');
            STATEMENTS.put(line.substring(0, at), line.substring(at + 1));
        }
        String mode = arguments[3];
        Properties options = new Properties();
        options.put("user", arguments[1]);
        options.put("password", arguments[2]);
        options.put("useServerPrepStmts", "true");
        options.put("dumpQueriesOnException", "true");
        options.put("maxQuerySizeToLog", "0");
        if (mode.equals("tls")) {
            options.put("useSsl", "true");
            options.put("serverSslCert", arguments[4]);
        }
        if (mode.equals("native")) options.put("restrictedAuth", "mysql_native_password");
        connection = DriverManager.getConnection("jdbc:mariadb://127.0.0.1:" + arguments[0] + "/z4", options);
        browse(connection.getMetaData());
        query();
        connection.close();
    }

    /** What DBeaver reads to draw its tree and the tabs of a table. */
    static void browse(DatabaseMetaData meta) throws SQLException {
        tellRows("databases", meta.getCatalogs(), "TABLE_CAT");
        tellRows("tables", meta.getTables("z4", null, "%", null), "TABLE_NAME");
        ResultSet columns = meta.getColumns("z4", null, "tasks", "%");
        while (columns.next()) {
            tell("columns", columns.getString("COLUMN_NAME"));
            tell("column_types", columns.getString("COLUMN_NAME") + " " + columns.getInt("DATA_TYPE") + " "
                + columns.getString("TYPE_NAME") + " " + columns.getString("IS_NULLABLE"));
        }
        columns.close();
        tellRows("primary_key", meta.getPrimaryKeys("z4", null, "tasks"), "COLUMN_NAME");
        tellRows("indexes", meta.getIndexInfo("z4", null, "tasks", false, true), "INDEX_NAME");
        tellRows("types", meta.getTypeInfo(), "TYPE_NAME");
        tellRows("table_types", meta.getTableTypes(), "TABLE_TYPE");
        meta.getImportedKeys("z4", null, "tasks").close();
        meta.getExportedKeys("z4", null, "tasks").close();
        meta.getProcedures("z4", null, "%").close();
        meta.getFunctions("z4", null, "%").close();
        meta.getSchemas().close();
        meta.getTablePrivileges("z4", null, "tasks").close();
        meta.getColumnPrivileges("z4", null, "tasks", "%").close();
        meta.getVersionColumns("z4", null, "tasks").close();
        meta.getBestRowIdentifier("z4", null, "tasks", DatabaseMetaData.bestRowSession, true).close();
        tell("product", meta.getDatabaseProductVersion());
    }

    static void query() throws SQLException {
        Statement statement = connection.createStatement();
        tellRows("answered", statement.executeQuery(STATEMENTS.get("answered")), "namespace");
        for (String column : List.of("deliver_at", "namespace"))
            tell("refusal", fails(STATEMENTS.get("refused_" + column), "refused").contains(column));
        PreparedStatement prepared = connection.prepareStatement(STATEMENTS.get("prepared"));
        for (String namespace : List.of("welcome_emails", "x' OR '1'='1")) {
            prepared.setString(1, "it's \\ ?");
            prepared.setString(2, namespace);
            prepared.setTimestamp(3, Timestamp.valueOf("2022-04-16 00:00:00"));
            ResultSet rows = prepared.executeQuery();
            while (rows.next()) {
                tell("prepared", rows.getString(1));
                tell("prepared", rows.getString(2));
            }
        }
        statement.execute(STATEMENTS.get("zone"));
        PreparedStatement binary = connection.prepareStatement(STATEMENTS.get("cells"));
        ResultSet cells = binary.executeQuery();
        cells.next();
        tell("null", cells.getTimestamp(1));
        tell("json", cells.getString(2));
        tell("payload", HexFormat.of().formatHex(cells.getBytes(3)));
        tell("deliver_at", cells.getTimestamp(4).toString());
        tell("decimal", cells.getBigDecimal(6));
        tell("unsigned", cells.getObject(7));
        tell("double", cells.getDouble(8));
        Statement streaming = connection.createStatement();
        streaming.setFetchSize(100);
        ResultSet rows = streaming.executeQuery(STATEMENTS.get("stream"));
        long total = 0;
        while (rows.next()) total += rows.getLong(1);
        rows.close();
        tell("streamed", total);
        fails(STATEMENTS.get("failing"), "failed");
        tellRows("connection", statement.executeQuery("SELECT CONNECTION_ID() AS id"), "id");
        fails(STATEMENTS.get("sleeping"), "killed");
        statement.execute(STATEMENTS.get("limit"));
        fails(STATEMENTS.get("sleeping"), "timeout");
        tellRows("after", statement.executeQuery("SELECT 1 AS one"), "one");
    }
}
