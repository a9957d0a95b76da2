-- What another client of a pool may leave behind in the session that it shares, over and over between the statements of a
-- test.  Not here is what is to be felt: a search_path under which the test itself would not find pgTAP, roles, how intervals and
-- floats are written out, a read-only or serializable default, session_replication_role; test/pgtap/27_hostile.sql and test/crash/test_pooler.py have those.
set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY';
set bytea_output = 'escape'; set extra_float_digits = 0; set xmlbinary = 'hex';
set plan_cache_mode = 'force_custom_plan'; set enable_indexscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off;
create temp table if not exists run (run_id bigint); create temp table if not exists task (task text); create temp table if not exists queue (queue text);
set enable_nestloop = off; set enable_sort = off; set enable_partition_pruning = off; set enable_material = off; set enable_hashagg = off;
prepare claim as select 1; prepare enqueue (text) as select $1;
set work_mem = '64kB'; set constraint_exclusion = on; set from_collapse_limit = 1; set join_collapse_limit = 1; set geqo_threshold = 2;
set statement_timeout = '60s'; set lock_timeout = '60s'; set idle_in_transaction_session_timeout = '60s';
set plpgsql.variable_conflict = 'use_variable'; set plpgsql.extra_errors = 'all'; set plpgsql.extra_warnings = 'all';
listen sluice; listen sluice_work; select pg_advisory_lock(1936483689); select pg_advisory_lock(1, 1);
begin; declare held cursor with hold for select * from generate_series(1, 3); commit;
set check_function_bodies = off; set row_security = off; set transform_null_equals = on; set synchronize_seqscans = off;
set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_indexscan = on; set plan_cache_mode = 'force_generic_plan';
set lc_messages = 'C'; set lc_numeric = 'C'; set lc_monetary = 'C'; set backslash_quote = 'on'; set application_name = 'poison'; set track_functions = 'none';
deallocate all; close all; unlisten *;
set enable_seqscan = on; set enable_hashjoin = on; set enable_mergejoin = on; set enable_nestloop = on; set enable_sort = on;
\echo round
