"""sql tasks: what they return, how they fail, and that they can be stopped."""

import pytest
from sandbox import wait_until


@pytest.mark.parametrize("target, payload, expected", [
    ("select ($1->>'a')::int + 1", {"a": 1}, 2),
    ("select 'text'::text", None, "text"),
    ("select row_to_json(r) from (select 1 as a, 'b' as b) as r", None, {"a": 1, "b": "b"}),
    ("select null::int", None, None),
])
def test_the_result_of_the_statement_is_the_output(shared, target, payload, expected):
    assert shared.run(shared.task("sql", target), payload) == ("completed", expected, None)


def test_an_error_carries_sqlstate_and_message(shared):
    status, _, error = shared.run(shared.task("sql", "select 1 / ($1->>'zero')::int"), {"zero": 0})
    assert status == "failed"
    assert (error["code"], error["name"], error["message"]) == ("TASK_EXECUTION_FAILED", "22012", "division by zero")


@pytest.mark.parametrize("sqlstate, status, outcome, code", [
    ("53200", "crashed", "oom", "TASK_PROCESS_OOM_KILLED"),
    ("53100", "failed", "failed", "DISK_SPACE_EXCEEDED"),
])
def test_want_of_memory_and_a_full_disk_are_told_by_sqlstate_and_not_tried_again(shared, sqlstate, status, outcome, code):
    shared.rows("create or replace function public.raise(jsonb) returns text language plpgsql as"
                " $$begin raise exception using errcode = $1 ->> 'sqlstate', message = 'x'; end$$")
    run = shared.start(shared.task("sql", "select public.raise($1)", attempts=3), {"sqlstate": sqlstate})
    ended, _, error = shared.result(run)
    assert (ended, error["code"], error["name"], error["evidence"]) == (status, code, sqlstate, f"SQLSTATE {sqlstate}")
    assert shared.rows("select outcome from sluice.attempts where run_id = %s", run) == [(outcome,)]


def test_many_tasks_share_a_few_connections(shared):
    task = shared.task("sql", "select pg_backend_pid()")
    shared.rows("select sluice.enqueue_many(%s, array(select '{}'::jsonb from generate_series(1, 200)))", task)
    wait_until("all 200 are completed",
               lambda: shared.value("select count(*) from sluice.runs where task = %s and status = 'completed'", task) == 200,
               60)
    used = shared.value("select count(distinct output) from sluice.runs where task = %s", task)
    assert 1 <= used <= 10


def test_nothing_of_a_task_remains_in_the_session(shared):
    dirty = shared.task("sql", "select set_config('application_name', 'dirty', false)")
    assert shared.run(dirty)[0] == "completed"
    look = shared.task("sql", "select current_setting('application_name')")
    assert "dirty" not in {shared.run(look)[1] for _ in range(5)}


def test_limits_of_the_sidecars_role_end_no_task(scene):
    scene.rows("alter role sluiced set statement_timeout = '1s'")
    scene.sandbox.sidecar_stop()
    scene.sandbox.sidecar_start()
    long = scene.task("sql", "select pg_backend_pid() from pg_sleep(1.2)")
    failing = scene.task("sql", "select 1 / ($1->>'zero')::int")
    ended = [scene.run(long), scene.run(long), scene.run(failing, {"zero": 0}), scene.run(long)]
    assert [status for status, _, _ in ended] == ["completed", "completed", "failed", "completed"]
    assert len({output for _, output, _ in ended if output}) == 1, "all in one session"


def test_a_task_that_takes_too_long_is_cancelled(shared):
    status, _, error = shared.run(shared.task("sql", "select pg_sleep(60)::text", max_duration="5 seconds"))
    assert (status, error["code"]) == ("timed_out", "MAX_DURATION_EXCEEDED")


def test_cancelling_the_run_cancels_the_statement(shared):
    run = shared.start(shared.task("sql", "select pg_sleep(61)::text"))
    busy = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and usename = 'sluiced'"
    wait_until("the statement runs", lambda: shared.value(busy) == 1)
    assert shared.value("select sluice.cancel(%s)", run)
    wait_until("the statement has ended", lambda: shared.value(busy) == 0)
    wait_until("the place is free", lambda: shared.value("select executing from sluice.workers where worker = 'sidecar'") == 0)
    assert shared.status(run) == "canceled"


def test_a_session_that_is_terminated_crashes_the_attempt(shared):
    run = shared.start(shared.task("sql", "select pg_sleep(62)::text"))
    kill = ("select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where wait_event = 'PgSleep' and usename = 'sluiced'")
    wait_until("the statement's session is terminated", lambda: shared.value(kill) == 1)
    status, _, error = shared.result(run)
    assert (status, error["code"]) == ("crashed", "TASK_RUN_CRASHED")
