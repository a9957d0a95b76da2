"""The server under the benchmark: a fresh database for each measure, backlogs, and the programs that load it."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from sandbox import wait_until
from sessions import Session

PAYLOAD = json.dumps({"order": 12345, "customer": "c-00017", "note": "about a hundred bytes, as most payloads have"})
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD_DIR", pathlib.Path(__file__).resolve().parents[2] / "build"))
DRAIN = BUILD / "test" / "bench" / "drain"


class Server:
    def __init__(self, sandbox):
        self._sandbox = sandbox

    def rows(self, statement, *parameters):
        return self._sandbox.rows(statement, *parameters)

    def value(self, statement, *parameters):
        return self._sandbox.value(statement, *parameters)

    def fresh_database(self):
        """Storage as on the first day, the task and queue "bench", and the peer's tables, empty."""
        for statement in ("drop database sluice with (force)", "create database sluice"):
            self._sandbox.rows(statement, dbname="postgres")
        for statement in (
            "create extension sluice",
            "select sluice.setup()",
            "select sluice.create_queue('bench')",
            "select sluice.create_task('bench', executor => 'external', queue => 'bench')",
            "create schema peer",
            "create table peer.job (job_id bigint generated always as identity primary key, "
            "run_at timestamptz not null default now(), payload jsonb not null)",
            "create index on peer.job (run_at, job_id)",
            # The least that a durable commit can be: one row, one index.
            "create table peer.bare (id bigint generated always as identity primary key, payload jsonb not null)",
            "checkpoint",
        ):
            self.rows(statement)

    def fill(self, runs, options=None, keys=0):
        """Enqueues runs, in calls of 1000; with the same options for all, or spread over a number of keys."""
        connection = self._sandbox.connect()
        with connection.cursor() as cursor:
            for first in range(0, runs, 1000):
                amount = min(1000, runs - first)
                each = [json.dumps(options)] if options else None
                if keys:
                    each = [json.dumps({"concurrency_key": f"key-{n % keys}"}) for n in range(first, first + amount)]
                cursor.execute("select count(*) from sluice.enqueue_many('bench', array_fill(%s::jsonb, array[%s]), %s::jsonb[])",
                               (PAYLOAD, amount, each))
        connection.close()

    def fill_peer(self, jobs):
        self.rows("insert into peer.job (payload) select %s::jsonb from generate_series(1, %s)", PAYLOAD, jobs)

    def settle(self):
        """So that plans and visibility are those of a database that has been there for a while."""
        self.rows("vacuum (analyze)")

    def pgbench(self, statement, *, connections, seconds):
        """Calls of a statement a second; each is a transaction of its own."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(statement.replace("\n", " ") + ";\n")
            script.flush()
            said = self._program("pgbench", "-n", "-M", "prepared", "-f", script.name, "-T", str(seconds),
                                 "-c", str(connections), "-j", str(min(connections, 2)))
        return float(next(line for line in said.splitlines() if line.startswith("tps = ")).split()[2])

    def drain(self, **options):
        """Works off a backlog; options are those of the program drain."""
        options.setdefault("seconds", 600)
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return json.loads(self._program(str(DRAIN), *arguments))

    def seconds_of(self, statement):
        """How long one statement takes, with its commit."""
        connection = self._sandbox.connect()
        with connection.cursor() as cursor:
            started = time.monotonic()
            cursor.execute(statement)
            taken = time.monotonic() - started
        connection.close()
        return taken

    def wal_of(self, work):
        """Bytes of WAL while work() runs."""
        before = self.value("select pg_current_wal_insert_lsn()")
        work()
        return int(self.value("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", before))

    def session(self):
        """One connection, for what must stay in it."""
        return Session(self._sandbox)

    @contextlib.contextmanager
    def sidecar(self, *conf):
        """A sluiced, while the block lasts."""
        self._sandbox.sidecar_start(conf=conf)
        try:
            yield
        finally:
            self._sandbox.sidecar_stop()

    def python(self, code):
        """A process of its own, connected by its environment."""
        return subprocess.Popen([sys.executable, "-c", code], env=self._sandbox.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    wait_until = staticmethod(wait_until)

    def _program(self, *command):
        done = subprocess.run(command, env=self._sandbox.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}{done.stdout}")
        return done.stdout
