-- watch(): which rows of which statements make which runs, what they are given, and what becomes of a watch when its table changes.
\ir lib/helper.psql
select task('t');
select task('other');

-- What a statement enqueues: one line for each run, in order.
create function enqueues(statement text, out payload jsonb, out concurrency_key text, out priority integer) returns setof record language plpgsql as $$
declare last_run bigint := (select coalesce(max(run_id), 0) from sluice.run);
begin
    execute statement;
    return query select r.payload - 'table', r.concurrency_key, r.priority from sluice.runs as r where r.run_id > last_run order by r.run_id;
end $$;
create function gives(statement text) returns setof text language sql as $$ select payload::text from enqueues(statement) $$;

create table orders (id int primary key, customer_id int, total numeric, note text);
create function refusal(arguments text) returns text language sql as $$ select said('select sluice.watch(''orders'', ' || arguments || ')') $$;

-- Whole rows of all events
select sluice.watch('orders', '{insert,update,delete}', 't');
select results_eq($$select gives('insert into orders values (1, 7, 10, null), (2, 7, 20, ''n'')')$$,
    array['{"new": {"id": 1, "note": null, "total": 10, "customer_id": 7}, "event": "insert"}', '{"new": {"id": 2, "note": "n", "total": 20, "customer_id": 7}, "event": "insert"}'], 'each inserted row makes a run, with the whole row');
select results_eq($$select gives('update orders set id = id + 2, note = null')$$,
    array['{"new": {"id": 3, "note": null, "total": 10, "customer_id": 7}, "old": {"id": 1, "note": null, "total": 10, "customer_id": 7}, "event": "update"}',
          '{"new": {"id": 4, "note": null, "total": 20, "customer_id": 7}, "old": {"id": 2, "note": "n", "total": 20, "customer_id": 7}, "event": "update"}'],
    'an update gives the row before and after, also where the primary key changes');
select results_eq($$select gives('delete from orders where id = 3')$$, array['{"old": {"id": 3, "note": null, "total": 10, "customer_id": 7}, "event": "delete"}'], 'a deletion gives the row that is gone');
select is_empty($$select gives('delete from orders where false')$$, 'a statement that changes no row makes no run');
select results_eq($$select payload, concurrency_key, priority from enqueues('insert into orders values (4, 1, 1), (5, 1, 1) on conflict (id) do update set total = 99') where payload ->> 'event' = 'update'$$,
    $$values ('{"event": "update", "old": {"id": 4, "note": null, "total": 20, "customer_id": 7}, "new": {"id": 4, "note": null, "total": 99, "customer_id": 7}}'::jsonb, null::text, 0)$$, 'on conflict do update is an update of what was there');
select results_eq($$select payload ->> 'event', payload -> 'old' ->> 'id', payload -> 'new' ->> 'id' from enqueues('merge into orders as o using (values (4), (5), (6)) as v (id) on o.id = v.id when matched and v.id = 4 then delete when matched then update set id = 50 when not matched then insert values (v.id)') order by 1$$,
    $$values ('delete', '4', null), ('insert', null, '6'), ('update', '5', '50')$$, 'merge is what it does');
select is_empty($$select gives('truncate orders')$$, 'truncate makes no run');
copy orders from stdin (format csv);
1,7,10,a
2,7,20,b
\.
select results_eq($$select payload -> 'new' ->> 'note' from sluice.runs order by run_id desc limit 2$$, array['b', 'a'], 'copy is an insert');
select is((select payload ->> 'table' from sluice.runs order by run_id desc limit 1), 'public.orders', 'the payload says which table it was');

-- The same transaction
begin;
insert into orders values (3);
select is((select count(*) from sluice.runs where payload -> 'new' ->> 'id' = '3' and payload ->> 'event' = 'insert'), 1::bigint, 'the run is there in the transaction of the change');
savepoint s;
insert into orders values (100);
rollback to s;
commit;
select is_empty($$select from sluice.runs where payload -> 'new' ->> 'id' = '100'$$, 'and gone with what is rolled back');

-- Columns, condition, key, priority
truncate orders;
select sluice.watch('orders', '{insert,update}', task => 't', columns => '{id,total}', condition => 'total > 100', concurrency_key => 'customer_id', priority => 'orders.id * 10', only_when_changed => '{total,note}');
select is((select count(*) from sluice.watches), 1::bigint, 'a watch of the same name is replaced');
select results_eq($$select * from enqueues('insert into orders values (1, 7, 100), (2, null, 101), (3, 8, 200), (4, 9, null)')$$,
    $$values ('{"event": "insert", "new": {"id": 2, "total": 101}}'::jsonb, null, 20), ('{"event": "insert", "new": {"id": 3, "total": 200}}', '8', 30)$$, 'only rows for which the condition is true make runs, with their columns, key and priority');
select is_empty($$select gives('update orders set customer_id = 1, total = total')$$, 'an update that changes none of the columns makes no run');
select results_eq($$select payload -> 'old' -> 'total', payload -> 'new' -> 'total' from enqueues('update orders set total = 300 where id in (2, 4)')$$, $$values ('101'::jsonb, '300'::jsonb), ('null', '300')$$, 'one that changes a column does, from null too');
select isnt_empty($$select gives('update orders set note = ''x'' where id = 3')$$, 'any of them is enough');
select is_empty($$select gives('delete from orders where id = 3')$$, 'other events are not seen');
select sluice.watch('orders', '{update}', 't', condition => 'new.total > old.total');
select results_eq($$select payload -> 'new' ->> 'id' from enqueues('update orders set total = case id when 1 then 1 else 1000 end')$$, array['2', '4'], 'a condition can compare the row before and after');
select sluice.watch('orders', '{insert,delete}', 't', condition => 'id = 77');
select results_eq($$select payload ->> 'event' from enqueues('insert into orders values (77), (78)') union all select payload ->> 'event' from enqueues('delete from orders where id > 76')$$, array['insert', 'delete'], 'of a deleted row a column without a prefix is that of the old row');
select sluice.watch('orders', '{insert}', 't', condition => $$note <> ')' -- or so$$);
select isnt_empty($$select gives('insert into orders values (80, 1, 1, ''x'')')$$, 'an expression may end with a comment');

-- Several watches, several rows in a run
select sluice.watch('orders', '{insert}', 'other', columns => '{id}', rows_per_run => 2, concurrency_key => 'customer_id', name => 'pairs');
select set_eq($$select watch, task from sluice.watches$$, $$values ('t', 't'), ('pairs', 'other')$$, 'a table can have several watches');
select results_eq($$select * from enqueues('insert into orders values (81, 1), (82, 2), (83, 1), (84, 2), (85, 1)')$$,
    $$values ('{"event": "insert", "rows": [{"new": {"id": 81}}, {"new": {"id": 83}}]}'::jsonb, '1', 0), ('{"event": "insert", "rows": [{"new": {"id": 82}}, {"new": {"id": 84}}]}', '2', 0), ('{"event": "insert", "rows": [{"new": {"id": 85}}]}', '1', 0)$$,
    'a run gets so many rows of one key at most, in their order');
select sluice.unwatch('orders', 'pairs');
select set_eq($$select watch from sluice.watches$$, array['t'], 'one watch is ended');
select sluice.unwatch('orders');
select is_empty($$select from pg_trigger where tgrelid = 'orders'::regclass$$, 'or all, and nothing of them is left');
select is(said($$select sluice.unwatch('orders')$$), 'SL005: table "orders" is not watched [The view sluice.watches lists the watches of all tables.]', 'a table without a watch');
select is(said($$select sluice.unwatch('orders', 'x')$$), 'SL005: table "orders" has no watch "x" [The view sluice.watches lists the watches of all tables.]', 'a watch that is not there');

-- Many rows, more than one batch
create table big (id int);
select sluice.watch('big', '{insert}', 't', rows_per_run => 10000);
insert into big select generate_series(1, 200001);
select results_eq($$select sum(jsonb_array_length(payload -> 'rows'))::int, count(*)::int from sluice.runs where payload ->> 'table' = 'public.big'$$, 'values (200001, 21)', 'no row of a large statement is lost or doubled');
do $$ begin execute 'create table many (' || (select string_agg('c' || n || ' int', ', ') from generate_series(1, 130) as n) || ')'; end $$;
select sluice.watch('many', '{insert}', 't', columns => (select array_agg('c' || n) from generate_series(1, 130) as n));
select results_eq($$select count(*)::int from enqueues('insert into many values (1, 2)'), jsonb_object_keys(payload -> 'new')$$, 'values (130)', 'more columns than a function has arguments');

-- Types of every sort
create type mood as enum ('sad', 'ok');
create table types (j json, x xml, p point, m mood, t timestamptz, b bytea, a int[], d numeric, "odd ""name" int);
select sluice.watch('types', '{insert,update}', 't', only_when_changed => '{j,p,x,m,"odd \"name"}', condition => 'a[1] = 1 or "odd ""name" = 2', concurrency_key => 'm');
select results_eq($$select concurrency_key, payload -> 'new' from enqueues($q$insert into types values ('{"a":  1}', null, '(1,2)', 'ok', '2020-01-01 00:00+00', '\x00ff', '{1,2}', 'NaN', 3)$q$)$$,
    $$values ('ok', '{"a": [1, 2], "b": "\\x00ff", "d": "NaN", "j": {"a": 1}, "m": "ok", "p": "(1,2)", "t": "2020-01-01T00:00:00+00:00", "x": null, "odd \"name": 3}'::jsonb)$$, 'a row is as to_jsonb makes it');
create table written (b bytea, f double precision, i interval, d daterange);
select sluice.watch('written', '{insert}', 't');
begin;
set local bytea_output = 'escape'; set local extra_float_digits = 0; set local intervalstyle = 'iso_8601'; set local datestyle = 'SQL, DMY';
select results_eq($$select payload -> 'new' from enqueues($q$insert into written values ('\x00ff', 0.1::float8 + 0.2::float8, '1 day 02:00', '[2020-02-01,2020-02-03)')$q$)$$,
    $$values ('{"b": "\\x00ff", "f": 0.30000000000000004, "i": "1 day 02:00:00", "d": "[2020-02-01,2020-02-03)"}'::jsonb)$$, 'whatever the session says of how values are written out');
commit;
select is_empty($$select gives('update types set t = now(), p = p')$$, 'columns of types without equality are compared by their bytes');
select isnt_empty($$select gives('update types set j = ''{"a":1}''')$$, 'so a different text of the same JSON is a change');

-- Wrong calls
select is(refusal($$'{insert}', 'none'$$), 'SL002: task "none" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'an unknown task');
select is(refusal($$'{insert}', null$$), 'SL006: table_name, events, task and rows_per_run must not be null [For example sluice.watch(''orders'', ''{insert}'', task => ''index_order'').]', 'no task');
select is(refusal($$'{insert,truncate}', 't'$$), 'SL006: event "truncate" is not known [The events are insert, update and delete; truncate changes no row that could be looked at.]', 'truncate');
select is(refusal($$'{upsert}', 't'$$), 'SL006: event "upsert" is not known [The events are insert, update and delete.]', 'an unknown event');
select is(refusal($$'{}', 't'$$), 'SL006: events is empty [Name at least one, or leave it out.]', 'no event');
select is(refusal($$'{null}', 't'$$), 'SL006: events has an element that is null [Name it, or leave it out.]', 'a null event');
select is(refusal(format('''{insert,update}'', ''t'', %s', v)), 'SL009: table "orders" has no column "nope" [Columns are named as in \d public.orders; in an expression new and old are the row after and before.]', 'an unknown column in ' || v)
from unnest(array['columns => ''{id,nope}''', 'only_when_changed => ''{nope}''', 'condition => ''nope > 1''', 'concurrency_key => ''new.nope''', 'priority => ''orders.nope''', 'condition => ''abs(coalesce(1, nope)) > 1''']) as v;
select is(left(refusal(format('''{insert}'', ''t'', condition => %L', v)), 6), 'SL009:', 'a system column: ' || v) from unnest(array['ctid is null', 'new.tableoid is null']) as v;
select is(refusal($$'{insert}', 't', columns => '{}'$$), 'SL006: columns is empty [Name at least one, or leave it out.]', 'columns without one');
select is(refusal(format('''{insert}'', ''t'', condition => %L', v)), 'SL006: condition is not one SQL expression [For example total > 100, or new.total > old.total.]', 'no expression: ' || v)
from unnest(array['', 'id from orders', 'id, total', 'id as x', 'id limit 1']) as v;
select is(left(refusal(format('''{insert}'', ''t'', condition => %L', v)), 6), code, 'refused by Postgres: ' || v)
from (values ('id +', '42601:'), ('id) is null, (1', '42601:'), ('id; drop table orders', '42601:'), ('*', '42601:'), ('id', '42804:'), ('exists (select from orders)', '0A000:'), ('count(*) > 1', '42803:'), ('old.id > 1', '42P17:'), ('nofunc(id)', '42883:'), ('other.id > 1', '42P01:')) as v (v, code);
select is(refusal($$'{insert}', 't', only_when_changed => '{id}'$$), 'SL006: only_when_changed is for updates [Add update to the events, or leave it out.]', 'only_when_changed without updates');
select is(refusal(format('''{insert}'', ''t'', rows_per_run => %s', v)), 'SL006: rows_per_run must be 1 to 10000 [It is how many rows one run gets at most.]', 'rows_per_run ' || v) from unnest('{0,-1,10001}'::int[]) as v;
select is(left(refusal(format('''{insert}'', ''t'', name => %L', v)), 6), 'SL004:', 'the name ' || v) from unnest(array['', 'a b', repeat('x', 46)]) as v;
select is(refusal($$'{insert}', 't', name => repeat('x', 45)$$), '', 'a name of 45 characters is accepted');
select is_empty($$select from sluice.watches where table_name = 'orders'::regclass and watch <> repeat('x', 45)$$, 'what was refused left nothing behind');
create view v as select 1 as a; create temp table temporary (a int); create sequence seq; create materialized view mv as select 1 as a; create index i on orders (total);
create extension postgres_fdw; create server s foreign data wrapper postgres_fdw; create foreign table f (a int) server s;
select is(said(format('select sluice.watch(%L, ''{insert}'', ''t'')', t)) || coalesce(detail_of(format('select sluice.watch(%L, ''{insert}'', ''t'')', t)), ''), format('SL008: table "%s" cannot be watched [%s]%s', split_part(t, '.', -1), hint, detail), 'not watched: ' || t)
from (values ('v', 'Watch the tables that the view reads.', 'It is a view: no rows of its own change.'), ('mv', 'Watch the tables that the view reads.', 'It is a view: no rows of its own change.'), ('f', 'Watch the table in its own database.', 'It is a foreign table, whose rows change elsewhere.'),
             ('temporary', 'Call sluice.enqueue_many instead.', 'It is a temporary table, and ends with its session.'), ('seq', 'Give the name of a table.', 'It is not a table.'), ('i', 'Give the name of a table.', 'It is not a table.'),
             ('pg_class', 'Watch a table of your own.', 'It belongs to Postgres or to sluice itself.'), ('sluice.run', 'Watch a table of your own.', 'It belongs to Postgres or to sluice itself.')) as v (t, hint, detail);
select is(left(said($$select sluice.watch('missing', '{insert}', 't')$$), 6), '42P01:', 'a table that does not exist is a standard error');
select is(left(said($$select sluice.watch(0::regclass, '{insert}', 't')$$), 6), '42P01:', 'nor one without a name');

-- Renamed and dropped
truncate orders;
select sluice.unwatch('orders');
select sluice.watch('orders', '{insert}', 't', columns => '{id,total}', condition => 'total > 1', concurrency_key => 'customer_id');
alter table orders rename total to amount;
alter table orders rename customer_id to customer;
alter table orders rename to purchases;
create schema moved;
alter table purchases set schema moved;
select results_eq($$select payload -> 'new', concurrency_key from enqueues('insert into moved.purchases values (1, 7, 100)')$$, $$values ('{"id": 1, "total": 100}'::jsonb, '7')$$, 'renamed columns and tables are followed; the payload keeps the names that were given');
select is(left(said('alter table moved.purchases drop column amount'), 6), '2BP01:', 'a column that is needed is not dropped by mistake');
select is(left(said('alter table moved.purchases alter column amount type int'), 6), '0A000:', 'nor gets another type');
alter table moved.purchases drop column note;
select isnt_empty($$select gives('insert into moved.purchases values (2, 7, 100)')$$, 'any other is');
begin;
set local client_min_messages = error;
alter table moved.purchases drop column amount cascade;
select is_empty($$select gives('insert into moved.purchases values (3, 7)')$$, 'drop column cascade ends the watch');
select is_empty($$select from sluice.watches where table_name = 'moved.purchases'::regclass$$, 'entirely');
rollback;
alter table moved.purchases disable trigger sluice_t_insert;
select is_empty($$select gives('insert into moved.purchases values (4, 7, 100)')$$, 'a disabled trigger does not fire');
select is((select enabled from sluice.watches where table_name = 'moved.purchases'::regclass), false, 'which the view says');
alter table moved.purchases enable trigger all;
select isnt_empty($$select gives('insert into moved.purchases values (5, 7, 100)')$$, 'until it is enabled, with all others');
select is((select count(*) from enqueues('insert into moved.purchases values (6, 7, 100)')), 1::bigint, 'of which the row trigger does nothing');
select sluice.watch('moved.purchases', '{insert}', 't', rows_per_run => 5, priority => '5');
select results_eq($$select table_name::text, watch, events, task, columns, condition, concurrency_key, priority, only_when_changed, rows_per_run, enabled, unwatched_partitions::text from sluice.watches where table_name = 'moved.purchases'::regclass$$,
    $$values ('moved.purchases', 't', '{insert}'::text[], 't', null::text, null::text, null::text, '5', null::text, 5, true, '{}')$$, 'the view shows a watch as it was given');
-- pg_get_triggerdef is what a dump has.
select is(definition, 'CREATE TRIGGER sluice_t_insert AFTER INSERT ON moved.purchases REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sluice.watched(''t'', ''t'', ''5'', '''', '''', '''', ''5'', '''')', 'the trigger is a plain one')
from pg_get_triggerdef((select oid from pg_trigger where tgrelid = 'moved.purchases'::regclass and tgname = 'sluice_t_insert')) as definition;

-- The task
select task('watched_task');
select sluice.watch('types', '{insert}', 'watched_task', name => 'w');
select is(said($$select sluice.drop_task('watched_task')$$), 'SL103: task "watched_task" is in use [Run select sluice.unwatch(''public.types'', ''w'') first.]', 'a task that a watch needs is not dropped');
update sluice.task set dropped_at = now() where task = 'watched_task';
select is(left(said('insert into types values (null)'), 6), 'SL002:', 'were it gone, the change would be refused');
select sluice.unwatch(t) from (select distinct table_name as t from sluice.watches where table_name <> 'types'::regclass) as w;
select is(said('select sluice.teardown(current_database())'), 'SL103: sluice is in use [Run select sluice.unwatch(''public.types'') first.]', 'nor is the storage torn down under a watch');
select sluice.unwatch('types', 'w');

-- Partitions
create table p (id int, region text, old_id int) partition by list (region);
create table p_a partition of p for values in ('a');
create table p_b (old_id int, id int, region text);
alter table p attach partition p_b for values in ('b');
create table p_c partition of p for values in ('c') partition by range (id);
create table p_c1 partition of p_c for values from (0) to (100);
select sluice.watch('p', '{insert,update,delete}', 't', columns => '{id}', concurrency_key => 'region');
select results_eq($$select payload -> 'new' ->> 'id', concurrency_key from enqueues('insert into p values (1, ''a''), (2, ''b''), (3, ''c'')')$$, $$values ('1', 'a'), ('2', 'b'), ('3', 'c')$$, 'rows of all partitions');
select results_eq(format($$select payload -> 'new' ->> 'id', concurrency_key, count(*) over () from enqueues(%L)$$, format('insert into %s (id, region) values (%s, %L)', t, n, r)), format($$values ('%s', %L, 1::bigint)$$, n, r), 'a statement on the partition ' || t)
from (values ('p_b', 5, 'b'), ('p_c', 6, 'c'), ('p_c1', 7, 'c')) as v (t, n, r);
select is((select payload ->> 'table' from sluice.runs order by run_id desc limit 1), 'public.p', 'is one of the watched table');
select results_eq($$select payload ->> 'event', payload -> 'old' ->> 'id', payload -> 'new' ->> 'id', concurrency_key from enqueues('update p set region = ''c'', id = 11 where id = 1')$$, $$values ('update', '1', '11', 'c')$$, 'a row that moves to another partition is an update');
create table p_d partition of p for values in ('d');
select is((select unwatched_partitions::text from sluice.watches where table_name = 'p'::regclass), '{p_d}', 'of a new partition the view says that statements on itself are not seen');
select is_empty($$select gives('insert into p_d values (8, ''d'')')$$, 'which they are not');
select isnt_empty($$select gives('insert into p values (8, ''d'')')$$, 'but those on the table');
select sluice.watch('p', '{insert,update,delete}', 't', columns => '{id}', concurrency_key => 'region');
select isnt_empty($$select gives('insert into p_d values (8, ''d'')')$$, 'until watch() is called again');
alter table p detach partition p_b;
select is_empty($$select gives('insert into p_b (id) values (9)')$$, 'a partition that was detached is not watched any more');
alter table p attach partition p_b for values in ('b', null);
select isnt_empty($$select gives('insert into p_b (id) values (9)')$$, 'and is again, once attached');
select is(said($$select sluice.watch('p_a', '{insert}', 't')$$), 'SL008: table "p_a" cannot be watched [Watch the partitioned table, with a condition if only some rows matter.]', 'a partition alone is not watched');
create function swallow() returns trigger language plpgsql as 'begin return null; end';
create trigger swallow before insert on p_a for each row execute function swallow();
select is(left(said($$update p set region = 'a' where region = 'd'$$), 6), 'SL106:', 'rows that do not pair are an error');
drop trigger swallow on p_a;
create foreign table p_f partition of p for values in ('f') server s;
select is(said($$select sluice.watch('p', '{insert}', 't')$$), 'SL008: table "p" cannot be watched [Watch the table in the database where its rows are.]', 'nor a table with a foreign partition');
drop foreign table p_f;
select sluice.unwatch('p');
select is_empty($$select from pg_trigger where tgfoid = 'sluice.watched'::regproc and tgrelid in (select relid from pg_partition_tree('p'))$$, 'unwatch() takes the triggers from all partitions');

-- Inheritance: as all triggers, for statements on the table that is watched.
create table parent (id int);
create table child (extra int) inherits (parent);
select sluice.watch('parent', '{insert,update}', 't');
select is_empty($$select gives('insert into child values (1, 2)')$$, 'an insert into a child is not seen');
select results_eq($$select gives('update parent set id = 2')$$, array['{"new": {"id": 2}, "old": {"id": 1}, "event": "update"}'], 'what a statement on the parent does to rows of a child is');

-- Foreign keys
create table line (order_id int references moved.purchases on delete cascade);
insert into moved.purchases values (500), (501);
insert into line values (500), (500), (501);
select sluice.watch('line', '{delete}', 't');
select is((select count(*) from enqueues('delete from moved.purchases where id in (500, 501)')), 3::bigint, 'rows that a foreign key deletes are deleted');

-- Triggers by hand
create table hand (id int);
create trigger a before insert on hand for each statement execute function sluice.watched('t', 't', '1', '', '', '', '', '');
select is(said('insert into hand values (1)'), 'SL013: sluice.watched is not for triggers of one''s own [Make the triggers with sluice.watch.]', 'not before');
drop trigger a on hand;
create trigger a after insert on hand for each statement execute function sluice.watched('t', 't', '1', '', '', '', '', '');
select is(left(said('insert into hand values (1)'), 6), 'SL013:', 'not without transition tables');
drop trigger a on hand;
create trigger a after insert on hand referencing new table as n for each statement execute function sluice.watched('t', 't', 'x', '', '', '', '', '');
select is(said('insert into hand values (1)'), 'SL106: watch "t" on table "hand" is broken [Call sluice.watch again with the same name, or sluice.unwatch.]', 'not without its other half');
create trigger b after insert on hand for each row when (false and row(new.id, new.id, new.id, new.id) is null) execute function sluice.watched('t', 't', 'x', '', '', '', '', '');
select is(left(said('insert into hand values (1)'), 6), 'SL106:', 'nor with another');
select is((select rows_per_run from sluice.watches where table_name = 'hand'::regclass), null, 'the view stands what a trigger was given by hand');
drop trigger a on hand; drop trigger b on hand;
create trigger a after insert on hand for each statement execute function sluice.watched(E'a\\000b\\', 'ü', '1', '', '', '', '', '');
select results_eq($$select watch, task from sluice.watches where table_name = 'hand'::regclass$$, $$values (E'a\\000b\\', 'ü')$$, 'of any text');
select is(left(said('select sluice.watched()'), 6), 'SL013:', 'the function is not called');
drop table hand;

-- Rights
select login('t_producer', 'sluice_producer'), login('t_other', 'sluice_producer'), login('t_plain'), login('t_group');
grant t_group to t_producer;
create schema shop;
grant usage on schema shop to public;
grant create on schema shop to t_group, t_plain;
set role t_group;
create table shop.item (id int, secret int);
grant insert on shop.item to t_plain;
grant all on shop.item to t_other;
create function shop.checked(id int) returns boolean language sql as 'select true';
reset role;
select is(said($$select sluice.watch('shop.item', '{insert}', 't')$$, 't_other'), '42501: must be owner of table item [Ask the owner to call it, who needs the role sluice_producer.]', 'only the owner watches a table');
select is(left(said($$select sluice.watch('shop.item', '{insert}', 't')$$, 't_group'), 6), '42501:', 'who may enqueue');
select is(said($$select sluice.watch('shop.item', '{insert}', 't', condition => 'shop.checked(id)')$$, 't_producer'), '', 'or a member of the owner');
select is(left(said($$select sluice.unwatch('shop.item')$$, 't_other'), 6), '42501:', 'only the owner ends a watch');
create function inserts(id int) returns text language sql as $$ select said(format('with n as (insert into shop.item values (%s) returning 1) select * from n', id), 't_plain') $$;
select is(inserts(41), '1', 'who inserts needs no right to enqueue');
select is((select payload -> 'new' ->> 'id' from sluice.runs order by run_id desc limit 1), '41', 'and the run is there');
select is(left(said($$select sluice.enqueue('t')$$, 't_plain'), 6), '42501:', 'which they may not do by themselves');
revoke sluice_producer from t_producer;
select is(inserts(42), '1', 'the watch stays when its maker may enqueue no more');
grant sluice_producer to t_producer;
create function shop.who() returns boolean language plpgsql as $$ begin raise exception using errcode = 'ZZ777', message = current_user; end $$;
select sluice.watch('shop.item', '{insert}', 't', condition => 'shop.who()');
select is(inserts(43), 'ZZ777: t_plain []', 'a condition runs as who inserts');
select sluice.watch('shop.item', '{insert}', 't', condition => 'shop.checked(id)');
revoke execute on function shop.checked(int) from public;
select is(left(inserts(44), 6), '42501:', 'and may call what they may call');
select sluice.watch('shop.item', '{insert}', 't', condition => 'id > 0 and abs(id) > 0');
create schema evil;
grant usage on schema evil to public;
create function evil.abs(int) returns int language plpgsql as $$ begin raise exception using errcode = 'ZZ666'; end $$;
create function evil.greater(int, int) returns boolean language plpgsql as $$ begin raise exception using errcode = 'ZZ666'; end $$;
create operator evil.> (leftarg = int, rightarg = int, function = evil.greater);
set search_path = evil, public, pg_catalog;
select public.is(public.inserts(45), '1', 'names in a condition were looked up when it was made');
reset search_path;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
