"""Runs Python tasks: sluiced starts an interpreter on this file.

A job comes on stdin: one line of JSON, then the payload.  The answer goes to descriptor 3, as lines of one word and a JSON
value: the output or the error.  stdout and stderr are the task's own.  Whatever the task does to its descriptors, its
signals or its process, sluiced learns how it ended from what was said before, or from the end of the process.
"""

# What not every task needs is imported where it is used: a start takes a third less.
import builtins
import fcntl
import importlib
import json
import os
import sys

import sluice

LONGEST_MESSAGE = 4096
LONGEST_STACK = 16384
HERE = os.path.realpath(__file__)


class CannotStart(Exception):
    """The task is not to be found, or this interpreter is not the one that it needs: no other attempt would end otherwise."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def private(descriptor):
    """A copy at a number that nobody uses by accident, which no program inherits."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 900)
    os.close(descriptor)
    return copy


def bounded(text, limit):
    return text if len(text) <= limit else f"{text[:limit // 2]} … {text[-limit // 2:]}"


def text_of(error):
    try:
        return bounded(str(error), LONGEST_MESSAGE)
    except BaseException as second:  # the task's own class decides what happens here
        return f"(its text cannot be had: {type(second).__name__})"


def stack_of(error):
    """The traceback without the frames of this file."""
    import traceback

    frames = error.__traceback__
    while frames is not None and os.path.realpath(frames.tb_frame.f_code.co_filename) == HERE:
        frames = frames.tb_next
    try:
        return bounded("".join(traceback.TracebackException(type(error), error, frames).format()), LONGEST_STACK)
    except BaseException as second:
        return f"(no traceback: {type(second).__name__})"


def described(error, code="TASK_EXECUTION_FAILED", **more):
    return {"code": code, "name": type(error).__name__, "message": text_of(error), "stackTrace": stack_of(error), **more}


def holds_memory_error(error):
    """Whether it is a group of exceptions with a MemoryError in it."""
    group = getattr(builtins, "BaseExceptionGroup", ())  # since Python 3.11
    return isinstance(error, group) and error.subgroup(MemoryError) is not None


def let_go(error):
    """What the frames that have ended still hold: there may be no other memory in which to say anything."""
    place = error.__traceback__
    while place is not None:
        try:
            place.tb_frame.clear()
        except RuntimeError:  # it has not ended: it is one of ours
            pass
        place = place.tb_next


def out_of_memory(error):
    let_go(error)
    found = described(error, "TASK_PROCESS_OOM_KILLED")
    return {**found, "message": found["message"] or "the interpreter could not get the memory that it asked for"}


# --- Requirements ---------------------------------------------------------------------------------------------------

def specifiers():
    """The class that compares versions, wherever this interpreter has it."""
    for place in ("packaging.specifiers", "pip._vendor.packaging.specifiers", "setuptools._vendor.packaging.specifiers"):
        try:
            return importlib.import_module(place).SpecifierSet
        except ImportError:
            pass
    return None


def release(version):
    import re

    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise ValueError(version)
    return [int(part) for part in version.split(".")]


def plainly_fits(version, wanted):
    """Compares releases that are nothing but numbers, for interpreters without the package that knows all rules."""
    import re

    for each in wanted.split(","):
        sign, other = re.fullmatch(r"\s*(~=|===?|!=|<=|>=|<|>)\s*(\S+)\s*", each).groups()
        if sign in ("~=", "===") or "*" in other:
            raise ValueError(each)
        left, right = release(version), release(other)
        width = max(len(left), len(right))
        left += [0] * (width - len(left))
        right += [0] * (width - len(right))
        if not {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right,
                ">": left > right, ">=": left >= right}[sign]:
            return False
    return True


def check_requirements(requirements):
    if not requirements:
        return
    import re
    from importlib import metadata

    wrong = []
    known = specifiers()
    for requirement in requirements:
        name, wanted = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*(.*?)\s*", requirement).groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement} (not installed)")
            continue
        try:
            fits = not wanted or (known(wanted).contains(version, prereleases=True) if known else plainly_fits(version, wanted))
        except ValueError:
            wrong.append(f"{requirement} ({version} is installed; it takes the package packaging to compare them)")
            continue
        if not fits:
            wrong.append(f"{requirement} ({version} is installed)")
    if wrong:
        raise CannotStart("CONFIGURED_INCORRECTLY",
                          f"{sys.executable} (Python {'.'.join(map(str, sys.version_info[:3]))}) lacks {', '.join(wrong)}")


# --- What the target is -----------------------------------------------------------------------------------------------

def lies_in(path, directories):
    real = os.path.realpath(path)
    return any(real.startswith(os.path.realpath(directory).rstrip("/") + "/") for directory in directories)


def find_function(target, directories):
    import importlib.util

    name, _, function = target.partition(":")
    try:
        spec = sys.modules[name].__spec__ if name in sys.modules else importlib.util.find_spec(name)
    except ImportError as error:
        raise CannotStart("COULD_NOT_IMPORT_TASK", f"there is no module {name}: {error}") from None
    if spec is None:
        raise CannotStart("COULD_NOT_IMPORT_TASK", f"there is no module {name} in {':'.join(sys.path[1:])}")
    if not spec.has_location or not spec.origin or not lies_in(spec.origin, directories):
        raise CannotStart("CONFIGURED_INCORRECTLY",
                          f"the module {name} ({spec.origin}) is in none of the directories that this sidecar allows")
    try:
        module = importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        raise CannotStart("COULD_NOT_IMPORT_TASK", f"the module {name} cannot be imported: {error!r}") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise CannotStart("COULD_NOT_IMPORT_TASK", f"the module {name} has no function {function}")
    return found


def function_of_code(code, name):
    """Code is the body of a function of the payload, so that it can return."""
    import ast
    import linecache

    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    try:
        body = ast.parse(code, name)
        wrapper = ast.parse("def task(payload): pass", name)
        wrapper.body[0].body = body.body or wrapper.body[0].body
        space = {"__name__": "__sluice__", "__file__": name, "sluice": sluice}
        exec(compile(wrapper, name, "exec", dont_inherit=True), space)
    except SyntaxError as error:
        raise CannotStart("COULD_NOT_IMPORT_TASK", f"the code is no Python: {error}") from None
    return space["task"]


def call(function):
    value = function(sluice._payload)
    if hasattr(value, "__await__"):
        import asyncio

        async def awaited():
            return await value

        value = asyncio.run(awaited())
    return sluice._output if value is None else value


def run_script(path):
    import runpy

    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    try:
        runpy.run_path(path, run_name="__main__")
    except SyntaxError as error:
        if error.filename != path:
            raise
        raise CannotStart("COULD_NOT_IMPORT_TASK", f"the script is no Python: {error}") from None
    return sluice._output


def perform(job):
    check_requirements(job["requirements"])
    if job.get("only_check"):
        return None
    kind, target = job["kind"], job["target"]
    if kind == "script":
        return run_script(target)
    function = find_function(target, job["directories"]) if kind == "function" else function_of_code(target, f"<{job['task']}>")
    return call(function)


# --- How it ended --------------------------------------------------------------------------------------------------------

def exit_code_of(error):
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def attempt(job):
    """The word and the JSON to answer with."""
    word, value = outcome(job)
    if word == "output":
        try:
            return word, json.dumps(value, allow_nan=False)
        except MemoryError as error:
            word, value = "oom", out_of_memory(error)
        except BaseException as error:
            word, value = "error", {"code": "TASK_OUTPUT_ERROR", "name": type(error).__name__,
                                    "message": f"the return value is not JSON: {text_of(error)}"}
    return word, json.dumps(value)


def outcome(job):
    try:
        value = perform(job)
    except SystemExit as error:
        code = exit_code_of(error)
        if code != 0:
            message = f"process exited with code {code}"
            if not isinstance(error.code, int):
                message += f": {text_of(error)}"
            return "error", {"code": "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE", "name": "SystemExit", "message": message,
                             "stackTrace": stack_of(error), "exit_code": code}
        value = sluice._output
    except CannotStart as error:
        return "error", {"code": error.code, "name": "CannotStart", "message": text_of(error), "retryable": False}
    except sluice.Abort as error:
        return "error", described(error, retryable=False)
    except sluice.Retry as error:
        return "error", {**described(error), "retry_in": error.after}
    except MemoryError as error:
        return "oom", out_of_memory(error)
    except BaseException as error:
        return ("oom", out_of_memory(error)) if holds_memory_error(error) else ("error", described(error))
    return "output", value


def read_job(stream):
    line = stream.readline()
    if not line:
        return None
    job = json.loads(line)
    payload = stream.read(job["payload_bytes"])
    give_as_input(payload)
    sluice._payload = json.loads(payload) if payload else None
    sluice._output = None
    sluice._tags.clear()
    return job


def give_as_input(payload):
    """A script may read its payload from stdin as a program does."""
    source = os.memfd_create("payload")
    while payload:
        payload = payload[os.write(source, payload):]
    os.lseek(source, 0, os.SEEK_SET)
    if source != 0:  # the number is free when the first job comes
        os.dup2(source, 0)
        os.close(source)
    sys.stdin = open(0, encoding="utf-8", closefd=False)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the task may have closed or replaced it
            pass


# --- One interpreter for several attempts ----------------------------------------------------------------------------------

class Rest:
    """What an attempt may change for the next one, as it was before.  What cannot be put back says that this interpreter is
    not to be used again."""

    def __init__(self):
        import signal
        import threading

        self.environment = dict(os.environ)
        self.directory = os.getcwd()
        self.path, self.argv = list(sys.path), list(sys.argv)
        self.streams = sys.stdout, sys.stderr
        self.signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.limits = self.limits_now()
        self.niceness = os.getpriority(os.PRIO_PROCESS, 0)
        self.mask = os.umask(0o077)
        os.umask(self.mask)
        self.threads = threading.active_count()
        self.descriptors = self.open_descriptors()

    @staticmethod
    def open_descriptors():
        return set(os.listdir("/proc/self/fd"))

    @staticmethod
    def limits_now():
        import resource

        names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
        return {number: resource.getrlimit(number) for number in {getattr(resource, name) for name in names}}

    def restore(self):
        """Puts back what can be; whether all is as it was."""
        import gc
        import threading

        if not self.restore_signals() or not self.restore_limits():
            return False
        gc.collect()
        os.environ.clear()
        os.environ.update(self.environment)
        sys.path[:], sys.argv[:] = self.path, self.argv
        os.umask(self.mask)
        os.chdir(self.directory)
        return (threading.active_count() == self.threads and self.open_descriptors() == self.descriptors
                and (sys.stdout, sys.stderr) == self.streams and not self.children())

    def restore_signals(self):
        import signal

        # Timers first, and what they have sent already goes unheard: no signal of this attempt ends or disturbs the next.
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        for number in signal.sigpending():
            signal.signal(number, signal.SIG_IGN)
        for number, handler in self.signals.items():
            if signal.getsignal(number) is not handler:
                if handler is None:
                    return False
                signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
        return True

    def restore_limits(self):
        """A limit or a priority that was given up may not be had again."""
        import resource

        try:
            for number, limit in self.limits.items():
                if resource.getrlimit(number) != limit:
                    resource.setrlimit(number, limit)
            if os.getpriority(os.PRIO_PROCESS, 0) != self.niceness:
                os.setpriority(os.PRIO_PROCESS, 0, self.niceness)
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def children():
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return file.read()


def memory():
    """Bytes that this process holds in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def can_go_on(rest, job):
    """Whether another attempt may follow, which is looked at before the answer is given."""
    try:
        if not rest.restore() or memory() > job["warm_bytes"]:
            return False
        mark(job)
        return True
    except BaseException:
        return False


def mark(job):
    """The end of what this attempt has printed: the next bytes are of the next one."""
    for descriptor in (1, 2):
        os.write(descriptor, job["mark"].encode())


def main():
    jobs = os.fdopen(private(0), "rb")
    sluice._channel = private(3)
    sluice._owner = os.getpid()
    job = read_job(jobs)
    sys.path[1:1] = job["path"]
    if not job.get("warm"):
        return answer(job)
    rest = Rest()
    while job is not None:
        os.environ.update(job["environment"])
        sluice._say("begun", "null")
        word, text = attempt(job)
        flush()
        going_on = can_go_on(rest, job)
        if going_on:
            sluice._say("rest", "null")
        sluice._say(word, text)
        if not going_on:
            return
        job = read_job(jobs)


def answer(job):
    word, text = attempt(job)
    flush()
    sluice._say(word, text)
    if word != "output":
        sys.exit(1)
