"""An sql task takes effect exactly once: its work and the end of its attempt are one transaction.

The body inserts a row and then waits for a lock that the test holds, so that it can be overtaken in the middle.
"""

import contextlib

import psycopg2
import pytest

from sandbox import wait_until
from sessions import Background, Session, kill_backend, outcomes, sessions, statuses

pytestmark = pytest.mark.both_modes

GATE = 4711


class Scene:
    """A run of an sql task, claimed, and a gate in its body."""

    def __init__(self, sandbox, holder, client):
        self.sandbox, self.holder, self.client = sandbox, holder, client
        client.rows("create table effects (at timestamptz default clock_timestamp())")
        client.rows("create function public.body() returns text language sql as"
                    f" $$ insert into public.effects default values; select 'done' from pg_advisory_xact_lock_shared({GATE}) $$")
        client.rows("select sluice.create_task('sql', 'sql', 'public.body', lease => '1 second')")
        self.run = client.value("select sluice.enqueue('sql')")
        self.token = self.claim()

    def claim(self):
        rows = self.client.rows("select token from sluice.claim('w', executors => '{sql}')")
        return rows[0][0] if rows else None

    def shut(self):
        self.holder.rows("select pg_advisory_lock(%s)", GATE)

    def open(self):
        self.holder.rows("select pg_advisory_unlock_all()")

    def performing(self, session):
        """Performs the run in a thread, and waits until the body stands at the gate."""
        thread = Background(session.rows, "call sluice.perform(%s)", self.token)
        thread.__enter__()
        wait_until("the body waits at the gate", lambda: self.client.value(
            "select count(*) from pg_locks where pid = %s and locktype = 'advisory' and not granted", session.pid))
        return thread

    def effects(self):
        return self.client.value("select count(*) from effects")

    def again(self):
        """The run is claimed and performed once more, and only that counts."""
        with Session(self.sandbox) as leader:
            leader.lead()
            self.token = wait_until("the run is handed out again", lambda: leader.expire_leases() is not None and self.claim())
        self.client.rows("call sluice.perform(%s)", self.token)
        assert self.effects() == 1
        assert statuses(self.sandbox) == {"completed": 1}
        assert outcomes(self.sandbox, self.run) == [(1, "lost"), (2, "completed")]


@pytest.fixture
def scene(fresh):
    with sessions(fresh, 2) as (holder, client):
        yield Scene(fresh, holder, client)


def test_a_body_that_outlives_its_lease_takes_no_effect(fresh, scene):
    with sessions(fresh, 2) as (performer, leader):
        scene.shut()
        thread = scene.performing(performer)
        leader.lead()
        wait_until("its lease has ended", lambda: leader.expire_leases() == 1)
        leader.close()
        scene.open()
        with pytest.raises(psycopg2.Error) as error:
            thread.join()
        assert error.value.pgcode == "SL102"
        assert scene.effects() == 0
        scene.again()


def test_a_body_whose_run_is_canceled_takes_no_effect(fresh, scene):
    with Session(fresh) as performer:
        scene.shut()
        thread = scene.performing(performer)
        assert scene.client.value("select sluice.cancel(%s)", scene.run)
        scene.open()
        with pytest.raises(psycopg2.Error) as error:
            thread.join()
        assert error.value.pgcode == "SL102"
    assert scene.effects() == 0
    assert statuses(fresh) == {"canceled": 1}


def test_of_two_sessions_that_perform_one_attempt_one_takes_effect(fresh, scene):
    with sessions(fresh, 2) as (first, second):
        scene.client.rows("select sluice.create_task('sql', 'sql', 'public.body', lease => '1 hour')")
        scene.shut()
        threads = [scene.performing(first), scene.performing(second)]
        scene.open()
        results = []
        for thread in threads:
            try:
                results.append(thread.join())
            except psycopg2.Error as error:
                results.append(error.pgcode)
        assert sorted(results, key=str) == sorted([[("done",)], "SL102"], key=str)
    assert scene.effects() == 1
    assert outcomes(fresh, scene.run) == [(1, "completed")]


def test_a_session_terminated_in_the_body_leaves_the_run_to_be_tried_again(fresh, scene):
    with Session(fresh) as performer:
        scene.shut()
        thread = scene.performing(performer)
        scene.client.rows("select pg_terminate_backend(%s)", performer.pid)
        with pytest.raises(psycopg2.Error):
            thread.join()
        scene.open()
    assert scene.effects() == 0 and statuses(fresh) == {"executing": 1}
    scene.again()


def test_a_server_that_crashes_in_the_body_leaves_the_run_to_be_tried_again(fresh, scene):
    with Session(fresh) as performer:
        scene.shut()
        thread = scene.performing(performer)
        kill_backend(fresh, performer.pid)
        with pytest.raises(psycopg2.Error):
            thread.join()
    scene.client, scene.holder = Session(fresh), Session(fresh)
    with contextlib.closing(scene.client), contextlib.closing(scene.holder):
        assert scene.effects() == 0 and statuses(fresh) == {"executing": 1}
        scene.again()


def test_a_long_body_holds_no_lock_on_the_storage(fresh, scene):
    with Session(fresh) as performer:
        scene.shut()
        thread = scene.performing(performer)
        assert scene.client.rows(
            "select relation::regclass from pg_locks as l join pg_class as c on c.oid = l.relation"
            " where pid = %s and c.relnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace)", performer.pid) == []
        assert scene.client.heartbeat(scene.token) == [scene.token]
        scene.open()
        assert thread.join() == [("done",)]
    assert scene.effects() == 1
