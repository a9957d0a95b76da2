"""Sessions of a test: a connection that speaks Sluice's verbs, and what must hold after every test.

    worker = Session(sandbox)
    [lease] = worker.claim("w1")
    worker.complete(lease.token)
    assert_sound(sandbox)
"""

import collections
import contextlib
import json
import os
import random
import re
import signal
import threading

import psycopg2

from sandbox import TOP, wait_until

Lease = collections.namedtuple("Lease", "token run_id attempt task payload")


class Session:
    """One connection.  Each statement commits by itself unless inside `with session.transaction()`."""

    def __init__(self, sandbox, user="postgres", **more):
        self.connection = sandbox.connect(user=user, **more)
        self.pid = self.connection.get_backend_pid()
        self._at_work = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Also while a thread's statement is under way in it, which is canceled."""
        with contextlib.suppress(psycopg2.Error):
            while self._at_work.locked():
                self.connection.cancel()
                if self._at_work.acquire(timeout=0.1):
                    self._at_work.release()
            self.connection.close()

    def is_open(self):
        """Asks the server: whether the session still exists."""
        try:
            return self.value("select true")
        except psycopg2.Error:
            return False

    def rows(self, statement, *parameters):
        with self._at_work, self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement, *parameters):
        rows = self.rows(statement, *parameters)
        return rows[0][0] if rows else None

    def sqlstate(self, statement, *parameters):
        """The SQLSTATE that a statement is refused with, or None."""
        try:
            self.rows(statement, *parameters)
        except psycopg2.Error as error:
            return error.pgcode
        return None

    @contextlib.contextmanager
    def transaction(self):
        """begin … commit, or rollback if the block raises."""
        self.rows("begin")
        try:
            yield
        except BaseException:
            with contextlib.suppress(psycopg2.Error):
                self.rows("rollback")
            raise
        self.rows("commit")

    # --- The verbs of a client without a session ---

    def enqueue(self, task, **options):
        names = "".join(f", {name} => %s" for name in options)
        return self.value(f"select sluice.enqueue(%s{names})", task, *options.values())

    def claim(self, worker="client", capacity=1, queues=None):
        return [Lease(*row) for row in self.rows(
            "select token, run_id, attempt, task, payload from sluice.claim(%s, %s, %s)", worker, queues, capacity)]

    def complete(self, token, output=None):
        return self.value("select sluice.complete(%s, %s::jsonb)", token, json.dumps(output))

    def fail(self, token, error=None):
        return self.value("select sluice.fail(%s, %s::jsonb)", token, json.dumps(error))

    def heartbeat(self, *tokens):
        return [row[0] for row in self.rows("select token from sluice.heartbeat(%s::uuid[])", list(tokens))]

    # --- The verbs of a worker with a session ---

    def register(self, worker, tokens=(), seen_reply=0):
        self.rows("select sluice.register_worker(%s, %s)", worker,
                  json.dumps({"tokens": list(tokens), "seen_reply": seen_reply, "executors": ["external"]}))

    def exchange(self, worker, outcomes=(), heartbeats=(), capacity=0, seen_reply=None):
        """The rows of one exchange: {"reply": number, "ended": {token: answer}, "lost": {token: why}, "claimed": […]}."""
        said = {"reply": None, "ended": {}, "lost": {}, "claimed": []}
        for kind, token, answer, run_id, attempt, task, payload, reply in self.rows(
                "select kind, token, answer, run_id, attempt, task, payload, reply"
                " from sluice.exchange(%s, %s, %s::uuid[], %s, null, '{external}', %s)",
                worker, json.dumps(list(outcomes)), list(heartbeats), capacity, seen_reply):
            if kind == "reply":
                said["reply"] = reply
            elif kind == "claimed":
                said["claimed"].append(Lease(token, run_id, attempt, task, payload))
            else:
                said[kind][token] = answer
        return said

    # --- The leader's duties ---

    def lead(self, worker="leader"):
        """Waits until this session leads."""
        wait_until("the session leads", lambda: self.value("select sluice.try_lead(%s)", worker))
        return self

    def expire_leases(self):
        return self.value("select expired from sluice.expire_leases()")

    def reap_sessions(self):
        return self.value("select reaped from sluice.reap_sessions()")


@contextlib.contextmanager
def sessions(sandbox, count=1, **more):
    """Several sessions, closed at the end."""
    made = []
    try:
        for _ in range(count):
            made.append(Session(sandbox, **more))
        yield made
    finally:
        for session in made:
            session.close()


def session_is_gone(sandbox, pid):
    return not sandbox.rows("select 1 from pg_stat_activity where pid = %s", pid)


def can_connect(sandbox):
    """Whether the server takes connections again, after it was killed."""
    try:
        sandbox.connect().close()
    except psycopg2.OperationalError:
        return False
    return True


def kill_backend(sandbox, pid):
    """kill -9 of one backend: the postmaster ends all the others and recovers.  Returns when that is over."""
    with Session(sandbox) as witness:
        os.kill(pid, signal.SIGKILL)
        # The killed session's end says nothing: for a moment the postmaster does not know and takes new ones.
        wait_until("the postmaster ends the other sessions", lambda: not witness.is_open())
    wait_until("the server takes connections again", lambda: can_connect(sandbox), seconds=30)


class Background:
    """A thread of a test, whose exception is the test's.

    with Background(work, argument) as thread: …    # leaving the block joins it
    """

    def __init__(self, work, *arguments):
        self.result = None
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(work, arguments), daemon=True)

    def _run(self, work, arguments):
        try:
            self.result = work(*arguments)
        except BaseException as error:  # pylint: disable=broad-except
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.join()

    def is_running(self):
        return self._thread.is_alive()

    def join(self, seconds=60):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"a thread of the test did not end within {seconds} s"
        if self._error is not None:
            raise self._error
        return self.result


def seeded_random(name):
    """Chance that can be repeated: SLUICE_TEST_SEED=… with the number that a failed test has printed."""
    seed = int(os.environ.get("SLUICE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{name}: SLUICE_TEST_SEED={seed}")
    return random.Random(seed)


# --- What must hold always ---

# The view held_slot, which reads as the table slot does where claims go by the tables; here it is no object of the database.
HELD = "(" + re.search(r"create view held_slot as\n(.*?);", (TOP / "test/pgtap/lib/held.sql").read_text(), re.DOTALL)[1] + ")"

OVER_LIMIT = f"""
    select format('queue %s holds %s of %s slots', q.queue, count(*), q.concurrency)
    from {HELD} as s join sluice.queue as q using (queue_id)
    group by q.queue_id having count(*) > q.concurrency
    union all
    select format('lane %s of queue %s holds %s of %s slots', s.lane, q.queue, count(*), q.key_concurrency)
    from {HELD} as s join sluice.queue as q using (queue_id)
    where s.lane <> 0
    group by q.queue_id, s.lane having count(*) > q.key_concurrency
"""

UNSOUND = f"""
    select format('check(): %s, run %s, %s', what, run_id, detail) from sluice.check()
    union all
    select format('run %s is %s, but %s of its attempts are recorded as completed', r.run_id, r.status, count(a))
    from sluice.run as r left join sluice.attempts as a on a.run_id = r.run_id and a.outcome = 'completed'
    group by r.run_id, r.status having count(a) <> (r.status = 'completed')::int
    union all
    select format('run %s is %s, but attempt %s of %s was recorded', a.run_id, r.status, a.attempt, r.attempt)
    from sluice.attempts as a left join sluice.run as r using (run_id) where a.attempt > coalesce(r.attempt, 0)
    union all
    select format('attempt %s of run %s ended %s times', attempt, run_id, count(*))
    from sluice.attempts group by run_id, attempt having count(*) > 1
    union all
    select format('run %s has had %s attempts of %s', run_id, attempt, max_attempts)
    from sluice.run where attempt > max_attempts
    union all
    select format('%s slots are held, but %s runs execute and %s slots are of dead tokens', held.all, executing.n, held.dead)
    from (select count(*) as all, count(*) filter (where revoked is not null) as dead from {HELD} as s) as held,
         (select count(*) as n from sluice.run where status = 'executing') as executing
    where held.all <> executing.n + held.dead
    union all
    select format('output of run %s, which is %s', run_id, status)
    from sluice.output join sluice.run using (run_id) where finished_at is null
""" + " union all " + OVER_LIMIT


def assert_sound(sandbox):
    """Nothing finished twice, slots are what executes, limits hold, and check() has nothing to say."""
    sandbox.rows("select sluice._index_before_end()")  # after a restart nothing is in the index before the first claim
    wrong = [row[0] for row in sandbox.rows(UNSOUND)]
    assert wrong == []


def statuses(sandbox, runs=None):
    """How many runs have each status; of these runs alone if given."""
    return dict(sandbox.rows("select status, count(*) from sluice.runs where %s::bigint[] is null or run_id = any(%s)"
                             " group by status", runs, runs))


def outcomes(sandbox, run_id):
    """The recorded attempts of a run: [(1, 'lost'), (2, 'completed')]."""
    return sandbox.rows("select attempt, outcome from sluice.attempts where run_id = %s order by attempt", run_id)
