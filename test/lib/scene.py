"""A sandbox with the words of the sidecar's tests."""

import json
import os
import subprocess

from sandbox import is_alive, wait_until


class Scene:
    """A sandbox with shorter words for what these tests do all the time."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.value = sandbox.value
        self.rows = sandbox.rows
        self._tasks = 0

    def task(self, executor="process", target=None, lease=None, max_duration=None, attempts=1, machine=None, **options):
        self._tasks += 1
        name = f"task_{self._tasks}_{id(self)}"
        self.value("select sluice.create_task(%s, %s, %s, retry => %s, lease => %s, max_duration => %s, options => %s, machine => %s)",
                   name, executor, target,
                   json.dumps({"max_attempts": attempts, "min_delay": "10 milliseconds", "randomize": False}),
                   lease, max_duration, json.dumps(options), machine)
        return name

    def shell(self, command, **more):
        return self.task(shell=command, **more)

    def start(self, task, payload=None):
        return self.value("select sluice.enqueue(%s, %s)", task, None if payload is None else json.dumps(payload))

    def result(self, run, wait="20 seconds"):
        """Status, output and error of a run that has ended."""
        return self.rows("select * from sluice.result(%s, %s)", run, wait)[0]

    def run(self, task, payload=None):
        return self.result(self.start(task, payload))

    def status(self, run):
        return self.value("select status from sluice.runs where run_id = %s", run)

    def lines(self, run):
        return [line for (line,) in self.rows("select line from sluice.logs(%s) order by seq", run)]

    def said(self, run, what, seconds=15):
        """Waits until the program has said something that begins so; returns the rest of the line."""
        def found():
            return next((line for line in self.lines(run) if line.startswith(what)), None)
        return wait_until(f"run {run} says {what!r}", found, seconds).removeprefix(what).strip()

    def gone(self, pid, seconds=15):
        wait_until(f"process {pid} is gone", lambda: not is_alive(int(pid)), seconds)

    def contents(self):
        """All that the database holds, as a dump has it."""
        return subprocess.run(["pg_dump", "-d", "sluice"], env={**os.environ, **self.sandbox.env}, check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def log(self, name="sidecar"):
        """The sidecar's log lines as objects."""
        return [json.loads(line) for line in self.sandbox.sidecar_log(name).splitlines() if line.startswith("{")]

    def logged(self, message, name="sidecar", seconds=15, after=0):
        return wait_until(f"the log says {message!r}",
                          lambda: [line for line in self.log(name)[after:] if line["msg"] == message], seconds)
