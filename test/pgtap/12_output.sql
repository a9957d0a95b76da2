-- Outputs: kept as they are, and refused beyond the limit in a way that ends the run.
\ir lib/helper.psql
select task('t', 3);
create function completed(output jsonb) returns bigint language plpgsql as $$
declare run bigint := sluice.enqueue('t');
begin
    perform sluice.complete(take('task/t'), output);
    return run;
end $$;
create function output_of(run bigint) returns jsonb language sql as 'select output from sluice.runs where run_id = run';

select is(output_of(completed(v::jsonb)), v::jsonb, 'output ' || v) from unnest(array['{"a": [1, 2]}', '[]', '"text"', '0', 'false']) as v;
select completed(null) as run \gset
select is_empty(format('select from sluice.output where run_id = %s', :run), 'nothing is stored for no output');
select completed('null') as run \gset
select is((select output from sluice.output where run_id = :run), 'null', 'a JSON null is an output');

set sluice.max_output = '1kB';
select is(status_of(completed(jsonb_build_object('x', repeat('o', 1000)))), 'completed', 'an output up to sluice.max_output is kept');
select completed(jsonb_build_object('x', repeat('o', 1024))) as run \gset
select is(status_of(:run), 'failed', 'a larger one ends the run as failed, attempts left or not');
select is((select error from sluice.runs where run_id = :run), '{"code": "OUTPUT_TOO_LARGE", "message": "the output has 1041 bytes, more than 1kB"}', 'and says why');
select is((select outcome from sluice.attempts where run_id = :run), 'failed', 'its attempt failed');
select is(output_of(:run), null, 'the output is not kept');
select sluice.enqueue('t') as small, sluice.enqueue('t') as large \gset
select token as one from sluice.claim('w') \gset
select token as two from sluice.claim('w') \gset
select results_eq(format($$select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', %L, 'outcome', 'completed', 'output', 1),
    jsonb_build_object('token', %L, 'outcome', 'completed', 'output', repeat('o', 1024)))) where kind = 'ended'$$, :'one', :'two'), $$values ('done'), ('done')$$, 'in an exchange too');
select is(status_of(:small) || ' ' || status_of(:large), 'completed failed', 'a large output does not spoil the others');
reset sluice.max_output;
select is(current_setting('sluice.max_output'), '10MB', 'the limit is 10 MB');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
