-- What a definition that is made again, and a caller's own functions, may rely on.
\ir lib/helper.psql

select sluice.create_task('t', 'external');
select sluice.create_queue('task/t', concurrency => 0, key_concurrency => 1);
select sluice.drop_task('t');
select sluice.drop_queue('task/t');
select sluice.create_task('t', 'external');
select results_eq($$select q.concurrency, q.key_concurrency from sluice.queues as q where q.queue = 'task/t'$$,
    $$values (null::int, null::int)$$, 'a queue that comes back with its task has no limits left of the dropped one');

select throws_ok($$select sluice.register_worker('w', '{"seen_reply": 9223372036854775807}')$$, 'SL006',
    'seen_reply is not the number of a reply', 'a number of a reply that cannot be is refused when registering');
select throws_ok($$select * from sluice.exchange('w', seen_reply => -1)$$, 'SL006',
    'seen_reply is not the number of a reply', 'and in an exchange');

create function inner_call() returns bigint language plpgsql as $$ begin return sluice.enqueue('nope'); end $$;
create function context_of_failure() returns text language plpgsql as $$
declare
    said text;
begin
    perform inner_call();
exception when others then
    get stacked diagnostics said = pg_exception_context;
    return said;
end $$;
select matches(context_of_failure(), 'function inner_call\(\)', 'the context of an error names the caller''s function');
select doesnt_match(context_of_failure(), 'sluice\._', 'and none of ours');

select is_empty($$select p.oid::regprocedure from pg_proc as p
                  where p.pronamespace = 'sluice'::regnamespace and p.proname in ('_cancel', '_requeue', '_reschedule')
                    and not coalesce(p.proconfig, '{}') @> '{plan_cache_mode=force_generic_plan,enable_seqscan=off,jit=off}'$$,
    'what is called for thousands of runs in one statement keeps its plans');
select * from finish();
