"""What the end of a session means: at once for a worker that registered it, nothing for a client that did not, and
another leader for the leader's.

A registered worker's session is its proof of life, so its runs need not wait for their leases to end.
"""

import pytest

from sandbox import BY_TABLE, wait_until
from sessions import HELD, Background, Session, kill_backend, outcomes, session_is_gone, sessions, statuses

pytestmark = pytest.mark.both_modes

LONG = "1 hour"


@pytest.fixture
def job(fresh):
    """An external task whose lease nobody will see the end of."""
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external', lease => %s)", LONG)
        yield client


def terminate(sandbox, session):
    sandbox.rows("select pg_terminate_backend(%s)", session.pid)
    wait_until("the session is gone", lambda: session_is_gone(sandbox, session.pid))


def close(sandbox, session):
    session.close()
    wait_until("the session is gone", lambda: session_is_gone(sandbox, session.pid))


@pytest.mark.parametrize("end", [terminate, close])
def test_a_registered_workers_runs_are_given_to_others_when_its_session_ends(fresh, job, end):
    job.rows("select sluice.create_queue('one', concurrency => 1)")
    runs = [job.enqueue("job"), job.enqueue("job"), job.enqueue("job", queue="one")]
    next_in_line = job.enqueue("job", queue="one")
    with sessions(fresh, 2) as (leader, worker):
        leader.lead()
        worker.register("w1")
        held = worker.exchange("w1", capacity=9)["claimed"]
        assert sorted(lease.run_id for lease in held) == runs
        assert leader.reap_sessions() == 0, "a live session keeps what it holds"

        end(fresh, worker)
        assert leader.reap_sessions() == 3
        assert job.value("select count(*) from sluice.workers") == 0

        again = {lease.run_id: lease for lease in job.claim("w2", capacity=9)}
        assert sorted(again) == runs and {lease.attempt for lease in again.values()} == {2}
        for lease in held:
            assert job.sqlstate("select sluice.complete(%s)", lease.token) == "SL102"
        for lease in again.values():
            assert job.complete(lease.token) == "done"
            assert outcomes(fresh, lease.run_id) == [(1, "lost"), (2, "completed")]
        assert [lease.run_id for lease in job.claim("w2", capacity=9)] == [next_in_line]


def test_a_canceled_runs_place_is_free_when_its_workers_session_ends(fresh, job):
    job.rows("select sluice.create_queue('one', concurrency => 1)")
    canceled = job.enqueue("job", queue="one")
    waiting = job.enqueue("job", queue="one")
    with sessions(fresh, 2) as (leader, worker):
        leader.lead()
        worker.register("w1")
        assert len(worker.exchange("w1", capacity=1)["claimed"]) == 1
        assert job.value("select sluice.cancel(%s)", canceled)
        assert job.claim() == []
        close(fresh, worker)
        leader.reap_sessions()
    assert [lease.run_id for lease in job.claim()] == [waiting]
    assert statuses(fresh) == {"canceled": 1, "executing": 1}
    assert outcomes(fresh, canceled) == [(1, "canceled")]


def test_an_unregistered_clients_lease_lives_on_after_its_session(fresh, job):
    run = job.enqueue("job")
    with sessions(fresh, 2) as (leader, client):
        leader.lead()
        [held] = client.claim("pooled")
        terminate(fresh, client)
        assert leader.reap_sessions() == 0
        assert leader.expire_leases() == 0
    assert statuses(fresh) == {"executing": 1}
    assert job.complete(held.token, "from another connection") == "done"
    assert outcomes(fresh, run) == [(1, "completed")]


def test_an_unregistered_clients_lease_ends_at_its_deadline(fresh):
    with sessions(fresh, 2) as (leader, client):
        client.rows("select sluice.create_task('short', 'external', lease => '1 second')")
        run = client.enqueue("short")
        leader.lead()
        [held] = client.claim("pooled")
        deadline = client.value(f"select until from {HELD} as h where token = %s", held.token)
        terminate(fresh, client)
        wait_until("the lease has ended", lambda: leader.expire_leases() == 1)
        assert leader.value("select ended_at >= %s from sluice.attempts where run_id = %s", deadline, run)
    assert statuses(fresh) == {"queued": 1}


def test_heartbeats_keep_a_lease_beyond_its_first_deadline(fresh):
    with sessions(fresh, 2) as (leader, client):
        client.rows("select sluice.create_task('short', 'external', lease => '1 second')")
        client.enqueue("short")
        leader.lead()
        [held] = client.claim()
        first = client.value(f"select until from {HELD} as h where token = %s", held.token)
        wait_until("the first deadline is past", lambda: client.heartbeat(held.token) and
                   client.value("select clock_timestamp() > %s", first))
        assert leader.expire_leases() == 0
        assert client.complete(held.token) == "done"


def test_a_worker_that_comes_back_keeps_the_leases_that_it_lists(fresh, job):
    for _ in range(4):
        job.enqueue("job")
    with sessions(fresh, 3) as (leader, worker, reconnected):
        leader.lead()
        worker.register("w1")
        seen = worker.exchange("w1", capacity=3)
        keeps, also_keeps, forgot = seen["claimed"]
        # The reply of this one is lost with the connection.
        [never_heard_of] = worker.exchange("w1", heartbeats=[lease.token for lease in seen["claimed"]],
                                           capacity=1, seen_reply=seen["reply"])["claimed"]
        terminate(fresh, worker)

        reconnected.register("w1", tokens=[keeps.token, also_keeps.token], seen_reply=seen["reply"])
        assert leader.reap_sessions() == 0, "the worker lives, in another session"
        said = reconnected.exchange("w1", [{"token": keeps.token, "outcome": "completed"}], [also_keeps.token])
        assert said["ended"] == {keeps.token: "done"} and said["lost"] == {}
        assert said["reply"] > seen["reply"] + 1, "reply numbers go on"

        again = {lease.run_id: lease.attempt for lease in job.claim("w2", capacity=9)}
        assert again == {forgot.run_id: 2, never_heard_of.run_id: 1}, \
            "what it had worked on is lost and counts; what it never heard of is given back"
        assert job.complete(also_keeps.token) == "done"
    assert outcomes(fresh, forgot.run_id) == [(1, "lost")]
    assert outcomes(fresh, never_heard_of.run_id) == []


def test_what_a_reply_that_got_lost_handed_out_is_given_back_by_the_next_exchange(fresh, job):
    runs = [job.enqueue("job") for _ in range(2)]
    with Session(fresh) as worker:
        worker.register("w1")
        first = worker.exchange("w1", capacity=1)
        lost_reply = worker.exchange("w1", heartbeats=[first["claimed"][0].token], capacity=1, seen_reply=first["reply"])
        # The worker asks again with the number that it has not seen: nothing that may still be on its way is taken.
        worker.exchange("w1", heartbeats=[first["claimed"][0].token], seen_reply=first["reply"])
        assert statuses(fresh) == {"executing": 2}
        # It sees a later reply in which the run was not listed: that it holds it is out of the question.
        worker.exchange("w1", heartbeats=[first["claimed"][0].token], seen_reply=lost_reply["reply"] + 1)
        assert statuses(fresh, [runs[0]]) == {"executing": 1} and statuses(fresh, [runs[1]]) == {"queued": 1}
        assert job.claim("w2")[0].attempt == 1


def test_a_name_belongs_to_one_live_session(fresh, job):
    job.enqueue("job")
    with sessions(fresh, 2) as (first, second):
        first.register("w1")
        [held] = first.exchange("w1", capacity=1)["claimed"]
        assert second.sqlstate("select sluice.register_worker('w1')") == "SL104"
        assert second.sqlstate("select * from sluice.exchange('w1', heartbeats => %s::uuid[])", [held.token]) == "SL104"
        assert first.exchange("w1", heartbeats=[held.token])["lost"] == {}
        terminate(fresh, first)
        second.register("w1", tokens=[held.token])
        assert second.complete(held.token) == "done"


def test_runs_of_a_session_that_was_there_before_a_restart_wait_for_their_worker(fresh, job):
    """The server's end is not the worker's: it comes back for what it holds, and the leader leaves it the time."""
    run = job.enqueue("job")
    with Session(fresh) as worker:
        worker.register("w1")
        [held] = worker.exchange("w1", capacity=1)["claimed"]
        fresh.restart("fast")
    with sessions(fresh, 2) as (leader, worker):
        leader.lead()
        assert leader.reap_sessions() == 0
        assert statuses(fresh) == {"executing": 1}
        worker.register("w1", tokens=[held.token])
        assert leader.reap_sessions() == 0
        assert worker.complete(held.token) == "done"
        assert outcomes(fresh, run) == [(1, "completed")]


def kill_with_the_server(sandbox, session):
    kill_backend(sandbox, session.pid)


@pytest.mark.parametrize("end", [terminate, close, kill_with_the_server])
def test_another_session_leads_when_the_leaders_ends(fresh, end):
    with sessions(fresh, 2) as (first, second):
        first.lead("first")
        assert not second.value("select sluice.try_lead('second')")
        assert first.value("select sluice.try_lead('first')"), "asking again is no second lock"
        for duty in ("reap_sessions", "expire_leases", "expire_runs", "fire_schedules", "announce_due", "expire_idempotency_keys",
                     "remove_old_runs", "sweep"):
            assert second.sqlstate(f"select * from sluice.{duty}()") == "SL105"
        end(fresh, first)
    with sessions(fresh, 2) as (heir, former):
        heir.lead("second")
        assert heir.expire_leases() == 0
        assert former.sqlstate("select * from sluice.expire_leases()") == "SL105"
        assert not former.value("select sluice.try_lead('first')")
        assert fresh.value("select worker from sluice.leader") == "second"


def test_a_leader_that_lost_its_lock_can_do_nothing(fresh):
    """As after a pooler's `discard all`: the session only remembers having led."""
    with sessions(fresh, 2) as (first, second):
        first.rows("select sluice.create_task('tick', 'external'), sluice.create_schedule('s', 'tick', '0 0 * * *')")
        first.rows("update sluice.schedule set next_tick = '2190-01-01', fire_at = clock_timestamp()")
        first.lead("first")
        first.rows("discard all")
        for duty in ("fire_schedules", "expire_leases", "expire_runs"):
            assert first.sqlstate(f"select * from sluice.{duty}()") == "SL105"
        second.lead("second")
        assert first.sqlstate("select * from sluice.fire_schedules()") == "SL105", "also while another one leads"
        assert fresh.value("select count(*) from sluice.runs") == 0
        assert second.value("select fired from sluice.fire_schedules()") == 1
        assert fresh.value("select count(*) from sluice.runs") == 1


def test_one_clients_open_transaction_does_not_hold_up_the_leader(fresh):
    """It may hold the rows of an attempt for ever: everybody else's leases end in time all the same."""
    with sessions(fresh, 4) as (leader, client, completes, beats):
        client.rows("select sluice.create_task('short', 'external', lease => '1 second')")
        runs = [client.enqueue("short") for _ in range(4)]
        completed, beaten, canceled, silent = client.claim(capacity=4)
        for session in (completes, beats):
            session.rows("begin")
        assert completes.complete(completed.token) == "done"
        assert completes.value("select sluice.cancel(%s)", canceled.run_id)
        assert beats.heartbeat(beaten.token) == [beaten.token]
        leader.lead()
        leader.rows("set statement_timeout = '10s'")
        wait_until("the silent client's lease has ended", lambda: leader.expire_leases() and
                   outcomes(fresh, silent.run_id) == [(1, "lost")])
        # By the index a beat that is not committed holds no row: its lease ends when its time has come, here or below.
        stand = runs[:3] if BY_TABLE else [completed.run_id, canceled.run_id]
        assert statuses(fresh, stand) == {"executing": len(stand)}
        completes.rows("commit")
        beats.rows("rollback")
        wait_until("the others are seen to as well", lambda: leader.expire_leases() is not None and
                   outcomes(fresh, beaten.run_id) == [(1, "lost")])
        assert outcomes(fresh, completed.run_id) == [(1, "completed")]
        wait_until("the canceled run's place is free", lambda: leader.expire_leases() is not None and
                   client.value(f"select count(*) from {HELD} as h") == 0)


def test_one_clients_open_transaction_does_not_hold_up_what_a_dead_worker_gives_back(fresh, job):
    stuck, free = job.enqueue("job"), job.enqueue("job")
    with sessions(fresh, 3) as (leader, worker, cancels):
        leader.lead()
        worker.register("w1")
        assert len(worker.exchange("w1", capacity=2)["claimed"]) == 2
        cancels.rows("begin")
        assert cancels.value("select sluice.cancel(%s)", stuck)
        close(fresh, worker)
        leader.rows("set statement_timeout = '10s'")
        assert leader.reap_sessions() == 1
        assert [lease.run_id for lease in job.claim()] == [free]
        cancels.rows("rollback")
        assert leader.reap_sessions() == 1, "the other follows as soon as it can, long before its lease ends"
        assert leader.reap_sessions() == 0
        assert outcomes(fresh, stuck) == [(1, "lost")]


def test_an_expiry_and_a_completion_that_meet_do_not_deadlock(fresh):
    """A completion takes the run's row first and then the lease; so must whatever ends leases."""
    with sessions(fresh, 3) as (leader, client, completes):
        client.rows("select sluice.create_task('short', 'external', lease => '1 second')")
        run = client.enqueue("short")
        [held] = client.claim()
        # The first half of a completion.
        completes.rows("begin")
        completes.rows("select from sluice.run where run_id = %s for update", run)
        leader.lead()
        wait_until("the lease is over", lambda: client.value(f"select until < clock_timestamp() from {HELD} as h"))
        with Background(leader.expire_leases) as expiring:
            wait_until("the leader is through, or waits", lambda: not expiring.is_running() or client.value(
                "select count(*) from pg_locks where pid = %s and not granted", leader.pid))
            assert completes.complete(held.token) == "done"
            completes.rows("commit")
            expiring.join()
        assert outcomes(fresh, run) == [(1, "completed")]
