#!/usr/bin/python3
"""An external worker for Sluice in one file; it needs psycopg2 and nothing else.

    worker.py [--name NAME] [--queues a,b] [--capacity N]      connection: PGHOST, PGDATABASE … as for psql

Copy it and put your own work into `perform`.  What it does, and why:

* No transaction is open while work is done.  Both connections are in autocommit mode: one for calls, and one that
  sleeps in wait_for_work, where a call would have to wait.
* It beats four times in each lease.  A token that a heartbeat does not return is dead: its run was canceled or requeued,
  or it was silent for too long.  The work is told to stop, its result is thrown away, and its slot is given back.
* While the database cannot be reached work goes on, until its lease is over by the clock of this machine.
* SIGTERM drains: nothing more is claimed, and what does not end within the grace time is released, which does not count
  as an attempt.
"""

import argparse
import json
import os
import signal
import socket
import threading
import time

import psycopg2

GRACE_SECONDS = 10


class GiveUp(Exception):
    """For what will never go well: the run fails at once.  Any other exception may be tried again."""


def perform(task, payload, lost):
    """The work.  Returns the output; looks at `lost`, a threading.Event, now and then and stops when it is set."""
    if task == "add":
        return {"sum": payload["a"] + payload["b"]}
    if task == "nap":
        lost.wait(payload["seconds"])
        return {"slept": payload["seconds"]}
    raise GiveUp(f"this worker knows no task {task}")


def connect():
    connection = psycopg2.connect("")
    connection.autocommit = True  # without this psycopg2 opens a transaction and leaves it open
    return connection


class Lease:
    def __init__(self, token, seconds):
        self.token, self.seconds, self.lost = token, seconds, threading.Event()
        self.beaten()

    def beaten(self):
        self.deadline = time.monotonic() + self.seconds


class Worker:
    def __init__(self, name, queues, capacity):
        self.name, self.queues, self.capacity = name, queues, capacity
        self.leases = {}  # by token
        self.stopping = threading.Event()
        self.calls, self.waits, self.calling = None, None, threading.Lock()

    def call(self, statement, *parameters):
        """One statement and transaction on the connection for calls, which is made anew if it was lost."""
        with self.calling:
            if self.calls is None or self.calls.closed:
                self.calls = connect()
            with self.calls.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall()

    def report(self, lease, function, value):
        """Ends the attempt.  If the answer is lost it asks again: a token that did so before is told `already_done`."""
        while not lease.lost.is_set():
            try:
                return self.call(f"select sluice.{function}(%s, %s)", lease.token, json.dumps(value))
            except psycopg2.OperationalError:
                lease.lost.wait(0.5)
            except psycopg2.Error as error:
                if error.pgcode != "SL102":  # lease lost
                    raise
                lease.lost.set()
        return self.let_go(lease, "canceled")  # the work has stopped: its slot is free

    def let_go(self, lease, outcome):
        outcomes = json.dumps([{"token": lease.token, "outcome": outcome}])
        return self.call("select answer from sluice.exchange(%s, %s)", self.name, outcomes)

    def work(self, lease, task, payload):
        try:
            try:
                outcome = "complete", perform(task, payload, lease.lost)
            except Exception as error:  # whatever the work raises is its outcome
                outcome = "fail", {"code": "TASK_EXECUTION_FAILED", "name": type(error).__name__, "message": str(error),
                                   "retryable": not isinstance(error, GiveUp)}
            self.report(lease, *outcome)
        finally:
            self.leases.pop(lease.token, None)

    def beat(self):
        while True:
            held = list(self.leases.values())
            time.sleep(min((lease.seconds for lease in held), default=1) / 4)
            if not held:
                continue
            try:
                standing = self.call("select token from sluice.heartbeat(%s::uuid[])", [lease.token for lease in held])
            except psycopg2.Error:
                standing = None
            for lease in held:
                if standing is not None and (lease.token,) in standing:
                    lease.beaten()
                elif standing is not None or time.monotonic() > lease.deadline:
                    lease.lost.set()

    def claim(self):
        rows = self.call("select token, task, payload, extract(epoch from lease_until - clock_timestamp())::float8"
                         " from sluice.claim(%s, %s, %s)", self.name, self.queues, self.capacity - len(self.leases))
        for token, task, payload, seconds in rows:
            lease = self.leases[token] = Lease(token, seconds)
            threading.Thread(target=self.work, args=(lease, task, payload), daemon=True).start()
        return len(rows)

    def wait_for_work(self):
        if self.waits is None or self.waits.closed:
            self.waits = connect()
        with self.waits.cursor() as cursor:
            cursor.execute("call sluice.wait_for_work(%s, '10 seconds')", (self.queues,))

    def claim_until_stopped(self):
        while not self.stopping.is_set():
            try:
                if len(self.leases) >= self.capacity:
                    self.stopping.wait(0.02)
                elif self.claim() == 0:
                    self.wait_for_work()
            except psycopg2.OperationalError:
                self.stopping.wait(0.5)  # the database is away, or the wait was canceled by run()

    def run(self, signaled):
        threading.Thread(target=self.beat, daemon=True).start()
        claiming = threading.Thread(target=self.claim_until_stopped, daemon=True)
        claiming.start()
        os.read(signaled, 1)  # the main thread is free to receive signals
        self.stopping.set()

        while claiming.is_alive():
            if self.waits is not None and not self.waits.closed:
                self.waits.cancel()
            claiming.join(0.1)
        end = time.monotonic() + GRACE_SECONDS
        while self.leases and time.monotonic() < end:
            time.sleep(0.02)
        for lease in list(self.leases.values()):
            self.let_go(lease, "released")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A worker for tasks whose executor is external.")
    arguments.add_argument("--name", default=f"{socket.gethostname()}:{os.getpid()}")
    arguments.add_argument("--queues", type=lambda text: text.split(","), help="with commas between them; all if left out")
    arguments.add_argument("--capacity", type=int, default=4)
    worker = Worker(**vars(arguments.parse_args()))
    # A handler must not set the event itself: it may interrupt the main thread where that holds the event's lock.
    signaled, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: None)
    worker.run(signaled)
