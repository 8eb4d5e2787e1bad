// lib/pq by database/sql, and pgx by its own interface. Prints `step<TAB>value`.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/lib/pq"
)

func step(name string, value interface{}) { fmt.Printf("%s\t%s\n", name, strings.ReplaceAll(fmt.Sprint(value), "\n", " ")) }

func code(err error) string {
	var ofPq *pq.Error
	var ofPgx *pgconn.PgError
	switch {
	case err == nil:
		return "fine"
	case errors.As(err, &ofPq):
		return string(ofPq.Code)
	case errors.As(err, &ofPgx):
		return ofPgx.Code
	}
	return err.Error()
}

type querier func(text string, args ...interface{}) string

// Columns with their types, then the rows.
func byDatabaseSQL(q interface {
	Query(string, ...interface{}) (*sql.Rows, error)
}) querier {
	return func(text string, args ...interface{}) string {
		rows, err := q.Query(text, args...)
		if err != nil {
			return code(err)
		}
		defer rows.Close()
		types, _ := rows.ColumnTypes()
		out := ""
		for _, t := range types {
			out += t.Name() + " " + t.DatabaseTypeName() + ","
		}
		for rows.Next() {
			values := make([]interface{}, len(types))
			for i := range values {
				values[i] = new(sql.NullString)
			}
			if err := rows.Scan(values...); err != nil {
				return code(err)
			}
			for _, v := range values {
				out += fmt.Sprintf("|%q", v.(*sql.NullString).String)
			}
			out += "/"
		}
		if rows.Err() != nil {
			return code(rows.Err())
		}
		return out
	}
}

func byPgx(c *pgx.Conn) querier {
	return func(text string, args ...interface{}) string {
		rows, err := c.Query(context.Background(), text, args...)
		if err != nil {
			return code(err)
		}
		defer rows.Close()
		out := ""
		for _, f := range rows.FieldDescriptions() {
			out += fmt.Sprintf("%s %d %d,", f.Name, f.DataTypeOID, f.Format)
		}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				return code(err)
			}
			out += fmt.Sprint(values) + "/"
		}
		if rows.Err() != nil {
			return code(rows.Err())
		}
		return out
	}
}

func common(name string, q querier) {
	step(name+" regions", q("SELECT * FROM questions.by_region ORDER BY region"))
	step(name+" everything", q("SELECT id, flag, small, big, double_, amount, txt, vc, raw, day, stamp_tz, u FROM questions.everything"))
	for n := 0; n < 3; n++ {
		step(fmt.Sprintf("%s parameter %d", name, n), q("SELECT * FROM questions.one_step($1)", n))
	}
	step(name+" date", q("SELECT * FROM questions.overlap_by_region(since => $1) ORDER BY 1", time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)))
	for _, text := range []string{"SELEKT 1", "SELECT * FROM nosuch", "SELECT nosuch FROM questions.steps", "SELECT 1/0", "SELECT 1"} {
		step(name+" "+text, q(text))
	}
	step(name+" tables", q("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ('public', 'questions') ORDER BY 1, 2"))
	if os.Getenv("VEILED") == "1" {
		for kind, text := range map[string]string{"temp": "CREATE TEMP TABLE mine (n integer)", "insert": "INSERT INTO public.steps VALUES (1, 'x')",
			"table": "SELECT label FROM public.steps"} {
			step("veil."+name+" "+kind, q(text)+" then "+q("SELECT 1 AS one"))
		}
	}
}

func main() {
	ctx := context.Background()
	db, err := sql.Open("postgres", "sslmode=disable")
	if err != nil {
		panic(err)
	}
	common("pq", byDatabaseSQL(db))
	one, err := db.Prepare("SELECT label FROM questions.one_step($1)")
	if err != nil {
		panic(err)
	}
	for n := 7; n < 10; n++ {
		var label string
		step(fmt.Sprintf("pq prepared %d", n), code(one.QueryRow(n).Scan(&label))+" "+label)
	}
	tx, _ := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	step("pq transaction", byDatabaseSQL(tx)("SHOW transaction_isolation")+byDatabaseSQL(tx)("SELECT 1/0")+byDatabaseSQL(tx)("SELECT 1"))
	tx.Rollback()
	soon, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	_, err = db.QueryContext(soon, "SELECT n FROM questions.slow(1)")
	cancel()
	step("pq cancelled", err != nil)
	step("pq after", byDatabaseSQL(db)("SELECT 2"))
	db.Close()

	config, _ := pgx.ParseConfig("")
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		panic(err)
	}
	common("pgx", byPgx(c))
	batch := &pgx.Batch{}
	for n := 0; n < 50; n++ {
		batch.Queue("SELECT label FROM questions.one_step($1)", n)
	}
	results := c.SendBatch(ctx, batch)
	for n := 0; n < 50; n++ {
		var label string
		if err = results.QueryRow().Scan(&label); n%10 == 0 {
			step(fmt.Sprintf("pgx batch %d", n), code(err)+" "+label)
		}
	}
	step("pgx batch", code(results.Close()))
	var copied bytes.Buffer
	tag, err := c.PgConn().CopyTo(ctx, &copied, "COPY (SELECT * FROM questions.some_steps) TO STDOUT (FORMAT csv, HEADER)")
	step("pgx copy", fmt.Sprint(tag, code(err), copied.Len()))
	soon, cancel = context.WithTimeout(ctx, 1500*time.Millisecond)
	_, err = c.Exec(soon, "SELECT n FROM questions.slow(1)")
	cancel()
	step("pgx cancelled", err != nil)
	c.Close(ctx)
}
