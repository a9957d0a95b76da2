-- Claims and completions that change rows without a statement: when they do, that the rows are those of a statement, and
-- that whatever a statement would heed is heeded.
\ir lib/helper.psql
select task('t', 4);

-- How often the statements of claim and completion looked at a row.
create function by_statements(call text) returns bigint
language plpgsql
set track_functions = 'all'
as $$
declare
    before  bigint;
    looked  text := 'select coalesce(sum(pg_stat_get_xact_function_calls(oid)), 0) from pg_proc where proname in (''_index_matches'', ''_is_among'')';
    looked_ bigint;
begin
    execute looked into before;
    execute call;
    execute looked into looked_;
    return looked_ - before;
end
$$;
create temp table held (token uuid, run_id bigint, payload jsonb);
create function claim_them(most integer) returns void
language sql
as $$
    insert into held select token, run_id, payload from sluice.claim('w', '{task/t}', most)
$$;
create function complete_them() returns void
language sql
as $$
    select sluice.exchange('w', (select jsonb_agg(jsonb_build_object('token', token, 'outcome', 'completed')) from held), '{}', 0)
$$;
create function rows_of(run bigint) returns jsonb
language sql
as $$
    select jsonb_build_array(to_jsonb(r) - '{run_id,ready_at,claim_key,due_at,token,started_at,claimed_at,finished_at}'::text[],
                             sluice._token_run(r.token) = r.run_id, r.started_at = r.claimed_at, r.finished_at >= r.claimed_at)
    from sluice.run as r where r.run_id = run
$$;

select count(sluice.enqueue('t', to_jsonb(i), concurrency_key => 'k', priority => 3)) as made from generate_series(1, 20) as i \gset
begin;
select is(by_statements('select claim_them(20)'), 0::bigint, 'a claim needs no statement for its rows');
select is((select count(*)::int from held as h join sluice.payload as p on p.run_id = h.run_id where p.payload = h.payload), 20, 'and hands each its payload');
select is((select count(distinct token)::int from held where sluice._token_run(token) = run_id), 20, 'and its token');
commit;
begin;
select is(by_statements('select complete_them()'), 0::bigint, 'nor does a completion');
commit;
select rows_of(min(run_id)) as direct from held \gset
select is((select count(*)::int from held where rows_of(run_id) = :'direct'), 20, 'all rows say the same');
truncate held;

-- Where somebody has put a trigger on the partition there is a statement.
select sluice.enqueue('t', '1', concurrency_key => 'k', priority => 3) as run \gset
select tableoid::regclass as leaf from sluice.run where run_id = :run \gset
create table seen (status text);
grant insert on seen to public;
create function see() returns trigger language plpgsql as $$ begin insert into public.seen values (new.status); return new; end $$;
create trigger see before update on :leaf for each row execute function see();
begin;
select isnt(by_statements('select claim_them(1)'), case (select mode from sluice.index_stats()) when 'index' then 0::bigint else -1 end, 'with a trigger there is one for claims');
select isnt(by_statements('select complete_them()'), 0::bigint, 'and for completions');
commit;
select results_eq('select status from seen', $$values ('executing'), ('completed')$$, 'the trigger sees both');
select is(rows_of(:run), :'direct', 'and the row is the same');
drop trigger see on :leaf;
truncate held;

-- What somebody has added is kept up.
alter table sluice.run add column note text not null default 'as it was';
create index by_start on sluice.run (started_at);
create index by_end on sluice.run (finished_at) where status = 'completed';
select sluice.enqueue('t', '1', concurrency_key => 'k', priority => 3) as run \gset
select claim_them(1), complete_them();
set enable_seqscan = off;
set enable_bitmapscan = off;
select is((select count(*)::int from sluice.run where started_at >= (select claimed_at from sluice.run where run_id = :run)), 1, 'an index of a column that claims write has the run');
select is((select count(*)::int from sluice.run where status = 'completed' and finished_at >= (select finished_at from sluice.run where run_id = :run)), 1, 'and one with a condition');
reset enable_seqscan;
reset enable_bitmapscan;
select is((select note from sluice.run where run_id = :run), 'as it was', 'a column that nobody knows is as it was');
alter table sluice.run drop column note;
drop index sluice.by_start, sluice.by_end;
truncate held;

-- Checks are checked.
select sluice.enqueue('t', '1') as run \gset
alter table sluice.run add constraint no_w check (worker <> 'w') not valid;
select is(left(said('select claim_them(1)'), 6), '23514:', 'a claim that breaks a check is refused');
select is((select status from sluice.run where run_id = :run), 'queued', 'and has changed nothing');
alter table sluice.run drop constraint no_w;
select claim_them(1);
begin read only;
select is(left(said('select complete_them()'), 6), '25006:', 'a transaction that only reads completes nothing');
commit;

-- A row that this transaction itself has locked or changed is no other's.
begin;
select count(*) as locked from (select from sluice.run where run_id = :run for update) as l \gset
select complete_them();
select is((select status from sluice.run where run_id = :run), 'completed', 'a row that one has locked oneself can be completed');
rollback;
select sluice.enqueue('t', '2') as other \gset
begin;
select count(*) as locked from (select from sluice.run where run_id = :other for update) as l \gset
select claim_them(1);
select is((select status from sluice.run where run_id = :other), 'executing', 'and claimed');
rollback;
begin;
select claim_them(1), complete_them();
select is((select count(*)::int from sluice.run where run_id in (:run, :other) and status = 'completed'), 2, 'what was claimed in a transaction can be completed in it');
commit;
select is_empty('select * from sluice.check()', 'all of which adds up');
select * from finish();
