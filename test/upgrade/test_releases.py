"""From one release to the next: what alter extension … update and setup() make of a database is what they would make anew,
no row is lost, and sessions and sidecars that were there before get through it.

Every release from 0.1.0 on leaves a fixture behind (test/upgrade/record), which is brought to the release that is checked
out.  That the way itself works is shown with one to come, 99.0.0 (test/lib/releases.py), to which the release that is
checked out is brought, recorded just now.
"""

import importlib.machinery
import importlib.util
import pathlib
import re
import shutil
import subprocess
import time

import psycopg2
import pytest

from catalog import CATALOG, shape
from pages import DOCS, indented
from releases import BUILD, CURRENT, FIXTURES, NEXT, install_library, install_scripts, library_of_next, make_next, make_scripts
from sandbox import TOP, Sandbox, wait_until
from sessions import Background, Session, assert_sound, sessions, statuses

HERE = pathlib.Path(__file__).resolve().parent
RECORDED = sorted(path.name for path in FIXTURES.glob("*"))


def record(*args):
    loader = importlib.machinery.SourceFileLoader("record", str(HERE / "record"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("record", loader))
    loader.exec_module(module)
    return module.record(*args)


@pytest.fixture(scope="module")
def to_come(tmp_path_factory):
    """The scripts of 99.0.0."""
    return make_next(tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="module")
def cluster():
    with Sandbox(sidecar=False, setup=False) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def just_now(cluster, tmp_path_factory):
    """The release that is checked out, as its fixture will be."""
    place = tmp_path_factory.mktemp("fixtures") / CURRENT
    cluster.rows("create database recorded", dbname="postgres")
    record(place, cluster, "recorded")
    cluster.rows("drop database recorded", dbname="postgres")
    return place


class Database:
    """One database of a sandbox, where a helper wants a sandbox."""

    def __init__(self, sandbox, name):
        self._sandbox, self._name = sandbox, name
        if not sandbox.rows("select 1 from pg_database where datname = %s", name, dbname="postgres"):
            sandbox.rows(f"create database {name}", dbname="postgres")

    def rows(self, statement, *parameters, **where):
        return self._sandbox.rows(statement, *parameters, dbname=self._name, **where)

    def value(self, statement, *parameters):
        return self.rows(statement, *parameters)[0][0]

    def restore(self, fixture, tmp_path, version=None):
        """Into the release that the server has, in the way of docs/upgrade.md; or into a version, as pg_restore does it."""
        for role in (fixture / "roles.txt").read_text().split():
            if not self.rows("select 1 from pg_roles where rolname = %s", role):
                self.rows(f"create role {role} nologin")
        shutil.copyfile(fixture / "dump", tmp_path / "shop.dump")
        if version is None:
            commands = "\n".join(indented(DOCS / "upgrade.md", "createdb shop_new")[1:-1]).replace("shop_new", self._name)
        else:
            self.rows(f"create extension sluice version '{version}'")
            commands = ("pg_restore -l shop.dump | grep -vE ' (SCHEMA - sluice|EXTENSION - sluice|COMMENT - EXTENSION sluice) ' > shop.list\n"
                        f"pg_restore --exit-on-error --single-transaction -L shop.list -d {self._name} shop.dump")
        done = subprocess.run(["bash", "-euc", commands], env=self._sandbox.env, cwd=tmp_path, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def contents(self):
        """The rows of every table that a dump keeps, by the columns that it has now."""
        tables = self.rows("select c.oid::regclass::text from pg_class as c where c.relkind in ('r', 'p') and not c.relispartition"
                           " and c.relpersistence = 'p' and c.relnamespace = 'sluice'::regnamespace and c.relname <> 'meta'")
        found = {}
        for (table,) in tables:
            columns = [name for (name,) in self.rows(
                "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped", table)]
            found[table] = columns, self.same(table, columns)
        return found

    def same(self, table, columns):
        named = ", ".join(f'"{column}"' for column in columns)
        return sorted(map(repr, self.rows(f"select {named} from {table}")))


def arrive(database, before):
    """After the functions are new: setup() and adopt(), and nothing was lost."""
    database.rows("select sluice.setup()")
    assert database.rows("select stored = library from sluice.storage_version()") == [(True,)]
    for table, (columns, rows) in before.items():
        assert database.same(table, columns) == rows, table
    database.rows("select sluice.adopt()")
    assert_sound(database)


def assert_like_new(cluster, database):
    fresh = Database(cluster, f"fresh_{time.monotonic_ns()}")
    fresh.rows("create extension sluice")
    fresh.rows("select sluice.setup()")
    new, upgraded = shape(fresh.rows(CATALOG)), shape(database.rows(CATALOG))
    assert len(new) > 500
    assert (sorted(new - upgraded), sorted(upgraded - new)) == ([], [])


def assert_works(database):
    """What was waiting is handed out, and what ended remains so."""
    ended = database.rows("select run_id, status, output, error from sluice.runs where finished_at is not null order by 1")
    assert {status for _, status, _, _ in ended} == {"completed", "failed", "canceled"}
    database.rows("select sluice.create_task('after', 'external')")
    made = database.value("select sluice.enqueue('after', '1')")
    database.rows("insert into watched values (2, 'another')")
    claimed = database.rows("select token, task, payload from sluice.claim('w', capacity => 10)")
    assert {task for _, task, _ in claimed} == {"job", "after"}
    assert {"event": "insert", "new": {"id": 2, "name": "another"}} in [
        {key: payload[key] for key in ("event", "new")} for _, _, payload in claimed if isinstance(payload, dict) and "event" in payload]
    for token, _, _ in claimed:
        assert database.value("select sluice.complete(%s)", token) == "done"
    assert database.rows("select status from sluice.result(%s)", made) == [("completed",)]
    assert database.rows("select run_id, status, output, error from sluice.runs where run_id = any (%s) order by 1",
                         [run_id for run_id, *_ in ended]) == ended
    assert_sound(database)


# The tests of recorded releases come first: those of the one to come leave its files behind.

@pytest.mark.parametrize("version", RECORDED)
def test_a_recorded_release_can_be_upgraded_to_this_one(cluster, tmp_path, version):
    fixture = FIXTURES / version
    database = Database(cluster, "recorded_release")
    install_scripts(cluster, fixture)
    database.restore(fixture, tmp_path, version)
    before = database.contents()
    if version != CURRENT:
        database.rows("alter extension sluice update")
    arrive(database, before)
    assert_like_new(cluster, database)
    assert_works(database)
    database.rows("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'recorded_release' and pid <> pg_backend_pid()")
    cluster.rows("drop database recorded_release with (force)", dbname="postgres")


def test_every_released_version_has_a_fixture_and_a_way_to_this_one():
    released = re.findall(r"^## \[([\d.]+)\] - \d", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert [version for version in released if version not in RECORDED] == []
    assert [version for version in released if version != CURRENT
            and not (BUILD / "sql" / f"sluice--{version}--{CURRENT}.sql").exists()] == []


def test_what_is_dropped_with_the_extension_is_not_the_data(cluster):
    database = Database(cluster, "outlived")
    database.rows("create extension sluice")
    database.rows("select sluice.setup()")
    database.rows("create table watched (id int)")
    database.rows("select sluice.create_task('job', 'external')")
    database.rows("select sluice.watch('watched', '{insert}', 'job')")
    database.rows("insert into watched values (1)")
    whole, rows = database.rows(CATALOG), database.contents()

    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        database.rows("drop extension sluice")
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        database.rows("drop schema sluice")
    assert database.rows(CATALOG) == whole

    database.rows("drop extension sluice cascade")
    assert database.rows("select tgname from pg_trigger where tgrelid = 'watched'::regclass") == [], "the watch ends"
    database.rows("insert into watched values (2)")
    assert database.contents() == rows
    database.rows("create extension sluice")
    database.rows("select sluice.setup()")
    assert database.rows(CATALOG) == whole
    assert database.contents() == rows
    assert database.rows("select task, payload from sluice.claim('w', capacity => 9)") == [("job", {"event": "insert", "table": "public.watched", "new": {"id": 1}})]
    assert_sound(database)


def test_scripts_go_from_every_release_over_all_between(tmp_path):
    sql = tmp_path / "sql"
    for file, text in {
        "00_header.sql": "-- header\n", "storage/10_a.sql": "create function sluice.a() returns int\n$$; [ $$;\n",
        "api/10_b.sql": "create procedure sluice.b()\nas $$\n    create table sluice.t ();\n$$;\ncomment on procedure sluice.b() is 'x;y';\n"
                        "create view sluice.v as\nselect 1;\n",
        "upgrade/1.0--1.1.sql": "drop 1;\n", "upgrade/1.1--2.0.sql": "drop 2;\n",
    }.items():
        (sql / file).parent.mkdir(parents=True, exist_ok=True)
        (sql / file).write_text(text)
    make_scripts(sql, "2.0", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"sluice--2.0.sql", "sluice--1.0--2.0.sql", "sluice--1.1--2.0.sql"}
    long = (tmp_path / "out" / "sluice--1.0--2.0.sql").read_text()
    assert re.findall(r"^(drop .*|create .*|comment .*)$", long, re.MULTILINE) == [
        "drop 1;", "drop 2;", "create or replace function sluice.a() returns int", "create or replace procedure sluice.b()",
        "comment on procedure sluice.b() is 'x;y';", "create or replace view sluice.v as"]
    assert "[ $$" in long and long.startswith("\\echo Use \"alter extension sluice update\"")
    assert "create function sluice.a()" in (tmp_path / "out" / "sluice--2.0.sql").read_text()

    (sql / "upgrade/0.9--1.0.sql").write_text("")
    (sql / "upgrade/1.0--1.1.sql").unlink()
    with pytest.raises(AssertionError, match="must be one file 1.0--….sql"):
        make_scripts(sql, "2.0", tmp_path / "out")
    (sql / "upgrade/0.9--1.0.sql").unlink()
    for other in ("create table sluice.t ();\n", "alter view sluice.v owner to postgres;\n", "create or replace view sluice.v as select 1;\n"):
        (sql / "api/10_b.sql").write_text(other)
        with pytest.raises(AssertionError, match="could not replay this"):
            make_scripts(sql, "2.0", tmp_path / "out")


@pytest.mark.parametrize("way", ["in place", "restored into it"])
def test_this_release_can_be_upgraded_to_one_to_come(cluster, just_now, to_come, tmp_path, way):
    database = Database(cluster, "coming_" + way.split()[0])
    install_scripts(cluster, just_now)
    if way == "in place":
        database.restore(just_now, tmp_path, CURRENT)
        before = database.contents()
        install_scripts(cluster, to_come)
        install_library(cluster, library_of_next())
        for call in ("select sluice.enqueue('job')", "select sluice.setup()"):
            with pytest.raises(psycopg2.Error, match="alter extension sluice update|could not find|library") as refused:
                database.rows(call)
            assert refused.value.pgcode == "SL012"
        database.rows("alter extension sluice update")
        assert database.value("select extversion from pg_extension where extname = 'sluice'") == NEXT
    else:
        database.restore(just_now, tmp_path)
        before = database.contents()

    for call in ("select sluice.enqueue('job')", "select * from sluice.claim('w')", "call sluice.wait_for_work(timeout => '0')",
                 "insert into watched values (7, 'lost?')", "select sluice.check()", "select sluice.adopt()"):
        with pytest.raises(psycopg2.Error) as refused:
            database.rows(call)
        assert refused.value.pgcode == "SL012" and "sluice.setup()" in refused.value.diag.message_hint, call
    arrive(database, before)
    assert_like_new(cluster, database)
    assert database.rows("select distinct described_as from sluice.task where task = 'job'") == [("the task job",)]
    assert_works(database)
    database.rows("select sluice.pause('limited', until => now())")
    assert database.rows("select note from sluice.result((select max(run_id) from sluice.runs))") == [(None,)]
    assert database.rows("select sluice.notes_of(1)") == []


def test_storage_of_a_version_without_a_way_is_refused_and_left_alone(cluster):
    database = Database(cluster, "too_old")
    database.rows("create extension sluice")
    database.rows("select sluice.setup()")
    database.rows("update sluice.meta set schema_version = 0")
    before = database.rows(CATALOG)
    with pytest.raises(psycopg2.Error) as refused:
        database.rows("select sluice.setup()")
    assert refused.value.pgcode == "SL012" and "There is no step to version 1" in refused.value.diag.message_detail
    assert database.rows(CATALOG) == before


# --- While it happens ---

def update_and_set_up(sandbox):
    """As docs/upgrade.md says, until no lock is in the way; how often it was."""
    refused = 0
    while True:
        with Session(sandbox) as admin:
            try:
                with admin.transaction():
                    admin.rows("set local lock_timeout = '200ms'")
                    admin.rows("alter extension sluice update")
                    admin.rows("select sluice.setup()")
                return refused
            except psycopg2.errors.LockNotAvailable:
                refused += 1


class Client(Session):
    """An application that reconnects when it is told to; what it was told."""

    def __init__(self, sandbox):
        super().__init__(sandbox)
        self._sandbox = sandbox
        self.sent_away = 0

    def again(self, statement, *parameters):
        while True:
            try:
                return self.rows(statement, *parameters)
            except psycopg2.Error as error:
                assert error.pgcode == "SL012", error
                self.sent_away += 1
                self.close()
                self.connection = self._sandbox.connect()


def test_nothing_is_lost_while_clients_and_sluiced_work_through_an_upgrade(to_come):
    with Sandbox() as sandbox, Client(sandbox) as first, Client(sandbox) as second, Session(sandbox) as old, Session(sandbox) as blocker:
        old.rows("create table effect (run_id text)")
        old.rows("grant insert on effect to public")
        old.rows("create role shop in role sluice_producer")
        old.rows("set role shop")
        old.rows("select sluice.create_task('statement', 'sql', 'insert into effect values ($1 ->> 0)', retry => '{\"max_attempts\": 1}')")
        old.rows("reset role")
        old.rows("select sluice.create_task('job', 'external', retry => '{\"max_attempts\": 1}', lease => '1 hour')")
        old.rows("prepare cached as select sluice.enqueue('job', idempotency_key => 'once')")
        [(once,)] = old.rows("execute cached")
        upgraded, acknowledged, ended = [], [], []

        def produce():
            while not upgraded or len(acknowledged) < upgraded[0] + 20:
                for task in ("statement", "job"):
                    acknowledged.append(first.again("select sluice.enqueue(%s, jsonb_build_array(%s::text))", task, len(acknowledged))[0][0])

        def work():
            while not (upgraded and producer.result is not None and set(ended) >= set(jobs())):
                for token, run_id in second.again("select token, run_id from sluice.claim('client', capacity => 5)"):
                    assert second.again("select sluice.complete(%s)", token) == [("done",)]
                    ended.append(run_id)

        def jobs():
            return [once, *acknowledged[1::2]]

        with Background(lambda: produce() or True) as producer, Background(work) as worker:
            wait_until("work is under way", lambda: len(ended) > 5 and first.sent_away == 0)
            # The files first: who is connected works on, who comes new is told what is missing.
            blocker.rows("begin")
            blocker.rows("select count(*) from sluice.runs")
            install_scripts(sandbox, to_come)
            install_library(sandbox, library_of_next())
            with Session(sandbox) as new:
                assert new.sqlstate("select sluice.enqueue('job')") == "SL012"
            before = len(acknowledged)
            wait_until("the old sessions work on", lambda: len(acknowledged) > before + 10)
            assert first.sent_away == second.sent_away == 0
            # A transaction that reads holds it up, for no longer than it is willing to wait.
            with Background(update_and_set_up, sandbox) as update:
                wait_until("it waits", lambda: sandbox.value("select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'setup'"))
                before = len(acknowledged)
                wait_until("it gives way to the others", lambda: len(acknowledged) > before + 10)
                blocker.rows("commit")
            assert update.result > 0
            upgraded.append(len(acknowledged))
            producer.join()
            worker.join()
        assert (first.sent_away, second.sent_away) == (1, 1)
        with pytest.raises(psycopg2.Error) as refused:
            old.rows("execute cached")
        assert refused.value.pgcode == "SL012" and "Reconnect" in refused.value.diag.message_hint

        wait_until("sluiced has done the rest", lambda: set(statuses(sandbox)) == {"completed"}, seconds=30)
        assert sandbox.value("select count(*) from sluice.runs") == len(acknowledged) + 1 == len(set(acknowledged)) + 1
        assert sorted(ended) == sorted(jobs())
        assert sandbox.rows("select count(*), count(distinct run_id) from effect") == [(len(acknowledged) // 2,) * 2], "each once"
        assert sandbox.value("select stored = library from sluice.storage_version()")
        assert_sound(sandbox)


def test_sluiced_waits_for_a_setup_that_comes_later_and_goes_on(to_come):
    with Sandbox() as sandbox:
        pid = sandbox.sidecar_pid()
        sandbox.rows("select sluice.create_task('slow', 'sql', $$select pg_sleep(0.01)$$)")
        [(waiting,)] = sandbox.rows("select sluice.enqueue('slow', delay => '1s')")
        install_scripts(sandbox, to_come)
        install_library(sandbox, library_of_next())
        sandbox.rows("alter extension sluice update")
        wait_until("sluiced says what it waits for", lambda: "run: sluiced --setup" in sandbox.sidecar_log())
        sandbox.rows("select sluice.setup()")
        assert sandbox.rows("select status from sluice.result(%s, '20 seconds')", waiting) == [("completed",)]
        assert sandbox.sidecar_pid() == pid, "it was not restarted"
        wait_until("it leads again", lambda: sandbox.value("select worker from sluice.workers where leader"))
        assert_sound(sandbox)
