"""Several sidecars on one database: one dies, freezes, leaves, or all lose the server.

The runs are shell scripts.  A script appends to the file `effects` that it has begun and that it is done, each with
one write, and in between waits at a gate: a pipe of its own, which the test opens.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess

import pytest

from sandbox import Sandbox, is_alive, wait_until
from sessions import HELD, Session, assert_sound, can_connect, kill_backend, outcomes, seeded_random, statuses

CONF = ('worker.executors = ["sql", "process"]', 'process.directories = ["/usr/bin"]', 'process.grace = "300ms"',
        'log.level = "debug"')
RETRY = json.dumps({"max_attempts": 200, "min_delay": "10 milliseconds", "max_delay": "10 milliseconds", "randomize": False})

SCRIPT = """
say() { echo "$1 $SLUICE_RUN_ID $SLUICE_ATTEMPT $$" >> "$PLACE/effects"; }
say begin
if [ -n "$GATED" ]; then
    gate="$PLACE/gate.$SLUICE_RUN_ID.$SLUICE_ATTEMPT"
    mkfifo "$gate"
    read -r _ < "$gate"
fi
say done
echo "{\\"attempt\\": $SLUICE_ATTEMPT}"
"""

Effect = collections.namedtuple("Effect", "what run_id attempt pid")


class Farm:
    """A database with the sidecars that the test starts, by name, and the scripts that they run."""

    def __init__(self, sandbox, number):
        self.sandbox, self.place = sandbox, sandbox.dir / f"scene-{number}"
        self.place.mkdir()
        self.place.chmod(0o777)
        (self.place / "script").write_text(SCRIPT)
        (self.place / "effects").touch()
        (self.place / "effects").chmod(0o666)
        self.session = Session(sandbox)
        self.names = []

    def start(self, name, *conf):
        if name not in self.names:
            self.names.append(name)
        self.sandbox.sidecar_start(name, conf=[*CONF, *conf])

    def kill(self, name):
        self.sandbox.sidecar_kill(name)

    def freeze(self, name):
        os.kill(self.sandbox.sidecar_pid(name), signal.SIGSTOP)

    def thaw(self, name):
        os.kill(self.sandbox.sidecar_pid(name), signal.SIGCONT)

    def end(self):
        for name in self.names:
            self.kill(name)
        self.session.close()

    def task(self, name, *, gated=True, lease="1 hour", queue=None):
        self.session.rows(
            "select sluice.create_task(%s, 'process', queue => %s, lease => %s, retry => %s, options => %s)", name, queue, lease, RETRY,
            json.dumps({"argv": ["/bin/sh", str(self.place / "script")],
                        "env": {"PLACE": str(self.place), "GATED": "yes" if gated else ""}}))

    def effects(self, what=None, run_id=None):
        lines = [line.split() for line in (self.place / "effects").read_text().splitlines()]
        found = [Effect(said, int(run), int(attempt), int(pid)) for said, run, attempt, pid in lines]
        return [e for e in found if what in (None, e.what) and run_id in (None, e.run_id)]

    def begun(self, run_id, attempt, seconds=15):
        """Waits until an attempt of a script has begun; returns its process."""
        return wait_until(f"attempt {attempt} of run {run_id} begins", lambda: [
            e.pid for e in self.effects("begin", run_id) if e.attempt == attempt], seconds)[0]

    def open_gate(self, run_id, attempt):
        gate = self.place / f"gate.{run_id}.{attempt}"

        def opened():
            try:
                return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # the script has not come to it yet
                return None
        pipe = wait_until("the script waits at its gate", opened)
        os.write(pipe, b"\n")
        os.close(pipe)

    def status(self, run_id):
        return self.session.value("select status from sluice.runs where run_id = %s", run_id)

    def finished(self, run_id, seconds=30):
        """Waits for a run's end; its status and output."""
        wait_until(f"run {run_id} is final", lambda: self.session.value(
            "select finished_at is not null from sluice.runs where run_id = %s", run_id), seconds)
        return self.session.rows("select status, output from sluice.result(%s)", run_id)[0]

    def leader(self):
        """The worker whose session holds the lock, whatever the table says."""
        return self.session.value(
            "select w.worker from sluice.workers as w where w.leader and exists (select from pg_locks where locktype = 'advisory'"
            " and classid = 1936487785 and objid = 1818583396 and granted"
            " and database = (select oid from pg_database where datname = current_database()))")

    def log(self, name):
        return [json.loads(line) for line in self.sandbox.sidecar_log(name).splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(sidecar=False, conf=["recovery_init_sync_method = syncfs"]) as made:
        yield made


@pytest.fixture
def farm(request, sandbox, fresh_database):
    fresh_database(sandbox)
    made = Farm(sandbox, len(list(sandbox.dir.glob("scene-*"))))
    try:
        yield made
        assert_sound(sandbox)
    finally:
        made.end()
        if not can_connect(sandbox):  # a test that failed in the middle must not take the others with it
            sandbox.server_start()


def test_a_killed_sidecars_run_is_back_in_two_seconds_and_finished_by_another(farm):
    farm.task("job")
    farm.start("steady", "worker.capacity = 1")
    busy = farm.session.enqueue("job")
    farm.begun(busy, 1)
    assert wait_until("somebody leads", farm.leader) == "steady"
    farm.start("doomed")
    run = farm.session.enqueue("job")
    child = farm.begun(run, 1)

    farm.kill("doomed")
    wait_until("the run is given back", lambda: outcomes(farm.sandbox, run) == [(1, "lost")], seconds=2)
    wait_until("the child of the killed sidecar is gone", lambda: not is_alive(child))
    farm.open_gate(busy, 1)
    farm.begun(run, 2)
    farm.open_gate(run, 2)
    assert farm.finished(run) == ("completed", {"attempt": 2})
    assert farm.finished(busy) == ("completed", {"attempt": 1})
    assert outcomes(farm.sandbox, run) == [(1, "lost"), (2, "completed")]
    assert [e.attempt for e in farm.effects("done", run)] == [2]


def test_another_sidecar_leads_within_five_seconds_of_the_leaders_death(farm):
    farm.start("first")
    wait_until("the first leads", lambda: farm.leader() == "first")
    farm.start("second")
    farm.kill("first")
    wait_until("the second leads", lambda: farm.leader() == "second", seconds=5)
    # And does what a leader does: without one, nobody ends a lease.
    farm.session.rows("select sluice.create_task('short', 'external', lease => '1 second')")
    run = farm.session.enqueue("short")
    farm.session.claim("a client that is never heard of again")
    wait_until("the lease has ended", lambda: outcomes(farm.sandbox, run) == [(1, "lost")])


def test_another_sidecar_leads_when_the_leader_is_frozen(farm):
    farm.start("first")
    wait_until("the first leads", lambda: farm.leader() == "first")
    farm.start("second")
    farm.freeze("first")
    # Its connection stands, and so would its lock: the server ends the session of a leader that says nothing.
    wait_until("the second leads", lambda: farm.leader() == "second", seconds=8)
    farm.thaw("first")
    wait_until("the first knows", lambda: any(line["msg"] == "no longer the leader" for line in farm.log("first")))
    assert farm.leader() == "second"


def test_a_frozen_sidecar_cannot_finish_what_another_has_taken_over(farm):
    farm.task("job", lease="2 seconds")
    farm.start("frozen", "leader.enabled = false", "worker.capacity = 1")
    run = farm.session.enqueue("job")
    child = farm.begun(run, 1)
    farm.freeze("frozen")
    farm.start("other")
    farm.begun(run, 2, seconds=20)
    # The child of the frozen one goes on, and ends well, while its sidecar cannot say so.
    farm.open_gate(run, 1)
    wait_until("the first attempt's child has done its work", lambda: not is_alive(child))
    farm.open_gate(run, 2)
    assert farm.finished(run) == ("completed", {"attempt": 2})
    recorded = farm.session.rows("select * from sluice.attempts where run_id = %s order by attempt", run)
    written = farm.session.rows("select * from sluice.result(%s)", run)

    farm.thaw("frozen")
    after = farm.session.enqueue("job"), farm.session.enqueue("job")
    for each in after:
        farm.begun(each, 1)
        farm.open_gate(each, 1)
        farm.finished(each)
    wait_until("the frozen one has nothing left", lambda: farm.session.value(f"select count(*) from {HELD} as h") == 0)
    assert farm.session.rows("select * from sluice.attempts where run_id = %s order by attempt", run) == recorded
    assert [row[1] for row in recorded] == [1, 2] and recorded[0][2] == "lost" and recorded[1][3] == "other"
    assert farm.session.rows("select * from sluice.result(%s)", run) == written


def test_a_frozen_sidecar_stops_its_child_when_it_wakes(farm):
    farm.task("job", lease="2 seconds")
    farm.start("frozen", "leader.enabled = false", "worker.capacity = 1")
    run = farm.session.enqueue("job")
    child = farm.begun(run, 1)
    farm.freeze("frozen")
    farm.start("other")
    farm.begun(run, 2, seconds=20)
    assert is_alive(child)
    farm.thaw("frozen")
    wait_until("the child of the lost attempt is stopped", lambda: not is_alive(child))
    farm.open_gate(run, 2)
    assert farm.finished(run) == ("completed", {"attempt": 2})
    assert farm.effects("done", run)[0].attempt == 2 and len(farm.effects("done", run)) == 1
    assert outcomes(farm.sandbox, run) == [(1, "lost"), (2, "completed")]


def test_a_sidecar_that_is_asked_to_end_finishes_what_it_can_and_gives_the_rest_back(farm):
    farm.task("job")
    farm.start("leaving", 'worker.drain_timeout = "5s"')
    finishes, remains = farm.session.enqueue("job"), farm.session.enqueue("job")
    for run in (finishes, remains):
        farm.begun(run, 1)
    leaving = farm.sandbox.sidecar_pid("leaving")
    child = farm.begun(remains, 1)
    os.kill(leaving, signal.SIGTERM)
    later = farm.session.enqueue("job")
    farm.open_gate(finishes, 1)
    assert farm.finished(finishes) == ("completed", {"attempt": 1})
    wait_until("the sidecar has ended", lambda: not is_alive(leaving))
    assert farm.log("leaving")[-1]["exit_code"] == 0
    assert not is_alive(child)
    assert (farm.status(remains), farm.status(later)) == ("queued", "queued"), "nothing new is begun while it leaves"
    assert outcomes(farm.sandbox, remains) == [] and farm.effects("begin", later) == []

    # The attempt was given back, so this is the first again; its gate is there already.
    (farm.place / f"gate.{remains}.1").unlink()
    farm.start("next")
    wait_until("the run has begun again", lambda: len(farm.effects("begin", remains)) == 2)
    for run in (remains, later):
        farm.open_gate(run, 1)
        assert farm.finished(run) == ("completed", {"attempt": 1})


def restart_the_server(sandbox):
    sandbox.restart("fast")


def kill_the_postmaster(sandbox):
    pid = sandbox.postmaster_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until("the postmaster is gone", lambda: not is_alive(pid))
    sandbox.server_start()


def crash_the_server(sandbox):
    kill_backend(sandbox, sandbox.value("select pid from pg_stat_activity where usename = 'sluiced' limit 1"))


@pytest.mark.parametrize("stop", [restart_the_server, kill_the_postmaster, crash_the_server])
def test_a_child_survives_the_server_and_completes(farm, stop):
    farm.task("job")
    farm.start("one")
    farm.start("two")
    runs = [farm.session.enqueue("job") for _ in range(4)]
    children = {run: farm.begun(run, 1) for run in runs}
    stop(farm.sandbox)
    farm.session.close()
    farm.session = Session(farm.sandbox)
    wait_until("both sidecars are back", lambda: farm.session.value(
        "select count(*) from sluice.workers where registered_at is not null") == 2)
    assert all(is_alive(child) for child in children.values())
    for run in runs:
        farm.open_gate(run, 1)
        assert farm.finished(run) == ("completed", {"attempt": 1})
        assert outcomes(farm.sandbox, run) == [(1, "completed")]
        assert len(farm.effects("begin", run)) == 1


def test_what_ends_while_the_server_is_away_is_reported_when_it_is_back(farm):
    farm.task("job")
    farm.start("one")
    run = farm.session.enqueue("job")
    child = farm.begun(run, 1)
    farm.sandbox.server_stop("immediate")
    farm.open_gate(run, 1)
    wait_until("the child is done", lambda: not is_alive(child))
    farm.sandbox.server_start()
    farm.session.close()
    farm.session = Session(farm.sandbox)
    assert farm.finished(run) == ("completed", {"attempt": 1})
    assert outcomes(farm.sandbox, run) == [(1, "completed")]


def test_no_transaction_and_no_snapshot_is_held_while_a_child_runs(farm):
    farm.task("job")
    farm.start("one")
    run = farm.session.enqueue("job")
    farm.begun(run, 1)
    wait_until("worker, waiter and leader are connected", lambda: farm.session.value(
        "select count(*) from pg_stat_activity where usename = 'sluiced'") >= 3)
    for _ in range(4):
        xid, now = farm.session.rows("select pg_current_xact_id()::text::bigint, clock_timestamp()")[0]
        states = []

        def all_younger():
            rows = farm.session.rows(
                "select state, (backend_xmin is null or backend_xmin::text::bigint > %s) and (xact_start is null or xact_start > %s),"
                " query from pg_stat_activity where usename = 'sluiced'", xid, now)
            states.extend(rows)
            return all(younger for _, younger, _ in rows)
        wait_until("every session has begun anew", all_younger, seconds=5)
        assert not [row for row in states if row[0].startswith("idle in transaction")]
    farm.open_gate(run, 1)
    assert farm.finished(run)[0] == "completed"


def test_an_old_copy_of_the_database_starts_nothing(farm):
    """A sidecar on a restored copy says so and goes on asking; adopt() lets it begin."""
    farm.task("job", gated=False)
    farm.start("one")
    farm.session.rows("update sluice.meta set home = 'elsewhere'")
    run = farm.session.enqueue("job")
    wait_until("the sidecar says why it does nothing", lambda: [
        line for line in farm.log("one") if line.get("sqlstate") == "SL015"])
    assert farm.effects() == [] and farm.status(run) == "queued"
    farm.session.rows("select sluice.adopt()")
    assert farm.finished(run) == ("completed", {"attempt": 1})


# --- A workload under fire ---

def terminate_sessions(farm, _chance):
    farm.sandbox.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'sluiced'")


def kill_a_sidecar(farm, chance):
    name = chance.choice(farm.names)
    farm.kill(name)
    farm.start(name)


def crash_again(farm, _chance):
    pid = farm.sandbox.value("select pid from pg_stat_activity where usename = 'sluiced' limit 1")
    if pid:
        with contextlib.suppress(ProcessLookupError):
            kill_backend(farm.sandbox, pid)


@pytest.mark.parametrize("strike, rounds", [(terminate_sessions, 10), (kill_a_sidecar, 6), (crash_again, 4)])
def test_every_run_of_a_workload_under_fire_completes_exactly_once(farm, strike, rounds):
    chance = seeded_random("under fire")
    each = 150 // rounds
    farm.task("script", gated=False)
    farm.session.rows("create table effects (n int, at timestamptz default clock_timestamp())")
    farm.session.rows("select sluice.create_task('statement', 'sql', 'insert into public.effects (n) values (($1)::int)', retry => %s)", RETRY)
    for name in ("one", "two"):
        farm.start(name)

    def count(where="true"):
        return farm.sandbox.value(f"select count(*) from sluice.run where {where}")

    scripts, statements = [], []
    for number in range(rounds):
        done = count("finished_at is not null")
        scripts += farm.sandbox.rows("select sluice.enqueue_many('script', array_fill('null'::jsonb, array[%s]))", each)
        statements += farm.sandbox.rows("select sluice.enqueue_many('statement', array(select to_jsonb(n) from generate_series(%s, %s) as n))",
                                        number * each + 1, (number + 1) * each)
        wait_until("some of it is done", lambda: count("finished_at is not null") >= done + 5, seconds=60)
        strike(farm, chance)
    wait_until("all of it is done", lambda: count("finished_at is null") == 0, seconds=60)

    scripts, statements = [run for (run,) in scripts], [run for (run,) in statements]
    assert statuses(farm.sandbox) == {"completed": 2 * rounds * each}
    assert farm.sandbox.rows("select n, count(*) from effects group by n order by n") == [(n, 1) for n in range(1, rounds * each + 1)], \
        "sql tasks take effect exactly once"
    per_attempt = collections.Counter((e.run_id, e.attempt) for e in farm.effects("begin"))
    assert set(per_attempt.values()) == {1}, "no attempt was begun twice"
    completed = dict(farm.sandbox.rows("select run_id, attempt from sluice.attempts where outcome = 'completed'"))
    assert sorted(completed) == sorted(scripts + statements)
    done = {(e.run_id, e.attempt) for e in farm.effects("done")}
    assert {(run, completed[run]) for run in scripts} <= done, "what counts as completed has done its work"
    wait_until("no slot is left", lambda: farm.sandbox.value(f"select count(*) from {HELD} as h") == 0)


@pytest.mark.parametrize("change", ["schema_version = schema_version + 1", "schema_version = schema_version - 1"])
def test_a_sidecar_refuses_a_storage_of_another_version(farm, change):
    farm.session.rows(f"update sluice.meta set {change}")
    url = f"host={farm.sandbox.env['PGHOST']} port={farm.sandbox.env['PGPORT']} user=sluiced dbname=sluice"
    done = subprocess.run([farm.sandbox.env["SLUICED"], "--database", url], env={"HOME": "/", "PATH": "/usr/bin"}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "storage" in done.stdout and "version 1" in done.stdout, "it says what does not fit"
    assert farm.session.value("select count(*) from sluice.workers") == 0
    farm.session.rows("update sluice.meta set schema_version = 1")
