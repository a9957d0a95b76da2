-- create_task() and drop_task(): what a definition may be, who may make it, and that it can be made anew.
\ir lib/helper.psql
select login('t_producer', 'sluice_producer'), login('t_other', 'sluice_producer'), login('t_admin', 'sluice_admin'), login('t_group');
create schema work;
grant usage on schema work to public;
create function work.job(payload jsonb) returns int language sql as 'select 1';
create function work.secret(payload jsonb) returns int language sql as 'select 1';
revoke all on function work.secret(jsonb) from public;

-- Defaults
select sluice.create_task('plain', 'external');
select results_eq($$select executor, target, queue, max_attempts::int, lease, max_duration, role, options, retry from sluice.tasks where task = 'plain'$$,
    $$values ('external', null::text, 'task/plain', 3, null::interval, null::interval, null::text, '{}'::jsonb,
              '{"factor": 2, "max_delay": "00:01:00", "min_delay": "00:00:01", "randomize": true, "max_attempts": 3}'::jsonb)$$,
    'a task has the default queue task/<name>, three attempts and a randomized backoff from 1 second to 1 minute');
select results_eq($$select depth, executing, concurrency, key_concurrency from sluice.queues where queue = 'task/plain'$$,
    $$values (0::bigint, 0::bigint, null::int, null::int)$$, 'the default queue is made with the task and has no limits');

-- Anew
select sluice.create_task('plain', 'external', queue => 'task/plain', lease => '10 seconds', max_duration => '1 hour',
                          retry => '{"max_attempts": 7, "factor": 1.5, "min_delay": "2 s", "max_delay": 10, "randomize": false}');
select results_eq($$select max_attempts::int, lease, max_duration, retry from sluice.tasks where task = 'plain'$$,
    $$values (7, interval '10 seconds', interval '1 hour',
              '{"factor": 1.5, "max_delay": "00:00:10", "min_delay": "00:00:02", "randomize": false, "max_attempts": 7}'::jsonb)$$,
    'create_task again with the same name replaces the definition');
select is((select count(*) from sluice.tasks where task = 'plain'), 1::bigint, 'and there is one task of the name');

-- Executors
select is(said($$select sluice.create_task('x', 'wasm')$$), 'SL006: executor "wasm" is not known [The executors are sql, process, python, http and external.]', 'an unknown executor is refused');
select is(said($$select sluice.create_task('x', null)$$), 'SL006: executor "" is not known [The executors are sql, process, python, http and external.]', 'a null executor is refused');
select is(said($$select sluice.create_task('x', 'external', target => 'y')$$), 'SL006: a task with executor external has neither target nor role [What a process task runs is in its options.]', 'an external task has no target');
select is(said($$select sluice.create_task('x', 'external', role => 'postgres')$$), 'SL006: a task with executor external has neither target nor role [What a process task runs is in its options.]', 'an external task has no role');
select is(said($$select sluice.create_task('x')$$), 'SL006: sql task "x" needs a target [Give the name of a function that takes jsonb, or a statement that uses the payload as $1.]', 'an sql task needs a target');
select is(said($$select sluice.create_task('x', target => '  ')$$), 'SL006: sql task "x" needs a target [Give the name of a function that takes jsonb, or a statement that uses the payload as $1.]', 'a blank target is none');
select is(said($$select sluice.create_task('x', 'external', options => '[]')$$), 'SL006: options must be a JSON object [Leave it out for no options.]', 'options are an object');
select is(said($$select sluice.create_task('x', 'external', lease => '0.9 seconds')$$), 'SL006: lease or max_duration of task "x" is out of range [A lease is 1 second to 1 day, max_duration 5 seconds to 3650 days.]', 'a lease is at least a second');
select is(said($$select sluice.create_task('x', 'external', lease => '1 day 1 second')$$), 'SL006: lease or max_duration of task "x" is out of range [A lease is 1 second to 1 day, max_duration 5 seconds to 3650 days.]', 'a lease is at most a day');
select is(said($$select sluice.create_task('x', 'external', max_duration => '4.9 seconds')$$), 'SL006: lease or max_duration of task "x" is out of range [A lease is 1 second to 1 day, max_duration 5 seconds to 3650 days.]', 'max_duration is at least 5 seconds');
select is(said($$select sluice.create_task('edge', 'external', lease => '1 second', max_duration => '5 seconds')$$), '', 'the smallest lease and max_duration are accepted');
select is(said($$select sluice.create_task('edge', 'external', lease => '1 day', max_duration => '3650 days')$$), '', 'the largest lease and max_duration are accepted');

-- Sql targets
select is(said($$select sluice.create_task('f', target => 'work.job')$$, 't_producer'), '', 'a producer defines an sql task on a function it may call');
select is((select role || '/' || target from sluice.tasks where task = 'f'), 't_producer/work.job', 'which runs as that producer');
select is(said($$select sluice.create_task('s', target => 'select work.job($1)')$$, 't_producer'), '', 'a target may be a statement');
select is(said($$select sluice.create_task('f2', target => 'work.jobb')$$), '42883: function work.jobb(jsonb) does not exist [Create the function, or correct the target with sluice.create_task.]', 'a function that does not exist is refused');
select is(said($$select sluice.create_task('f2', target => 'selekt 1')$$), '42601: syntax error at or near "selekt" []', 'a statement that does not parse is refused');
select is(said($$select sluice.create_task('f2', target => 'work.secret')$$, 't_producer'), '42501: permission denied for function work.secret []', 'a function that the role may not call is refused');
select is(said($$select sluice.create_task('g', target => 'work.job', role => 't_group')$$, 't_producer'),
    '42501: role "t_producer" may not define a task that runs as "t_group" [Grant "t_group" to "t_producer", or leave role out.]', 'a role that the caller is not a member of is refused');
grant t_group to t_producer;
select is(said($$select sluice.create_task('g', target => 'work.job', role => 't_group')$$, 't_producer'), '', 'a role that the caller is a member of is accepted');
revoke t_group from t_producer;
select is(said($$select sluice.create_task('g', target => 'work.job', role => 'nobody_here')$$), '42704: role "nobody_here" does not exist [Create the role, or leave it out to run the task as yourself.]', 'a role that does not exist is refused');

-- Somebody else's
select is(said($$select sluice.create_task('f', target => 'work.job')$$, 't_other'), '42501: task "f" belongs to role "t_producer" [Define it as a member of "t_producer", or choose another name.]', 'an sql task of another role cannot be redefined');
select is(said($$select sluice.create_task('f', 'external')$$, 't_other'), '42501: task "f" belongs to role "t_producer" [Define it as a member of "t_producer", or choose another name.]', 'nor turned into a task of another executor');
select is(said($$select sluice.drop_task('f')$$, 't_other'), '42501: role "t_other" may not drop task "f" [Drop it as a member of its owner or of sluice_admin.]', 'nor dropped');
select is(said($$select sluice.create_task('f', 'external')$$, 't_admin'), '', 'an admin may redefine it');
select is((select owner from sluice.tasks where task = 'f'), 't_producer', 'which stays its owner''s');
select is(said($$select sluice.drop_task('f')$$, 't_other'), '42501: role "t_other" may not drop task "f" [Drop it as a member of its owner or of sluice_admin.]', 'to drop');
select is(said($$select sluice.drop_task('f')$$, 't_producer'), '', 'which the owner does');
select is(said($$select sluice.create_task('f', 'external')$$, 't_other'), '42501: task "f" belongs to role "t_producer" [Define it as a member of "t_producer", or choose another name.]', 'nobody else gets its runs by its name');
select is(said($$select sluice.create_task('f', 'external')$$, 't_producer'), '', 'and the owner gets them back');

-- Process tasks
select is(said($$select sluice.create_task('p', 'process', options => '{"argv": ["/bin/true"]}')$$, 't_producer'), '42501: role "t_producer" may not define process tasks [Ask a member of sluice_admin to define it.]', 'a producer may not define a process task');
select is(said($$select sluice.create_task('p', 'process', options => '{"argv": ["/bin/true"]}')$$, 't_admin'), '', 'an admin may');
select is(said($$select sluice.create_task('p', 'external')$$, 't_producer'), '42501: role "t_producer" may not define process tasks [Ask a member of sluice_admin to define it.]', 'a producer may not turn a process task into another one');
select is(said($$select sluice.drop_task('p')$$, 't_producer'), '42501: role "t_producer" may not drop task "p" [Drop it as a member of its owner or of sluice_admin.]', 'a producer may not drop a process task');
select is(said(format($$select sluice.create_task('p', 'process', options => %L)$$, v.options)),
          format('SL006: a process task %s [For example options => ''{"argv": ["/usr/bin/ffmpeg", "-version"], "cwd": "/tmp"}''.]', v.wrong), 'process options: ' || v.wrong)
from (values
    ('{}', 'needs either argv or shell'),
    ('{"argv": ["/bin/true"], "shell": "true"}', 'needs either argv or shell'),
    ('{"argv": ["/bin/true"], "nice": 3}', 'has no option "nice"'),
    ('{"argv": []}', 'needs argv as an array of strings, the program first'),
    ('{"argv": "/bin/true"}', 'needs argv as an array of strings, the program first'),
    ('{"argv": ["/bin/echo", 3]}', 'needs argv as an array of strings, the program first'),
    ('{"argv": [null]}', 'needs argv as an array of strings, the program first'),
    ('{"argv": ["true"]}', 'needs the absolute path of its program'),
    ('{"shell": 3}', 'needs shell as one string'),
    ('{"shell": "true", "env": ["A"]}', 'needs env as an object of strings'),
    ('{"shell": "true", "env": {"A": 1}}', 'needs env as an object of strings'),
    ('{"shell": "true", "cwd": "tmp"}', 'needs cwd as an absolute path'),
    ('{"shell": "true", "output": "stderr"}', 'knows the outputs "stdout" and "fd:3"'),
    ('{"shell": "true", "secrets": "KEY"}', 'needs secrets as an array of names of variables that do not begin with SLUICE_'),
    ('{"shell": "true", "secrets": ["../key"]}', 'needs secrets as an array of names of variables that do not begin with SLUICE_'),
    ('{"shell": "true", "secrets": ["A", "SLUICE_TOKEN"]}', 'needs secrets as an array of names of variables that do not begin with SLUICE_'),
    ('{"shell": "true", "secrets": ["A", 3]}', 'needs secrets as an array of names of variables that do not begin with SLUICE_'),
    ('{"shell": "true", "grace_seconds": -1}', 'needs grace_seconds from 0 to 3600'),
    ('{"shell": "true", "grace_seconds": "5"}', 'needs grace_seconds from 0 to 3600')) as v (options, wrong);
select is(said($$select sluice.create_task('p', 'process', options => '{"argv": ["/bin/cat", "-"], "env": {"A": "1"}, "cwd": "/tmp", "output": "fd:3", "grace_seconds": 0}')$$), '', 'every process option at once is accepted');
select is(said($$select sluice.create_task('p2', 'process', target => 'x', options => '{"shell": "true"}')$$), 'SL006: a task with executor process has neither target nor role [What a process task runs is in its options.]', 'a process task has no target');

-- Retry policies
select is(said(format($$select sluice.create_task('r', 'external', retry => %L)$$, v.retry)), v.want, 'retry ' || v.retry)
from (values
    ('[]', 'SL007: retry must be a JSON object [For example {"max_attempts": 5, "min_delay": "2 seconds"}.]'),
    ('null', 'SL007: retry must be a JSON object [For example {"max_attempts": 5, "min_delay": "2 seconds"}.]'),
    ('{"attempts": 3}', 'SL007: retry has no setting "attempts" [Its settings are max_attempts, factor, min_delay, max_delay, randomize and out_of_memory.]'),
    ('{"max_attempts": "many"}', '22P02: invalid input syntax for type integer: "many" []'),
    ('{"min_delay": "soon"}', '22007: invalid input syntax for type interval: "soon" []'),
    ('{"max_attempts": 1}', ''), ('{"max_attempts": 250}', ''), ('{"factor": 1}', ''), ('{"factor": 1000}', ''),
    ('{"min_delay": 0, "max_delay": 0}', ''), ('{"max_delay": "3650 days"}', ''), ('{}', '')) as v (retry, want);
select is(said(format($$select sluice.create_task('r', 'external', retry => %L)$$, v)),
          'SL007: the retry policy is out of range [Correct the policy; what is left out has the defaults 3, 2, 1 second, 1 minute, randomized.]', 'retry ' || v || ' is out of range')
from unnest(array['{"max_attempts": 0}', '{"max_attempts": 251}', '{"factor": 0.5}', '{"factor": 1001}', '{"factor": "NaN"}', '{"min_delay": "-1 s"}',
                  '{"min_delay": "2 minutes"}', '{"max_delay": "3651 days"}', '{"min_delay": 1, "max_delay": 0.5}']) as v;

-- Drop
select is(said($$select sluice.drop_task('none')$$), 'SL002: task "none" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'a task that does not exist cannot be dropped');
select is(said($$select sluice.drop_task(null)$$), 'SL002: task must not be null [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'nor one without a name');
select sluice.enqueue('plain') as run \gset
select is(said($$select sluice.drop_task('plain')$$), 'SL103: task "plain" is in use [Wait for its runs, or cancel them.]', 'a task with live runs cannot be dropped');
select sluice.cancel(:run);
select is(said($$select sluice.drop_task('plain')$$), '', 'a task whose runs are final can be dropped');
select is_empty($$select from sluice.tasks where task = 'plain'$$, 'it is no longer listed');
select is((select task from sluice.runs where run_id = :run), 'plain', 'its runs still show its name');
select is(said($$select sluice.enqueue('plain')$$), 'SL002: task "plain" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'it takes no more runs');
select is(said($$select sluice.drop_task('plain')$$), 'SL002: task "plain" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'it cannot be dropped twice');
select sluice.create_task('plain', 'external');
select isnt(sluice.enqueue('plain'), null, 'create_task() brings a dropped task back');
select * from finish();
