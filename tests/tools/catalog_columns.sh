#!/bin/sh
# Prints `schema.relation|column,column,...` for the system catalogs of the server that psql's
# environment names: the facts in policy/catalog_columns.c.
exec psql -XAtc "
SELECT n.nspname || '.' || c.relname || '|' || string_agg(a.attname, ',' ORDER BY attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0
WHERE n.nspname IN ('pg_catalog', 'information_schema') AND relkind IN ('r', 'v')
GROUP BY n.nspname, c.relname ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
