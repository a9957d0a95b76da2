-- Lines of an attempt that was given back do not stand in the way of the attempt that gets its number; blank lines count.
\ir lib/helper.psql
select task('t');
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select sluice.append_logs(:'token', '[{"seq": 0, "line": "first try"}, {"seq": 1, "line": "more of it"}]');
select sluice.release(:'token');
select take('task/t') as token \gset
select sluice.append_logs(:'token', '[{"seq": 0, "line": "second try"}]');
select results_eq(format('select attempt_number, line from sluice.logs(%s)', :run), $$values (1, 'second try')$$, 'after a release the log is that of the attempt that counts');

select sluice.requeue(:run);
select take('task/t') as token2 \gset
select sluice.append_logs(:'token', '[{"seq": 1, "line": "late words"}]');
select sluice.append_logs(:'token2', '[{"seq": 0, "line": "third try"}]');
select results_eq(format('select attempt_number, line from sluice.logs(%s)', :run), $$values (1, 'third try')$$, 'after a requeue too, though the old worker is still writing');

select sluice.append_logs(:'token2', '[{"seq": 1}, {"seq": 2, "line": "x"}]');
select is((select string_agg(stream || ':' || line, ' ' order by seq) from sluice.logs(:run)), 'stdout:third try stdout: stdout:x', 'a line without text is a blank line');
set sluice.max_log = '1kB';
select sluice.append_logs(:'token2', (select jsonb_agg(jsonb_build_object('seq', i, 'line', '')) from generate_series(10, 5000) as i));
select ok((select count(*) < 1100 from sluice.logs(:run)), 'blank lines are bounded by sluice.max_log as well');
reset sluice.max_log;
select * from finish();
