-- The shop's work of the day: orders whose receipts are enqueued in the same transaction.  Run as role shop.

begin;
insert into orders values (1, 'anna', 'a kettle', 2490), (2, 'bela', 'a lamp', 5900), (3, 'carl', 'a chair', 8950);
select sluice.enqueue('receipt', jsonb_build_object('order_id', order_id)) from orders order by order_id;
commit;

begin;
insert into orders values (4, 'dora', 'a mirror nobody paid for', 12000);
select sluice.enqueue('receipt', '{"order_id": 4}') as rolled_back \gset
rollback;

select count(*) as runs_of_the_rolled_back_order from sluice.runs where run_id = :rolled_back;
