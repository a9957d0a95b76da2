"""process tasks: input, output, lines, ends, and that nothing of them stays behind."""

import subprocess

import pytest
from sandbox import wait_until


def test_the_payload_is_the_input_and_the_last_json_line_the_output(shared):
    task = shared.task(argv=["/usr/bin/sed", "-e", "i starting", "-e", "a done"])
    run = shared.start(task, {"a": [1, "ä€😀"]})
    assert shared.result(run) == ("completed", {"a": [1, "ä€😀"]}, None)
    assert shared.lines(run) == ["starting", '{"a": [1, "ä€😀"]}', "done"]


def test_output_may_come_from_descriptor_3(shared):
    task = shared.shell("echo '{\"no\": 1}'; echo '{\"yes\": 1}' >&3", output="fd:3")
    assert shared.run(task) == ("completed", {"yes": 1}, None)


def test_an_output_that_jsonb_refuses_does_no_harm(shared):
    task = shared.shell("printf '{\"a\": \"x\\\\u0000y\\377\"}\\n'")
    assert shared.run(task) == ("completed", {"a": "x\ufffdy\ufffd"}, None)


def test_environment_and_directory(shared):
    task = shared.shell('echo "$SLUICE_RUN_ID $SLUICE_ATTEMPT $SLUICE_TASK $MINE $(pwd)"', env={"MINE": "x"}, cwd="/tmp")
    run = shared.start(task)
    shared.result(run)
    assert shared.lines(run) == [f"{run} 1 {task} x /tmp"]


def test_stdout_and_stderr_are_kept_apart(shared):
    run = shared.start(shared.shell("echo out; echo err >&2"))
    shared.result(run)
    assert sorted(shared.rows("select stream, line from sluice.logs(%s)", run)) == [("stderr", "err"), ("stdout", "out")]


def test_lines_can_be_read_while_the_program_runs(shared):
    run = shared.start(shared.shell("echo early; sleep 60"))
    shared.said(run, "early")
    assert shared.status(run) == "executing"
    shared.value("select sluice.cancel(%s)", run)


def test_lines_are_bounded(shared):
    run = shared.start(shared.shell("seq 100000"))
    assert shared.result(run)[:2] == ("completed", 100000)
    lines = shared.lines(run)
    assert lines[0] == "1" and len("\n".join(lines)) < 25_000
    assert "further lines were dropped" in lines[-1]


@pytest.mark.parametrize("command, status, code, more", [
    ("echo why >&2; exit 3", "failed", "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE", {"exit_code": 3, "stderr": "why\n"}),
    ("kill -SEGV $$", "crashed", "TASK_PROCESS_SIGSEGV", {"signal": "SIGSEGV"}),
    ("kill -TERM $$", "crashed", "TASK_PROCESS_SIGTERM", {"signal": "SIGTERM"}),
    ("kill -KILL $$", "crashed", "TASK_PROCESS_MAYBE_OOM_KILLED", {"signal": "SIGKILL"}),
])
def test_an_end_is_told_by_exit_code_or_signal(shared, command, status, code, more):
    ended, _, error = shared.run(shared.shell(command))
    assert (ended, error["code"]) == (status, code)
    assert {key: error[key] for key in more} == more


@pytest.mark.parametrize("argv, code", [
    (["/usr/bin/there-is-no-such-program"], "COULD_NOT_FIND_EXECUTOR"),
    (["/usr/sbin/nologin"], "CONFIGURED_INCORRECTLY"),
    (["/usr/bin/../sbin/nologin"], "CONFIGURED_INCORRECTLY"),
    (["/usr/bin"], "CONFIGURED_INCORRECTLY"),
])
def test_only_programs_in_allowed_directories_run_and_others_are_not_retried(shared, argv, code):
    run = shared.start(shared.task(argv=argv, attempts=3))
    status, _, error = shared.result(run)
    assert (status, error["code"]) == ("failed", code)
    assert shared.value("select count(*) from sluice.attempts where run_id = %s", run) == 1


def test_a_failure_is_tried_again(shared):
    run = shared.start(shared.shell('[ "$SLUICE_ATTEMPT" = 3 ] && echo 3', attempts=3))
    assert shared.result(run) == ("completed", 3, None)


def test_too_long_ends_the_whole_group(shared):
    run = shared.start(shared.shell("sleep 70 & echo pid $!; wait", max_duration="5 seconds"))
    pid = shared.said(run, "pid")
    status, _, error = shared.result(run)
    assert (status, error["code"]) == ("timed_out", "MAX_DURATION_EXCEEDED")
    shared.gone(pid)


def test_cancel_ends_the_whole_group_and_frees_the_place(shared):
    run = shared.start(shared.shell("sleep 71 & echo pid $!; wait"))
    pid = shared.said(run, "pid")
    shared.value("select sluice.cancel(%s)", run)
    shared.gone(pid)
    wait_until("the place is free", lambda: shared.value("select executing from sluice.workers where worker = 'sidecar'") == 0)


def test_a_program_that_ignores_sigterm_is_killed(shared):
    run = shared.start(shared.shell("trap '' TERM; echo pid $$; while :; do sleep 1; done"))
    pid = shared.said(run, "pid")
    shared.value("select sluice.cancel(%s)", run)
    shared.gone(pid)


def test_a_grandchild_that_holds_the_pipe_does_not_delay_the_end(shared):
    run = shared.start(shared.shell("sleep 72 & echo pid $!"))
    assert shared.result(run)[0] == "completed"
    shared.gone(shared.said(run, "pid"))


def test_a_daemon_ends_with_its_attempt(shared):
    run = shared.start(shared.shell("setsid -f sh -c 'echo pid $$; sleep 73; :' | { read line; echo $line; }"))
    assert shared.result(run)[0] == "completed"
    shared.gone(shared.said(run, "pid"))


def test_a_program_has_no_descriptors_of_ours(shared):
    run = shared.start(shared.task(argv=["/usr/bin/ls", "/proc/self/fd"]))
    shared.result(run)
    # 3 is the directory that ls reads.
    assert shared.lines(run) == ["0", "1", "2", "3"]


def test_a_program_that_closes_its_descriptors_is_waited_for(shared):
    status, _, error = shared.run(shared.shell("exec <&- >&- 2>&-; sleep 0.3; exit 5"))
    assert (status, error["exit_code"]) == ("failed", 5)


def test_programs_do_not_survive_a_sidecar_that_is_killed(scene):
    run = scene.start(scene.task(argv=["/usr/bin/sleep", "74"], attempts=2))
    find = "select true from sluice.runs where run_id = %s and status = 'executing'"
    wait_until("it runs", lambda: scene.value(find, run))
    child = wait_until("the program is there", lambda: subprocess.run(
        ["pgrep", "-P", str(scene.sandbox.sidecar_pid())], capture_output=True, text=True, check=False).stdout.split())
    scene.sandbox.sidecar_kill()
    for pid in child:
        scene.gone(pid)
