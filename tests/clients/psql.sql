\set VERBOSITY verbose
\set SHOW_CONTEXT never
\pset pager off
\conninfo
\d
\dt
\dt *.*
\dt public.*
\dt ads.*
\dv
\dv questions.*
\dn
\df
\df questions.*
\df+ questions.*
\d public.customers
\d+ public.customers
\d customers
\d ads.impressions
\d questions.by_region
\d+ questions.by_region
\d questions.everything
\d nosuch
\dp
\dp public.*
\dT
\dT public.*
\dT pg_catalog.int4
\dD
\di
\ds
\dm
\dE
\db
\dc nosuch
\dC nosuch
\dd
\ddp
\des
\deu
\dew
\dF
\dg
\dl
\dL
\do nosuch
\dO nosuch
\dP
\drds
\dRp
\dRs
\dX
\dy
\dx
\da nosuch
\dA
\dconfig search_path
\sf questions.one_step
\sv questions.by_region
\l
\du
\z
\encoding
SELECT * FROM questions.by_region ORDER BY 1;
SELECT * FROM questions.by_region ORDER BY 1 \gdesc
SELECT * FROM questions.everything \gdesc
SELECT * FROM questions.everything;
SELECT * FROM questions.overlap_by_region(since => '2024-06-01') ORDER BY region;
SELECT * FROM questions.one_step(5);
SELECT * FROM questions.one_step(wanted => '5') AS x(a, b);
\copy (SELECT * FROM questions.by_region ORDER BY 1) to stdout
\copy (SELECT * FROM questions.by_region ORDER BY 1) to stdout with csv header
COPY (SELECT * FROM questions.some_steps) TO STDOUT;
\set FETCH_COUNT 7
SELECT * FROM questions.some_steps;
\unset FETCH_COUNT
SELECT * FROM nosuch;
SELECT nosuch FROM questions.by_region;
SELEKT 1;
SELECT 1/0;
SELECT 'x'::integer;
SELECT current_user, current_database(), current_schema(), session_user, current_catalog, user;
SELECT current_schemas(true), current_schemas(false);
SHOW search_path; SHOW timezone; SHOW server_version; SHOW transaction isolation level; SHOW standard_conforming_strings;
SELECT to_regclass('customers')::text, to_regclass('public.customers'), to_regclass('nosuch'), to_regclass('questions.by_region');
SELECT 'customers'::regclass, 'public.customers'::regclass::oid > 0;
SELECT 'nosuch'::regclass;
SELECT has_table_privilege('customers', 'select'), has_table_privilege('public.customers', 'SELECT');
SELECT has_table_privilege('nosuch', 'select');
SELECT has_schema_privilege('public', 'usage'), has_schema_privilege('nosuch', 'usage');
SELECT has_database_privilege(current_database(), 'connect');
SELECT pg_get_serial_sequence('customers', 'region');
SELECT obj_description('customers'::regclass), obj_description('customers'::regclass, 'pg_class'), col_description('customers'::regclass, 3);
SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2;
SELECT table_schema, table_name FROM information_schema.views WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2;
SELECT routine_schema, routine_name, routine_type, data_type FROM information_schema.routines WHERE routine_schema = 'questions' ORDER BY 2;
SELECT p.parameter_name, p.ordinal_position, p.parameter_mode, p.data_type, r.routine_name FROM information_schema.parameters p JOIN information_schema.routines r USING (specific_schema, specific_name) WHERE r.routine_schema = 'questions' ORDER BY r.routine_name, p.ordinal_position;
SELECT table_name, column_name, ordinal_position, data_type, udt_name, is_nullable, character_maximum_length, numeric_precision, numeric_scale FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_schema, table_name, ordinal_position;
SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'search_path', 'server_version', 'client_encoding') ORDER BY 1;
SELECT pg_get_viewdef('questions.by_region'::regclass) IS NOT NULL;
SELECT relname, relkind FROM pg_class WHERE oid = 'questions.by_region'::regclass;
SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2;
SELECT schemaname, viewname FROM pg_views WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2;
PREPARE s(integer) AS SELECT * FROM questions.one_step($1);
EXECUTE s(3);
DEALLOCATE s;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM questions.some_steps;
FETCH 3 FROM c;
MOVE 2 IN c;
FETCH 1 FROM c;
CLOSE c;
SELECT nosuch;
SELECT 1;
ROLLBACK;
\; SELECT 1 \; SELECT 2;
;
