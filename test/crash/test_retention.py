"""A week goes whole or not at all: whatever dies in the middle, nothing is lost, and the next leader finishes it.

Each test stops the leader between two statements of the drop, by a trigger that waits for a lock of the test's.
"""

import contextlib
import os
import subprocess

import psycopg2
import pytest

from sandbox import wait_until
from sessions import Background, Session, assert_sound, kill_backend

GATE = 424242
TABLES = ("run", "payload", "output", "attempt", "log")

# Where the leader stops: the tables are detached and what stays is not moved, or it is and nothing is dropped.
STOPS = {
    "before what stays is moved": "create trigger gate before insert on sluice_storage.run_default for each row execute function gate()",
    "before the tables are dropped": "create event trigger gate on ddl_command_start when tag in ('DROP TABLE') execute function gate_of_ddl()",
}


class Old:
    """A week of nine weeks ago: of three runs one is final, one waits, one executes, each with rows in its tables."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        with Session(sandbox) as client:
            client.rows("select sluice._make_partitions(clock_timestamp() - interval '63 days', 0)")
            client.rows("select sluice.create_task('job', 'external', lease => '1 hour')")
            client.rows("""
                create procedure old_run(number int) language plpgsql as $$
                declare
                    id bigint := sluice._run_id_at(clock_timestamp() - interval '63 days') + number;
                begin
                    insert into sluice.run (run_id, ready_at, claim_key, task_id, queue_id, max_attempts)
                    select id, made, made, task_id, queue_id, 3 from sluice.task, (select clock_timestamp() - interval '63 days') as m (made);
                    insert into sluice.payload (run_id, payload) values (id, to_jsonb(number));
                    insert into sluice.log (run_id, attempt, seq, at, stream, line) values (id, 1, 0, now(), 'stdout', 'line');
                    perform sluice._index_push(run_id, r.queue_id, lane, class, claim_key, ready_at, executor)
                    from sluice.run as r join sluice.task using (task_id) where run_id = id;
                end $$""")
            client.rows("call old_run(1)")
            client.rows("call old_run(2)")
            (self.final, token), (self.executing, self.token) = [(lease.run_id, lease.token) for lease in client.claim(capacity=2)]
            client.complete(token, "out")
            client.rows("update sluice.run set finished_at = clock_timestamp() - interval '40 days' where run_id = %s", self.final)
            client.rows("call old_run(3)")
            self.queued = client.value("select run_id from sluice.run where status = 'queued'")
            self.week = client.value("select week from sluice.weeks order by week limit 1")

    def rows(self, dbname="sluice"):
        """All rows of all tables, wherever they lie."""
        with Session(self.sandbox, dbname=dbname) as session:
            return {name: sorted(session.rows(f"select t::text from sluice.{name} as t")) for name in TABLES}

    def is_whole(self, dbname="sluice"):
        with Session(self.sandbox, dbname=dbname) as session:
            return session.value("select count(*) from sluice.weeks where week = %s", self.week) == 1

    def assert_went(self, dbname="sluice"):
        """The week has gone, what stays is there and goes on."""
        with Session(self.sandbox, dbname=dbname) as client:
            assert client.rows("select run_id, status from sluice.runs order by run_id") == [
                (self.executing, "executing"), (self.queued, "queued")]
            assert [row for name in TABLES for row in client.rows(f"select run_id from sluice.{name} where run_id = %s", self.final)] == []
            assert client.value("select count(*) from sluice.log") == 2
            assert client.rows("select relname from pg_class where relname like '%%' || to_char(%s::date, '\"_p\"YYYYMMDD')", self.week) == []
            assert [lease.run_id for lease in client.claim("next")] == [self.queued]


def retire(session):
    """The leader until it has removed a week, or comes back later.  Returns what it found."""
    while True:
        [(_, finding, next_in)] = session.rows("select removed, finding, extract(epoch from next_in)::float8 from sluice.remove_old_runs()")
        if finding or next_in is None or next_in > 1:
            return finding


def retire_or_die(session):
    try:
        return retire(session)
    except psycopg2.Error as error:
        return error


@contextlib.contextmanager
def stopped_leader(sandbox, stop):
    """A leader that has stopped there, its thread and the session that holds the gate; afterwards there is no gate."""
    with Session(sandbox) as gate:
        gate.rows("create or replace function gate() returns trigger language plpgsql set lock_timeout = 0 as"
                  f" $$ begin perform pg_advisory_xact_lock_shared({GATE}); return new; end $$")
        gate.rows("create or replace function gate_of_ddl() returns event_trigger language plpgsql set lock_timeout = 0 as"
                  f" $$ begin perform pg_advisory_xact_lock_shared({GATE}); end $$")
        gate.rows(STOPS[stop])
        gate.rows(f"select pg_advisory_lock({GATE})")
        leader = Session(sandbox)
        leader.lead()
        with Background(retire_or_die, leader) as thread:
            wait_until("the leader has stopped", lambda: gate.rows(
                "select 1 from pg_locks where locktype = 'advisory' and objid = %s and not granted and pid = %s", GATE, leader.pid))
            yield leader, thread, gate
        leader.close()
    with Session(sandbox) as session:
        session.rows("drop event trigger if exists gate")
        if session.value("select to_regclass('sluice_storage.run_default')"):
            session.rows("drop trigger if exists gate on sluice_storage.run_default")


@pytest.mark.both_modes
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("end", ["its session is ended", "its backend is killed"])
def test_a_leader_that_dies_in_the_middle_leaves_the_week_whole(fresh, stop, end):
    old = Old(fresh)
    before = old.rows()
    with stopped_leader(fresh, stop) as (leader, thread, gate):
        if end == "its backend is killed":
            kill_backend(fresh, leader.pid)
        else:
            gate.rows("select pg_terminate_backend(%s)", leader.pid)
        assert isinstance(thread.join(), psycopg2.Error)
    assert old.is_whole()
    assert old.rows() == before
    assert_sound(fresh)
    with Session(fresh) as leader:
        leader.lead("the next")
        assert "2 of its runs stay" in retire(leader)
    old.assert_went()
    with Session(fresh) as client:
        assert client.complete(old.token) == "done", "the lease outlived it"


def dump(sandbox, place):
    return subprocess.run(["pg_dump", "-Fc", "-f", place, "-d", "sluice"], env={**os.environ, **sandbox.env}, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_dump_in_the_middle_is_right_or_fails_and_a_copy_goes_on_where_it_was(fresh, tmp_path):
    old = Old(fresh)
    before = old.rows()
    with Session(fresh) as leader, Session(fresh) as reader:
        # Looked through and ready to go, but somebody reads.
        reader.rows("begin")
        reader.rows("select count(*) from sluice.runs")
        wait_until("the reader's transaction is a second old", lambda: reader.value("select clock_timestamp() > now() + interval '1 second'"))
        leader.lead()
        assert retire(leader) is None
        assert dump(fresh, f"{tmp_path}/ready").returncode == 0
        reader.rows("rollback")
        leader.rows("update sluice.retention_pass set next_at = clock_timestamp()")
    with stopped_leader(fresh, "before the tables are dropped") as (_, _, gate):
        with Background(dump, fresh, f"{tmp_path}/middle") as middle:
            wait_until("the dump waits for the leader", lambda: gate.rows(
                "select 1 from pg_locks as l join pg_stat_activity as a using (pid) where a.application_name = 'pg_dump' and not l.granted"))
            gate.rows(f"select pg_advisory_unlock({GATE})")
        assert middle.result.returncode != 0, "what it had seen in the catalog is gone"
        assert "does not exist" in middle.result.stdout or "could not open relation" in middle.result.stdout, middle.result.stdout
    assert not old.is_whole()
    after = old.rows()
    assert dump(fresh, f"{tmp_path}/after").returncode == 0

    for name, content in [("ready", before), ("after", after)]:
        fresh.rows("drop database if exists copy with (force)", dbname="postgres")
        fresh.rows("create database copy", dbname="postgres")
        done = subprocess.run(["pg_restore", "--exit-on-error", "--single-transaction", "-d", "copy", f"{tmp_path}/{name}"],
                              env={**os.environ, **fresh.env}, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0
        assert old.rows("copy") == content
        with Session(fresh, dbname="copy") as leader:
            leader.rows("select sluice.adopt()")
            leader.lead()
            retire(leader)
            assert leader.rows("select run_id from sluice.run order by run_id") == [(old.executing,), (old.queued,)]
            assert leader.rows("select * from sluice.check()") == []
    fresh.rows("drop database copy with (force)", dbname="postgres")
