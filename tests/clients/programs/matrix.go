// The matrix for Go's database/sql: go run matrix.go PORT USER PASSWORD MODE CA_FILE
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var statements = map[string]string{}
var connection *sql.Conn
var background = context.Background()

func must(problem error) {
	if problem != nil {
		panic(problem)
	}
}

func tell(name string, value any) {
	fmt.Printf("%s\t%v\n", name, value)
}

// firstOf tells the first column of every row.
func firstOf(name string, query string) {
	rows, problem := connection.QueryContext(background, query)
	must(problem)
	defer rows.Close()
	columns, _ := rows.Columns()
	cells := make([]any, len(columns))
	for at := range cells {
		cells[at] = &sql.NullString{}
	}
	for rows.Next() {
		must(rows.Scan(cells...))
		tell(name, cells[0].(*sql.NullString).String)
	}
	must(rows.Err())
}

func fails(query string, told string) string {
	rows, problem := connection.QueryContext(background, query)
	if problem == nil {
		for rows.Next() {
		}
		problem = rows.Err()
		rows.Close()
	}
	var refused *mysql.MySQLError
	if !errors.As(problem, &refused) {
		tell(told, "no error")
		return ""
	}
	tell(told, refused.Number)
	return refused.Message
}

func connect(port, user, password, mode, caFile string) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = user, password, "z4"
	config.Net, config.Addr = "tcp", "127.0.0.1:"+port
	if mode == "tls" {
		authority, problem := os.ReadFile(caFile)
		must(problem)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		must(mysql.RegisterTLSConfig("z4", &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}))
		config.TLSConfig = "z4"
	}
	database, problem := sql.Open("mysql", config.FormatDSN())
	must(problem)
	connection, problem = database.Conn(background)
	must(problem)
}

func main() {
	text, problem := os.ReadFile("statements.txt")
	must(problem)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		name, statement, _ := strings.Cut(line, "=")
		statements[name] = statement
	}
	connect(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	for _, name := range []string{"databases", "tables", "columns", "answered"} {
		firstOf(name, statements[name])
	}
	for _, column := range []string{"deliver_at", "namespace"} {
		tell("refusal", strings.Contains(fails(statements["refused_"+column], "refused"), column))
	}
	prepared, problem := connection.PrepareContext(background, statements["prepared"])
	must(problem)
	for _, namespace := range []string{"welcome_emails", "x' OR '1'='1"} {
		rows, problem := prepared.Query("it's \\ ?", namespace, "2022-04-16")
		must(problem)
		for rows.Next() {
			var user, parameter string
			must(rows.Scan(&user, &parameter))
			tell("prepared", user)
			tell("prepared", parameter)
		}
		must(rows.Err())
	}
	_, problem = connection.ExecContext(background, statements["zone"])
	must(problem)
	var until, lateness sql.NullString
	var json, deliverAt, decimal string
	var payload []byte
	var unsigned uint64
	var double float64
	cells := connection.QueryRowContext(background, statements["cells"])
	must(cells.Scan(&until, &json, &payload, &deliverAt, &lateness, &decimal, &unsigned, &double))
	if !until.Valid {
		tell("null", "NULL")
	}
	tell("json", json)
	tell("payload", hex.EncodeToString(payload))
	tell("deliver_at", deliverAt)
	tell("decimal", decimal)
	tell("unsigned", unsigned)
	tell("double", double)
	total := 0
	rows, problem := connection.QueryContext(background, statements["stream"])
	must(problem)
	for rows.Next() {
		var number int
		must(rows.Scan(&number, &payload))
		total += number
	}
	must(rows.Err())
	tell("streamed", total)
	fails(statements["failing"], "failed")
	firstOf("connection", "SELECT CONNECTION_ID()")
	fails(statements["sleeping"], "killed")
	_, problem = connection.ExecContext(background, statements["limit"])
	must(problem)
	fails(statements["sleeping"], "timeout")
	firstOf("after", "SELECT 1")
}
