-- Http tasks: what a URL and a header may be, so that nothing can be smuggled into a request, and that only admins define them.
\ir lib/helper.psql
select login('t_producer', 'sluice_producer'), login('t_admin', 'sluice_admin');

create function hint() returns text language sql as $$
    select ' [For example target => ''https://example.com/hook'', options => ''{"secret": "hook", "timeout_seconds": 10}''.]'
$$;

-- URLs
select is(said(format($$select sluice.create_task('h', 'http', %L)$$, v)), '', format('%L is a target', v))
from unnest(array['https://example.com', 'http://example.com/', 'HTTPS://Example.com:8443/a/b?c=d&e=%20', 'https://[2001:db8::1]:8080/x', 'http://10.0.0.1/?x', 'http://under_score.example/']) as v;
select is(said(format($$select sluice.create_task('h', 'http', %L)$$, v)),
          'SL006: an http task needs a target that is an http or https URL of at most 2048 characters, without user, password and fragment' || hint(), format('%s is none', coalesce(quote_literal(v), 'null')))
from unnest(array[null, '', 'example.com', 'ftp://example.com', 'file:///etc/passwd', 'https://', 'https://user:pw@example.com/', 'https://example.com/#a', 'https://example.com/a b',
                  E'https://example.com/\r\nHost: x', E'https://example.com/a\n', 'https://exa mple.com', 'gopher://x', 'https://ex%41mple.com/', 'https://example.com:999999/', 'https://exämple.com/',
                  'https://example.com/' || repeat('a', 2048)]) as v;

-- Options
select is(said(format($$select sluice.create_task('h', 'http', 'https://example.com/', options => %L)$$, v.options)), 'SL006: an http task ' || v.wrong || hint(), 'http: ' || v.wrong)
from (values
    ('{"method": "GET"}', 'has no option "method"'),
    ('{"headers": ["a"]}', 'needs headers as an object of strings'),
    ('{"headers": {"a": 1}}', 'needs headers as an object of strings'),
    ('{"headers": {"": "b"}}', 'has a header with the name ""'),
    ('{"headers": {"a b": "b"}}', 'has a header with the name "a b"'),
    ('{"headers": {"a:b": "b"}}', 'has a header with the name "a:b"'),
    ('{"headers": {"a": "b\r\nc: d"}}', 'has a header "a" that is not 1 to 4096 printable ASCII characters'),
    ('{"headers": {"a": "b\nc"}}', 'has a header "a" that is not 1 to 4096 printable ASCII characters'),
    ('{"headers": {"a": "ä"}}', 'has a header "a" that is not 1 to 4096 printable ASCII characters'),
    ('{"headers": {"a": ""}}', 'has a header "a" that is not 1 to 4096 printable ASCII characters'),
    ('{"headers": {"Host": "x"}}', 'cannot set the header "Host"'),
    ('{"headers": {"content-length": "3"}}', 'cannot set the header "content-length"'),
    ('{"headers": {"Transfer-Encoding": "chunked"}}', 'cannot set the header "Transfer-Encoding"'),
    ('{"headers": {"Sluice-Signature": "t=1"}}', 'cannot set the header "Sluice-Signature"'),
    ('{"headers": {"TraceParent": "x"}}', 'cannot set the header "TraceParent"'),
    ('{"secret": 3}', 'needs secret as the name of a secret of the sidecar'),
    ('{"secret": "../key"}', 'needs secret as the name of a secret of the sidecar'),
    ('{"timeout_seconds": 0}', 'needs timeout_seconds from 1 to 3600'),
    ('{"timeout_seconds": "1"}', 'needs timeout_seconds from 1 to 3600')) as v (options, wrong);
select is(said($$select sluice.create_task('h', 'http', 'https://example.com/', options => '{"headers": {"authorization": "Bearer x", "x-a": "b\tc"}, "secret": "hook.key-1", "timeout_seconds": 0.1e2}')$$), '', 'http options together are accepted');
select is(said($$select sluice.create_task('h', 'http', 'https://example.com/', role => 'postgres')$$), 'SL006: a task with executor http has no role [Only an sql task runs as a role.]', 'an http task has no role');

-- Rights
select is(said($$select sluice.create_task('q', 'http', 'https://example.com/')$$, 't_producer'), '42501: role "t_producer" may not define http tasks [Ask a member of sluice_admin to define it.]', 'a producer may not define an http task');
select is(said($$select sluice.create_task('q', 'http', 'https://example.com/')$$, 't_admin'), '', 'an admin may');
select isnt(said($$select sluice.enqueue('q')$$, 't_producer'), null, 'and producers enqueue it');
select is((select count(*) from sluice.claim('w', executors => '{process,python,external,sql}')), 0::bigint, 'only who runs http gets it');
select is((select task || ' ' || target from sluice.claim('w', executors => '{http}')), 'q https://example.com/', 'with its target');
select is(current_setting('sluice.allow_private_targets'), 'off', 'private addresses are refused unless somebody allows them');
select * from finish();
