"""python tasks: what they are given and give back, what sluice lets them say, and that none of their tricks reaches further
than their own run."""

import fcntl
import hashlib
import json
import os
import pathlib
import signal
import struct
import subprocess
import termios
import textwrap

import pytest
from pages import DOCS, blocks
from sandbox import Sandbox, wait_until
from scene import Scene

PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A directory of modules that the sidecar's user can read."""
    path = tmp_path_factory.mktemp("modules")
    for parent in [path, *path.parents]:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    files = {
        "shop/__init__.py": "",
        "shop/prices.py": """
            import sluice
            def total(order):
                return {"total": sum(order["prices"]), "run": sluice.context.run_id, "attempt": sluice.context.attempt}
            async def later(order):
                return "later"
            def broken(order):
                return order["no such key"]
            def children(order):
                import concurrent.futures, multiprocessing
                with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
                    return list(pool.map(double, order["numbers"]))
            def double(n):
                return 2 * n + (0 if sluice.context.run_id else 1)
            no_function = 3
            """,
        "example.py": "\n\n".join(block.text for block in blocks(DOCS / "python.md") if block.language == "python"),
        "fails.py": "import nothing_of_this_name\n",
        "script.py": """
            import sys, sluice
            print("given", sys.stdin.read(), sys.argv[0].endswith("script.py"), __name__)
            sluice.output(sluice.payload()["a"] + 1)
            """,
        "wrong.py": "retur 1\n",
    }
    for name, text in files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(textwrap.dedent(text).lstrip("\n"))
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", path / "venv"], check=True)
    packages, = (path / "venv").glob("lib/python*/site-packages")
    (packages / "greeting.py").write_text("def greet(payload):\n    return 'hello from ' + __file__\n")
    info = packages / "Greeting-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Greeting\nVersion: 1.5\n")
    if os.getuid() == 0:
        subprocess.run(["chmod", "-R", "a+rX", path], check=True)
    return path


@pytest.fixture(scope="module")
def scene(here):
    with Sandbox(sidecar_conf=('worker.executors = ["python"]', f'python.directories = ["{here}"]', "python.allow_code = true",
                               f'secrets.directory = "{here}"', "python.warm_runs = 4", 'python.warm_memory = "50MiB"',
                               'process.grace = "300ms"', 'process.max_output_bytes = "100kB"', 'log.level = "debug"')) as sandbox:
        yield Scene(sandbox)


def code(scene, text, **options):
    return scene.task("python", textwrap.dedent(text).strip("\n"), **options)


def failed(scene, text, payload=None, **options):
    status, output, error = scene.run(code(scene, text, **options), payload)
    assert output is None
    return status, error


# --- In and out ---

def test_a_function_gets_the_payload_and_its_return_value_is_the_output(scene, here):
    run = scene.start(scene.task("python", "shop.prices:total", path=[str(here)]), {"prices": [1, 2.5]})
    assert scene.result(run) == ("completed", {"total": 3.5, "run": run, "attempt": 1}, None)


def test_a_coroutine_is_awaited(scene, here):
    assert scene.run(scene.task("python", "shop.prices:later", path=[str(here)])) == ("completed", "later", None)


def test_the_module_on_the_page_works(scene, here):
    task = scene.task("python", "example:make", path=[str(here)], attempts=2)
    run = scene.start(task, {"order": 17})
    assert scene.result(run) == ("completed", {"file": "/srv/invoices/17.pdf", "run": run}, None)
    assert scene.lines(run) == ["making an invoice order=17"]
    assert scene.run(task, {"order": -1})[2]["message"] == "there is no such order"
    run = scene.start(scene.task("python", "example:import_all", path=[str(here)]), {"rows": [1, 2, 3, 4]})
    assert scene.result(run)[0] == "completed"
    assert scene.rows("select metadata, tags from sluice.runs where run_id = %s", run) == [({"progress": 1.0}, ["import"])]


def test_processes_that_a_task_spawns_find_the_helper_too(scene, here):
    task = scene.task("python", "shop.prices:children", path=[str(here)])
    assert scene.run(task, {"numbers": [1, 2]}) == ("completed", [2, 4], None)


def test_code_is_the_body_of_a_function(scene):
    assert scene.run(code(scene, """
        def double(n):
            return 2 * n
        return {"text": "ä€😀", "double": double(payload["n"])}
        """), {"n": 4}) == ("completed", {"text": "ä€😀", "double": 8}, None)


def test_a_script_runs_as_a_program_does(scene, here):
    run = scene.start(scene.task("python", f"{here}/script.py"), {"a": 1})
    assert scene.result(run) == ("completed", 2, None)
    assert scene.lines(run) == ['given {"a": 1} True __main__']


@pytest.mark.parametrize("warm", [False, True])
def test_prints_are_lines_while_it_runs_and_no_output(scene, warm):
    run = scene.start(code(scene, "import sys, time\nprint('early')\nprint('among the errors', file=sys.stderr)\ntime.sleep(60)",
                           warm=warm))
    scene.said(run, "early")
    scene.said(run, "among the errors")
    assert scene.status(run) == "executing"
    assert sorted(stream for (stream,) in scene.rows("select stream from sluice.logs(%s)", run)) == ["stderr", "stdout"]
    scene.value("select sluice.cancel(%s)", run)


def test_the_environment_says_which_attempt_it_is_and_joins_its_trace(scene):
    task = code(scene, """
        import os
        if sluice.context.attempt == 1:
            print(os.environ["TRACEPARENT"])
            raise ValueError
        return {name: os.environ.get(name) for name in ["TRACEPARENT", "OTEL_RESOURCE_ATTRIBUTES", "SLUICE_TASK", "MINE", "PGHOST"]}
        """, env={"MINE": "x"}, attempts=2)
    run = scene.start(task)
    status, seen, _ = scene.result(run)
    first = scene.lines(run)[0].split("-")
    second = seen["TRACEPARENT"].split("-")
    assert status == "completed" and [len(part) for part in second] == [2, 32, 16, 2]
    assert first[1] == second[1] and first[2] != second[2], "one trace, a span for each attempt"
    assert seen["OTEL_RESOURCE_ATTRIBUTES"] == f"service.name=sluice,sluice.run_id={run},sluice.attempt=2,sluice.task={task}"
    assert (seen["SLUICE_TASK"], seen["MINE"], seen["PGHOST"]) == (task, "x", None)


def test_metadata_and_tags_are_seen_while_it_runs_and_stay(scene):
    task = code(scene, """
        import time
        for done in range(1000):
            sluice.metadata.set("progress", done)
        sluice.metadata.update({"big": 10 ** 30, "text": 'ä"😀', "gone": 1, "nested": {"a": [None]}})
        sluice.metadata.remove("gone")
        sluice.tags.add("vip", "ä b")
        sluice.tags.add("vip")
        if sluice.context.attempt == 1:
            while not payload["go"]:
                time.sleep(0.01)
        """)
    run = scene.value("select sluice.enqueue(%s, '{\"go\": false}', tags => '{first}', metadata => '{\"kept\": true}')", task)
    kept = {"kept": True, "progress": 999, "big": 10 ** 30, "text": 'ä"😀', "nested": {"a": [None]}}
    seen = "select status, metadata, tags from sluice.runs where run_id = %s"
    wait_until("they are seen", lambda: scene.rows(seen, run) == [("executing", kept, ["first", "vip", "ä b"])], 30)
    scene.value("select sluice.cancel(%s)", run)


def test_what_is_noted_last_is_there_with_the_outcome_and_for_the_next_attempt(scene):
    task = code(scene, """
        sluice.metadata.set("attempt", sluice.context.attempt)
        sluice.metadata.set(f"of {sluice.context.attempt}", True)
        sluice.tags.add(f"a{sluice.context.attempt}")
        if sluice.context.attempt == 1:
            raise ValueError
        """, attempts=2)
    run = scene.start(task)
    assert scene.result(run)[0] == "completed"
    assert scene.rows("select metadata, tags from sluice.runs where run_id = %s", run) == [({"attempt": 2, "of 1": True, "of 2": True}, ["a1", "a2"])]


@pytest.mark.parametrize(("call", "name", "message"), [
    ("metadata.set('a', object())", "TypeError", "Object of type object is not JSON serializable"),
    ("metadata.set('a', float('nan'))", "ValueError", "not JSON compliant"),
    ("metadata.set(3, 1)", "TypeError", "the name of metadata is a string that is not empty"),
    ("metadata.set('a', 'x' * 300000)", "ValueError", "metadata 'a' is longer than 262144 bytes"),
    ("tags.add(' ')", "TypeError", "a tag is a string that is not blank"),
    ("tags.add('x' * 129)", "ValueError", "a tag has at most 128 characters"),
    ("tags.add(*map(str, range(11)))", "ValueError", "a run has at most 10 tags"),
])
def test_notes_that_are_wrong_are_errors_where_they_are_made(scene, call, name, message):
    status, error = failed(scene, f"sluice.{call}")
    assert (status, error["name"]) == ("failed", name) and message in error["message"]


def test_what_the_database_does_not_take_is_a_line_of_the_log(scene):
    task = code(scene, """
        import time
        sluice.tags.add("new")
        for n in range(2):
            sluice.metadata.set(f"n{n}", "x" * 200000)
        while True:
            time.sleep(0.01)
        """)
    run = scene.value("select sluice.enqueue(%s, tags => array(select 'n' || n from generate_series(1, 10) as n))", task)
    scene.said(run, "[sluice] metadata not kept: metadata has ", 30)
    scene.said(run, "[sluice] tags not kept: a run has at most 10 tags")
    assert scene.rows("select status, metadata, cardinality(tags) from sluice.runs where run_id = %s", run) == [("executing", None, 10)]
    scene.value("select sluice.cancel(%s)", run)


def test_messages_that_are_no_notes_are_lines_of_the_log(scene):
    run = scene.start(code(scene, """
        for word, text in [("metadata", "nothing"), ("metadata", "3 4"), ("metadata", '"a" nothing'), ("tags", "3"), ("tags", "[3]")]:
            sluice._say(word, text)
        """))
    assert scene.result(run)[0] == "completed"
    assert [line.removeprefix("[sluice] ") for line in scene.lines(run)] == [
        "metadata not kept: it has no name", "metadata not kept: its name is no string", "metadata not kept: it is not JSON that a database keeps",
        "tags not kept: they are no list", "tags not kept: one of them is no string"]


def test_the_trace_of_whoever_enqueued_goes_on(scene):
    task = code(scene, """
        if sluice.context.attempt == 1:
            print(sluice.context.traceparent)
            raise ValueError
        return sluice.context.traceparent
        """, attempts=2)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736"
    for flags, sampled in (("01", "01"), ("00", "00"), ("03", "01")):
        run = scene.value("select sluice.enqueue(%s, traceparent => %s)", task, f"{trace}-00f067aa0ba902b7-{flags}")
        status, second, _ = scene.result(run)
        first, = scene.lines(run)
        assert status == "completed"
        for seen in (first, second):
            assert (seen[:35], seen[-3:]) == (trace, f"-{sampled}") and len(seen) == 55
        assert len({first[36:52], second[36:52], "00f067aa0ba902b7"}) == 3, "a span for each attempt"


# --- Errors ---

def test_an_exception_is_an_error_with_its_traceback_and_none_of_our_frames(scene, here):
    status, _, error = scene.run(scene.task("python", "shop.prices:broken", path=[str(here)]), {})
    assert status == "failed"
    assert {key: error[key] for key in ("code", "name", "message")} == \
        {"code": "TASK_EXECUTION_FAILED", "name": "KeyError", "message": "'no such key'"}
    assert 'return order["no such key"]' in error["stackTrace"] and "sluice_runner" not in error["stackTrace"]


@pytest.mark.parametrize("text, status, expected", [
    ("raise sluice.Abort('not again')", "failed", {"name": "Abort", "message": "not again", "retryable": False}),
    ("raise sluice.OutOfMemory('too much')", "crashed", {"code": "TASK_PROCESS_OOM_KILLED", "message": "too much"}),
    ("x = [0] * (1 << 60)", "crashed", {"code": "TASK_PROCESS_OOM_KILLED", "name": "MemoryError"}),
    ("raise ExceptionGroup('two', [ValueError(), ExceptionGroup('one', [MemoryError()])])", "crashed",
     {"code": "TASK_PROCESS_OOM_KILLED", "name": "ExceptionGroup"}),
    ("raise ExceptionGroup('two', [ValueError(), TypeError()])", "failed", {"code": "TASK_EXECUTION_FAILED"}),
    ("raise OSError(28, 'No space left on device')", "failed",
     {"code": "DISK_SPACE_EXCEEDED", "name": "OSError", "evidence": 'it said "No space left on device"'}),
    ("class OutOfSharedMemoryError(Exception):\n    pass\nraise OutOfSharedMemoryError('x')", "failed", {"code": "TASK_EXECUTION_FAILED"}),
    ("def f(n):\n    return f(n + 1)\nf(1)", "failed", {"name": "RecursionError"}),
    ("return {1, 2}", "failed", {"code": "TASK_OUTPUT_ERROR"}),
    ("return float('nan')", "failed", {"code": "TASK_OUTPUT_ERROR"}),
    ("return 'x' * 200_000", "failed", {"code": "TASK_OUTPUT_ERROR", "message": "the output is longer than 100000 bytes"}),
    ("import sys\nsys.exit(3)", "failed", {"code": "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE", "exit_code": 3}),
    ("import sys\nsys.exit('no disk')", "failed", {"exit_code": 1, "message": "process exited with code 1: no disk"}),
    ("raise KeyboardInterrupt", "failed", {"name": "KeyboardInterrupt"}),
    ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "failed", {"name": "E"}),
    ("retur 1", "failed", {"code": "COULD_NOT_IMPORT_TASK"}),
    ("sluice.context.runid", "failed", {"name": "AttributeError"}),
    # Ends that the interpreter does not tell us of.
    ("import os\nos._exit(0)", "failed", {"code": "TASK_EXECUTION_FAILED", "exit_code": 0}),
    ("import os\nos._exit(7)", "failed", {"code": "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE", "exit_code": 7}),
    ("import os\nos.abort()", "crashed", {"signal": "SIGABRT"}),
    ("import ctypes\nctypes.string_at(0)", "crashed", {"code": "TASK_PROCESS_SIGSEGV"}),
    ("import os\nos.closerange(0, 10000)\nreturn 1", "failed", {"code": "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE"}),
    ("import sys\nsys.stdout = sys.stderr = None\nraise ValueError('still heard')", "failed", {"message": "still heard"}),
])
def test_each_end_has_its_error(scene, text, status, expected):
    ended, error = failed(scene, text)
    assert (ended, {key: error.get(key) for key in expected}) == (status, expected), error


def test_an_exit_with_0_completes(scene):
    assert scene.run(code(scene, "import sys\nsluice.output('said before')\nsys.exit()")) == ("completed", "said before", None)


def test_only_abort_is_not_tried_again_and_retry_says_when(scene):
    run = scene.start(code(scene, "raise sluice.Abort" , attempts=3))
    assert scene.result(run)[0] == "failed"
    assert scene.value("select attempt from sluice.runs where run_id = %s", run) == 1
    run = scene.start(code(scene, "raise sluice.Retry('busy', after=1000)", attempts=2))
    wait_until("it waits", lambda: scene.status(run) == "retrying")
    assert 900 < scene.value("select extract(epoch from ready_at - clock_timestamp())::int from sluice.runs where run_id = %s", run) <= 1000
    scene.value("select sluice.cancel(%s)", run)


# --- What a task leaves behind, or holds on to ---

def test_threads_and_programs_that_a_task_leaves_behind_have_the_grace_and_no_more(scene):
    run = scene.start(code(scene, """
        import signal, subprocess, threading, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=lambda: time.sleep(90)).start()
        print("pid", subprocess.Popen(["sleep", "91"], start_new_session=True).pid)
        return "done"
        """))
    assert scene.result(run) == ("completed", "done", None)
    scene.gone(scene.said(run, "pid"))


def test_an_error_is_what_it_is_although_what_was_left_had_to_be_killed(scene):
    status, error = failed(scene, """
        import signal, threading, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=lambda: time.sleep(90)).start()
        raise ValueError("only this")
        """)
    assert (status, error["code"], error["message"]) == ("failed", "TASK_EXECUTION_FAILED", "only this")


def test_a_forked_child_that_returns_does_not_answer_for_the_task(scene):
    assert scene.run(code(scene, "import os\nif os.fork() == 0:\n    return 'child'\nos.wait()\nreturn 'parent'")) == ("completed", "parent", None)


def test_cancel_and_time_end_a_task_that_ignores_signals(scene):
    stubborn = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\nprint('pid', os.getpid())\nwhile True:\n    time.sleep(1)"
    run = scene.start(code(scene, stubborn))
    pid = scene.said(run, "pid")
    scene.value("select sluice.cancel(%s)", run)
    scene.gone(pid)
    timed = scene.start(code(scene, stubborn, max_duration="5 seconds"))
    silent = scene.start(code(scene, "import time\nsluice.heartbeat()\ntime.sleep(90)", heartbeat_seconds=1))
    beating = scene.start(code(scene, "import time\nfor n in range(5):\n    sluice.heartbeat()\n    time.sleep(0.3)\nreturn n", heartbeat_seconds=1))
    status, _, error = scene.result(silent)
    assert (status, error["code"]) == ("crashed", "TASK_RUN_STALLED_EXECUTING"), "who promised heartbeats is ended without"
    assert scene.result(beating) == ("completed", 4, None)
    status, _, error = scene.result(timed)
    assert (status, error["code"]) == ("timed_out", "MAX_DURATION_EXCEEDED")


# --- Interpreters, directories, requirements ---

def test_a_venv_is_used_with_its_packages(scene, here):
    task = scene.task("python", "greeting:greet", venv=f"{here}/venv", requirements=["greeting >= 1.4, < 2"])
    status, output, error = scene.run(task)
    assert status == "completed", error
    assert output.startswith("hello from ") and "/venv/lib/" in output


@pytest.mark.parametrize("target, options, code_, message", [
    ("return 1", {"requirements": ["greeting"], "interpreter": PYTHON}, "CONFIGURED_INCORRECTLY", "lacks greeting (not installed)"),
    ("return 1", {"requirements": ["Greeting > 1.4", "greeting>=1.6", "nothing==1"], "venv": "venv"}, "CONFIGURED_INCORRECTLY",
     "lacks greeting>=1.6 (1.5 is installed), nothing==1 (not installed)"),
    ("return 1", {"interpreter": "/usr/bin/env"}, "CONFIGURED_INCORRECTLY", "is none that this sidecar allows"),
    ("return 1", {"venv": "/usr"}, "CONFIGURED_INCORRECTLY", "in none of the directories"),
    ("return 1", {"venv": "shop"}, "CONFIGURED_INCORRECTLY", "is not a venv"),
    ("return 1", {"path": ["/etc"]}, "CONFIGURED_INCORRECTLY", "in none that this sidecar allows"),
    ("/etc/hostname", {}, "CONFIGURED_INCORRECTLY", "in none of the directories"),
    ("{here}/none.py", {}, "COULD_NOT_FIND_EXECUTOR", "there is no script"),
    ("{here}/wrong.py", {}, "COULD_NOT_IMPORT_TASK", "the script is no Python"),
    ("os:system", {}, "CONFIGURED_INCORRECTLY", "in none of the directories"),
    ("subprocess:call", {}, "CONFIGURED_INCORRECTLY", "in none of the directories"),
    ("shop.prices:nothing", {"path": ["."]}, "COULD_NOT_IMPORT_TASK", "has no function nothing"),
    ("shop.prices:no_function", {"path": ["."]}, "COULD_NOT_IMPORT_TASK", "has no function no_function"),
    ("shop.none:f", {"path": ["."]}, "COULD_NOT_IMPORT_TASK", "there is no module shop.none"),
    ("fails:f", {"path": ["."]}, "COULD_NOT_IMPORT_TASK", "nothing_of_this_name"),
])
def test_what_this_machine_cannot_or_may_not_run_is_said_and_not_retried(scene, here, target, options, code_, message):
    options = json.loads(json.dumps(options).replace('"."', f'"{here}"').replace('"venv": "venv"', f'"venv": "{here}/venv"')
                         .replace('"venv": "shop"', f'"venv": "{here}/shop"'))
    run = scene.start(scene.task("python", target.replace("{here}", str(here)), attempts=3, **options))
    status, _, error = scene.result(run)
    assert (status, error["code"]) == ("failed", code_), error
    assert message in error["message"]
    assert scene.value("select attempt from sluice.runs where run_id = %s", run) == 1


def test_what_tasks_require_is_looked_at_before_they_run(here):
    conf = ('worker.executors = ["python"]', f'python.directories = ["{here}"]', "python.allow_code = true")
    with Sandbox(sidecar_conf=conf) as sandbox:
        scene = Scene(sandbox)
        fine = code(scene, "return 1", requirements=["greeting >= 1.4"], venv=f"{here}/venv")
        lacking = code(scene, "return 1", requirements=["no-such-package >= 2"])
        doctor = "select subject, why from sluice.doctor() where what = 'task cannot run'"

        status, _, error = scene.run(lacking)
        assert (status, error["code"]) == ("failed", "CONFIGURED_INCORRECTLY")
        wait_until("an attempt that fails for it lets the sidecar look", lambda: scene.rows(doctor), 180)
        assert scene.rows(doctor)[0][0] == lacking and "CONFIGURED_INCORRECTLY" in scene.rows(doctor)[0][1]

        sandbox.sidecar_stop()
        wait_until("the finding goes with the sidecar", lambda: not scene.rows(doctor), 60)
        sandbox.sidecar_start("looks", conf=conf)
        line, = scene.logged("a task cannot run here", "looks", 180)
        assert (line["task"], line["executor"], line["code"]) == (lacking, "python", "CONFIGURED_INCORRECTLY")
        assert line["reason"].endswith("lacks no-such-package >= 2 (not installed)")
        wait_until("doctor says it before anything has run", lambda: scene.rows(doctor), 180)

        scene.value("select sluice.create_task(%s, 'python', 'return 1')", lacking)
        os.kill(sandbox.sidecar_pid("looks"), signal.SIGHUP)
        wait_until("and no longer when its cause is gone", lambda: not scene.rows(doctor), 180)
        assert scene.run(fine)[0] == scene.run(lacking)[0] == "completed"


# --- Warm interpreters ---

WARM = """
    import os, signal, sys, threading
    sys.stdout.write(f"{payload['do']} by {os.getpid()}")
    sys.stderr.write("a whole line" + chr(10))
    what = payload["do"]
    seen = [os.environ.get("DIRTY"), os.getcwd(), list(sys.argv), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, sluice.context.run_id]
    if what == "dirt":
        os.environ["DIRTY"] = "yes"
        os.chdir("/tmp")
        sys.argv.append("dirt")
        sys.path.insert(0, "/tmp")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif what == "raise":
        raise ValueError("only this one")
    elif what == "exit":
        os._exit(3)
    elif what == "thread":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif what == "file":
        sluice.kept = open("/dev/null")
    elif what == "stdout":
        os.close(1)
    elif what == "memory":
        sluice.kept = bytearray(60_000_000)
    elif what == "sleep":
        import time
        time.sleep(60)
    return [os.getpid(), *seen]
    """


def test_a_warm_interpreter_is_used_again_cleaned_and_never_after_what_cannot_be_cleaned(scene, here):
    task = code(scene, WARM, warm=True)

    def do(what):
        run = scene.start(task, {"do": what})
        return run, scene.result(run)

    run, (_, first, _) = do("dirt")
    pid = first[0]
    assert first[1:] == [None, "/", [first[3][0]], True, run]
    assert sorted(scene.lines(run)) == ["a whole line", f"dirt by {pid}"], "a line without an end is one, and the mark is none"
    run, (_, second, _) = do("look")
    assert second == [pid, None, "/", first[3][:1], True, run], "the same interpreter, as it was"
    assert sorted(scene.lines(run)) == ["a whole line", f"look by {pid}"]

    run, (status, _, error) = do("raise")
    assert (status, error["message"]) == ("failed", "only this one")
    assert do("look")[1][1][0] == pid, "an exception is no reason to end it"

    for what in ("thread", "file", "memory"):
        _, (status, output, error) = do(what)
        assert status == "completed", (what, error)
        scene.gone(output[0])
        assert do("look")[1][1][0] != output[0], what
    _, (status, _, error) = do("exit")
    assert (status, error["exit_code"]) == ("failed", 3)
    _, (status, output, error) = do("stdout")
    assert status == "completed", error
    scene.gone(output[0])

    pid = do("look")[1][1][0]
    run = scene.start(task, {"do": "sleep"})
    wait_until("it sleeps", lambda: scene.status(run) == "executing")
    scene.value("select sluice.cancel(%s)", run)
    scene.gone(pid)
    _, (status, output, _) = do("look")
    assert status == "completed" and output[0] != pid


@pytest.mark.parametrize("session, becomes", [(True, False), (False, False), (True, True)])
def test_what_an_attempt_in_a_warm_interpreter_left_in_the_background_ends_with_it(scene, session, becomes):
    task = code(scene, """
        import os, signal
        if not payload:
            return [os.getpid()]
        reader, writer = os.pipe()
        if os.fork() == 0:
            if payload["session"]:
                os.setsid()
            if os.fork() == 0:
                for descriptor in (0, 1, 2):
                    os.close(descriptor)
                os.write(writer, str(os.getpid()).encode())
                os.close(writer)
                if payload["becomes"]:
                    os.execv("/usr/bin/sleep", ["sleep", "600"])
                while True:
                    signal.pause()
            os._exit(0)
        os.wait()
        os.close(writer)
        daemon = os.read(reader, 100)
        os.close(reader)
        return [os.getpid(), int(daemon)]
        """, warm=True)
    pid, = scene.run(task)[1]
    status, (again, daemon), error = scene.run(task, {"session": session, "becomes": becomes})
    assert (status, again) == ("completed", pid), error
    scene.gone(daemon)
    assert scene.run(task)[1] == [pid], "the interpreter is not harmed"


REST = """
    import resource, signal, os
    SIGNALS = {signal.SIGUSR1, signal.SIGALRM}
    seen = [os.getpid(), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            resource.getrlimit(resource.RLIMIT_STACK)[1], os.getpriority(os.PRIO_PROCESS, 0),
            [signal.getitimer(timer)[0] for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)], os.umask(0o22)]
    if payload == "signals":
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        signal.setitimer(signal.ITIMER_VIRTUAL, 600)
        signal.setitimer(signal.ITIMER_PROF, 600)
        signal.setitimer(signal.ITIMER_REAL, 600)
        for number in SIGNALS:
            os.kill(os.getpid(), number)
    if payload == "soft":
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if payload == "umask":
        os.umask(0)
    if payload == "hard":
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 23, 1 << 23))
    if payload == "nice":
        os.nice(1)
    return seen
    """


@pytest.mark.parametrize("what", ["signals", "soft", "hard", "nice", "umask"])
def test_signals_and_limits_of_one_attempt_are_not_the_next_ones(scene, what):
    task = code(scene, REST, warm=True)
    status, before, error = scene.run(task, what)
    assert status == "completed", error
    status, after, error = scene.run(task, "look")
    assert (status, after[1:]) == ("completed", before[1:]), error
    if what in ("signals", "soft", "umask"):
        assert after[0] == before[0], "the same interpreter"


def test_a_warm_interpreter_ends_after_so_many_attempts_and_serves_one_task_alone(scene):
    one, other = (code(scene, "import os\nreturn os.getpid()", warm=True) for _ in range(2))
    pids = [scene.run(one)[1] for _ in range(5)]
    assert len(set(pids[:4])) == 1 and pids[4] != pids[3], "python.warm_runs is 4"
    assert scene.run(other)[1] not in pids
    scene.gone(pids[0])


def test_a_warm_interpreter_that_was_killed_while_it_waited_costs_no_attempt(scene):
    task = code(scene, "import os\nreturn [os.getpid(), sluice.context.attempt]", warm=True)
    pid, _ = scene.run(task)[1]
    os.kill(pid, signal.SIGKILL)
    status, (second, attempt), _ = scene.run(task)
    assert (status, attempt) == ("completed", 1) and second != pid

    # It gets the next attempt, and dies before it has looked at it.
    os.kill(second, signal.SIGSTOP)
    run = scene.start(task)
    with open(f"/proc/{second}/fd/900", "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as jobs:
        waiting = lambda: struct.unpack("i", fcntl.ioctl(jobs, termios.FIONREAD, struct.pack("i", 0)))[0]
        wait_until("it has been given the job", lambda: waiting() > 0)
    os.kill(second, signal.SIGKILL)
    status, (third, attempt), _ = scene.result(run)
    assert (status, attempt) == ("completed", 1) and third != second


# --- Secrets ---

@pytest.mark.parametrize("warm", [False, True])
def test_a_secret_is_a_variable_of_its_task_read_anew_for_each_attempt_and_kept_nowhere(scene, here, warm):
    secret = here / "STRIPE_KEY"
    task = scene.task("python", "import hashlib, os\nreturn hashlib.sha256(os.environ['STRIPE_KEY'].encode()).hexdigest()",
                      warm=warm, secrets=["STRIPE_KEY"])
    for value in ("a first key", "another key"):
        secret.write_text(value + "\n")
        assert scene.run(task) == ("completed", hashlib.sha256(value.encode()).hexdigest(), None)
        contents = scene.contents()
        assert "STRIPE_KEY" in contents and value not in contents + scene.sandbox.sidecar_log()
    secret.unlink()
    status, _, error = scene.run(task)
    assert (status, error["code"], error["message"]) == ("failed", "CONFIGURED_INCORRECTLY", 'this sidecar has no secret "STRIPE_KEY"')


# --- What stays behind ---

def test_a_sidecar_that_is_killed_leaves_no_files(scene):
    files = pathlib.Path(scene.run(code(scene, "return sluice.__file__"))[1]).parent
    assert files.exists()
    scene.sandbox.sidecar_kill()
    wait_until("the guard has removed them", lambda: not files.exists())
    scene.sandbox.sidecar_start()


def test_code_in_a_task_needs_the_sidecars_leave_and_its_own_files_come_back(scene):
    found = scene.run(code(scene, "return sluice.__file__"))[1]
    for file in pathlib.Path(found).parent.glob("*.py"):
        file.unlink()
    assert scene.run(code(scene, "return 1")) == ("completed", 1, None), "somebody has cleaned up"
    toml = scene.sandbox.sidecar_file("toml")
    toml.write_text(toml.read_text().replace("allow_code = true", "allow_code = false"))
    os.kill(scene.sandbox.sidecar_pid(), 1)
    scene.logged("reloaded")
    status, error = failed(scene, "return 1")
    assert (status, error["code"]) == ("failed", "CONFIGURED_INCORRECTLY")
    assert "python.allow_code is off" in error["message"]
    scene.sandbox.sidecar_stop()
    assert not pathlib.Path(found).parent.exists(), "a sidecar that leaves takes its files with it"
