-- Rights to a queue: whom it was granted to claims from it, pauses it and puts runs into it, and reaches no other.
\ir lib/helper.psql
drop role if exists q_crew;
select login('q_admin', 'sluice_admin'), login('q_shop', 'sluice_producer'), login('q_worker', 'sluice_worker'), login('q_team'), login('q_mate', 'sluice_claimer', 'q_team'),
       login('q_other', 'sluice_claimer'), login('q_caller', 'sluice_caller');
select sluice.create_queue('mail'), sluice.create_queue('bills'), task('send', queue => 'mail'), task('bill', queue => 'bills');
select sluice.create_task('own', target => 'select 1', queue => 'mail');
select sluice.enqueue('bill', '"bill"'), sluice.enqueue('own', '"own"'), sluice.enqueue('send', '"mail"') as sent \gset

select is(said($$select sluice.grant_queue('mail', 'q_team')$$, r), '42501: permission denied for function grant_queue []', format('%s grants no queue', r)) from unnest('{q_shop,q_worker,q_mate}'::text[]) as r;
select is(said($$select payload from sluice.claim('m')$$, 'q_mate'), '42501: no queue was granted to role "q_mate" [Ask a member of sluice_admin to run select sluice.grant_queue(queue, ''q_mate'').]', 'without a grant nothing is claimed');
select is(said($$select sluice.grant_queue('none', 'q_team')$$, 'q_admin'), 'SL001: queue "none" does not exist [Create it with select sluice.create_queue(''none'').]', 'there must be such a queue');
select is(said($$select sluice.grant_queue('mail', 'q_nobody')$$, 'q_admin'), '42704: role "q_nobody" does not exist [Give the name of a role; there is no granting to public.]', 'and such a role');
select is(said($$select concat(sluice.grant_queue('mail', 'q_team'), sluice.grant_queue('mail', 'q_team'), sluice.grant_queue('mail', 'q_caller'))$$, 'q_admin'), '', 'an admin grants a queue, twice as once');
select results_eq($$select queue, granted_to from sluice.queues where queue in ('mail', 'bills') order by queue$$, $$values ('bills', null), ('mail', '{q_caller,q_team}'::text[])$$, 'the view shows it');

-- Claiming
select is(said($$select array_agg(payload) from sluice.claim('m', capacity => 10)$$, 'q_mate'), '{"\"mail\""}', 'a claim without queues is of those that were granted, and of external tasks');
select is(said($$select sluice.complete(token) from sluice.run where run_id = (select max(run_id) from sluice.run where status = 'executing')$$), 'done', 'and ended by its token');
select is(said($$select payload from sluice.claim('m', '{bills}')$$, 'q_mate'), '42501: permission denied for queue "bills" [Ask a member of sluice_admin to run select sluice.grant_queue(''bills'', ''q_mate'').]', 'another queue is refused');
select is(left(said($$select payload from sluice.claim('m', '{mail,none}')$$, 'q_mate'), 43), '42501: permission denied for queue "none" [', 'also one that is not there');
select is(said(format('select payload from sluice.claim(''m'', executors => %L)', e), 'q_mate') ~ '^42501: role "q_mate" may not claim runs of executors', true, 'nor are runs of other executors: ' || coalesce(e, 'null')) from unnest('{"{sql}","{external,sql}",NULL}'::text[]) as e;
select is(left(said($$select payload from sluice.claim('m')$$, 'q_other'), 45), '42501: no queue was granted to role "q_other"', 'another role claims nothing');
select is(said($$select count(*) from sluice.exchange('m', capacity => 10)$$, 'q_mate'), '42501: permission denied for function exchange []', 'nor by another function');
select is(said($$select array_agg(payload order by payload) from sluice.claim('w', capacity => 10, executors => '{sql,external}')$$, 'q_worker'), '{"\"bill\"","\"own\""}', 'a worker claims from all queues');

-- A token is its holder's, whatever was granted since.
select sluice.enqueue('send', '"held"');
select said($$select token from sluice.claim('m')$$, 'q_mate') as token \gset
select said($$select sluice.revoke_queue('mail', 'q_team')$$, 'q_admin');
select is(left(said($$select payload from sluice.claim('m')$$, 'q_mate'), 44), '42501: no queue was granted to role "q_mate"', 'what was taken back does not hold');
select is(said(format('select count(*) from sluice.heartbeat(array[%L]::uuid[])', :'token'), 'q_mate'), '1', 'but for what is held');
select is(said(format('select sluice.complete(%L)', :'token'), 'q_mate'), 'done', 'which is ended');
select is(said($$select sluice.revoke_queue('mail', 'q_team')$$, 'q_admin'), '', 'taking back twice is once');

-- Waiting
select connect('mate', 'q_mate'), connect('worker', 'q_worker');
select is(in_session('mate', $$call sluice.wait_for_work(timeout => '0')$$) ~ '^42501: no queue was granted', true, 'there is nothing to wait for without a queue');
select sluice.grant_queue('mail', 'q_team');
select sluice.enqueue('bill', '"bill"');
select is(in_session('mate', $$call sluice.wait_for_work(timeout => '0')$$), 'timeout', 'work in another queue does not end a wait');
select is(in_session('worker', $$call sluice.wait_for_work(timeout => '0')$$), 'work', 'but a worker''s');
select is(in_session('mate', $$call sluice.wait_for_work('{bills}', '0')$$) ~ '^42501: permission denied for queue "bills"', true, 'nor may it be waited for');
select sluice.enqueue('send', '"mail"');
select is(in_session('mate', $$call sluice.wait_for_work('{mail}', '5 seconds')$$), 'work', 'work in its own queue does');

-- Pausing, and putting runs in
select is(said($$select concat(sluice.pause('mail', 'lunch'), sluice.resume('mail'))$$, r), '', format('%s pauses its queue', r)) from unnest('{q_mate,q_caller,q_shop}'::text[]) as r;
select is(said(format('select sluice.%s(''bills'')', f), r), format('42501: permission denied for queue "bills" [Ask a member of sluice_admin to run select sluice.grant_queue(''bills'', %L).]', r), format('%s does not %s another', r, f)) from unnest('{q_mate,q_caller}'::text[]) as r, unnest('{pause,resume}'::text[]) as f;
select sluice.grant_task('bill', 'q_caller'), sluice.create_queue('third');
select is(said(c, 'q_caller') ~ '^[0-9]+$', true, 'a caller puts a run in by ' || c)
from unnest('{"select sluice.enqueue(''bill'')","select sluice.enqueue(''bill'', queue => ''bills'')","select sluice.enqueue(''bill'', queue => ''mail'')","select count(*) from sluice.enqueue_many(''bill'', ''{1}'', ''{\"{\\\"queue\\\": \\\"mail\\\"}\"}'')"}'::text[]) as c;
select is(said(c, 'q_caller'), '42501: permission denied for queue "third" [Ask a member of sluice_admin to run select sluice.grant_queue(''third'', ''q_caller'').]', 'but not by ' || c)
from unnest(array['select sluice.enqueue(''bill'', queue => ''third'')', 'select count(*) from sluice.enqueue_many(''bill'', ''{1}'', ''{"{\"queue\": \"third\"}"}'')',
    format('select sluice.requeue(%s, ''third'')', (select min(run_id) from sluice.runs where task = 'bill' and status = 'queued'))]) as c;
select is(said(format('select sluice.requeue(%s, ''mail'')', (select min(run_id) from sluice.runs where task = 'bill' and status = 'queued')), 'q_caller'), '', 'nor are runs moved elsewhere than to a queue of its own');
select is(said($$select sluice.enqueue('bill', queue => 'third') > 0$$, 'q_shop'), 'true', 'producers use every queue');

-- Grants go with what was granted, and follow roles.
select sluice.create_queue('brief'), sluice.grant_queue('brief', 'q_team'), sluice.drop_queue('brief'), sluice.create_queue('brief');
select is(left(said($$select sluice.pause('brief')$$, 'q_mate'), 43), '42501: permission denied for queue "brief" ', 'a dropped queue''s do not come back with it');
alter role q_team rename to q_crew;
select is(said($$select concat(sluice.pause('mail'), sluice.resume('mail'))$$, 'q_mate'), '', 'a role that is called otherwise keeps its queues');
select sluice._rename_roles();
select is((select granted_to from sluice.queues where queue = 'mail'), '{q_caller,q_crew}'::text[], 'its new name is noted');
update sluice.meta set home = '1/1';
update sluice.queue_grant set role_id = 1000000 + role_id::bigint::int;
select sluice.adopt();
select is_empty($$select role from sluice.queue_grant where role_id is distinct from (select oid from pg_roles where rolname = role)$$, 'adopt() finds in another cluster whom they were given to');
select is(said($$select concat(sluice.pause('mail'), sluice.resume('mail'))$$, 'q_mate'), '', 'and they hold there');
revoke q_crew from q_mate;
drop role q_crew;
create role q_crew;
grant q_crew to q_mate;
select is(left(said($$select sluice.pause('mail')$$, 'q_mate'), 43), '42501: permission denied for queue "mail" [', 'a role that was made anew by the same name has none');
drop role q_crew;
select dblink_disconnect(s) from unnest('{mate,worker}'::text[]) as s;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
