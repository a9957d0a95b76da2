-- append_logs() and logs(): what attempts wrote, up to a limit.
\ir lib/helper.psql
select task('t', 3);
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select is(said(format($$select sluice.append_logs(%L, '[{"seq": 1, "stream": "stderr", "line": "two", "age_ms": 0}, {"seq": 0, "stream": "stdout", "line": "one ü", "age_ms": 60000}]')$$, :'token')), '', 'lines are kept');
select results_eq(format('select attempt_number, seq, stream, line from sluice.logs(%s)', :run), $$values (1, 0, 'stdout', 'one ü'), (1, 1, 'stderr', 'two')$$, 'and read in their order');
select ok((select at < clock_timestamp() - interval '59 s' from sluice.logs(:run) where seq = 0), 'at the time when they were written');
select sluice.append_logs(:'token', '[{"seq": 1, "line": "again"}, {"seq": 2}]');
select results_eq(format('select seq, stream, line from sluice.logs(%s) where seq > 0', :run), $$values (1, 'stderr', 'two'), (2, 'stdout', '')$$, 'a repeated line changes nothing; what is left out has a default');
select is(said(format('select sluice.append_logs(%L, ''[]'')', :'token')), '', 'no lines are nothing');
select is(said(format('select sluice.append_logs(%L, null)', :'token')), '', 'nor are null lines');
select is(left(said(format('select sluice.append_logs(%L, ''[{"seq": 9, "stream": "stdin", "line": "x"}]'')', :'token')), 6), 'SL006:', 'a stream that is not known is an error');
select is(left(said(format('select sluice.append_logs(%L, ''[{"line": "x"}]'')', :'token')), 6), 'SL006:', 'so is a line without a number');

-- The next attempt
select sluice.fail(:'token', retry_at => '1999-01-01');
select take('task/t') as token2 \gset
select sluice.append_logs(:'token2', '[{"seq": 0, "line": "second attempt"}]');
select is((select string_agg(attempt_number || ':' || line, ' ') from sluice.logs(:run) where seq = 0), '1:one ü 2:second attempt', 'each attempt has lines of its own');
select is((select string_agg(line, ' ') from sluice.logs(:run, 2)), 'second attempt', 'and can be read alone');
select is_empty(format('select * from sluice.logs(%s, 3)', :run), 'an attempt that was not has none');
select is_empty('select * from sluice.logs(42)', 'nor has a run that does not exist');

-- Dead tokens
select is(said(format('select sluice.append_logs(%L, ''[]'')', :'token')), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'an attempt that has ended writes no more');
select sluice.cancel(:run);
select is(said(format('select sluice.append_logs(%L, ''[{"seq": 1, "line": "last words"}]'')', :'token2')), '', 'a dead token still writes');
select is((select line from sluice.logs(:run, 2) where seq = 1), 'last words', 'what its worker has');
select sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token2', 'outcome', 'canceled')));
select is(left(said(format('select sluice.append_logs(%L, ''[]'')', :'token2')), 5), 'SL102', 'until that has acknowledged');

-- The limit
set sluice.max_log = '1kB';
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
create function lines(first int, last int, width int) returns jsonb language sql as $$ select jsonb_agg(jsonb_build_object('seq', i, 'line', repeat('l', width))) from generate_series(first, last) as i $$;
select sluice.append_logs(:'token', lines(0, 9, 90));
select is((select count(*)::int from sluice.logs(:run)), 10, 'lines below sluice.max_log are kept');
select sluice.append_logs(:'token', lines(10, 19, 90));
select is((select max(seq) from sluice.logs(:run)), 11, 'the first line beyond it is the last');
select is((select stream || ': ' || line from sluice.logs(:run) where seq = 11), 'sluice: [further lines are dropped: more than 1kB]', 'and says so');
select sluice.append_logs(:'token', lines(20, 29, 1));
select is((select max(seq) from sluice.logs(:run)), 11, 'nothing comes after it, however short');
select sluice.complete(:'token');
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select sluice.append_logs(:'token', lines(0, 0, 1025));
select sluice.append_logs(:'token', lines(1, 1, 10));
select is((select string_agg(line, '/') from sluice.logs(:run)), '[further lines are dropped: more than 1kB]', 'a single line beyond the limit too');
-- Lines out of their order count too, and those that come twice count once.
create function kept(run bigint) returns text language sql as $$ select format('%s lines, %s bytes, %s', count(*), sum(length(line) + 1) filter (where stream <> 'sluice'), string_agg(seq::text, ',') filter (where stream = 'sluice')) from sluice.logs(run) $$;
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select sluice.append_logs(:'token', lines(50, 53, 99));
select sluice.append_logs(:'token', lines(50, 53, 99)), sluice.append_logs(:'token', lines(52, 55, 99)), sluice.append_logs(:'token', lines(52, 52, 99) || lines(52, 52, 99));
select is(kept(:run), '6 lines, 600 bytes, ', 'a line that comes again counts once');
select sluice.append_logs(:'token', lines(0, 1, 99));
select is(kept(:run), '8 lines, 800 bytes, ', 'one that is late is kept');
select sluice.append_logs(:'token', lines(10, 13, 99));
select is(kept(:run), '11 lines, 1000 bytes, 12', 'up to the limit');
select sluice.append_logs(:'token', lines(60, 60, 0)), sluice.append_logs(:'token', lines(20, 20, 0));
select is(kept(:run), '11 lines, 1000 bytes, 12', 'and then none');
reset sluice.max_log;

-- A portion costs what it is, however much there is already.
create function reads() returns bigint language sql as $$ select sum(pg_stat_get_xact_tuples_returned(c.oid))::bigint from pg_class as c where c.relnamespace = 'sluice_storage'::regnamespace and c.relname ~ '^log' $$;
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
begin;
select count(sluice.append_logs(:'token', lines(100 * n, 100 * n + 99, 40))) from generate_series(0, 39) as n;
select reads() as reads \gset
commit;
select is((select count(*)::int from sluice.logs(:run)), 4000, 'forty portions of a log are kept');
select cmp_ok(:reads, '<', 2000, 'and none was read again for the next');
select * from finish();
