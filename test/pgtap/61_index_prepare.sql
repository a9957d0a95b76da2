-- Prepared transactions: one that holds slots cannot be prepared, one that enqueues can, and what it enqueued is found.
\ir lib/helper.psql
select task('t', 3);
create function refused(what text) returns text language sql as $$ select 'SL018: a transaction that claimed runs, ended attempts or changed a queue cannot be prepared [Claim, complete and define in transactions of their own; enqueues can be prepared.]' $$;
-- PREPARE TRANSACTION is no statement of a function.
select connect('a');
create function prepare() returns text language plpgsql as $$
declare message text; hint text;
begin
    perform dblink_exec('a', $p$prepare transaction 'p'$p$);
    return 'prepared';
exception when others then
    get stacked diagnostics message = message_text, hint = pg_exception_hint;
    return format('%s: %s [%s]', sqlstate, message, hint);
end $$;

select sluice.enqueue('t') as run \gset
select dblink_exec('a', 'begin');
select in_session('a', $$select run_id from sluice.claim('a')$$);
select is(prepare(), refused('claim'), 'a claim cannot be prepared');
\if :by_index
select dblink_exec('a', 'begin');
select in_session('a', $$select sluice.create_queue('limited', 1)$$);
select is(prepare(), refused('create_queue'), 'nor can limits');
\endif
select is(run_of(take('task/t')), :run::bigint, 'and gave back what it held');
\if :by_index
select take('task/t') as none \gset
select dblink_exec('a', 'begin');
select in_session('a', 'select sluice.complete(token) from held_slot');
select is(prepare(), refused('complete'), 'nor a completion');
select is(status_of(:run), 'executing', 'which never was');
select dblink_exec('a', 'begin');
select in_session('a', format('select sluice.cancel(%s)', :run));
select is(prepare(), refused('cancel'), 'nor a cancel of an executing run');
\endif
select count(sluice.complete(token)) from held_slot;

select dblink_exec('a', 'begin');
select in_session('a', $$select sluice.enqueue('t')$$) as later \gset
select is(prepare(), 'prepared', 'an enqueue can be prepared');
select is(take('task/t'), null, 'its run is not handed out');
select dblink_exec('a', $$commit prepared 'p'$$);
call wait_until($$select take('task/t') is not null$$, 5);
select is(status_of(:later), 'executing', 'until it is committed, by whomever');
select count(sluice.complete(token)) from held_slot;
select dblink_exec('a', 'begin');
select in_session('a', $$select sluice.enqueue('t')$$);
select is(prepare(), 'prepared', 'another one');
select dblink_exec('a', $$rollback prepared 'p'$$);
select is(take('task/t'), null, 'is gone when it is rolled back');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
