"""What a crash or a restart of the server does to runs: nothing is lost, nothing is done twice, nothing is forgotten.

Leases are unlogged: after a crash there are none, and every executing run gets one more lease period.  After a clean
restart they have the deadlines that they had.
"""

import os
import signal

import pytest

from sandbox import BY_TABLE, is_alive, wait_until
from sessions import Background, Session, can_connect, kill_backend, outcomes, sessions, statuses

pytestmark = pytest.mark.both_modes


def kill_a_backend(sandbox):
    with Session(sandbox) as victim:
        kill_backend(sandbox, victim.pid)


def kill_the_postmaster(sandbox):
    pid = sandbox.postmaster_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until("the postmaster is gone", lambda: not is_alive(pid))
    sandbox.server_start()


def stop_at_once(sandbox):
    sandbox.server_stop("immediate")
    sandbox.server_start()


def restart_in_order(sandbox):
    sandbox.restart("fast")


CRASHES = {"kill -9 of a backend": kill_a_backend, "kill -9 of the postmaster": kill_the_postmaster,
           "pg_ctl stop -m immediate": stop_at_once}
CLEAN = {"clean restart": restart_in_order}


@pytest.fixture(params=[*CRASHES, *CLEAN])
def crash(request, fresh):
    """Stops the server in one of the ways and returns when it takes connections again."""
    def happen():
        {**CRASHES, **CLEAN}[request.param](fresh)
        wait_until("the server takes connections again", lambda: can_connect(fresh), seconds=30)
    happen.is_clean = request.param in CLEAN
    return happen


def test_executing_runs_get_their_lease_again_and_are_then_tried_again(fresh, crash):
    lease = 2
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external', lease => %s * interval '1 second')", lease)
        runs = [client.enqueue("job") for _ in range(3)]
        held = client.claim("gone", capacity=2)
        crash()

    with sessions(fresh, 2) as (leader, client):
        leader.lead()
        expired, next_in = leader.rows("select expired, extract(epoch from next_in) from sluice.expire_leases()")[0]
        if not crash.is_clean:
            assert expired == 0, "a lease ended although its worker had no chance to be heard since the crash"
            assert lease * 0.8 < next_in <= lease, "the lease period after a crash is a whole one"
        if expired == 0:
            assert [lease.run_id for lease in client.claim("early", capacity=9)] == runs[2:], \
                "only the run that nobody holds is handed out"
        wait_until("both leases have ended", lambda: statuses(fresh, runs[:2]) == {"queued": 2} or
                   leader.expire_leases() and False)

        again = client.claim("second", capacity=2)
        assert sorted((lease.run_id, lease.attempt) for lease in again) == [(run, 2) for run in runs[:2]], \
            "the lost attempt counts"
        for old in held:
            assert client.sqlstate("select sluice.complete(%s)", old.token) == "SL102"
        for new in again:
            assert client.complete(new.token) == "done"
            assert outcomes(fresh, new.run_id) == [(1, "lost"), (2, "completed")]


def test_a_token_that_a_client_holds_completes_after_the_restart(fresh, crash):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external')")
        run = client.enqueue("job", payload='{"n": 1}')
        [held] = client.claim()
        crash()

    with Session(fresh) as client:
        assert client.heartbeat(held.token) == [held.token]
        assert client.complete(held.token, {"answer": 42}) == "done"
        assert client.complete(held.token, {"answer": 43}) == "already_done"
        assert client.rows("select status, output from sluice.result(%s)", run) == [("completed", {"answer": 42})]
        assert outcomes(fresh, run) == [(1, "completed")]


def test_what_committed_is_there_and_what_had_not_never_existed(fresh, crash):
    with sessions(fresh, 2) as (client, unfinished):
        client.rows("select sluice.create_task('job', 'external')")
        committed = [row[0] for row in client.rows("select sluice.enqueue_many('job', array_fill('{}'::jsonb, '{50}'))")]
        [half_done] = client.claim()
        unfinished.rows("begin")
        ghost = unfinished.enqueue("job", idempotency_key="once")
        taken = unfinished.claim("open", capacity=3)
        assert unfinished.complete(taken[0].token) == "done"
        assert unfinished.complete(half_done.token) == "done"
        assert unfinished.value("select sluice.cancel(%s)", taken[1].run_id)
        committed.append(client.enqueue("job"))
        crash()

    with Session(fresh) as client:
        assert client.rows("select run_id from sluice.runs order by 1") == [(run,) for run in sorted(committed)]
        assert statuses(fresh) == {"queued": 50, "executing": 1}
        assert client.value("select count(*) from sluice.run where status = 'queued' and attempt <> 0") == 0
        # The key of a run that never existed stands for nothing, and run ids go on above all that were given out.
        assert client.rows("select run_id > %s, existing from sluice.enqueue_result('job', idempotency_key => 'once')",
                           max(*committed, ghost)) == [(True, False)]
        assert client.complete(half_done.token) == "done"
        rest = client.claim("second", capacity=100)
        assert len(rest) == 51 and {lease.attempt for lease in rest} == {1}
        for lease in rest:
            client.complete(lease.token)
        assert statuses(fresh) == {"completed": 52}


def test_limits_hold_across_the_restart(fresh, crash):
    with Session(fresh) as client:
        client.rows("select sluice.create_queue('narrow', concurrency => 2)")
        client.rows("select sluice.create_task('job', 'external', queue => 'narrow')")
        runs = [client.enqueue("job") for _ in range(5)]
        executing, canceled = client.claim("first", capacity=5)
        assert client.value("select sluice.cancel(%s)", canceled.run_id)
        crash()

    with Session(fresh) as client:
        assert client.claim("second", capacity=5) == [], "two places are taken: one by a canceled run's worker"
        said = client.exchange("first", [{"token": canceled.token, "outcome": "canceled"}])
        assert said["ended"] == {canceled.token: "done"}
        [third] = client.claim("second", capacity=5)
        assert client.complete(executing.token) == "done"
        [fourth] = client.claim("second", capacity=5)
        assert (third.run_id, fourth.run_id) == tuple(runs[2:4])


def test_a_prepared_transaction_survives_the_restart_and_then_decides(fresh, crash):
    with sessions(fresh, 4) as (client, yes, no, claimer):
        client.rows("select sluice.create_task('job', 'external', lease => '2 seconds')")
        existing = client.enqueue("job")
        yes.rows("begin")
        kept = yes.enqueue("job", delay="1s")
        yes.rows("prepare transaction 'yes'")
        no.rows("begin")
        no.enqueue("job")
        no.rows("prepare transaction 'no'")
        claimer.rows("begin")
        [held] = claimer.claim("prepared")
        assert held.run_id == existing
        assert claimer.sqlstate("prepare transaction 'claim'") == "SL018", "a slot cannot be prepared"
        crash()

    with sessions(fresh, 2) as (client, leader):
        [held] = client.claim("early")
        assert held.run_id == existing, "the claim that could not be prepared never was"
        client.rows("commit prepared 'yes'")
        client.rows("rollback prepared 'no'")
        assert client.rows("select run_id from sluice.runs order by 1") == [(existing,), (kept,)]
        assert client.complete(held.token) == "done"
        [late] = wait_until("the delayed run falls due", client.claim)
        assert (late.run_id, client.complete(late.token)) == (kept, "done")
        leader.lead()
        assert leader.expire_leases() == 0


def test_a_run_that_takes_the_server_down_each_time_ends(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('poison', 'external', lease => '1 second', retry => '{\"max_attempts\": 2}')")
        run = client.enqueue("poison")
    for attempt in (1, 2):
        with Session(fresh) as client:
            [held] = client.claim()
            assert held.attempt == attempt
        kill_a_backend(fresh)
        with Session(fresh) as leader:
            leader.lead()
            wait_until("its lease has ended", lambda: leader.expire_leases() == 1)
    assert statuses(fresh) == {"system_failure": 1}
    assert outcomes(fresh, run) == [(1, "lost"), (2, "lost")]


def end_by_terminate(sandbox, session):
    sandbox.rows("select pg_terminate_backend(%s)", session.pid)


def end_by_closing(_sandbox, session):
    session.close()


def end_by_rollback(_sandbox, session):
    session.rows("rollback")


@pytest.mark.parametrize("end", [end_by_terminate, end_by_closing, end_by_rollback])
def test_a_claim_that_never_committed_gives_its_runs_and_places_to_the_next(fresh, end):
    with sessions(fresh, 3) as (client, first, second):
        client.rows("select sluice.create_queue('one', concurrency => 1)")
        client.rows("select sluice.create_task('job', 'external', queue => 'one')")
        run = client.enqueue("job")
        first.rows("begin")
        [held] = first.claim("first")
        if BY_TABLE:
            with Background(second.claim, "second") as waiting:
                wait_until("the second claim waits for the queue", lambda: client.value(
                    "select count(*) from pg_locks where pid = %s and not granted", second.pid))
                end(fresh, first)
                [given] = waiting.join()
        else:
            assert second.claim("second") == [], "the slot is taken, and nobody waits for it"
            end(fresh, first)
            [given] = wait_until("the slot is free", lambda: second.claim("second"))
        assert (given.run_id, given.attempt) == (run, 1), "an attempt that was rolled back does not count"
        assert client.sqlstate("select sluice.complete(%s)", held.token) == "SL102"
        assert second.complete(given.token) == "done"
        assert outcomes(fresh, run) == [(1, "completed")]


def test_a_backend_killed_while_it_claims_takes_nothing_with_it(fresh):
    with sessions(fresh, 2) as (client, claimer):
        client.rows("select sluice.create_queue('few', concurrency => 3)")
        client.rows("select sluice.create_task('job', 'external', queue => 'few')")
        runs = [client.enqueue("job") for _ in range(6)]
        before = client.claim("before")
        claimer.rows("begin")
        assert len(claimer.claim("killed", capacity=2)) == 2
        kill_backend(fresh, claimer.pid)

    with Session(fresh) as client:
        again = client.claim("after", capacity=6)
        assert [(lease.run_id, lease.attempt) for lease in again] == [(run, 1) for run in runs[1:3]]
        for lease in before + again:
            assert client.complete(lease.token) == "done"
        assert len(client.claim("after", capacity=6)) == 3
