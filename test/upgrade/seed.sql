-- What a recorded database has in it: rows in the tables that outlive a dump, and runs in every state.

select sluice.create_queue('limited', concurrency => 6, key_concurrency => 4);
select sluice.create_queue('paused');
select sluice.pause('paused', 'for the record');
select sluice.create_task('job', 'external', queue => 'limited', lease => '1 hour',
                          retry => '{"min_delay": "1 hour", "max_delay": "1 hour"}');
select sluice.create_task('dropped', 'external');
select sluice.drop_task('dropped');
select sluice.create_task('statement', 'sql', 'select $1');
select sluice.grant_task('statement', 'sluice_reader');

create table watched (id bigint primary key, name text);
select sluice.watch('watched', '{insert,update,delete}', 'job');
insert into watched values (1, 'a row that made a run');

-- In the order in which they are claimed.
create table made as
select n, sluice.enqueue('job', format('{"n": %s, "text": "\\ \" \n é"}', n)::jsonb, concurrency_key => 'key ' || n % 3,
                         tags => array['a', 'ü'], metadata => '{"m": [1, null]}', priority => 100 - n) as run_id
from generate_series(1, 6) as n;
create table held as select row_number() over (order by attempt, run_id) as n, token from sluice.claim('client', capacity => 6);
select sluice.complete(token, '{"out": ["put", 1.50]}') from held where n = 1;
select sluice.fail(token, '{"code": "COULD_NOT_FIND_TASK", "message": "no"}') from held where n = 2;
select sluice.fail(token, '{"message": "again"}') from held where n = 3;
select sluice.append_logs(token, '[{"seq": 0, "stream": "stdout", "line": "a\tb"}]') from held where n = 4;
select sluice.cancel(sluice._token_run(token)) from held where n = 5;

select sluice.enqueue('job', delay => '1h'), sluice.enqueue('job', queue => 'paused');
select sluice.enqueue('job', idempotency_key => 'key');
