"""The soak: random work of many clients, kills of every kind of process, and after each round a comparison with what
must be true.

    test/soak/run --seed N --rounds R [--kills K] [--mode table|index|switching|tiny] [--seconds S] [--log FILE] [--keep DIR]

It has a cluster of its own, in which run six client processes (client.py: enqueues, claims, exchanges, ends, control,
changes of limits, in transactions that commit, roll back, use savepoints or are prepared), two sidecars (sql tasks,
leader's duties), and faults: statements are canceled, sessions terminated, and kill -9 strikes backends, the
postmaster, sidecars and clients; the server is restarted.  A watcher looks at snapshots all the while.

After each round the load ends, what was prepared is committed or rolled back, and the database is compared with what
the clients know (model.py): every committed run exists and no other; one end each, which never changes; attempts;
owners; limits; idempotency keys; check().  Then everything is worked off, in bounded time, and no slot may be left.

The modes differ in sluice.index_memory: 0 for table, its default for index, and for switching changes between 0 and
64MB under way.  In tiny it has room for all lanes, but for fewer runs than wait: claims go by the index all the same, whose
shelves spill and are refilled.  That this is so is part of what must be true.  --kills K goes on for as many rounds as it takes.  --log writes what
was printed into a file too, such as those in results/.

The seed decides what each client and the faults want to do, in which order; how that meets in time is not decided.
On a fault of Sluice the program prints seed, round, what is wrong and all that was done to the run concerned, keeps
the logs of server and sidecars, core files and everything the clients told in DIR (/tmp/soak-SEED), and ends with status 1.
"""

import argparse
import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import psycopg2  # noqa: E402

from client import QUEUES  # noqa: E402
from model import FINAL, Round  # noqa: E402
from sandbox import Sandbox, is_alive, wait_until  # noqa: E402
from sessions import Session, can_connect  # noqa: E402

MODES = {"table": "0", "index": "64MB", "switching": "64MB", "tiny": "48kB"}
LIMITS = {"wide": (None, None), "narrow": (3, None), "keyed": (6, 2), "one": (1, None), "shifting": (2, 1)}
CLIENTS = 6
BACKLOG = 600  # of a round in tiny: more than there is room for
SIDECARS = ("alpha", "beta")
RETRY = json.dumps({"min_delay": "50 milliseconds", "max_delay": "300 milliseconds"})
CONF = ("fsync = off", "max_prepared_transactions = 20", "restart_after_crash = on", "autovacuum_naptime = 5s",
        "log_min_messages = warning", "log_min_error_statement = panic")
SIDECAR_CONF = ('worker.executors = ["sql"]', "worker.capacity = 4")

SETUP = """
    create schema soak;
    create table soak.ledger (id text primary key);
    create table soak.performed (work text not null);
"""

# In one snapshot, of the queues whose limits do not change: what executes is never more than may.
OVER_LIMIT = """
    select null::bigint, format('queue %s executes %s of %s', q.queue, count(*), q.concurrency)
    from sluice.run as r join sluice.queue as q using (queue_id)
    where r.finished_at is null and r.status = 'executing' and q.queue <> 'shifting'
    group by q.queue_id having count(*) > q.concurrency
    union all
    select null, format('lane %s of queue %s executes %s of %s', r.lane, q.queue, count(*), q.key_concurrency)
    from sluice.run as r join sluice.queue as q using (queue_id)
    where r.finished_at is null and r.status = 'executing' and r.lane <> 0 and q.queue <> 'shifting'
    group by q.queue_id, r.lane having count(*) > q.key_concurrency
    union all
    select null, format('queue %s has %s slots of %s', q.queue, count(*), q.concurrency)
    from sluice.slot as s join sluice.queue as q using (queue_id)
    where q.queue <> 'shifting' group by q.queue_id having count(*) > q.concurrency
    union all
    select run_id, format('check(): %s, %s', what, detail) from sluice.check()
"""


class Violated(Exception):
    """Something that must be true is not."""


class Process:
    """A client process, and the thread that hears what it tells."""

    def __init__(self, sandbox, name, seed, registered, round_):
        self.name, self.said = name, []
        settings = {"host": sandbox.env["PGHOST"], "port": sandbox.env["PGPORT"], "user": "postgres", "dbname": "sluice"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "client.py"),
             json.dumps({"name": name, "seed": seed, "connect": settings, "registered": registered})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._hear, args=(round_,), daemon=True)
        self._thread.start()

    def _hear(self, round_):
        for line in self.process.stdout:
            if line.endswith(b"\n"):  # else it was killed while it wrote
                self.said.append(line)
                round_.hear(self.name, json.loads(line))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._thread.join()
        self.process.stdin.close()

    def stop(self):
        self.process.stdin.close()

    def join(self, seconds):
        """Its status; none if it does not end."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._thread.join()
        return status


class Watcher:
    """Looks at one snapshot after the other; a server that is down is none of its business.

    Counts in how many looks claims went which way, and how often the index spilled and was refilled; a server that comes
    back counts from 0 again.
    """

    def __init__(self, sandbox):
        self.wrong, self.looks = collections.Counter(), 0
        self.index, self._last = collections.Counter(), {}
        self._sandbox, self._over = sandbox, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._over.is_set():
            try:
                with Session(self._sandbox) as session:
                    while not self._over.wait(0.05):
                        self.wrong.update(session.rows(OVER_LIMIT))
                        self.looks += 1
                        self._count(*session.rows("select mode, spills, refills from sluice.index_stats()")[0])
            except psycopg2.Error as error:
                if (error.pgcode or "57P")[:3] != "57P":
                    self.wrong[None, f"the watcher: {error}"] += 1
                self._over.wait(0.05)

    def _count(self, mode, *counts):
        self.index[f"looks by {mode}"] += 1
        for what, now in zip(("spills", "refills"), counts):
            last, self._last[what] = self._last.get(what, 0), now or 0
            self.index[what] += self._last[what] - (last if self._last[what] >= last else 0)

    def stop(self):
        self._over.set()
        self._thread.join()


class Soak:
    def __init__(self, seed, mode="table", rounds=1, kills=0, seconds=20.0, say=print, keep=None):
        self.seed, self.mode, self.rounds, self.wanted, self.seconds, self.say = seed, mode, rounds, kills, seconds, say
        self.keep = keep or pathlib.Path(f"/tmp/soak-{seed}")
        self.chance = random.Random(f"{seed} faults")
        self.kills, self.tally, self.faults = collections.Counter(), collections.Counter(), collections.Counter()
        self.before, self.number, self.sandbox, self.round, self.clients, self.past = {}, 0, None, None, {}, []
        self.earlier, self.looks, self.slowest = set(), 0, 0.0
        self.index = collections.Counter()
        self.began, self.bad = time.monotonic(), []

    # --- The whole ---

    def run(self):
        """Returns the summary; raises Violated."""
        conf = (*CONF, f"sluice.index_memory = '{MODES[self.mode]}'")
        with Sandbox(sidecar=False, conf=conf) as self.sandbox:
            try:
                self.set_up()
                while self.number < self.rounds or sum(self.kills.values()) < self.wanted:
                    self.number += 1
                    self.one_round()
                if self.mode == "tiny":
                    self.violated(self.idle_faults())
            except BaseException:
                self.keep_everything()
                raise
            finally:
                for client in self.clients.values():
                    client.kill()
        return self.summary()

    def idle_faults(self):
        """What shows that tiny has not tried what it is for."""
        by_index, by_table = self.index["looks by index"], self.index["looks by table"]
        return [(None, words) for words, wrong in (
            ("the index never spilled", not self.index["spills"]), ("no shelf was refilled", not self.index["refills"]),
            (f"claims went by the index in {by_index} looks, by the tables in {by_table}", by_index < 4 * by_table)) if wrong]

    def set_up(self):
        with Session(self.sandbox) as session:
            session.rows(SETUP)
            self.set_limits(session)
            for task in ("quick", "job"):
                session.rows("select sluice.create_task(%s, 'external', queue => 'wide', lease => %s, retry => %s)",
                             task, "1 second" if task == "quick" else "2 seconds", RETRY)
            session.rows("select sluice.create_task('statement', 'sql', 'insert into soak.performed values ($1 ->> ''work'')',"
                         " queue => 'wide', lease => '1 second', retry => %s)", RETRY)
        for name in SIDECARS:
            self.sandbox.sidecar_start(name, conf=SIDECAR_CONF)

    @staticmethod
    def set_limits(session):
        for queue, limits in LIMITS.items():
            session.rows("select sluice.create_queue(%s, %s, %s)", queue, *limits)
        session.rows("select sluice.resume('shifting')")

    def summary(self):
        return {"seed": self.seed, "mode": self.mode, "rounds": self.number, "seconds": round(time.monotonic() - self.began),
                "kills": sum(self.kills.values()), "kills by kind": dict(sorted(self.kills.items())),
                "other faults": dict(sorted(self.faults.items())), "operations": dict(sorted(self.tally.items())),
                "runs": len(self.before), "runs by status": dict(collections.Counter(row[0] for row in self.before.values())),
                "snapshots watched": self.looks, "index": dict(sorted(self.index.items())), "slowest drain": round(self.slowest, 1), "violations": len(self.bad)}

    def keep_everything(self):
        self.keep.mkdir(parents=True, exist_ok=True)
        for log in self.sandbox.dir.glob("*.log"):
            shutil.copy(log, self.keep)
        for core in (self.sandbox.dir / "data").glob("core*"):  # where the system writes them there
            shutil.copy(core, self.keep)
        for client in [*self.past, *self.clients.values()]:
            (self.keep / f"{client.name.replace('/', '-')}.jsonl").write_bytes(b"".join(client.said))
        self.say(f"seed {self.seed}, mode {self.mode}, round {self.number}: everything was kept in {self.keep}")

    def violated(self, faults, tokens=()):
        """Says everything that is wrong, with what was done to the runs concerned."""
        told = 0
        for run, words in faults:
            self.bad.append((run, words))
            if told < 10:
                told += 1
                self.say(f"seed {self.seed}, mode {self.mode}, round {self.number}: " + (f"run {run} " if run else "") + words)
                if run:
                    known = {effect["token"] for _, effect in self.round.committed("claim", "end") if effect["run"] == run}
                    for line in self.round.history(run, known | set(tokens))[-40:]:
                        self.say(f"    {line}")
                    with contextlib.suppress(psycopg2.Error):
                        for what in ("run", "slot", "attempt"):
                            for row in self.sandbox.rows(f"select to_jsonb(t) from sluice.{what} as t where run_id = %s", run):
                                self.say(f"    {what}: {json.dumps(row[0])}")
        if self.bad:
            raise Violated(f"{len(self.bad)} violations; the first: {self.bad[0]}")

    # --- A round ---

    def one_round(self):
        self.round = Round(dict(LIMITS), refuses_prepared_claims=self.mode == "index")
        self.past, self.earlier = [], set(self.before)
        watcher = Watcher(self.sandbox)
        killed = sum(self.kills.values())
        for slot in range(CLIENTS):
            self.start_client(slot, 0)
        if self.mode == "tiny":
            self.fill()
        try:
            self.strike(time.monotonic() + self.seconds)
            self.end_load()
            faults = self.compare()
            drained = self.drain()
            faults += self.compare(final=True)
        except psycopg2.Error as error:
            self.violated([*self.crashes(), (None, f"a statement of the comparison failed: {error}")])
        finally:
            watcher.stop()
        self.looks += watcher.looks
        self.index += watcher.index
        self.tally += self.round.tally
        self.slowest = max(self.slowest, drained)
        faults += [(run, f"{words} ({times} times)") for (run, words), times in watcher.wrong.items()]
        faults += self.crashes()
        self.say(json.dumps({"round": self.number, "kills": sum(self.kills.values()) - killed,
                             "kills in all": sum(self.kills.values()), "committed": self.round.tally["committed"],
                             "rolled back": self.round.tally["rolled back"], "runs in all": len(self.before),
                             "looks": watcher.looks, "spills": watcher.index["spills"], "refills": watcher.index["refills"],
                             "looks by index": watcher.index["looks by index"],
                             "looks by tables": watcher.index["looks by table"], "drained in": round(drained, 1),
                             "at": round(time.monotonic() - self.began), "index": self.index_stats()}))
        self.violated(dict.fromkeys(faults))

    def fill(self):
        """A backlog that memory does not hold."""
        ident, since = f"fill/{self.number}", time.monotonic()
        works = [f"{ident}#{number}" for number in range(BACKLOG)]
        options = [json.dumps({"queue": queue, "max_attempts": 3, "concurrency_key": key})
                   for _, (queue, key) in zip(works, itertools.cycle([("wide", "a"), ("wide", "b"), ("keyed", "a"), ("narrow", "c")]))]
        with Session(self.sandbox) as session:
            session.rows("begin")
            session.rows("insert into soak.ledger values (%s)", ident)
            runs = session.rows("select * from sluice.enqueue_many('job', %s::jsonb[], %s::jsonb[])",
                                [json.dumps({"work": work}) for work in works], options)
            session.rows("commit")
        now = time.monotonic()
        self.round.hear("fill", {"t": "end", "id": ident, "at": now, "ok": True, "x": [], "e": [
            {"k": "made", "s": since, "a": now, "run": run, "task": "job", "max": 3, "start": None, "key": None, "work": work}
            for (run,), work in zip(runs, works)]})

    def crashes(self):
        """Nobody but us ends a process of the server, and we do that with signal 9."""
        return [(None, line) for line in self.sandbox.server_log().splitlines()
                if re.search(r"terminated by signal (?!9\b)|PANIC:|TRAP:|WARNING: .*(leak|still)", line)]

    def start_client(self, slot, life):
        name = f"c{slot}.{self.number}.{life}"
        self.clients[slot] = Process(self.sandbox, name, f"{self.seed} {name}", slot % 2 == 0, self.round)

    def index_stats(self):
        with Session(self.sandbox) as session:
            if session.value("select to_regprocedure('sluice.index_stats()')"):
                return session.value("select jsonb_agg(to_jsonb(s)) from sluice.index_stats() as s")
        return None

    # --- Faults ---

    def strike(self, until):
        lives = collections.Counter()
        while time.monotonic() < until and (not self.wanted or sum(self.kills.values()) < self.wanted):
            self.pause(self.chance.uniform(0.05, 0.45))
            self.end_orphans()
            self.annoy()
            kind = self.chance.choices(["client", "backend", "sidecar", "postmaster", "restart"], [30, 28, 22, 14, 3])[0]
            if kind == "client":
                slot = self.chance.choice(list(self.clients))
                client = self.clients[slot]
                client.kill()
                self.round.killed(client.name)
                self.past.append(client)
                lives[slot] += 1
                self.start_client(slot, lives[slot])
            elif kind == "backend":
                kind = self.kill_backend()
            elif kind == "sidecar":
                name = self.chance.choice(SIDECARS)
                self.sandbox.sidecar_kill(name)
                self.wait_for_server()  # who starts a sidecar asks it whether that has registered
                self.sandbox.sidecar_start(name)
            elif kind == "postmaster":
                pid = self.sandbox.postmaster_pid()
                os.kill(pid, signal.SIGKILL)
                wait_until("the postmaster is dead", lambda: not is_alive(pid))
                self.sandbox.server_start()
            else:
                mode = self.chance.choice(["fast", "immediate"])
                self.sandbox.restart(mode)
                self.faults[f"restart {mode}"] += 1
                continue
            if kind:
                self.kills[kind] += 1

    @staticmethod
    def pause(seconds):
        threading.Event().wait(seconds)

    def on_server(self, statement, *parameters):
        """For faults: nothing if the server is down just now."""
        try:
            return self.sandbox.rows(statement, *parameters)
        except psycopg2.OperationalError:
            return []

    def kill_backend(self):
        """One that works for a client or, less often, for a sidecar, which has several."""
        of, whose = self.chance.choices([("application_name like 'soak %'", "client's backend"),
                                         ("usename = 'sluiced' and backend_type = 'client backend'", "sidecar's backend")], [3, 1])[0]
        victims = self.on_server(f"select pid from pg_stat_activity where {of} order by application_name, pid")
        if not victims:
            return None
        [pid] = self.chance.choice(victims)
        if not self.is_our_backend(pid):
            return None
        os.kill(pid, signal.SIGKILL)
        self.wait_for_server()
        return whose

    def wait_for_server(self):
        wait_until("the server takes connections", lambda: can_connect(self.sandbox), seconds=30)

    def is_our_backend(self, pid):
        """The process may have ended, and its pid be another's."""
        try:
            return os.readlink(f"/proc/{pid}/exe").startswith(str(self.sandbox.dir.resolve()))
        except OSError:
            return False

    def annoy(self):
        """Cancels a statement, ends a session, moves the index in or out of being."""
        what = self.chance.choices(["nothing", "cancel", "terminate", "switch"], [4, 4, 2, 4 if self.mode == "switching" else 0])[0]
        if what in ("cancel", "terminate"):
            if self.on_server(f"select pg_{what}_backend(pid) from (select pid from pg_stat_activity"
                              " where application_name like 'soak %' or (usename = 'sluiced' and backend_type = 'client backend') order by random() limit 1) as one"):
                self.faults[what] += 1
        elif what == "switch":
            self.switch(self.chance.choice(["0", "64MB"]))

    def switch(self, size):
        """Before the index exists nothing knows the setting."""
        with contextlib.suppress(psycopg2.OperationalError), Session(self.sandbox) as session:
            session.rows("select sluice.version()")  # loads the library
            if session.rows("select 1 from pg_settings where name = 'sluice.index_memory'"):
                session.rows(f"alter system set sluice.index_memory = '{size}'")
                session.rows("select pg_reload_conf()")
                self.faults[f"switch to {size}"] += 1

    def end_orphans(self):
        """What a client prepared that was killed before it went on."""
        alive = {client.name for client in self.clients.values()}
        for (gid,) in self.on_server("select gid from pg_prepared_xacts order by gid"):
            if gid.rpartition("/")[0] not in alive:
                with contextlib.suppress(psycopg2.Error):
                    self.sandbox.rows(f"{self.chance.choice(['commit', 'rollback'])} prepared '{gid}'")
                    self.faults["orphan's transaction ended"] += 1

    # --- The end of a round ---

    def end_load(self):
        for client in self.clients.values():
            client.stop()
        for client in self.clients.values():
            status = client.join(30)
            if status != 0:
                client.process.kill()
                self.violated([(None, f"client {client.name} ended with status {status}" if status is not None
                                else f"client {client.name} did not end")])
        self.past += self.clients.values()
        self.clients = {}
        self.wait_for_server()
        wait_until("the sessions of clients that were killed have ended", lambda: not self.sandbox.rows(
            "select pid from pg_stat_activity where application_name like 'soak %'"), seconds=30)
        self.end_orphans()
        for name in SIDECARS:
            try:
                alive = is_alive(self.sandbox.sidecar_pid(name))
            except (FileNotFoundError, ValueError):
                alive = False
            if not alive:
                self.violated([(None, f"sidecar {name} has ended by itself")])

    def compare(self, final=False):
        with Session(self.sandbox) as session:
            # Sidecars go on working on what they have: one snapshot for all.
            session.rows("begin isolation level repeatable read")
            now = time.monotonic()
            ledger = {row[0] for row in session.rows("select id from soak.ledger")}
            stored = {row[0]: (*row[1:4], row[4] and row[4].isoformat()) for row in session.rows(
                "select run_id, status, attempt, max_attempts, finished_at from sluice.run")}
            ours = [run for run in stored if run not in self.earlier]
            low, high = min(ours, default=0), max(ours, default=0)
            attempts = dict(session.rows("select run_id, count(*) from sluice.attempts where run_id between %s and %s"
                                         " group by 1", low, high))
            outputs = dict(session.rows("select run_id, output ->> 'token' from sluice.output"
                                        " where run_id between %s and %s", low, high))
            performed = collections.Counter(row[0] for row in session.rows("select work from soak.performed"))
            session.rows("commit")
            wrong = session.rows(OVER_LIMIT)
            if final:
                wrong += [(run, f"is {row[0]} after everything was worked off") for run, row in stored.items() if row[0] not in FINAL]
                wrong += [(None, f"queue {queue} has {held} slots taken when nobody works") for queue, held in session.rows(
                    "select queue, executing from sluice.queues where executing <> 0")]
                if not wrong:
                    session.rows("truncate soak.ledger, soak.performed")
        if not final:
            wrong += self.round.resolve(ledger, now)
            wrong += self.round.seen_faults()
        wrong += self.round.stored_faults(stored, self.before, attempts, outputs, performed)
        # What is final now must be so for ever.
        self.before.update({run: row for run, row in stored.items() if row[0] in FINAL})
        return list(wrong)

    def drain(self):
        """Works everything off, and returns how long that took.  Its completions are the round's too."""
        began = time.monotonic()
        with Session(self.sandbox) as session:
            self.set_limits(session)
            number = 0

            def over():
                nonlocal number
                for lease in session.claim("drain", capacity=20):
                    number += 1
                    since, ident = time.monotonic(), f"drain/{self.number}.{number}"
                    session.rows("begin")
                    session.rows("insert into soak.ledger values (%s)", ident)
                    answer = session.complete(lease.token, {"token": lease.token})
                    session.rows("commit")
                    self.round.hear("drain", {"t": "end", "id": ident, "at": time.monotonic(), "ok": True, "x": [], "e": [
                        {"k": "end", "s": since, "a": time.monotonic(), "token": lease.token, "run": lease.run_id,
                         "how": "completed", "answer": answer, "again": False}]})
                return not session.value("select exists (select from sluice.run where finished_at is null)"
                                         " or exists (select from sluice.queues where executing <> 0)")
            try:
                wait_until("every run is final and every slot free", over, seconds=40)
            except AssertionError:
                left = session.rows("select run_id, format('is not final in time: %s, attempt %s of %s, queue %s, ready at %s',"
                                    " status, attempt, max_attempts, queue, ready_at) from sluice.runs where finished_at is null"
                                    " order by ready_at")
                left += session.rows("select null, format('queue %s has %s slots taken, nobody works', queue, executing)"
                                     " from sluice.queues where executing <> 0")
                left += session.rows("select run_id, format('check(): %s, %s', what, detail) from sluice.check()")
                left += session.rows("select null, format('queue %s, lane %s: %s held', queue_id, lane, held)"
                                     " from sluice._index_lanes()")
                self.say(json.dumps({"index": self.index_stats()}))
                self.violated(self.crashes() + sorted(left, key=lambda fault: fault[0] or 0))
        return time.monotonic() - began


def commit_of():
    """The commit of this checkout, and whether it has been changed since."""
    done = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude", "*"],
                          stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--rounds", type=int, default=1, help="at least so many")
    parser.add_argument("--kills", type=int, default=0, help="and until so many were killed")
    parser.add_argument("--mode", choices=MODES, default="index")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load in a round")
    parser.add_argument("--log", type=pathlib.Path, help="what is printed, also as a file")
    parser.add_argument("--keep", type=pathlib.Path, help="where logs go if something is wrong")
    return parser.parse_args()


def main():
    options = arguments()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(options.log, "w", encoding="utf-8")) if options.log else None

        def say(line):
            print(line, flush=True)
            if log:
                print(line, file=log, flush=True)

        say(f"test/soak/run --seed {options.seed} --rounds {options.rounds} --kills {options.kills} --mode {options.mode}"
            f" --seconds {options.seconds:g}, at commit {commit_of()}")
        try:
            summary = Soak(options.seed, options.mode, options.rounds, options.kills, options.seconds, say, options.keep).run()
        except Violated as violated:
            say(str(violated))
            return 1
        say(json.dumps(summary, indent=2))
    return 0
