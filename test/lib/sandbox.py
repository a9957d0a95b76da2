"""A private cluster for a Python test, over test/sandbox.

    with Sandbox() as sandbox:
        run = sandbox.value("select sluice.enqueue('hello')")
        wait_until("the run is completed", lambda: sandbox.value("select status …", run) == "completed")

Nothing here sleeps for a fixed time: tests wait for a condition, with a deadline that names it.
"""

import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

import psycopg2

TOP = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = TOP / "test" / "sandbox"

# Whether this time claims go by the tables; test/run says so for the tests that are marked both_modes.
BY_TABLE = os.environ.get("SLUICE_TEST_MODE") == "table"


def wait_until(what, condition, seconds=15):
    """Returns the first true value of condition(), or fails naming what was waited for."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what} (last value: {value!r})")
        select.select([], [], [], 0.02)


def is_alive(pid):
    """Whether a process runs.  A dead one that nobody has collected yet does not."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before the file is opened, or before it is read
        return False
    return state not in "ZX"


class Sandbox:
    """One cluster, with extension, storage and (unless told not) a sidecar.  Stopped when the block ends."""

    def __init__(self, *, sidecar=True, setup=True, cgroup=False, conf=(), sidecar_conf=(), clock=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sandbox-"))
        self._options = [] if sidecar else ["--no-sidecar"]
        self._options += [] if setup else ["--no-setup"]
        self._options += ["--cgroup"] if cgroup else []
        self._options += ["--clock", str(clock)] if clock else []
        if BY_TABLE:
            conf = ["sluice.index_memory = 0", *conf]  # a later line wins
        self._options += [part for line in conf for part in ("--conf", line)]
        self._options += [part for line in sidecar_conf for part in ("--sidecar-conf", line)]
        self.env = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self, *args):
        done = subprocess.run([str(SCRIPT), *args, "--dir", str(self.dir)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, f"test/sandbox {' '.join(args)}: {done.stderr}"
        return done.stdout

    def start(self):
        exports = self._run("start", *self._options)
        # The shell reads its own quoting best; env -0 hands the result over.
        shown = subprocess.run(["bash", "-c", 'eval "$1"; exec env -0', "bash", exports],
                               stdout=subprocess.PIPE, check=True).stdout.decode()
        self.env = dict(pair.split("=", 1) for pair in shown.split("\0") if pair)

    def stop(self):
        logs = os.environ.get("SLUICE_TEST_LOGS")
        if logs and self.dir.exists():
            kept = pathlib.Path(logs) / self.dir.name
            kept.mkdir(parents=True, exist_ok=True)
            for log in self.dir.glob("*.log"):
                shutil.copy(log, kept)
        self._run("stop")

    # --- The server ---

    def restart(self, mode="fast"):
        self._run("restart", "--mode", mode)

    def server_start(self):
        self._run("server", "start")

    def server_stop(self, mode="fast"):
        self._run("server", "stop", "--mode", mode)

    def postmaster_pid(self):
        return int((self.dir / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def server_log(self):
        return (self.dir / "postgres.log").read_text(errors="replace")

    # --- SQL ---

    def connect(self, user="postgres", dbname="sluice", autocommit=True, **more):
        """A connection of its own; the caller closes it."""
        connection = psycopg2.connect(host=self.env["PGHOST"], port=self.env["PGPORT"], user=user, dbname=dbname, **more)
        connection.autocommit = autocommit
        return connection

    def rows(self, statement, *parameters, user="postgres", dbname="sluice"):
        """All rows of one statement, run on a new connection; [] if it returns none."""
        connection = self.connect(user=user, dbname=dbname)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, statement, *parameters, **where):
        """The first column of the first row, or None."""
        rows = self.rows(statement, *parameters, **where)
        return rows[0][0] if rows else None

    # --- The pooler ---

    @property
    def pooler(self):
        """Where it listens, with the server's port."""
        return self.dir / "pooler"

    def pooler_start(self):
        self._run("pooler", "start")

    def pooled(self):
        return Pooled(self)

    # --- Sidecars ---

    def sidecar_start(self, name="sidecar", conf=(), clock=None):
        """Starts one and waits until it is registered.  Without conf an earlier configuration file is kept."""
        self._run("sidecar", "start", "--name", name, *(["--clock", str(clock)] if clock else []), *[part for line in conf for part in ("--sidecar-conf", line)])

    def sidecar_stop(self, name="sidecar"):
        """Lets it drain and waits until it has ended."""
        self._run("sidecar", "stop", "--name", name)

    def sidecar_kill(self, name="sidecar"):
        self._run("sidecar", "kill", "--name", name)

    def sidecar_file(self, kind, name="sidecar"):
        """Its pid, log or toml file."""
        return self.dir / (f"sluiced.{kind}" if name == "sidecar" else f"sluiced-{name}.{kind}")

    def sidecar_pid(self, name="sidecar"):
        return int(self.sidecar_file("pid", name).read_text())

    def sidecar_log(self, name="sidecar"):
        return self.sidecar_file("log", name).read_text(errors="replace")


class Pooled:
    """A client of the pooler."""

    def __init__(self, sandbox):
        self._connection = psycopg2.connect(host=str(sandbox.pooler), port=sandbox.env["PGPORT"], user="postgres", dbname="sluice")
        self._connection.autocommit = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def rows(self, statement, *parameters):
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
