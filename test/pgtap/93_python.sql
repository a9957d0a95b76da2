-- Python tasks: what a target is, which options there are, and that only admins define them.
\ir lib/helper.psql
select login('t_producer', 'sluice_producer'), login('t_admin', 'sluice_admin');

-- Kinds
select is(sluice._python_kind(v.target, '{}'), v.kind, format('the target %L is %s', v.target, v.kind))
from (values ('/srv/tasks/report.py', 'script'), ('/srv/with space.py', 'script'), ('reports:monthly', 'function'), ('app.jobs.mail:send_2', 'function'),
             ('return payload', 'code'), ('x = 1', 'code'), ('print(1)', 'code'), (E'/srv/a.py\nreturn 1', 'code'), ('reports:monthly()', 'code'),
             ('a:b:c', 'code'), ('1a:b', 'code'), ('reports: monthly', 'code')) as v (target, kind);
select sluice.create_task('named', 'python', 'reports:monthly', options => '{"kind": "code"}');
select is((select options from sluice.tasks where task = 'named'), '{"kind": "code"}', 'options.kind outranks what the target looks like');
select sluice.create_task('named', 'python', 'reports:monthly', options => '{"requirements": ["numpy"]}');
select is((select options from sluice.tasks where task = 'named'), '{"kind": "function", "requirements": ["numpy"]}', 'the kind is kept with the task');

-- Options
select is(said(format($$select sluice.create_task('p', 'python', %L, options => %L)$$, v.target, v.options)),
          format('SL006: a python task %s [The target is the path of a script, module:function, or code, for example ''return payload["a"] + 1''.]', v.wrong),
          'python: ' || v.wrong)
from (values
    (null, '{}', 'needs a target'),
    (E' \n', '{}', 'needs a target'),
    ('m:f', '{"nice": 3}', 'has no option "nice"'),
    ('m:f', '{"kind": "module"}', 'knows the kinds "script", "function" and "code"'),
    ('m:f', '{"kind": 3}', 'knows the kinds "script", "function" and "code"'),
    ('m:f', '{"kind": null}', 'knows the kinds "script", "function" and "code"'),
    ('m:f', '{"kind": "script"}', 'needs the absolute path of its script'),
    ('return 1', '{"kind": "function"}', 'needs its function as module:function'),
    ('m:f', '{"interpreter": "/usr/bin/python3", "venv": "/srv/venv"}', 'has either interpreter or venv'),
    ('m:f', '{"interpreter": "python3"}', 'needs interpreter as an absolute path'),
    ('m:f', '{"venv": "venv"}', 'needs venv as an absolute path'),
    ('m:f', '{"path": "/srv"}', 'needs path as an array of absolute directories'),
    ('m:f', '{"path": ["srv"]}', 'needs path as an array of absolute directories'),
    ('m:f', '{"path": [3]}', 'needs path as an array of absolute directories'),
    ('m:f', '{"requirements": "numpy"}', 'needs requirements as an array of strings'),
    ('m:f', '{"requirements": [1]}', 'needs requirements as an array of strings'),
    ('m:f', '{"heartbeat_seconds": 0}', 'needs heartbeat_seconds from 1 to 86400'),
    ('m:f', '{"warm": 1}', 'needs warm as true or false'),
    ('m:f', '{"env": {"A": 1}}', 'needs env as an object of strings'),
    ('m:f', '{"cwd": "tmp"}', 'needs cwd as an absolute path'),
    ('m:f', '{"grace_seconds": -1}', 'needs grace_seconds from 0 to 3600'),
    ('m:f', '{"output": "stdout"}', 'has no option "output"')) as v (target, options, wrong);
select is(said($$select sluice.create_task('p', 'python', 'm:f', options => '{"venv": "/srv/venv", "path": ["/srv/app"], "requirements": [], "env": {"A": "1"},
    "cwd": "/tmp", "grace_seconds": 0, "heartbeat_seconds": 60, "warm": true}')$$), '', 'python options together are accepted');
select is(said($$select sluice.create_task('p', 'python', 'm:f', role => 'postgres')$$), 'SL006: a task with executor python has no role [Only an sql task runs as a role.]', 'a python task has no role');

-- Requirements
select is(said(format($$select sluice.create_task('p', 'python', 'm:f', options => %L)$$, jsonb_build_object('requirements', array[v]))), '', format('%L is a requirement', v))
from unnest(array['numpy', 'numpy>=1.24', 'numpy >= 1.24, < 3', 'ruamel.yaml~=0.17', 'a[b,c]==1.*', 'x===1.0+local', 'A_b-c!=2', 'x==1!2.0']) as v;
select is(said(format($$select sluice.create_task('p', 'python', 'm:f', options => %L)$$, jsonb_build_object('requirements', array['numpy', v]))),
          format('SL006: "%s" is not a requirement [Write it as pip does, for example "numpy >= 1.24, < 3".]', v), format('%L is none', v))
from unnest(array['', '-r file', 'numpy=1', 'numpy>=', 'git+https://example.com/x', 'x @ https://example.com', 'x; python_version < "3"', 'x >= 1 <2', '.x', 'x y', '../x', 'x>=1,']) as v;

-- Rights
select is(said($$select sluice.create_task('q', 'python', 'return 1')$$, 't_producer'), '42501: role "t_producer" may not define python tasks [Ask a member of sluice_admin to define it.]', 'a producer may not define a python task');
select is(said($$select sluice.create_task('p', 'external')$$, 't_producer'), '42501: role "t_producer" may not define python tasks [Ask a member of sluice_admin to define it.]', 'nor turn one into another');
select is(said($$select sluice.drop_task('p')$$, 't_producer'), '42501: role "t_producer" may not drop task "p" [Drop it as a member of its owner or of sluice_admin.]', 'nor drop one');
select is(said($$select sluice.grant_task('p', 't_producer')$$, 't_producer'), '42501: role "t_producer" may not grant or revoke task "p" [Ask a member of "postgres" or of sluice_admin.]', 'nor grant one');
select is(said($$select sluice.create_task('q', 'python', 'return 1')$$, 't_admin'), '', 'an admin may');
select isnt(said($$select sluice.enqueue('q')$$, 't_producer'), null, 'and producers enqueue it');
select is((select count(*) from sluice.claim('w', executors => '{process,http,external,sql}')), 0::bigint, 'only who runs python gets it');
select is((select task || ' ' || executor || ' ' || target || ' ' || options from sluice.claim('w', executors => '{python}')), 'q python return 1 {"kind": "code"}', 'with target and options');
select * from finish();
