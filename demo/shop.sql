-- A small shop, as an application would have it: its own role, schema and tables.  Run as superuser.
-- The shop may define sql tasks and enqueue (sluice_producer) and look at runs (sluice_payload_reader).

create role shop login in role sluice_producer, sluice_payload_reader;
create schema shop authorization shop;
alter role shop set search_path = shop;

set role shop;
set search_path = shop;

create table orders (
    order_id integer primary key,
    customer text    not null,
    item     text    not null,
    cents    integer not null
);

create table receipt (
    order_id   integer     primary key references orders,
    text       text        not null,
    written_at timestamptz not null default clock_timestamp()
);

create table letter (
    customer   text        primary key,
    written_at timestamptz not null default clock_timestamp()
);

create table tally (
    minute   timestamptz primary key,
    orders   bigint      not null
);

create function write_receipt(payload jsonb) returns jsonb
language sql
as $$
    insert into receipt (order_id, text)
    select o.order_id, format('%s bought %s for %s.%s', o.customer, o.item, o.cents / 100, lpad((o.cents % 100)::text, 2, '0'))
    from orders as o
    where o.order_id = (payload ->> 'order_id')::integer
    returning to_jsonb(receipt.text);
$$;

-- Tasks of the shop: sql, so they run inside the database, as the role shop.
select sluice.create_task('receipt', target => 'write_receipt');
select sluice.create_task('letter', target => $$insert into letter (customer) values ($1 ->> 'customer')$$);
select sluice.create_task('tally', target => $$insert into tally select ($1 ->> 'timestamp')::timestamptz, count(*) from orders$$);

-- Each minute of the shop's time.
select sluice.create_schedule('each-minute', 'tally', '* * * * *', 'Europe/Berlin');
