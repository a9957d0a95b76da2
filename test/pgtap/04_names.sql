-- Names of tasks and queues: what they may be made of; they are refused or kept, never changed.
\ir lib/helper.psql

create function queue_name(name text) returns text language sql as $$ select said(format('select sluice.create_queue(%L)', name)) $$;
create function task_name(name text) returns text language sql as $$ select said(format('select sluice.create_task(%L, ''external'')', name)) $$;

select is(queue_name(v), '', format('queue "%s" is a name', left(v, 30)))
from unnest(array['a', 'Z', '0', '_', '-', '/', 'a/b/c', 'task/x', 'UPPER-lower_09', repeat('q', 128)]) as v;
select is(queue_name(v), format('SL004: "%s" is not a valid name of a queue [Choose another name; names are never changed silently.]', left(v, 64)), format('queue %L is not a name', left(v, 30)))
from unnest(array['', ' ', 'a b', 'a.b', 'a:b', 'a"b', 'a''b', 'ä', '日本', E'a\n', E'\na', E'a\tb', 'a\b', '%s', repeat('q', 129)]) as v;
select is(queue_name(null), 'SL004: the name of a queue must not be null [Give the queue a name.]', 'a queue has a name');
select is(detail_of($$select sluice.create_queue('a b')$$), 'A name has 1 to 128 characters: letters, digits, underscore, hyphen and slash.', 'the detail says what a name is');

select is(task_name(v), '', format('task "%s" is a name', left(v, 30))) from unnest(array['a', 'send/receipt', repeat('t', 123)]) as v;
select is(task_name(v), format('SL004: "%s" is not a valid name of a task [Choose another name; names are never changed silently.]', left(v, 64)), format('task %L is not a name', left(v, 30)))
from unnest(array['', 'a b', 'ü', repeat('t', 124)]) as v;
select is(task_name(null), 'SL004: the name of a task must not be null [Give the task a name.]', 'a task has a name');
select is((select queue from sluice.tasks where task = repeat('t', 123)), 'task/' || repeat('t', 123), 'the longest name of a task still makes the name of its queue');

select is((select array_agg(queue order by queue) from sluice.queues where queue in ('Case', 'case')), null, 'before: no such queue');
select queue_name('Case');
select is((select array_agg(queue order by queue) from sluice.queues where lower(queue) = 'case'), array['Case'], 'a name keeps its case');
select queue_name('case');
select is((select count(*) from sluice.queues where lower(queue) = 'case'), 2::bigint, 'names that differ in case are two');
select * from finish();
