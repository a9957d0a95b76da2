-- setup() is run by a superuser over tables that the storage's owner may have changed: it reads none of them as superuser.
\ir lib/helper.psql
create table who (role text);
grant insert on who to sluice_owner;
create function sluice_storage.spy() returns int language plpgsql as $$
begin
    insert into public.who values (current_user);
    return 1;
end $$;
alter function sluice_storage.spy() owner to sluice_owner;
-- Up to PostgreSQL 15 the owner of an empty table can make a view of it; later ones refuse.
select current_setting('server_version_num')::integer < 160000 as becomes_view \gset
set role sluice_owner;
delete from sluice.meta;
alter table sluice.meta drop constraint meta_pkey, drop constraint meta_has_one_row;
vacuum sluice.meta;
\set rule 'create rule "_RETURN" as on select to sluice.meta do instead select true as only_row, sluice_storage.spy() as schema_version, ''''::text as home, now() as set_up_at, null::interval as retention'
\if :becomes_view
:rule;
reset role;
select alike(said('select sluice.setup()'), 'sluice % is set up%', 'setup() over a table that has become a view');
select results_eq('select distinct role from who', $$values ('sluice_owner')$$, 'runs what is in it as its owner');
\else
reset role;
select is(said(:'rule', 'sluice_owner'), '42809: relation "meta" cannot have ON SELECT rules []', 'its owner cannot make a view of the table');
\endif
select * from finish();
