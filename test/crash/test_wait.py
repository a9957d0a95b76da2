"""wait_for_work: a worker may wait for ever at no cost to anybody, wakes when it should, and ends when it must.

While it waits it has no snapshot, so vacuum is not held back; when its client is gone, so is its backend.
"""

import os
import signal
import subprocess
import time

import psycopg2
import pytest

from sandbox import wait_until
from sessions import Background, Session, assert_sound, can_connect, kill_backend, session_is_gone, sessions

pytestmark = pytest.mark.both_modes

LONG = "10 minutes"


@pytest.fixture
def waiter(fresh):
    """A session that waits in a thread: `with waiter(queues=…) as waiting: …; waiting.join()` is the reason."""
    with Session(fresh) as session:
        def wait(timeout=LONG, queues=None, executors=("external",), worker="w1"):
            def call():
                return session.rows("call sluice.wait_for_work(%s, %s::interval, %s, %s)",
                                    queues, timeout, list(executors), worker)[0][0]
            return Background(call)
        wait.session = session
        yield wait


@pytest.fixture
def client(fresh):
    with Session(fresh) as session:
        session.rows("select sluice.create_task('job', 'external', lease => '1 hour')")
        session.claim()  # whoever waits before the first claim is told to claim, which builds the index
        yield session


def sleeps(client, session):
    """Whether that session's backend lies in the wait."""
    return client.value("select wait_event_type = 'Extension' from pg_stat_activity where pid = %s", session.pid)


def wait_until_it_sleeps(client, session):
    wait_until("the waiter sleeps", lambda: sleeps(client, session))


def end(client, session):
    client.rows("select pg_terminate_backend(%s)", session.pid)
    wait_until("the waiter is gone", lambda: not client.rows("select 1 from pg_stat_activity where pid = %s", session.pid))


def test_a_waiting_worker_holds_no_snapshot_and_no_lock(waiter, client):
    with pytest.raises(psycopg2.Error), waiter():
        wait_until_it_sleeps(client, waiter.session)
        for _ in range(3):
            client.enqueue("job", delay="1h")
            now = client.value("select pg_current_xact_id()::text::bigint")
            # Between two sleeps it looks at the tables; but never with a snapshot from before the last sleep.
            wait_until("its snapshot is gone", lambda: client.value(
                "select backend_xid is null and (backend_xmin is null or backend_xmin::text::bigint > %s)"
                " from pg_stat_activity where pid = %s", now, waiter.session.pid), seconds=5)
            wait_until("it holds no lock on a table", lambda: client.value(
                "select count(*) = 0 from pg_locks where pid = %s and locktype <> 'virtualxid'", waiter.session.pid), seconds=5)
        wait_until("it has none at all", lambda: client.value(
            "select backend_xmin is null from pg_stat_activity where pid = %s", waiter.session.pid), seconds=5)
        end(client, waiter.session)


def test_who_waits_can_be_told_from_who_works(fresh, waiter, client):
    event = "Extension" if client.connection.server_version < 170000 else "SluiceWaitForWork"
    with pytest.raises(psycopg2.Error), waiter():
        wait_until("pg_stat_activity says so", lambda: client.rows(
            "select wait_event_type, wait_event, backend_xmin is null, query like 'call sluice.wait_for_work(%%'"
            " from pg_stat_activity where pid = %s", waiter.session.pid) == [("Extension", event, True, True)])
        end(client, waiter.session)


def test_vacuum_removes_what_died_while_a_worker_waits(fresh, waiter, client):
    client.rows("create table dying as select 1 as n")
    with pytest.raises(psycopg2.Error), waiter():
        wait_until_it_sleeps(client, waiter.session)
        client.rows("delete from dying")

        def removed():
            client.rows("vacuum dying")
            return client.value("select pg_relation_size('dying') = 0")
        wait_until("vacuum has removed the dead row", removed)
        end(client, waiter.session)


@pytest.mark.parametrize("delay", [None, "1h"], ids=["nothing to come", "something to come"])
def test_an_idle_worker_looks_a_few_times_a_second(waiter, client, delay):
    if delay:
        client.enqueue("job", delay=delay)
    waiter.session.rows("set track_functions = 'all'")
    with waiter(timeout="2 seconds") as waiting:
        assert waiting.join(10) == "timeout"
    # At most each 250 ms; counts are sent when the session is idle again.
    looks = wait_until("the looks are counted", lambda: waiter.session.value("select pg_stat_force_next_flush()") is not None and
                       client.value("select calls from pg_stat_user_functions where funcname = '_assert_home'"))
    assert looks <= 12


def test_it_wakes_when_a_run_is_enqueued(waiter, client):
    with waiter() as waiting:
        wait_until_it_sleeps(client, waiter.session)
        run = client.enqueue("job")
        assert waiting.join(10) == "work"
    assert [lease.run_id for lease in client.claim()] == [run]


def test_a_commit_wakes_it_long_before_its_next_look(waiter, client):
    # A worker in the list of waiters looks once a second: of 21 that nobody wakes, a quarter would be this early.
    early = 0
    for _ in range(21):
        with waiter() as waiting:
            wait_until_it_sleeps(client, waiter.session)
            client.enqueue("job")
            began = time.monotonic()
            waiting.join()
            early += time.monotonic() - began < 0.25
        assert waiting.join() == "work"
        [lease] = client.claim()
        client.complete(lease.token)
    assert early >= 14


def test_it_returns_at_once_when_there_is_work_already(waiter, client):
    client.enqueue("job")
    with waiter() as waiting:
        assert waiting.join(10) == "work"


def test_it_wakes_when_a_delayed_run_falls_due(waiter, client):
    """By itself, at the time: nobody tells it."""
    run = client.enqueue("job", delay="2s")
    with waiter() as waiting:
        wait_until_it_sleeps(client, waiter.session)
        assert waiting.join(20) == "work"
    late, early = client.rows("select clock_timestamp() < ready_at + interval '250 milliseconds 2 seconds', clock_timestamp() < ready_at"
                              " from sluice.runs where run_id = %s", run)[0]
    assert late and not early
    assert [lease.run_id for lease in client.claim()] == [run]


def test_it_wakes_when_a_retry_falls_due(waiter, client):
    client.rows("select sluice.create_task('again', 'external', retry => '{\"min_delay\": \"1 second\", \"randomize\": false}')")
    run = client.enqueue("again")
    [held] = client.claim()
    client.fail(held.token, {"message": "once more"})
    with waiter() as waiting:
        assert waiting.join(20) == "work"
    assert [(lease.run_id, lease.attempt) for lease in client.claim()] == [(run, 2)]


def free_by_completing(client, held):
    client.complete(held.token)


def free_by_acknowledging(client, held):
    client.value("select sluice.cancel(%s)", held.run_id)
    client.exchange("w2", [{"token": held.token, "outcome": "canceled"}])


def free_by_raising_the_limit(client, _held):
    client.rows("select sluice.create_queue('one', concurrency => 2)")


def free_by_moving_to_another_queue(client, _held):
    client.rows("select sluice.requeue(run_id, queue => 'task/job') from sluice.runs where status = 'queued'")


@pytest.mark.parametrize("free", [free_by_completing, free_by_acknowledging, free_by_raising_the_limit,
                                  free_by_moving_to_another_queue])
def test_it_wakes_when_a_limit_gives_way(waiter, client, free):
    client.rows("select sluice.create_queue('one', concurrency => 1)")
    for _ in range(2):
        client.enqueue("job", queue="one")
    [held] = client.claim("w2")
    with waiter() as waiting:
        wait_until_it_sleeps(client, waiter.session)
        free(client, held)
        assert waiting.join(10) == "work"
    assert len(client.claim("w2", capacity=5)) == 1


def test_it_wakes_when_a_queue_is_resumed_and_not_before(waiter, client):
    client.rows("select sluice.pause('task/job')")
    client.enqueue("job")
    with waiter(timeout="300 milliseconds") as waiting:
        assert waiting.join(10) == "timeout"
    with waiter() as waiting:
        wait_until_it_sleeps(client, waiter.session)
        client.rows("select sluice.resume('task/job')")
        assert waiting.join(10) == "work"


def test_it_wakes_when_a_prepared_enqueue_is_committed(waiter, client):
    client.rows("begin")
    client.enqueue("job")
    client.rows("prepare transaction 'later'")
    with waiter() as waiting:
        wait_until_it_sleeps(client, waiter.session)
        client.rows("commit prepared 'later'")
        assert waiting.join(10) == "work"


def test_it_wakes_when_another_workers_claim_is_rolled_back(fresh, waiter, client):
    client.enqueue("job")
    with Session(fresh) as other:
        other.rows("begin")
        assert len(other.claim("w2")) == 1
        # The run is locked: the waiter may say so once or find nothing, but must not miss the rollback.
        with Background(lambda: wait_until("the waiter's claim has it", lambda: take(waiter, client))) as taking:
            other.rows("rollback")
            [held] = taking.join(30)
    assert client.complete(held.token) == "done"


def take(waiter, client):
    with waiter() as waiting:
        return client.claim() if waiting.join(20) == "work" else None


@pytest.mark.parametrize("how", ["cancel(run_id)", "requeue(run_id)"])
def test_it_returns_revoked_when_a_token_of_its_worker_dies(waiter, client, how):
    client.enqueue("job")
    client.register("w1")
    [held] = client.exchange("w1", capacity=1)["claimed"]
    with waiter(executors=()) as waiting:
        wait_until_it_sleeps(client, waiter.session)
        client.rows(f"select sluice.{how} from sluice.runs")
        assert waiting.join(10) == "revoked"
    # Until the worker was told; then it would be news no more.
    assert list(client.exchange("w1", heartbeats=[held.token])["lost"]) == [held.token]
    with waiter(timeout="100 milliseconds", executors=()) as waiting:
        assert waiting.join(10) == "timeout"


def test_what_another_worker_lost_wakes_nobody_else(waiter, client):
    run = client.enqueue("job")
    client.claim("w2")
    client.value("select sluice.cancel(%s)", run)
    with waiter(timeout="300 milliseconds", executors=()) as waiting:
        assert waiting.join(10) == "timeout"


@pytest.mark.parametrize("asked", [{"executors": ()}, {"executors": ("sql",)}, {"queues": ["elsewhere"]}])
def test_work_that_it_did_not_ask_for_does_not_wake_it(waiter, client, asked):
    client.rows("select sluice.create_queue('elsewhere')")
    client.enqueue("job")
    with waiter(timeout="300 milliseconds", **asked) as waiting:
        assert waiting.join(10) == "timeout"


def test_its_backend_ends_when_its_client_is_killed(fresh, client):
    with subprocess.Popen(["psql", "-Xq", "-c", f"call sluice.wait_for_work(timeout => '{LONG}')"],
                          env={**os.environ, **fresh.env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as psql:
        [(pid,)] = wait_until("the client waits", lambda: client.rows(
            "select pid from pg_stat_activity where wait_event_type = 'Extension' and query ~ 'wait_for_work' and pid <> pg_backend_pid()"))
        os.kill(psql.pid, signal.SIGKILL)
        wait_until("its backend is gone", lambda: session_is_gone(fresh, pid), seconds=5)


def test_it_is_refused_in_a_transaction(client):
    client.rows("begin")
    assert client.sqlstate("call sluice.wait_for_work(timeout => '0')") == "SL013"
    client.rows("rollback")
    body = "declare r text; begin call sluice.wait_for_work(timeout => '0', reason => r); exception when division_by_zero then end"
    assert client.sqlstate(f"do $$ {body} $$") == "SL013", "a block with an exception clause is a subtransaction"
    client.rows(f"create function public.waits() returns void language plpgsql as $$ {body} $$")
    assert client.sqlstate("select public.waits()") == "SL013"
    assert client.rows("call sluice.wait_for_work(timeout => '0')") == [("timeout",)]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_it_is_refused_above_read_committed(fresh, client, level):
    """What it finds it tells all, so it must not come from an old snapshot: limits, and which runs have fallen due."""
    client.rows("select sluice.create_queue('q', concurrency => 5)")
    client.rows("select sluice.create_task('limited', 'external', queue => 'q', lease => '1 hour')")
    client.rows("""create function public.slow() returns interval language plpgsql as
                   $$ begin perform pg_advisory_lock(1); perform pg_advisory_unlock(1); return '0'; end $$""")
    for _ in range(5):
        client.enqueue("limited")
    client.rows("select pg_advisory_lock(1)")
    with Session(fresh) as old:
        old.rows(f"set default_transaction_isolation = '{level}'")
        # Its snapshot is taken before the argument is known.
        with pytest.raises(psycopg2.Error) as refused, Background(
                lambda: old.rows("call sluice.wait_for_work(timeout => public.slow())")):
            wait_until("it has a snapshot", lambda: client.rows("select 1 from pg_locks where locktype = 'advisory' and not granted"))
            client.rows("select sluice.create_queue('q', concurrency => 2)")
            client.rows("select pg_advisory_unlock(1)")
        assert refused.value.pgcode == "SL013"
    assert len(client.claim(capacity=9)) == 2
    assert_sound(fresh)


def test_a_session_survives_an_error_in_the_middle_of_a_wait(waiter, client):
    """And is itself again afterwards: the wait runs as the storage's owner."""
    with pytest.raises(psycopg2.errors.UndefinedTable), waiter():
        wait_until_it_sleeps(client, waiter.session)
        client.rows("alter table sluice.meta rename to broken")
    client.rows("alter table sluice.broken rename to meta")
    assert waiter.session.rows("select current_user, session_user") == [("postgres", "postgres")]
    waiter.session.rows("create temporary table mine ()")
    client.enqueue("job")
    with waiter() as waiting:
        assert waiting.join(10) == "work"


def test_a_wait_can_be_canceled(fresh, waiter, client):
    for _ in range(2):
        with pytest.raises(psycopg2.errors.QueryCanceled), waiter():
            wait_until_it_sleeps(client, waiter.session)
            client.rows("select pg_cancel_backend(%s)", waiter.session.pid)
    assert waiter.session.rows("select current_user") == [("postgres",)]
    client.enqueue("job")
    with waiter() as waiting:
        assert waiting.join(10) == "work"
    assert_sound(fresh)


def test_a_wait_obeys_statement_timeout(waiter, client):
    waiter.session.rows("set statement_timeout = '200ms'")
    with pytest.raises(psycopg2.errors.QueryCanceled), waiter():
        pass
    waiter.session.rows("reset statement_timeout")
    client.enqueue("job")
    with waiter() as waiting:
        assert waiting.join(10) == "work"


def test_many_may_wait_and_all_wake(fresh, client):
    with sessions(fresh, 20) as waiting:
        threads = [Background(session.rows, f"call sluice.wait_for_work(timeout => '{LONG}')") for session in waiting]
        for thread in threads:
            thread.__enter__()
        wait_until("all sleep", lambda: client.value(
            "select count(*) from pg_stat_activity where wait_event_type = 'Extension' and query ~ '^call sluice.wait_for_work'") == 20)
        client.enqueue("job")
        assert [thread.join(10) for thread in threads] == [[("work",)]] * 20


def test_a_waiting_worker_does_not_hold_up_a_shutdown(fresh, waiter, client):
    with pytest.raises(psycopg2.Error), waiter():
        wait_until_it_sleeps(client, waiter.session)
        fresh.server_stop("fast")
    fresh.server_start()
    wait_until("the server is up", lambda: can_connect(fresh))


def test_a_killed_waiter_leaves_nothing_in_the_way_of_the_next(fresh, waiter, client):
    with pytest.raises(psycopg2.Error), waiter():
        wait_until_it_sleeps(client, waiter.session)
        kill_backend(fresh, waiter.session.pid)
    with sessions(fresh, 2) as (next_waiter, next_client):
        assert next_client.claim() == []  # the first claim after a restart builds the index, which a wait would ask for
        with Background(next_waiter.rows, f"call sluice.wait_for_work(timeout => '{LONG}')") as waiting:
            wait_until_it_sleeps(next_client, next_waiter)
            next_client.enqueue("job")
            assert waiting.join(10) == [("work",)]
