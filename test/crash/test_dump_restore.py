"""Dump and restore lose no row, and a restored copy does no work until it is told to.

What a restore needs: the server has the extension's files, and the roles that the storage's grants name, which are
the cluster's and not part of a database's dump:

    create role sluice_owner; create role sluice_producer; create role sluice_caller; create role sluice_claimer;
    create role sluice_worker; create role sluice_reader;
    create role sluice_payload_reader; create role sluice_admin;

or `pg_dumpall --roles-only` of the old cluster.  Then pg_restore or psql into an empty database, sluice.setup(), and,
if the copy shall do the work from now on, sluice.adopt().
"""

import json
import os
import pathlib
import subprocess

import psycopg2
import pytest

from catalog import CATALOG
from sandbox import BY_TABLE, Sandbox, wait_until
from sessions import Session, assert_sound, outcomes, statuses

ROLES = ("sluice_owner", "sluice_producer", "sluice_caller", "sluice_claimer", "sluice_worker", "sluice_reader",
         "sluice_payload_reader", "sluice_admin")


@pytest.fixture(scope="module")
def elsewhere():
    """Another cluster, where sluice was never set up."""
    with Sandbox(sidecar=False, setup=False) as sandbox:
        for role in ROLES:
            sandbox.rows(f"create role {role}")
        yield sandbox


def run(sandbox, *command):
    done = subprocess.run(command, env={**os.environ, **sandbox.env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"


@pytest.fixture
def seeded(fresh):
    """The database sluice with rows in every table and a run in every state; and what its clients hold."""
    with Session(fresh) as client, Session(fresh) as worker, Session(fresh) as leader:
        client.rows("select sluice.create_queue('q', concurrency => 6, key_concurrency => 4)")
        client.rows("select sluice.create_task('job', 'external', queue => 'q', lease => '1 hour',"
                    " retry => '{\"min_delay\": \"1 hour\", \"max_delay\": \"1 hour\"}')")
        client.rows("select sluice.create_task('dropped', 'external')")
        client.rows("select sluice.drop_task('dropped')")
        client.rows("select sluice.create_queue('paused')")
        client.rows("select sluice.pause('paused', 'for the dump')")
        client.rows("create table touched (run_id bigint)")
        client.rows("select sluice.create_task('statement', 'sql', 'insert into public.touched values (($1 ->> 0)::bigint)')")
        client.rows("select sluice.grant_task('statement', 'sluice_reader')")
        client.rows("select sluice.grant_queue('q', 'sluice_claimer')")
        client.rows("select sluice.create_schedule('s', 'job', '30 9 * * mon-fri', 'Europe/Berlin', payload => '{\"a\": 1}', external_id => 'ü')")
        options = {"tags": ["a", "ü"], "metadata": '{"m": [1, null]}', "payload": '{"text": "\\\\ \\" \\n é"}'}
        runs = {name: client.enqueue("job", concurrency_key=name[:5], **options)
                for name in ("completed", "failed", "canceled", "retrying", "executing", "revoked")}
        held = {lease.run_id: lease.token for lease in client.claim("client", capacity=6)}
        client.exchange("client", [{"token": held[runs["completed"]], "outcome": "completed", "output": {"out": ["put", 1.50]},
                                    "usage": {"machine": "micro", "enforced_by": "cgroup", "wall": 1.5, "peak_memory": 7}}])
        client.fail(held[runs["failed"]], {"code": "COULD_NOT_FIND_TASK", "message": "no"})
        client.fail(held[runs["retrying"]], {"message": "again"})
        for token in (held[runs["executing"]], held[runs["revoked"]]):
            client.rows("select sluice.append_logs(%s, %s)", token, json.dumps([{"seq": 0, "stream": "stdout", "line": "a\tb"}]))
        for name in ("canceled", "revoked"):
            client.value("select sluice.cancel(%s)", runs[name])
        client.exchange("client", [{"token": held[runs["canceled"]], "outcome": "canceled"}])
        runs["delayed"] = client.enqueue("job", delay="1h")
        runs["queued"] = client.enqueue("job", priority=7, idempotency_key="key", ttl="1h", max_duration="1 minute")
        runs["waits in a paused queue"] = client.enqueue("job", queue="paused")
        runs["to perform"] = client.enqueue("statement", payload="[7]")
        runs["debounced"] = client.enqueue("job", debounce='{"key": "d", "delay": "1h"}')
        client.rows("select sluice.pause('task/statement')")
        # A session's worker and a leader, whose unlogged rows are dumped too.
        worker.register("w1")
        leader.lead()
        leader.rows("select * from sluice.remove_old_runs()")
        client.rows("create table runs_by_name as select * from json_each_text(%s)", json.dumps(runs))
        runs["executing' token"] = held[runs["executing"]]
        yield fresh, runs


def contents(sandbox, dbname="sluice"):
    """Count and hash of every table of the storage, whatever the order of its rows, and where each sequence stands."""
    with Session(sandbox, dbname=dbname) as session:
        found = {}
        for name, kind in session.rows("select c.oid::regclass::text, c.relkind from pg_class as c where c.relkind in ('r', 'S')"
                                       " and c.relnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace)"):
            what = ("last_value, is_called" if kind == "S" else
                    """count(*), md5(string_agg(t::text, E'\\n' order by t::text collate "C"))""")
            found[name] = session.rows(f"select {what} from only {name} as t")[0]
        return found


def custom(source, target, place):
    run(source, "pg_dump", "-Fc", "-f", f"{place}/dump", "-d", "sluice")
    run(target, "pg_restore", "--exit-on-error", "--single-transaction", "-d", "copy", f"{place}/dump")


def plain(source, target, place):
    run(source, "pg_dump", "-Fp", "-f", f"{place}/dump.sql", "-d", "sluice")
    run(target, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", f"{place}/dump.sql")


def directory_with_two_jobs(source, target, place):
    run(source, "pg_dump", "-Fd", "-j2", "-f", f"{place}/dump.d", "-d", "sluice")
    run(target, "pg_restore", "--exit-on-error", "-j2", "-d", "copy", f"{place}/dump.d")


@pytest.fixture
def copy(request, tmp_path):
    """Makes a copy of the seeded database: in the same cluster, or elsewhere."""
    def make(source, target, how):
        target.rows("drop database if exists copy with (force)", dbname="postgres")
        target.rows("create database copy", dbname="postgres")
        how(source, target, pathlib.Path(tmp_path))
    return make


@pytest.mark.both_modes
@pytest.mark.parametrize("how", [custom, plain, directory_with_two_jobs])
@pytest.mark.parametrize("where", ["in the same cluster", "in another cluster"])
def test_a_restored_copy_has_every_row_and_works_once_adopted(seeded, copy, request, where, how):
    source, runs = seeded
    target = source if where == "in the same cluster" else request.getfixturevalue("elsewhere")
    before = contents(source)
    partitioned = {name: sum(count for table, (count, _) in before.items() if table.startswith(f"sluice_storage.{name}_"))
                   for name in ("run", "payload", "output", "attempt", "log", "resource")}
    empty = [name for name, (count, _) in before.items() if count == 0 and not name.startswith("sluice_storage.")]
    empty += [name for name, count in partitioned.items() if count == 0]
    only_by_table = set() if BY_TABLE else {"sluice.lease", "sluice.rotation"}
    assert set(empty) == only_by_table, "the test puts rows into every table"
    copy(source, target, how)
    try:
        assert contents(target, "copy") == before
        assert contents(source) == before, "a dump changes nothing"
        assert target.rows(CATALOG, dbname="copy") == source.rows(CATALOG)
        work_on_the_copy(target, runs)
    finally:
        target.rows("drop database copy with (force)", dbname="postgres")


def work_on_the_copy(target, runs):
    copied = Target(target)
    with Session(target, dbname="copy") as client, Session(target, dbname="copy") as leader:
        assert client.rows("select * from sluice.check()") == []
        for refused in ("select * from sluice.claim('w')",
                        "select * from sluice.exchange('w2', capacity => 1)",
                        "select sluice.register_worker('w2')",
                        "select sluice.try_lead('w2')",
                        "call sluice.wait_for_work(timeout => '0')"):
            assert client.sqlstate(refused) == "SL015", refused
        assert client.sqlstate("call sluice.perform(%s)", runs["executing' token"]) == "SL015"

        # To set it up again is not to adopt it.
        client.rows("select sluice.setup()")
        assert client.sqlstate("select * from sluice.claim('w')") == "SL015"
        highest = client.value("select max(run_id) from sluice.runs")
        new = client.enqueue("job")
        assert new > highest
        assert client.value("select sluice.enqueue('job', idempotency_key => 'key')") == runs["queued"]

        client.rows("select sluice.adopt()")
        leader.lead()
        assert leader.reap_sessions() == 0
        assert leader.expire_leases() == 2, "the executing run and the canceled run's place: their workers are elsewhere"
        assert client.sqlstate("select sluice.complete(%s)", runs["executing' token"]) == "SL102"
        claimed = {lease.run_id: lease for lease in client.claim("w", capacity=9)}
        assert set(claimed) == {runs["executing"], runs["queued"], new}
        assert claimed[runs["executing"]].attempt == 2
        for lease in claimed.values():
            assert client.complete(lease.token, "on the copy") == "done"
        client.rows("select sluice.resume('task/statement')")
        [performed] = client.rows("select token from sluice.claim('w', executors => '{sql}')")
        client.rows("call sluice.perform(%s)", performed[0])
        assert client.rows("select run_id from touched") == [(7,)]
        assert statuses(copied) == {"completed": 5, "failed": 1, "canceled": 2, "retrying": 1, "delayed": 2, "queued": 1}
        assert outcomes(copied, runs["executing"]) == [(1, "lost"), (2, "completed")]
        assert_sound(copied)


class Target:
    """The copy, where a helper wants a sandbox."""

    def __init__(self, sandbox):
        self._sandbox = sandbox

    def rows(self, statement, *parameters):
        return self._sandbox.rows(statement, *parameters, dbname="copy")


def test_the_original_goes_on_while_and_after_it_is_dumped(seeded, tmp_path):
    source, runs = seeded
    run(source, "pg_dump", "-Fc", "-f", f"{tmp_path}/dump", "-d", "sluice")
    with Session(source) as client:
        assert client.complete(runs["executing' token"]) == "done"
        assert [lease.run_id for lease in client.claim("w", capacity=9)] == [runs["queued"]]


def test_a_copy_of_the_files_of_the_database_is_a_copy_too(fresh):
    """create database … template copies rows with another database's oid: it must not run the original's work."""
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external')")
        client.enqueue("job")
    wait_until("nobody is connected", lambda: not fresh.rows(
        "select 1 from pg_stat_activity where datname = 'sluice'", dbname="postgres"))
    fresh.rows("create database twin template sluice", dbname="postgres")
    try:
        with Session(fresh, dbname="twin") as client:
            assert client.sqlstate("select * from sluice.claim('w')") == "SL015"
            client.rows("select sluice.adopt()")
            assert len(client.claim()) == 1
        with Session(fresh) as client:
            assert len(client.claim()) == 1
    finally:
        fresh.rows("drop database twin with (force)", dbname="postgres")


@pytest.mark.parametrize("role, may", [("sluice_admin", True), ("sluice_worker", False), ("sluice_producer", False)])
def test_only_admins_adopt(fresh, role, may):
    with Session(fresh) as client:
        client.rows("update sluice.meta set home = 'elsewhere'")
        client.rows(f"set role {role}")
        assert client.sqlstate("select sluice.adopt()") == (None if may else "42501")


def test_adopting_what_is_at_home_changes_nothing(fresh):
    with Session(fresh) as client, Session(fresh) as worker:
        client.rows("select sluice.create_task('job', 'external', lease => '1 hour')")
        client.enqueue("job")
        worker.register("w1")
        [held] = worker.exchange("w1", capacity=1)["claimed"]
        before = contents(fresh)
        client.rows("select sluice.adopt()")
        assert contents(fresh) == before
        assert worker.exchange("w1", heartbeats=[held.token])["lost"] == {}


WATCHED = """
    create schema shop;
    create table shop.orders (dropped int, id int, customer text, total int) partition by list (customer);
    create table shop.orders_a partition of shop.orders for values in ('a');
    create table shop.orders_b (total int, dropped int, dropped_too int, customer text, id int);
    alter table shop.orders_b drop column dropped_too;
    alter table shop.orders attach partition shop.orders_b for values in ('b');
    create function shop.matters(total int) returns boolean language sql immutable as 'select total > 100';
    select sluice.create_task('index_order', 'external');
    select sluice.watch('shop.orders', '{insert,update}', 'index_order', columns => '{id,total}',
        name => 'orders', condition => 'shop.matters(total)', concurrency_key => 'customer', only_when_changed => '{total}');
    -- What the watch was told is no more what the table is.
    alter table shop.orders drop column dropped;
    alter table shop.orders rename total to amount;
    create table plain (id int);
    select sluice.watch('plain', '{delete}', 'index_order', rows_per_run => 10);
    insert into plain values (1), (2);
    alter table plain disable trigger sluice_index_order_delete;
"""
TRIGGERS = """select t.tgrelid::regclass::text, pg_get_triggerdef(t.oid), t.tgenabled from pg_trigger as t
              where t.tgfoid = 'sluice.watched'::regproc order by 1, 2"""
WATCHES = "select table_name::text, watch, events, task, enabled, unwatched_partitions::text[] from sluice.watches order by 1"


@pytest.mark.parametrize("how", [custom, plain, directory_with_two_jobs])
@pytest.mark.parametrize("where", ["in the same cluster", "in another cluster"])
def test_watches_work_in_a_restored_copy(fresh, copy, request, where, how):
    source = fresh
    target = source if where == "in the same cluster" else request.getfixturevalue("elsewhere")
    source.rows(WATCHED)
    triggers, watches = source.rows(TRIGGERS), source.rows(WATCHES)
    assert len(triggers) == 14 and len(watches) == 2
    copy(source, target, how)
    try:
        copied = Target(target)
        assert copied.rows(TRIGGERS) == triggers
        assert copied.rows(WATCHES) == watches
        copied.rows("insert into shop.orders (id, customer, amount) values (1, 'a', 101), (2, 'b', 102), (3, 'b', 100)")
        copied.rows("insert into shop.orders_b (id, customer, amount) values (4, 'b', 200)")
        copied.rows("update shop.orders set amount = 300 where id in (2, 3)")
        copied.rows("delete from plain")
        assert copied.rows("select payload ->> 'event', payload -> 'old', payload -> 'new', concurrency_key from sluice.runs order by run_id") == [
            ("insert", None, {"id": 1, "total": 101}, "a"), ("insert", None, {"id": 2, "total": 102}, "b"),
            ("insert", None, {"id": 4, "total": 200}, "b"),
            ("update", {"id": 2, "total": 102}, {"id": 2, "total": 300}, "b"),
            ("update", {"id": 3, "total": 100}, {"id": 3, "total": 300}, "b")]
        copied.rows("alter table shop.orders rename amount to sum")
        copied.rows("insert into shop.orders (id, customer, sum) values (9, 'a', 1000)")
        assert copied.rows("select payload -> 'new' from sluice.runs order by run_id desc limit 1") == [({"id": 9, "total": 1000},)]
        # The restored triggers do not depend on each other: half a watch is an error, and is mended by the hint.
        copied.rows("alter table shop.orders drop column sum cascade")
        with pytest.raises(psycopg2.Error) as error:
            copied.rows("insert into shop.orders (id, customer) values (10, 'a')")
        assert error.value.pgcode == "SL106" and "sluice.unwatch" in error.value.diag.message_hint
        copied.rows("select sluice.unwatch('shop.orders')")
        copied.rows("insert into shop.orders (id, customer) values (10, 'a')")
        assert_sound(copied)
    finally:
        target.rows("drop database copy with (force)", dbname="postgres")
