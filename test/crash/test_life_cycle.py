"""The life of the storage beside the extension: set up, set up again, torn down, outlived; and versions that differ."""

import pytest

from catalog import CATALOG
from sandbox import Sandbox
from sessions import Session, assert_sound, sessions, statuses

ROLES = ("sluice_owner", "sluice_producer", "sluice_caller", "sluice_claimer", "sluice_worker", "sluice_reader",
         "sluice_payload_reader", "sluice_admin")


@pytest.fixture(scope="module")
def alone():
    """A cluster whose only database is this test's, so that roles may go."""
    with Sandbox(sidecar=False, setup=False) as sandbox:
        yield sandbox


def test_setup_twice_changes_nothing(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external', lease => '1 hour')")
        runs = [client.enqueue("job") for _ in range(2)]
        [held] = client.claim()
        before = client.rows(CATALOG)
        facts = client.rows("select * from sluice.meta")
        assert len({kind for kind, _, _ in before}) == 11 and len(before) > 500, "the catalog is looked at in full"
        said = {client.value("select sluice.setup()") for _ in range(2)}
        assert len(said) == 1 and "storage version 1" in said.pop()
        assert client.rows(CATALOG) == before
        assert client.rows("select * from sluice.meta") == facts
        assert client.complete(held.token) == "done"
        assert statuses(fresh) == {"completed": 1, "queued": 1}
        assert [lease.run_id for lease in client.claim()] == runs[1:]


def test_setup_puts_back_grants_and_views_that_were_taken_away(fresh):
    with Session(fresh) as client:
        before = client.rows(CATALOG)
        client.rows("revoke execute on function sluice.complete(uuid, jsonb) from sluice_worker")
        client.rows("grant execute on function sluice._settle(uuid, text, jsonb, jsonb, timestamptz) to public")
        client.rows("drop view sluice.queues")
        assert client.rows(CATALOG) != before
        client.rows("select sluice.setup()")
        assert client.rows(CATALOG) == before


def test_setup_rolled_back_leaves_nothing(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.teardown('sluice')")
        before = client.rows(CATALOG)
        client.rows("begin")
        client.rows("select sluice.setup()")
        client.rows("rollback")
        assert client.rows(CATALOG) == before
        assert client.sqlstate("select sluice.enqueue('job')") == "SL010"
        client.rows("select sluice.setup()")


def test_two_setups_at_once_make_one_storage(fresh):
    with sessions(fresh, 2) as (first, second):
        first.rows("select sluice.teardown('sluice')")
        first.rows("begin")
        first.rows("select sluice.setup()")
        second.rows("set lock_timeout = '100ms'")
        assert second.sqlstate("select sluice.setup()") == "55P03", "the second waits for the first"
        second.rows("reset lock_timeout")
        first.rows("commit")
        second.rows("select sluice.setup()")
        assert second.value("select count(*) from sluice.meta") == 1


@pytest.mark.parametrize("confirm", ["", "yes", "SLUICE", None])
def test_teardown_needs_the_databases_name(fresh, confirm):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external')")
        client.enqueue("job")
        before = client.rows(CATALOG)
        assert client.sqlstate("select sluice.teardown(%s)", confirm) == "SL006"
        assert client.rows(CATALOG) == before
        assert statuses(fresh) == {"queued": 1}


def test_teardown_leaves_nothing_behind_and_setup_begins_anew(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external')")
        client.enqueue("job")
        client.claim()
        whole = client.rows(CATALOG)
        client.rows("select sluice.teardown('sluice')")
        for what, left in {
            # But for the extension's own view.
            "relations": "select relname from pg_class where relnamespace = 'sluice'::regnamespace and relname <> 'queue_stats'",
            "the schema of partitions": "select 1 from pg_namespace where nspname = 'sluice_storage'",
            "types": "select typname from pg_type where typnamespace = 'sluice'::regnamespace and typname not in ('queue_stats', '_queue_stats')",
            "comments on what is gone": "select 1 from pg_description as d where classoid = 'pg_class'::regclass"
                                        " and not exists (select from pg_class as c where c.oid = d.objoid)",
            "objects of the owner": "select classid::regclass, objid from pg_shdepend where deptype = 'o' and refobjid ="
                                    " 'sluice_owner'::regrole and dbid = (select oid from pg_database where datname = 'sluice')",
        }.items():
            assert client.rows(left) == [], f"{what} are left"
        assert client.sqlstate("select sluice.enqueue('job')") == "SL010"
        assert client.sqlstate("select * from sluice.claim('w')") == "SL010"
        assert client.sqlstate("call sluice.wait_for_work()") == "SL010"
        assert client.sqlstate("select * from sluice.storage_version()") == "SL010"

        client.rows("select sluice.setup()")
        assert client.rows(CATALOG) == whole
        assert statuses(fresh) == {}
        client.rows("select sluice.create_task('job', 'external')")
        client.enqueue("job")
        [held] = client.claim()
        assert client.complete(held.token) == "done"


def test_teardown_without_a_storage_is_no_error(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.teardown('sluice')")
        client.rows("select sluice.teardown('sluice')")
        client.rows("select sluice.setup()")


def test_after_teardown_extension_and_roles_can_be_dropped(alone):
    with Session(alone) as client:
        client.rows("create extension sluice")
        client.rows("select sluice.setup()")
        client.rows("select sluice.teardown('sluice')")
        client.rows("drop extension sluice")
        client.rows("drop schema if exists sluice")
        client.rows(f"drop role {', '.join(ROLES)}")
        assert client.rows("select count(*) from pg_roles where rolname like 'sluice%'") == [(0,)]
        # And all of it can come back.
        client.rows("create extension sluice")
        client.rows("select sluice.setup()")
        assert_sound(alone)


def test_the_data_outlives_the_extension(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external', lease => '1 hour')")
        runs = [client.enqueue("job", payload=f'"{n}"') for n in range(3)]
        held, done, _ = client.claim(capacity=3)
        client.complete(done.token, "kept")
        tables = {name: client.rows(f"select * from sluice.{name} order by 1") for name in ("run", "payload", "output", "slot", "task")}
        whole = client.rows(CATALOG)

        client.rows("drop extension sluice")
        for name, rows in tables.items():
            assert client.rows(f"select * from sluice.{name} order by 1") == rows
        assert client.value("select count(*) from sluice.runs") == 3, "views can be read still"
        client.rows("create extension sluice")
        client.rows("select sluice.setup()")

        assert client.rows(CATALOG) == whole, "grants are as they were"
        assert client.complete(held.token) == "done", "the token is good still"
        assert client.enqueue("job") > max(runs)
        assert statuses(fresh) == {"completed": 2, "executing": 1, "queued": 1}


def test_a_session_with_an_older_library_is_told_to_reconnect(fresh):
    with sessions(fresh, 2) as (old, admin):
        old.rows("select sluice.create_task('job', 'external')")
        run = old.enqueue("job")
        [held] = old.claim()
        # As alter extension … update leaves it: another version in the catalog, functions replaced.
        admin.rows("update pg_extension set extversion = '9.9.9' where extname = 'sluice'")
        admin.rows("create function public.replaced() returns int language sql as 'select 1'")
        for call in ("select sluice.enqueue('job')", "select * from sluice.claim('w')",
                     "select * from sluice.exchange('w')", "select sluice.check()"):
            assert old.sqlstate(call) == "SL012", call
        assert old.sqlstate("select sluice.complete(%s)", held.token) == "SL012"
        assert statuses(fresh) == {"executing": 1}, "refused calls change nothing"
        with Session(fresh) as new:
            assert new.sqlstate("select sluice.enqueue('job')") == "SL012", "this library is the older one in any session"
            assert new.value("select sluice.version()") is not None
        admin.rows("update pg_extension set extversion = sluice.version() where extname = 'sluice'")
        with Session(fresh) as new:
            assert new.complete(held.token) == "done"
            assert new.rows("select status from sluice.result(%s)", run) == [("completed",)]


def test_waits_and_sql_tasks_too_are_refused_with_an_older_library(fresh):
    with sessions(fresh, 2) as (old, admin):
        old.rows("select sluice.create_task('statement', 'sql', 'select 1')")
        old.rows("select sluice.enqueue('statement')")
        [(token,)] = old.rows("select token from sluice.claim('w', executors => '{sql}')")
        admin.rows("update pg_extension set extversion = '9.9.9' where extname = 'sluice'")
        with Session(fresh) as new:
            assert new.sqlstate("call sluice.wait_for_work(timeout => '0')") == "SL012"
            assert new.sqlstate("call sluice.perform(%s)", token) == "SL012"
        admin.rows("update pg_extension set extversion = sluice.version() where extname = 'sluice'")
        with Session(fresh) as new:
            new.rows("call sluice.perform(%s)", token)


def test_storage_of_a_newer_release_is_refused(fresh):
    with Session(fresh) as client:
        client.rows("update sluice.meta set schema_version = schema_version + 1")
        before = client.rows(CATALOG)
        assert client.sqlstate("select sluice.setup()") == "SL012"
        assert client.rows(CATALOG) == before
        assert client.rows("select stored - library from sluice.storage_version()") == [(1,)]
        with Session(fresh) as new:
            for call in ("select sluice.enqueue('job')", "select * from sluice.claim('w')", "call sluice.wait_for_work()"):
                assert new.sqlstate(call) == "SL012", call
        client.rows("update sluice.meta set schema_version = schema_version - 1")
