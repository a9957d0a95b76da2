"""Random verbs from several threads, with savepoints, aborts, lost sessions and prepared transactions, and then a
comparison with what each thread committed.

Every transaction writes into side tables what it has done, so that the database itself says which of it happened: a
run that was enqueued, completed or canceled there must be so in Sluice, and nothing else may be.
"""

import collections
import contextlib
import threading
import time

import psycopg2
import pytest

from sandbox import wait_until
from sessions import OVER_LIMIT, Background, Session, seeded_random

THREADS = 6
SECONDS = 8
QUEUES = {"wide": (None, None), "narrow": (3, None), "keyed": (6, 2)}

SETUP = """
    create table enqueued (run_id bigint primary key, max_attempts int);
    create table completed (run_id bigint primary key, token uuid);
    create table canceled (run_id bigint primary key);
    create table failed (run_id bigint primary key, token uuid);
"""


class Actor:
    """One thread: a session and what it holds."""

    def __init__(self, sandbox, number, chance, counts, verbs_at_once):
        self.sandbox, self.chance, self.counts, self.name = sandbox, chance, counts, f"actor-{number}"
        self.verbs_at_once = verbs_at_once
        self.session = Session(sandbox)
        self.held = {}

    def __call__(self, until):
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: self.session.close())
            while time.monotonic() < until:
                how = self.chance.choices(["commit", "rollback", "prepare", "lose the session"], [80, 10, 5, 2])[0]
                self.transaction(how)

    def transaction(self, how):
        held, verbs = dict(self.held), []
        try:
            self.session.rows("begin")
            for _ in range(self.chance.choice(self.verbs_at_once)):
                verb = self.chance.choices(*VERBS)[0]
                verbs.append(verb.__name__)
                if self.chance.random() < 0.15:
                    before = dict(self.held)
                    self.session.rows("savepoint s")
                    verb(self)
                    self.session.rows("rollback to s")
                    self.held = before
                    self.counts["rolled back to a savepoint"] += 1
                else:
                    verb(self)
            if how == "commit":
                self.session.rows("commit")
            elif how == "rollback":
                self.session.rows("rollback")
                self.held = held
            elif how == "prepare":
                self.session.rows(f"prepare transaction '{self.name}'")
                ending = self.chance.choice(["commit", "rollback"])
                self.session.rows(f"{ending} prepared '{self.name}'")
                if ending == "rollback":
                    self.held = held
            else:
                self.held = held
                with contextlib.suppress(psycopg2.Error):
                    self.session.rows("select pg_terminate_backend(pg_backend_pid())")
                self.session.close()
                self.session = Session(self.sandbox)
            self.counts[how] += 1
        except psycopg2.Error as error:
            self.held = held
            self.session.rows("rollback")
            # Transactions of several verbs may lock runs and queues crosswise; one verb alone must never deadlock.
            allowed = {"SL102", "SL101"} | ({"40P01"} if max(self.verbs_at_once) > 1 else set())
            if error.pgcode not in allowed:
                raise AssertionError(f"{verbs}: {error.pgcode} {error}") from error
            self.counts[error.pgcode] += 1

    def some_run(self):
        rows = self.session.rows("select run_id from enqueued order by random() limit 1")
        return rows[0][0] if rows else None

    def some_held(self):
        return self.chance.choice(list(self.held)) if self.held else None

    # --- Verbs ---

    def enqueue(self):
        for _ in range(self.chance.randint(1, 4)):
            attempts = self.chance.randint(1, 4)
            run = self.session.enqueue("job", queue=self.chance.choice(list(QUEUES)), max_attempts=attempts,
                                       priority=self.chance.choice([0, 0, 5]), delay=self.chance.choice([None, None, "1s"]),
                                       concurrency_key=self.chance.choice([None, "a", "b", "c"]))
            self.session.rows("insert into enqueued values (%s, %s)", run, attempts)

    def claim(self):
        for lease in self.session.claim(self.name, self.chance.randint(1, 5)):
            self.held[lease.token] = lease.run_id

    def complete(self):
        token = self.some_held()
        if token and self.session.complete(token, {"by": self.name}) == "done":
            self.session.rows("insert into completed values (%s, %s)", self.held.pop(token), token)

    def fail(self):
        token = self.some_held()
        if token:
            run = self.held.pop(token)
            self.session.fail(token, self.chance.choice([{"message": "again"}, {"retryable": False}]))
            self.session.rows("insert into failed select run_id, %s from sluice.run where run_id = %s and status = 'failed'", token, run)

    def release(self):
        token = self.some_held()
        if token:
            self.session.value("select sluice.release(%s)", token)
            del self.held[token]

    def heartbeat(self):
        if self.held:
            alive = self.session.heartbeat(*self.held)
            self.held = {token: run for token, run in self.held.items() if token in alive}

    def forget(self):
        """A client that goes away with what it holds."""
        self.held.clear()

    def exchange(self):
        outcomes = [{"token": token, "outcome": self.chance.choice(["failed", "crashed", "released", "canceled"])}
                    for token in self.held if self.chance.random() < 0.3]
        for outcome in outcomes:
            del self.held[outcome["token"]]
        said = self.session.exchange(self.name, outcomes, list(self.held), self.chance.randint(0, 3))
        for token in said["lost"]:
            self.held.pop(token, None)
        self.held.update({lease.token: lease.run_id for lease in said["claimed"]})

    def cancel(self):
        run = self.some_run()
        if run and self.session.value("select sluice.cancel(%s)", run):
            self.session.rows("insert into canceled values (%s)", run)

    def requeue(self):
        run = self.some_run()
        if run:
            self.session.rows("select sluice.requeue(%s, queue => %s)", run, self.chance.choice([None, *QUEUES]))

    def reschedule(self):
        run = self.some_run()
        if run:
            self.session.rows("select sluice.reschedule(%s, now() + interval '300 milliseconds')", run)


VERBS = ([Actor.enqueue, Actor.claim, Actor.complete, Actor.fail, Actor.release, Actor.heartbeat, Actor.forget, Actor.exchange,
          Actor.cancel, Actor.requeue, Actor.reschedule],
         [25, 25, 25, 6, 4, 6, 2, 8, 6, 6, 4])


class Leader:
    """Does a leader's duties until told to stop."""

    def __init__(self, sandbox):
        self.sandbox, self.over, self.expired = sandbox, threading.Event(), 0

    def __call__(self):
        with Session(self.sandbox) as session:
            session.lead()
            while not self.over.is_set():
                session.reap_sessions()
                self.expired += session.expire_leases()
                session.rows("select * from sluice.announce_due()")


class Observer:
    """Looks at one snapshot after the other: limits hold, and what was final stays as it was."""

    def __init__(self, sandbox):
        self.sandbox, self.over, self.looks = sandbox, threading.Event(), 0
        self.wrong, self.final = collections.Counter(), {}

    def __call__(self):
        with Session(self.sandbox) as session:
            while not self.over.is_set():
                self.wrong.update(row[0] for row in session.rows(OVER_LIMIT))
                self.wrong.update(f"check(): {row}" for row in session.rows("select what, run_id, detail from sluice.check()"))
                for run, status, finished_at in session.rows("select run_id, status, finished_at from sluice.run where finished_at is not null"):
                    if self.final.setdefault(run, (status, finished_at)) != (status, finished_at):
                        self.wrong[f"run {run} was {self.final[run]} and became {status}"] += 1
                self.looks += 1


def drain(sandbox, leader):
    """Works until nothing is live, as the last of the workers."""
    with Session(sandbox) as session:
        def over():
            for lease in session.claim("drain", capacity=100):
                with session.transaction():
                    session.complete(lease.token)
                    session.rows("insert into completed values (%s, %s)", lease.run_id, lease.token)
            return session.value("select not exists (select from sluice.run where finished_at is null)"
                                 " and not exists (select from sluice.slot)")
        wait_until("every run is final and every place free", over, seconds=40)
    leader.over.set()


DIFFERENCES = {
    "a run that committed is missing": "select run_id from enqueued except select run_id from sluice.run",
    "a run that was rolled back exists": "select run_id from sluice.run except select run_id from enqueued",
    "a run is completed that nobody completed": "select run_id from sluice.run where status = 'completed' except select run_id from completed",
    "a completed run is something else": "select run_id from completed except select run_id from sluice.run where status = 'completed'",
    "the completion is another's": "select run_id, token from completed except select run_id, token from sluice.run where status = 'completed'",
    "a run is canceled that nobody canceled": "select run_id from sluice.run where status = 'canceled' except select run_id from canceled",
    "a canceled run is something else": "select run_id from canceled except select run_id from sluice.run where status = 'canceled'",
    "a failed run is something else": "select run_id from failed except select run_id from sluice.run where status = 'failed'",
    "more attempts than allowed": "select run_id from sluice.run join enqueued using (run_id) where attempt > enqueued.max_attempts",
    "an attempt ended twice": "select run_id, attempt from sluice.attempts group by 1, 2 having count(*) > 1",
    "attempts are missing": "select run_id from sluice.run left join sluice.attempts as a using (run_id) group by run_id, run.attempt"
                            " having count(a) <> run.attempt",
}


@pytest.mark.parametrize("verbs_at_once", [(1,), (1, 2, 3)], ids=["one verb a transaction", "several"])
def test_whatever_happens_each_run_has_one_owner_one_end_and_its_place(fresh, verbs_at_once):
    chance, counts = seeded_random("soak"), collections.Counter()
    with Session(fresh) as session:
        session.rows(SETUP)
        for queue, limits in QUEUES.items():
            session.rows("select sluice.create_queue(%s, %s, %s)", queue, *limits)
        session.rows("select sluice.create_task('job', 'external', queue => 'wide', lease => '1 second',"
                     " retry => '{\"min_delay\": \"100 milliseconds\", \"max_delay\": \"500 milliseconds\"}')")

    leader, observer = Leader(fresh), Observer(fresh)
    with contextlib.ExitStack() as threads:
        try:
            threads.enter_context(Background(leader))
            watching = threads.enter_context(Background(observer))
            until = time.monotonic() + SECONDS
            actors = [threads.enter_context(Background(Actor(fresh, n, type(chance)(chance.random()), counts, verbs_at_once), until))
                      for n in range(THREADS)]
            for actor in actors:
                actor.join()
            drain(fresh, leader)
            observer.over.set()
            watching.join()
        finally:
            leader.over.set()
            observer.over.set()

    print(dict(counts), "expired:", leader.expired, "looks:", observer.looks)
    assert observer.wrong == {}
    with Session(fresh) as session:
        assert {what: rows for what, query in DIFFERENCES.items() if (rows := session.rows(query))} == {}
        kinds = dict(session.rows("select status, count(*) from sluice.run group by 1"))
        assert kinds.keys() >= {"completed", "canceled", "failed"} and sum(kinds.values()) > 100, "the soak did something"
    assert min(counts[kind] for kind in ("commit", "rollback", "prepare", "lose the session", "rolled back to a savepoint")) > 0
    assert leader.expired > 0 and observer.looks > 10
