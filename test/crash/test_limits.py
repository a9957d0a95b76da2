"""Limits are exact however claims are interleaved, undone or cut off.

Claimers are threads with seeded chance.  Besides Sluice's own slots a side table counts what is held: a row goes in
with the claim's transaction and out with the completion's, so it knows nothing of how slots are kept.
"""

import collections
import contextlib
import threading

import psycopg2
import pytest

from sessions import HELD, OVER_LIMIT, Background, Session, seeded_random, sessions, statuses

pytestmark = pytest.mark.both_modes

CLAIMERS = 5


class Watch:
    """Looks again and again, on a session of its own, and keeps what must never be seen."""

    def __init__(self, sandbox, statement):
        self._sandbox, self._statement = sandbox, statement
        self._over = threading.Event()
        self.seen, self.looks = collections.Counter(), 0

    def __call__(self):
        with Session(self._sandbox) as session:
            while not self._over.is_set():
                self.seen.update(row[0] for row in session.rows(self._statement))
                self.looks += 1

    def stop(self):
        self._over.set()


def claimer(sandbox, number, chance, aborted):
    """Claims, and then commits, rolls back, rolls back to a savepoint, or loses its session; until all is final."""
    session = Session(sandbox)
    name = f"claimer-{number}"
    try:
        while session.value("select exists (select from sluice.run where finished_at is null)"):
            kind = chance.choice(["commit"] * 4 + ["rollback", "savepoint", "terminate", "release"])
            held = []
            session.rows("begin")
            if kind == "savepoint":
                session.rows("savepoint before")
                session.claim(name, chance.randint(1, 4))
                session.rows("rollback to before")
            held = session.claim(name, chance.randint(1, 3))
            session.rows("insert into held select r.run_id, q.queue, r.lane from sluice.run r join sluice.queue q using"
                         " (queue_id) where r.run_id = any(%s)", [lease.run_id for lease in held])
            if kind == "rollback":
                aborted[kind] += 1
                session.rows("rollback")
                continue
            if kind == "terminate":
                aborted[kind] += 1
                with contextlib.suppress(psycopg2.Error):
                    session.rows("select pg_terminate_backend(pg_backend_pid())")
                session.close()
                session = Session(sandbox)
                continue
            session.rows("commit")
            for lease in held:
                with session.transaction():
                    session.rows("delete from held where run_id = %s", lease.run_id)
                    if kind == "release":
                        assert session.value("select sluice.release(%s)", lease.token) == "done"
                    else:
                        assert session.complete(lease.token) == "done"
                        session.rows("insert into done values (%s)", lease.run_id)
    finally:
        session.close()


@pytest.mark.parametrize("concurrency, key_concurrency", [(1, None), (None, 1), (5, 2)])
def test_limits_are_exact_under_concurrent_claims_and_aborts(fresh, concurrency, key_concurrency):
    chance = seeded_random("limits")
    with Session(fresh) as client:
        client.rows("select sluice.create_queue('tight', %s, %s)", concurrency, key_concurrency)
        client.rows("select sluice.create_task('job', 'external', queue => 'tight')")
        client.rows("create table held (run_id bigint primary key, queue text, lane bigint)")
        client.rows("create table done (run_id bigint primary key)")
        runs = [row[0] for row in client.rows(
            "select sluice.enqueue('job', concurrency_key => 'key-' || n % 7) from generate_series(1, 80) as n")]

    over = Watch(fresh, OVER_LIMIT)
    held_over = Watch(fresh, f"""
        select 'queue over its limit' from held having count(*) > {concurrency or 'null'}
        union all
        select 'lane over its limit' from held group by lane having count(*) > {key_concurrency or 'null'}""")
    aborted = collections.Counter()
    with contextlib.ExitStack() as threads:
        watches = [threads.enter_context(Background(watch)) for watch in (over, held_over)]
        try:
            claimers = [threads.enter_context(Background(claimer, fresh, n, type(chance)(chance.random()), aborted))
                        for n in range(CLAIMERS)]
            for thread in claimers:
                thread.join(90)
        finally:
            over.stop()
            held_over.stop()
        for watch in watches:
            watch.join()

    assert over.seen == {} and held_over.seen == {}
    assert min(over.looks, held_over.looks) > 20 and set(aborted) == {"rollback", "terminate"}
    assert statuses(fresh) == {"completed": len(runs)}
    assert fresh.value("select count(*) from done") == len(runs)
    assert fresh.value(f"select count(*) from {HELD} as h") == 0, "no slot leaks"


def test_a_place_that_its_own_transaction_freed_may_be_used_by_it(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_queue('one', concurrency => 1)")
        client.rows("select sluice.create_task('job', 'external', queue => 'one')")
        runs = [client.enqueue("job") for _ in range(3)]
        client.register("w1")
        said = client.exchange("w1", capacity=1)
        for run in runs[:2]:
            [held] = said["claimed"]
            assert held.run_id == run
            said = client.exchange("w1", [{"token": held.token, "outcome": "completed"}], capacity=1, seen_reply=said["reply"])
            assert said["ended"] == {held.token: "done"}
        assert [lease.run_id for lease in said["claimed"]] == runs[2:]


def test_a_place_that_another_transaction_may_still_take_back_is_not_used(fresh):
    with sessions(fresh, 2) as (first, second):
        first.rows("select sluice.create_queue('one', concurrency => 1)")
        first.rows("select sluice.create_task('job', 'external', queue => 'one')")
        runs = [first.enqueue("job") for _ in range(2)]
        [held] = first.claim("first")
        first.rows("begin")
        assert first.complete(held.token) == "done"
        assert second.claim("second") == [], "the completion may still be rolled back"
        first.rows("rollback")
        assert second.claim("second") == []
        assert first.complete(held.token) == "done"
        assert [lease.run_id for lease in second.claim("second")] == runs[1:]


def test_lowering_a_limit_kills_nothing_and_holds_from_then_on(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_queue('q', concurrency => 3)")
        client.rows("select sluice.create_task('job', 'external', queue => 'q')")
        for _ in range(5):
            client.enqueue("job")
        held = client.claim(capacity=5)
        assert len(held) == 3
        client.rows("select sluice.create_queue('q', concurrency => 1)")
        assert len(client.heartbeat(*[lease.token for lease in held])) == 3
        for lease in held[:2]:
            client.complete(lease.token)
            assert client.claim() == []
        client.complete(held[2].token)
        assert len(client.claim(capacity=5)) == 1
