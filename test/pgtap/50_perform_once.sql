-- perform(): what an sql task does is committed by the one call that ends its attempt, and by no other.
\ir lib/helper.psql
select connect('a'), connect('b');
create table effect (made_by text);
create function slow(payload jsonb) returns int language plpgsql as $$
begin
    insert into effect values (payload ->> 'as');
    perform pg_advisory_xact_lock_shared(4711);
    return 1;
end $$;
select sluice.create_task('slow', target => 'public.slow');

-- Starts perform() in a session, and returns when so many bodies wait.
create procedure performing(session text, token text, waiting int) language plpgsql as $$
begin
    perform dblink_send_query(session, format('call sluice.perform(%L, null)', token));
    commit;
    call wait_until(format('select count(*) = %s from pg_locks where locktype = ''advisory'' and objid = 4711 and not granted', waiting));
end $$;
create function answer_of(session text) returns text language plpgsql as $$
declare
    answer text := said(format('select * from dblink_get_result(%L) as r (a text)', session));
begin
    perform * from dblink_get_result(session) as r (a text);
    return left(answer, 5);
end $$;

-- The same token twice at once
select sluice.enqueue('slow') as run \gset
select take('task/slow', executors => '{sql}') as token \gset
select pg_advisory_lock(4711);
call performing('a', :'token', 1);
call performing('b', :'token', 2);
select pg_advisory_unlock(4711);
select results_eq($$select a from unnest(array[answer_of('a'), answer_of('b')]) as a order by a collate "C"$$, $$values ('SL102'), ('done')$$, 'of two calls for one attempt, one ends it and the other is refused');
select is((select count(*)::int from effect), 1, 'and the work of the other is undone');
select is(status_of(:run), 'completed', 'the run is completed');
delete from effect;

-- The worker has reported the attempt as ended, since it lost its connection; the server has not noticed yet.
select sluice.enqueue('slow') as run \gset
select take('task/slow', executors => '{sql}') as token \gset
select pg_advisory_lock(4711);
call performing('a', :'token', 1);
select is((select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'crashed'))) where kind = 'ended'), 'done', 'an attempt can be reported as crashed while its body runs');
select pg_advisory_unlock(4711);
select is(answer_of('a'), 'SL102', 'then the body is refused its completion');
select is((select count(*)::int from effect), 0, 'and undone: the next attempt does the work');
select make_due(:run);
select take('task/slow', executors => '{sql}') as token \gset
select in_session('a', format('call sluice.perform(%L, null)', :'token'));
select is((select count(*)::int from effect), 1, 'once');
delete from effect;

-- An output over the limit ends the attempt as failed, so its work does not stay.
create function verbose(payload jsonb) returns text language sql as $$ insert into effect values ('verbose'); select repeat('o', 2000); $$;
select sluice.create_task('verbose', target => 'public.verbose');
select sluice.enqueue('verbose') as run \gset
select take('task/verbose', executors => '{sql}') as token \gset
select in_session('a', 'set sluice.max_output = ''1kB''');
select is(in_session('a', format('call sluice.perform(%L, null)', :'token')), 'done', 'an output over the limit');
select results_eq(format('select status, error ->> ''code'' from sluice.runs where run_id = %s', :run), $$values ('failed', 'OUTPUT_TOO_LARGE')$$, 'fails the attempt');
select is((select count(*)::int from effect), 0, 'whose work is undone');
select is_empty('select * from sluice.check()', 'nothing disagrees');
select * from finish();
