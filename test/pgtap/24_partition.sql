-- Partitions: one for each week, with the same bounds in all five tables, and a DEFAULT so that nothing is ever refused.
\ir lib/helper.psql
select task('t');
create function bounds(parent text) returns text[] language sql as $$
    select array_agg(pg_get_expr(c.relpartbound, c.oid) order by pg_get_expr(c.relpartbound, c.oid)) from pg_inherits as i join pg_class as c on c.oid = i.inhrelid where i.inhparent = ('sluice.' || parent)::regclass $$;
select bag_eq('select name from sluice._partitioned_tables()', $$values ('run'), ('payload'), ('output'), ('attempt'), ('log'), ('resource')$$, 'six tables are partitioned');
select is(bounds(t), bounds('run'), t || ' has the bounds of run') from unnest('{payload,output,attempt,log}'::text[]) as t;
select is(cardinality(bounds('run')), 6, 'this week, four ahead and the DEFAULT');
select is_empty($$select c.oid::regclass from pg_class as c where c.relispartition and c.relkind = 'r' and c.relnamespace <> 'sluice_storage'::regnamespace$$, 'partitions lie in a schema of their own');
select is_empty($$select c.oid::regclass from pg_class as c where c.relnamespace = 'sluice_storage'::regnamespace and c.relkind = 'r' and obj_description(c.oid) is null$$, 'each has a comment');
select is_empty($$select c.oid::regclass from pg_class as c where c.relnamespace = 'sluice_storage'::regnamespace and c.relkind = 'r' and c.relname ~ '^run_' and c.reloptions <> '{fillfactor=32}'$$, 'partitions of run leave room for a run''s life');
select sluice.enqueue('t') as run \gset
select matches((select tableoid::regclass::text from sluice.run where run_id = :run), '^sluice_storage.run_p\d{8}$', 'a run lies in a week');
select is((select right(tableoid::regclass::text, 8) from sluice.run where run_id = :run), to_char(date_trunc('week', clock_timestamp() at time zone 'UTC'), 'YYYYMMDD'), 'named after its Monday in UTC');
select is(sluice._make_partitions(clock_timestamp()), 0, 'making them again makes nothing');

-- Weeks meet without a gap.
select is_empty($$
    with bound as (
        select (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)'))[1]::bigint as low,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)'))[2]::bigint as high
        from pg_inherits as i join pg_class as c on c.oid = i.inhrelid where i.inhparent = 'sluice.run'::regclass)
    select from (select low, high, lead(low) over (order by low) as next from bound where low is not null) as b where next <> high
$$, 'a week begins where the one before ends');
select is_empty($$
    select from pg_inherits as i join pg_class as c on c.oid = i.inhrelid, lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\)') as m
    where i.inhparent = 'sluice.run'::regclass and extract(isodow from sluice._run_time(m[1]::bigint) at time zone 'UTC') <> 1$$, 'on a Monday in UTC');

-- Nobody led for weeks: rows are in the DEFAULT, and the new partition begins behind them.
do $$ declare t text; begin for t in select format('drop table %s', inhrelid::regclass) from pg_inherits as i join pg_class as c on c.oid = i.inhrelid where c.relkind = 'r' and inhrelid::regclass::text ~ '_p\d+$' loop execute t; end loop; end $$;
select sluice.enqueue('t', '{"p": 1}') as one, sluice.enqueue('t', '{"p": 2}') as two \gset
select is((select tableoid::regclass::text from sluice.run where run_id = :two), 'sluice_storage.run_default', 'a run for which there is no week lies in the DEFAULT');
select sluice.complete(take('task/t'), '"out"');
select is(status_of(:one), 'completed', 'and is executed like any other');
select is(sluice._make_partitions(clock_timestamp()), 5, 'the missing weeks are made');
select is(bounds(t), bounds('run'), t || ' still has the bounds of run') from unnest('{payload,output,attempt,log}'::text[]) as t;
select is((select tableoid::regclass::text from sluice.run where run_id = :two), 'sluice_storage.run_default', 'what was in the DEFAULT stays there');
select is((select min((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\)'))[1]::bigint) from pg_inherits as i join pg_class as c on c.oid = i.inhrelid where i.inhparent = 'sluice.run'::regclass), :two + 1::bigint, 'the week begins behind it');
select sluice.enqueue('t') as three \gset
select matches((select tableoid::regclass::text from sluice.run where run_id = :three), '_p\d{8}$', 'new runs lie in the week');
select is(run_of(take('task/t')), :two::bigint, 'claims find both');
select is(run_of(take('task/t')), :three::bigint, 'in order');
select sluice.complete(token) from held_slot;
select bag_eq('select run_id, status from sluice.runs', format($$values (%s::bigint, 'completed'), (%s, 'completed'), (%s, 'completed')$$, :one, :two, :three), 'and their ends');

-- A week that is over entirely behind the DEFAULT is left out.
select is(sluice._make_partitions(clock_timestamp() + interval '700 days', 0), 1, 'weeks may be made for any time');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
