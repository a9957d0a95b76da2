-- set_metadata() and add_tags(): what an attempt notes about its run while it works.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader');
select task('t', 2);
select sluice.enqueue('t', '{"p": 1}', tags => '{first}', metadata => '{"kept": "yes", "gone": 1}') as run \gset
select take('task/t') as token \gset
select sluice.set_metadata(:'token', '{"progress": 0.5, "gone": null, "nested": {"a": null}}');
select is((select metadata from sluice.runs where run_id = :run), '{"kept": "yes", "progress": 0.5, "nested": {"a": null}}', 'members are set while the run executes, null removes one, the others stay');
select is((select payload from sluice.runs where run_id = :run), '{"p": 1}', 'the payload is as it was');
select sluice.set_metadata(:'token', '{"progress": 12345678901234567890.5}');
select is((select metadata ->> 'progress' from sluice.runs where run_id = :run), '12345678901234567890.5', 'the last value counts, with all its digits');
select sluice.add_tags(:'token', '{vip,first,vip," "}'), sluice.add_tags(:'token', '{vip}');
select is((select tags from sluice.runs where run_id = :run), '{first,vip}', 'tags are added once, behind those that there are; blank ones are left out');
select is(said(format('select tags from sluice.runs where run_id = %s', :run), 't_reader'), '{first,vip}', 'a reader sees tags');
select is(left(said(format('select metadata from sluice.runs where run_id = %s', :run), 't_reader'), 5), '42501', 'and no metadata');

-- Limits
select is(said(format('select sluice.add_tags(%L, array(select ''n'' || n from generate_series(1, 9) as n))', :'token')), 'SL202: a run has at most 10 tags of at most 128 characters [Put what is longer into metadata.]', 'a run has 10 tags at most');
select is(left(said(format('select sluice.add_tags(%L, array[repeat(''x'', 129)])', :'token')), 5), 'SL202', 'of 128 characters at most');
select is(said(format('select sluice.add_tags(%L, array(select ''n'' || n from generate_series(1, 8) as n))', :'token')), '', 'eight more are ten');
set sluice.max_metadata = '1kB';
select is(said(format('select sluice.set_metadata(%L, jsonb_build_object(''big'', repeat(''x'', 1000)))', :'token')) ~ '^SL201: metadata has \d+ bytes, more than 1kB ', true, 'metadata are bounded by sluice.max_metadata, the whole of them');
reset sluice.max_metadata;
select is(said(format('select sluice.set_metadata(%L, ''[1]'')', :'token')), 'SL006: metadata must be a JSON object [For example {"progress": 0.5}.]', 'what is set are members of an object');
select is(left(said(format('select sluice.set_metadata(%L, null)', :'token')), 5), 'SL006', 'and not nothing');
select is((select metadata ->> 'kept' from sluice.runs where run_id = :run), 'yes', 'what was refused has changed nothing');

-- From attempt to attempt, and dead tokens
select sluice.fail(:'token', retry_at => '1999-01-01');
select is(said(format('select sluice.set_metadata(%L, ''{"late": 1}'')', :'token')), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'an attempt that has ended notes nothing');
select take('task/t') as token2 \gset
select is(left(said(format('select sluice.add_tags(%L, ''{late}'')', :'token')), 5), 'SL102', 'nor does it while the next one works');
select sluice.set_metadata(:'token2', '{"kept": null, "progress": null, "nested": null}');
select is((select metadata from sluice.runs where run_id = :run), null, 'an attempt finds what the one before noted; where nothing is left there is null');
select sluice.cancel(:run);
select is(left(said(format('select %s', c)), 5), 'SL102', 'a canceled run is not noted about') from unnest(array[format('sluice.set_metadata(%L, ''{"a": 1}'')', :'token2'), format('sluice.add_tags(%L, ''{a}'')', :'token2'), 'sluice.set_metadata(null, ''{}'')', 'sluice.add_tags(gen_random_uuid(), ''{a}'')']) as c;
select is((select metadata || to_jsonb(tags) from sluice.runs where run_id = :run), null, 'nothing was changed');

-- Runs that had nothing
select sluice.enqueue('t') as bare \gset
select take('task/t') as token \gset
select sluice.set_metadata(:'token', '{}'), sluice.add_tags(:'token', '{}'), sluice.add_tags(:'token', null);
select is((select count(*) from sluice.payload where run_id = :bare), 0::bigint, 'nothing makes no row');
select sluice.add_tags(:'token', '{a}'), sluice.set_metadata(:'token', '{"b": 1}');
select results_eq(format('select payload, tags, metadata from sluice.runs where run_id = %s', :bare), $$values (null::jsonb, '{a}'::text[], '{"b": 1}'::jsonb)$$, 'what is noted makes one');
select is(sluice.complete(:'token'), 'done', 'the run ends as ever');
select results_eq(format('select tags, metadata from sluice.runs where run_id = %s', sluice.replay(:bare)), $$values ('{a}'::text[], '{"b": 1}'::jsonb)$$, 'and is replayed with what was noted');
select task('other', 1);
select sluice.enqueue('other', metadata => '[1]');
select take('task/other') as token \gset
select is(said(format('select sluice.set_metadata(%L, ''{"a": 1}'')', :'token')), 'SL006: metadata of this run is no object, so it has no members to set [Enqueue the run with an object, or without metadata.]', 'metadata that is no object has no members');
select * from finish();
