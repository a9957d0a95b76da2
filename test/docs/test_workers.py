"""The workers of docs/workers.md do what the page says: the one in Python, and the loop in the shell."""

import json
import os
import signal
import subprocess
import sys

import pytest

from pages import DOCS, blocks
from sandbox import Sandbox, wait_until


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:  # its sidecar leads; it runs no external tasks
        sandbox.rows("create role packer login in role sluice_worker")
        sandbox.rows("select sluice.create_task('add', executor => 'external', retry =>"
                     " '{\"max_attempts\": 2, \"min_delay\": \"100 ms\"}')")
        sandbox.rows("select sluice.create_task('nap', executor => 'external', lease => '2 seconds')")
        sandbox.rows("select sluice.create_task('count', executor => 'external')")
        yield sandbox


class Worker:
    def __init__(self, sandbox, command, name, log):
        self.name, self.log = name, log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(command, env=sandbox.env | {"PGUSER": "packer", "PGAPPNAME": name},
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                            start_new_session=True)

    def signal(self, number):
        os.killpg(self.process.pid, number)


@pytest.fixture
def start(sandbox, tmp_path):
    """Starts workers, and ends them with the test."""
    started = []

    def start(*arguments, command=(sys.executable, str(DOCS / "examples" / "worker.py")), name=None):
        name = name or f"python-{len(started)}"
        arguments = ("--name", name, *arguments) if command[0] == sys.executable else arguments
        started.append(Worker(sandbox, [*command, *arguments], name, tmp_path / f"{name}.log"))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.signal(signal.SIGKILL)
            worker.process.wait(10)
        print(worker.name, worker.log.read_text())


def enqueue(sandbox, task, payload, **more):
    named = "".join(f", {name} => %s" for name in more)
    return sandbox.value(f"select sluice.enqueue(%s, %s{named})", task, json.dumps(payload), *more.values())


def result(sandbox, run_id):
    return sandbox.rows("select status, output, error from sluice.result(%s, '20 seconds')", run_id)[0]


def executing(sandbox, run_id):
    return lambda: sandbox.value("select status from sluice.runs where run_id = %s", run_id) == "executing"


def slots(sandbox, worker):
    return sandbox.value("select executing from sluice.workers where worker = %s", worker.name) or 0


def test_it_completes_runs_with_their_output(sandbox, start):
    start("--queues", "task/add")
    runs = [enqueue(sandbox, "add", {"a": n, "b": 1}) for n in range(20)]
    assert [result(sandbox, run) for run in runs] == [("completed", {"sum": n + 1}, None) for n in range(20)]


def test_what_it_waits_for_reaches_it_soon_and_without_a_transaction(sandbox, start):
    worker = start()
    idle = "select count(*) from pg_stat_activity where application_name = %s and query like '%%wait_for_work%%'" \
           " and backend_xmin is null and state = 'active'"
    wait_until("it waits in the database", lambda: sandbox.value(idle, worker.name) == 1)
    run = enqueue(sandbox, "add", {"a": 2, "b": 2})
    assert result(sandbox, run)[0] == "completed"
    assert sandbox.value("select started_at - created_at < interval '5 seconds' from sluice.runs where run_id = %s", run)


def test_an_exception_fails_the_attempt_and_it_is_tried_again(sandbox, start):
    start()
    run = enqueue(sandbox, "add", {"a": 1})
    status, _, error = result(sandbox, run)
    assert (status, error["name"], error["code"]) == ("failed", "KeyError", "TASK_EXECUTION_FAILED")
    assert sandbox.value("select attempt from sluice.runs where run_id = %s", run) == 2


def test_giving_up_ends_the_run_at_once(sandbox, start):
    start("--queues", "task/count")
    run = enqueue(sandbox, "count", {})
    status, _, error = result(sandbox, run)
    assert (status, error["name"]) == ("failed", "GiveUp")
    assert sandbox.value("select attempt from sluice.runs where run_id = %s", run) == 1


def test_heartbeats_carry_it_over_several_leases(sandbox, start):
    start()
    run = enqueue(sandbox, "nap", {"seconds": 5})
    assert result(sandbox, run) == ("completed", {"slept": 5}, None)
    assert sandbox.value("select count(*) from sluice.attempts where run_id = %s", run) == 1


def test_a_canceled_run_is_stopped_and_its_slot_given_back_before_the_lease_ends(sandbox, start):
    worker = start()
    sandbox.rows("select sluice.create_task('nap', executor => 'external', lease => '20 seconds')")
    run = enqueue(sandbox, "nap", {"seconds": 60})
    wait_until("it works", executing(sandbox, run))
    assert sandbox.value("select sluice.cancel(%s)", run)
    wait_until("the slot is free", lambda: slots(sandbox, worker) == 0, 10)
    assert result(sandbox, run)[0] == "canceled"


def test_sigterm_releases_what_does_not_end_in_time_and_others_take_it(sandbox, start):
    sandbox.rows("select sluice.create_task('nap', executor => 'external', lease => '1 minute')")
    first = start()
    long_run = enqueue(sandbox, "nap", {"seconds": 25})
    short_run = enqueue(sandbox, "nap", {"seconds": 4})
    wait_until("it works", lambda: slots(sandbox, first) == 2)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(20) == 0
    assert result(sandbox, short_run)[0] == "completed"
    assert sandbox.rows("select status, attempt from sluice.runs where run_id = %s", long_run) == [("queued", 0)]
    assert sandbox.value("select sluice.cancel(%s)", long_run)


def test_it_outlives_a_restart_of_the_server(sandbox, start):
    start()
    run = enqueue(sandbox, "nap", {"seconds": 4})
    wait_until("it works", executing(sandbox, run))
    sandbox.restart()
    assert result(sandbox, run)[0] == "completed"
    assert sandbox.rows("select outcome from sluice.attempts where run_id = %s", run) == [("completed",)]
    assert result(sandbox, enqueue(sandbox, "add", {"a": 1, "b": 1}))[0] == "completed"


def test_the_loop_in_the_shell_counts_lines_and_fails_what_it_cannot_read(sandbox, start, tmp_path):
    loop, = [block.text for block in blocks(DOCS / "workers.md") if block.language == "sh"]
    file = tmp_path / "it's \"three\" lines"
    file.write_text("one\ntwo\nthree\n")
    start(command=("bash", "-uc", loop), name="shell")
    good = enqueue(sandbox, "count", {"file": str(file)})
    bad = enqueue(sandbox, "count", {"file": "/nowhere"}, max_attempts=1)
    assert result(sandbox, good) == ("completed", {"lines": 3}, None)
    status, _, error = result(sandbox, bad)
    assert (status, error["message"]) == ("failed", "the file cannot be read")


def test_nothing_is_left_that_does_not_add_up(sandbox):
    assert sandbox.rows("select * from sluice.check()") == []
