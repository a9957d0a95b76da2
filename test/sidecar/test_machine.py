"""Machines on a whole system: programs that exceed theirs are killed, tried again on a larger one, and complete; what
misbehaves otherwise is contained, and the worker goes on.

The sidecar has a control group of its own where this user may make one, which as root is wherever controllers are mounted;
`test/sandbox` makes it and hands it over, as an administrator would.  Without one the tests of it are skipped, and say so;
those of limits of the process run everywhere.
"""

import json
import pathlib
import subprocess

import pytest
from sandbox import Sandbox, is_alive, wait_until
from scene import Scene


MIB = 1 << 20
CONF = ('worker.executors = ["sql", "process", "python"]', 'process.directories = ["/usr/bin"]', "process.allow_shell = true",
        "python.allow_code = true",
        'process.grace = "300ms"', 'process.max_log_bytes = "20kB"', 'log.level = "debug"')
# Counts up memory in pieces, so that a limit is met and not a single absurd request.
GROW = "import sys\nx = []\nfor i in range(%d): x.append(bytearray(1 << 20))\nprint(len(x))"


@pytest.fixture(scope="module")
def grouped():
    """A sandbox whose sidecar has control groups."""
    with Sandbox(cgroup=True, sidecar_conf=(*CONF, "process.max_processes = 64", 'process.memory = "3GiB"')) as sandbox:
        scene = Scene(sandbox)
        if not any(line["msg"] == "machines are enforced by control groups" for line in scene.log()):
            pytest.skip("no control groups may be made here")
        yield scene


@pytest.fixture(scope="module")
def limited():
    """A sandbox whose sidecar has none."""
    with Sandbox(sidecar_conf=(*CONF, 'process.cgroup = "off"', "process.max_processes = 64", 'process.memory = "1GiB"',
                               'process.memory_wait = "1s"')) as sandbox:
        yield Scene(sandbox)


# The same as the body of a python task; and what makes a program of its own do so, which the kernel then kills.
CODE = "x = []\nfor i in range(320): x.append(bytearray(1 << 20))\nreturn len(x)"
HELPER = """
import os, subprocess, sys
helper = subprocess.run([sys.executable, "-c", %r])
if payload == "raise":
    helper.check_returncode()
if payload == "sleep":
    import time
    print("helper", helper.returncode)
    time.sleep(60)
return [os.getpid(), helper.returncode]
""" % (GROW % 320)


def define(scene, name, machine, options, larger=None, attempts=3, code=None):
    retry = {"max_attempts": attempts, "min_delay": "10 milliseconds", "randomize": False}
    if larger:
        retry["out_of_memory"] = {"machine": larger}
    scene.value("select sluice.create_task(%s, %s, %s, machine => %s, retry => %s::jsonb, options => %s::jsonb)",
                name, "python" if code else "process", code, machine, json.dumps(retry), json.dumps(options))
    return name


def exceeds_micro_and_completes_on_a_larger(scene, warm, enforced_by, evidence):
    """A python task does so, and its run says what is known of it."""
    options = {"warm": True} if warm else {}
    kind = f"code-{'warm' if warm else 'cold'}"
    run = scene.start(define(scene, kind, "micro", options, larger="small-2x", code=CODE))
    assert scene.result(run, "60 seconds")[:2] == ("completed", 320)
    assert attempts(scene, run) == [("oom",), ("completed",)]
    error = scene.value("select error from sluice.attempts where run_id = %s and attempt = 1", run)
    assert error["code"] == "TASK_PROCESS_OOM_KILLED" and evidence in error["evidence"]
    assert (error["machine"], error["enforced_by"], error["memory_limit"]) == ("micro", enforced_by, 256 * MIB)
    # The limit of a process is of its data, and what it holds is more by the files that it has mapped.
    assert 200 * MIB < error["peak_memory"] <= (256 if enforced_by == "cgroup" else 320) * MIB
    assert scene.rows("select attempt, machine, enforced_by from sluice.resources where run_id = %s order by attempt", run) == \
        [(1, "micro", enforced_by), (2, "small-2x", enforced_by)]
    assert scene.value("select machine from sluice.runs where run_id = %s", run) == "small-2x"

    # Where there is no second attempt, for want of a larger machine or of attempts, the machine stays as it was.
    for name, more in (("no-larger", {}), ("last", {"larger": "small-2x", "attempts": 1})):
        run = scene.start(define(scene, f"{kind}-{name}", "micro", options, code=CODE, **more))
        status, _, error = scene.result(run, "60 seconds")
        assert (status, error["code"]) == ("crashed", "TASK_PROCESS_OOM_KILLED")
        assert attempts(scene, run) == [("oom",)]
        assert scene.value("select machine from sluice.runs where run_id = %s", run) == "micro"


def each_attempt_of_a_warm_interpreter_has_its_own_use(scene):
    task = define(scene, "use", "small-2x", {"warm": True}, attempts=1, code="""
        import os, time
        if payload:
            held = b"x" * (100 << 20)
            until = time.process_time() + 0.5
            while time.process_time() < until:
                pass
            held = None
        return os.getpid()""".replace("\n        ", "\n"))
    runs = [scene.start(task, True)]
    pid = scene.result(runs[0])[1]
    runs.append(scene.start(task, False))
    assert scene.result(runs[1])[:2] == ("completed", pid), "the same interpreter"
    used = scene.rows("select extract(epoch from cpu_user + cpu_system)::float8, peak_memory / 1048576, memory_limit / 1048576,"
                      " extract(epoch from wall)::float8 from sluice.resources where run_id = any (%s) order by run_id", runs)
    (cpu, peak, limit, wall), (later_cpu, later_peak, later_limit, later_wall) = used
    assert (limit, later_limit) == (1024, 1024)
    assert cpu >= 0.4 and wall >= 0.4 and peak >= 100
    assert later_cpu < 0.4 and 0 < later_peak < 100 and 0 < later_wall


def attempts(scene, run):
    return scene.rows("select outcome from sluice.attempts where run_id = %s order by attempt", run)


def how_many(mark):
    """Processes that have a word in their command line."""
    return int(subprocess.run(["pgrep", "-c", "-f", mark], capture_output=True, text=True, check=False).stdout)


def refused(scene, run):
    wait_until("a fork was refused", lambda: any("Resource temporarily unavailable" in line for line in scene.lines(run)))


def test_a_python_script_exceeds_micro_is_killed_tried_again_larger_and_completes(grouped):
    task = define(grouped, "python", "micro", {"argv": ["/usr/bin/python3", "-c", GROW % 320]}, larger="small-2x")
    run = grouped.start(task)
    assert grouped.result(run, "60 seconds")[:2] == ("completed", 320)
    assert attempts(grouped, run) == [("oom",), ("completed",)]
    error = grouped.value("select error from sluice.attempts where run_id = %s and attempt = 1", run)
    assert error["code"] == "TASK_PROCESS_OOM_KILLED" and "oom_kill counter" in error["evidence"]
    assert (error["machine"], error["enforced_by"], error["memory_limit"]) == ("micro", "cgroup", 256 * MIB)
    assert 250 * MIB < error["peak_memory"] <= 256 * MIB
    assert grouped.value("select machine from sluice.runs where run_id = %s", run) == "small-2x"
    used = grouped.rows("select attempt, machine, enforced_by, peak_memory > 250 * 1048576, cpu_user + cpu_system > '0',"
                        " wall > '0' from sluice.resources where run_id = %s order by attempt", run)
    assert used == [(1, "micro", "cgroup", True, True, True), (2, "small-2x", "cgroup", True, True, True)]


@pytest.mark.parametrize("warm", [False, True])
def test_a_python_task_does_so_too(grouped, warm):
    exceeds_micro_and_completes_on_a_larger(grouped, warm, "cgroup", "oom_kill counter")


def test_each_attempt_of_a_warm_interpreter_has_its_own_use(grouped):
    each_attempt_of_a_warm_interpreter_has_its_own_use(grouped)


def test_a_helper_that_was_killed_is_held_against_no_other_attempt_of_the_interpreter(grouped):
    code = HELPER.replace("import os", "if payload == 'fail':\n    raise ValueError('only this')\nimport os", 1)
    task = define(grouped, "helper", "micro", {"warm": True}, attempts=1, code=code)
    status, (pid, code), _ = grouped.result(grouped.start(task), "60 seconds")
    assert (status, code) == ("completed", -9), "it coped"
    status, _, error = grouped.result(grouped.start(task, "fail"))
    assert (status, error["code"], error["message"]) == ("failed", "TASK_EXECUTION_FAILED", "only this")
    status, _, error = grouped.result(grouped.start(task, "raise"), "60 seconds")
    assert (status, error["code"]) == ("crashed", "TASK_PROCESS_OOM_KILLED")
    assert error["evidence"].endswith("is 1"), "which counts this attempt's alone"
    assert grouped.result(grouped.start(task), "60 seconds")[1] == [pid, -9], "and all were in one interpreter"


def test_what_was_ended_by_us_has_not_run_out_of_memory_whatever_was_counted(grouped):
    grouped.value("select sluice.create_task('ended', 'python', %s, machine => 'micro', max_duration => '40 seconds',"
                  " retry => '{\"out_of_memory\": {\"machine\": \"small-2x\"}}')", HELPER)
    timed, canceled = (grouped.start("ended", "sleep") for _ in range(2))
    for run in (timed, canceled):
        assert grouped.said(run, "helper", seconds=60) == "-9"
    grouped.value("select sluice.cancel(%s)", canceled)
    status, _, error = grouped.result(timed, "60 seconds")
    assert (status, error["code"]) == ("timed_out", "MAX_DURATION_EXCEEDED")
    assert attempts(grouped, timed) == [("timed_out",)]
    assert attempts(grouped, canceled) in ([("canceled",)], [])


def test_ffmpeg_exceeds_micro_is_killed_tried_again_larger_and_completes(grouped):
    # Reversing holds all frames at once: 250 of 1.4 MB each.
    convert = ["/usr/bin/ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=10:size=1280x720:rate=25",
               "-vf", "reverse", "-frames:v", "1", "-f", "null", "-"]
    task = define(grouped, "ffmpeg", "micro", {"argv": convert}, larger="medium-1x")
    run = grouped.start(task)
    assert grouped.result(run, "120 seconds")[0] == "completed"
    assert attempts(grouped, run) == [("oom",), ("completed",)]


def test_without_a_larger_machine_there_is_no_second_attempt(grouped):
    run = grouped.start(define(grouped, "once", "micro", {"argv": ["/usr/bin/python3", "-c", GROW % 320]}))
    status, _, error = grouped.result(run, "60 seconds")
    assert (status, error["code"]) == ("crashed", "TASK_PROCESS_OOM_KILLED")
    assert attempts(grouped, run) == [("oom",)]


def test_misbehaviour_is_contained_and_the_worker_unharmed(grouped):
    """A daemon with an empty environment in a session of its own; then a fork bomb in a group of 64, a runaway stdout, one that
    ignores SIGTERM, and one that closes its descriptors, all at once."""
    daemon = grouped.start(grouped.shell("setsid -f env -i sh -c 'echo pid $$; exec sleep 300' | { read line; echo $line; }"))
    grouped.gone(grouped.said(daemon, "pid"))
    assert grouped.result(daemon)[0] == "completed"

    mark = f"bomb-{pathlib.Path(grouped.sandbox.dir).name}"
    bomb = grouped.task(argv=["/usr/bin/bash", "-c", "b() { b | b & }; b; sleep 300", mark], machine="micro")
    flood = grouped.task(argv=["/usr/bin/yes", "y" * 200])
    deaf = grouped.shell("trap '' TERM; echo pid $$; while :; do sleep 1; done")
    closes = grouped.shell("exec <&- >&- 2>&-; sleep 0.3; exit 5")
    runs = {name: grouped.start(task) for name, task in
            (("bomb", bomb), ("flood", flood), ("deaf", deaf), ("closes", closes))}
    refused(grouped, runs["bomb"])
    assert how_many(mark) <= 64
    deaf_pid = grouped.said(runs["deaf"], "pid")
    wait_until("the flood is cut", lambda: grouped.value("select count(*) > 50 from sluice.logs(%s)", runs["flood"]))

    assert grouped.result(runs["closes"])[2]["exit_code"] == 5
    for name in ("bomb", "flood", "deaf"):
        grouped.value("select sluice.cancel(%s)", runs[name])
    grouped.gone(deaf_pid)
    wait_until("nothing of the bomb is left", lambda: how_many(mark) == 0, seconds=30)
    wait_until("all places are free", lambda: grouped.value("select executing from sluice.workers where worker = 'sidecar'") == 0)
    # The end of one that was canceled is no want of memory, whatever it did.
    assert {outcome for run in ("bomb", "flood", "deaf") for (outcome,) in attempts(grouped, runs[run])} <= {"canceled"}
    assert grouped.run(grouped.shell("echo 1"))[:2] == ("completed", 1)


@pytest.mark.parametrize("warm", [None, False, True])
def test_what_has_no_environment_lives_as_long_as_its_attempt_and_no_longer(grouped, warm):
    """Its control group says whose it is; the ends of other processes, at each of which what is nobody's is killed, spare it."""
    daemon = "setsid -f env -i sh -c 'echo pid $$; exec sleep 300'"
    gate = grouped.sandbox.dir / f"gate-{warm}"
    gate.touch()
    gate.chmod(0o666)
    if warm is None:
        run = grouped.start(grouped.shell(f"{daemon}; while [ -e {gate} ]; do sleep 0.05; done; echo last"))
    else:
        run = grouped.start(grouped.task("python", warm=warm, target=f"""
import os, subprocess, time
subprocess.run(["sh", "-c", {daemon!r}], check=True)
while os.path.exists({str(gate)!r}):
    time.sleep(0.05)
print("last")"""))
    pid = int(grouped.said(run, "pid"))
    for _ in range(3):
        assert grouped.run(grouped.shell("sleep 0.1; echo 1"))[:2] == ("completed", 1)
    assert is_alive(pid)
    gate.unlink()
    assert grouped.result(run)[0] == "completed"
    assert "last" in grouped.lines(run)
    grouped.gone(pid)


def test_what_a_killed_sidecar_leaves_is_ended_with_it(grouped):
    run = grouped.start(grouped.task(shell="setsid -f env -i sh -c 'echo pid $$; exec sleep 300'; sleep 300"))
    pid = grouped.said(run, "pid")
    grouped.sandbox.sidecar_kill()
    try:
        grouped.gone(pid)  # by the guard, not by the next sidecar
    finally:
        grouped.sandbox.sidecar_start()


def test_where_limits_are_the_processes_own_the_run_says_so_and_is_tried_again_larger(limited):
    task = define(limited, "python", "micro", {"argv": ["/usr/bin/python3", "-c", GROW % 320]}, larger="small-2x")
    run = limited.start(task)
    assert limited.result(run, "60 seconds")[:2] == ("completed", 320)
    assert attempts(limited, run) == [("oom",), ("completed",)]
    error = limited.value("select error from sluice.attempts where run_id = %s and attempt = 1", run)
    assert (error["enforced_by"], error["evidence"]) == ("rlimit", 'it said "MemoryError"')


@pytest.mark.parametrize("warm", [False, True])
def test_a_python_task_says_so_too(limited, warm):
    exceeds_micro_and_completes_on_a_larger(limited, warm, "rlimit", "its error is a MemoryError")


@pytest.mark.parametrize("warm", [False, True])
def test_a_python_task_that_has_left_no_memory_at_all_has_its_error_and_traceback(limited, warm):
    status, _, error = limited.result(limited.start(limited.task("python", machine="micro", warm=warm, target="""
held = []
for size in (1 << 20, 1 << 12, 64, 1):
    try:
        while True:
            held.append(bytearray(size))
    except MemoryError:
        pass
held.append(bytearray(1 << 20))""")), "60 seconds")
    assert (status, error["code"], error["name"]) == ("crashed", "TASK_PROCESS_OOM_KILLED", "MemoryError")
    assert "held.append(bytearray(1 << 20))" in error["stackTrace"]


def test_each_attempt_of_a_warm_interpreter_has_its_own_use_here_too(limited):
    each_attempt_of_a_warm_interpreter_has_its_own_use(limited)


def test_a_fork_bomb_is_bounded_by_the_users_limit_as_well(limited):
    mark = f"bomb-{pathlib.Path(limited.sandbox.dir).name}"
    run = limited.start(limited.task(argv=["/usr/bin/bash", "-c", "echo limit $(ulimit -u); b() { b | b & }; b; sleep 300", mark]))
    refused(limited, run)
    # Whatever else the user runs counts as well, and may have ended since.
    assert how_many(mark) <= int(limited.said(run, "limit"))
    limited.value("select sluice.cancel(%s)", run)
    wait_until("nothing of the bomb is left", lambda: how_many(mark) == 0, seconds=30)


def test_only_what_memory_is_there_for_begins_and_what_never_fits_is_given_back_for_later(limited):
    gate = limited.sandbox.dir / "gate"
    gate.touch()
    gate.chmod(0o666)
    wait = f"while [ -e {gate} ]; do sleep 0.05; done"
    task = limited.shell(f"echo begun; {wait}", machine="small-1x")
    runs = [limited.start(task) for _ in range(4)]
    begun = lambda: sum("begun" in limited.lines(run) for run in runs)
    wait_until("two have begun, which is all of 1 GiB", lambda: begun() == 2)
    assert limited.value("select memory from sluice.workers where worker = 'sidecar'") == 1024 * MIB
    assert begun() == 2
    gate.unlink()
    for run in runs:
        assert limited.result(run, "30 seconds")[0] == "completed"

    too_large = limited.value("select sluice.enqueue(%s, machine => 'large-2x')", task)
    # What is given back for another reason is queued at once.
    wait_until("it is put off", lambda: limited.rows(
        "select status, attempt from sluice.runs where run_id = %s", too_large) == [("delayed", 0)])
    limited.value("select sluice.cancel(%s)", too_large)


def test_an_interpreter_that_waits_keeps_its_memory_until_an_attempt_needs_it(limited):
    """Of 1 GiB, by halves; what has waited longest goes first, and no more than has to."""
    gate = limited.sandbox.dir / "gate"
    gate.touch()
    gate.chmod(0o666)
    program = limited.shell(f"echo begun; while [ -e {gate} ]; do sleep 0.05; done", machine="small-1x")
    older, newer = (limited.task("python", f"import os\nreturn os.getpid(), {i}", machine="small-1x", warm=True) for i in range(2))
    pid_of = lambda task: limited.run(task)[1][0]
    begun = lambda run: wait_until("it has begun", lambda: "begun" in limited.lines(run))
    try:
        first, second = pid_of(older), pid_of(newer)
        assert is_alive(first) and is_alive(second)

        runs = [limited.start(program)]
        begun(runs[0])
        assert not is_alive(first), "ended before the program began"
        assert is_alive(second) and pid_of(newer) == second, "and the other one serves on beside it"
        runs.append(limited.start(program))
        begun(runs[1])
        assert not is_alive(second)
    finally:
        gate.unlink()
    for run in runs:
        assert limited.result(run, "30 seconds")[0] == "completed"


def test_an_interpreter_that_does_not_end_when_it_is_told_to_is_killed_for_who_waits(limited):
    hold = "import atexit, os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n%s\nreturn os.getpid()"
    # The handler comes when it ends by itself, where signals are as they were again: it ignores them anew.
    stay = "def stay():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(600)\natexit.register(stay)"
    pid = limited.run(limited.task("python", hold % stay, machine="small-2x", warm=True))[1]
    assert is_alive(pid)
    assert limited.result(limited.start(limited.shell("echo 1", machine="small-2x")), "30 seconds")[:2] == ("completed", 1)
    assert not is_alive(pid)
