-- A worker that is told of a dead token in a transaction that does not commit has not been told: it is woken for it again.
\ir lib/helper.psql
select task('t');
select sluice.enqueue('t') as run \gset
select token from sluice.claim('w') \gset
select sluice.cancel(:run) as canceled \gset
begin;
select is((select answer from sluice.exchange('w', heartbeats => array[:'token']::uuid[]) where kind = 'lost'), 'canceled', 'a worker is told that its token is dead');
select ok((select told from held_slot where token = :'token'), 'which is noted');
rollback;
select ok((select not told from held_slot where token = :'token'), 'and taken back with the transaction');
begin;
savepoint s;
select count(*) as rows from sluice.exchange('w', heartbeats => array[:'token']::uuid[]) \gset
rollback to savepoint s;
select ok((select not told from held_slot where token = :'token'), 'also with a savepoint');
select count(*) as rows from sluice.exchange('w', heartbeats => array[:'token']::uuid[]) \gset
savepoint s;
select count(*) as rows from sluice.exchange('w', heartbeats => array[:'token']::uuid[]) \gset
rollback to savepoint s;
commit;
select ok((select told from held_slot where token = :'token'), 'but not with one in which it was only said again');
select is_empty('select * from sluice.check()', 'all of which adds up');
select * from finish();
