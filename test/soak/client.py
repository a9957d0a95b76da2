"""One client of the soak: a process with one session, which does random verbs in random transactions until told to stop.

    client.py '{"name": …, "seed": …, "connect": {…}, "registered": true}'

It is killed without warning, so it tells before it acts: one line of JSON on its standard output with what a
transaction has done before it commits it, and one with what came of that.  Each transaction leaves its name in the
table soak.ledger; after a lost connection the client asks there whether its last commit happened.  Times are of
CLOCK_MONOTONIC, which all processes of a machine share.  Whoever closes its standard input tells it to stop.

    {"t": "hello"}                       connected (again)
    {"t": "gone", "last": …}             the connection is lost; when its last answer came
    {"t": "intent", "id", "how", "e"}    about to commit or prepare; e: the effects
    {"t": "end", "id", "ok", "e", "x"}   committed or not; x: effects that were undone before
    {"t": "dead", "token", "asked"}      a token was refused as dead; when it surely had not been asked for yet
    {"t": "refused", "id", …}            a transaction could not be prepared
    {"t": "wrong", "id", "message"}      an error that nothing explains
    {"t": "count", "what"}               something for the tally
"""

import collections
import contextlib
import datetime
import json
import os
import random
import select
import sys
import time

import psycopg2

QUEUES = ("wide", "narrow", "keyed", "one", "shifting")
TASKS = ("quick", "job", "statement")
KEYS = (None, None, "a", "b", "c")
# What a transaction may be refused with: a dead token, a run that is final, two transactions crosswise, a lock that
# took too long, a statement that was canceled, another session under this name, a heartbeat that came behind an end when
# nobody had claimed since a restart.
EXPECTED = {"SL013", "SL102", "SL101", "40P01", "55P03", "57014", "SL104"}


class Undone(Exception):
    """A block of a transaction that rolls back to its savepoint."""


class Client:
    def __init__(self, name, seed, connect, registered):
        self.name, self.connect, self.registered = name, connect, registered
        self.chance = random.Random(seed)
        self.connection = self.doubt = None
        self.held, self.seen, self.number, self.last = {}, 0, 0, time.monotonic()
        self.known = collections.deque(maxlen=50)
        self.view, self.effects, self.undone, self.depth, self.work, self.reply = {}, [], [], 0, 0, 0

    # --- Telling ---

    @staticmethod
    def tell(kind, **what):
        os.write(1, (json.dumps({"t": kind, "at": time.monotonic(), **what}, separators=(",", ":")) + "\n").encode())

    def count(self, what):
        self.tell("count", what=what)

    def effect(self, kind, since, **what):
        self.effects.append({"k": kind, "s": since, "a": self.last, **what})

    # --- The connection ---

    def rows(self, statement, *parameters):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            found = cursor.fetchall() if cursor.description else []
        self.last = time.monotonic()
        return found

    def value(self, statement, *parameters):
        return self.rows(statement, *parameters)[0][0]

    def is_lost(self, error):
        """Whether the connection is gone: what the server itself has refused has a code."""
        return self.connection is None or self.connection.closed != 0 or error.pgcode is None or error.pgcode[:3] == "57P"

    def lose(self):
        if self.connection is not None:
            self.tell("gone", last=self.last)
            with contextlib.suppress(psycopg2.Error):
                self.connection.close()
            self.connection = None

    def come_back(self):
        self.connection = psycopg2.connect(application_name=f"soak {self.name}", **self.connect,
                                           options="-c lock_timeout=3s -c statement_timeout=10s")
        self.connection.autocommit = True
        self.tell("hello")
        self.settle_doubt()
        if self.registered:
            self.rows("select sluice.register_worker(%s, %s)", self.name, json.dumps(
                {"tokens": list(self.held), "seen_reply": self.seen, "executors": ["external"]}))

    def settle_doubt(self):
        """What became of the transaction whose end was not heard of."""
        if self.doubt:
            ident = self.doubt[0]
            if self.rows("select 1 from pg_prepared_xacts where gid = %s", ident):
                self.rows(f"{self.chance.choice(['commit', 'rollback'])} prepared '{ident}'")
            self.over(self.value("select exists (select from soak.ledger where id = %s)", ident))

    # --- Transactions ---

    def over(self, committed):
        ident, view, reply, effects, undone = self.doubt
        if committed:
            self.held, self.seen = view, reply
            self.known.extend(e["run"] for e in effects if e["k"] == "made")
        self.tell("end", id=ident, ok=committed, e=effects, x=undone)
        self.doubt = None

    def transaction(self):
        self.number += 1
        ident = f"{self.name}/{self.number}"
        self.view, self.effects, self.undone, self.reply = dict(self.held), [], [], self.seen
        how = self.chance.choices(["commit", "rollback", "prepare"], [84, 9, 7])[0]
        self.rows("begin")
        try:
            self.rows("insert into soak.ledger values (%s)", ident)
            self.only_makes = how == "prepare" and self.chance.random() < 0.8
            self.block(self.chance.choices([1, 2, 3, 4], [70, 15, 10, 5])[0], self.ENQUEUES if self.only_makes else self.VERBS)
            if how == "rollback":
                self.rows("rollback")
                self.tell("end", id=ident, ok=False, e=self.effects, x=self.undone)
                return
            self.tell("intent", id=ident, how=how, e=self.effects)
            self.doubt = (ident, self.view, self.reply, self.effects, self.undone)
            if how == "commit":
                self.rows("commit")
                self.over(True)
                return
            self.rows(f"prepare transaction '{ident}'")
            ending = self.chance.choice(["commit", "rollback"])
            self.rows(f"{ending} prepared '{ident}'")
            self.count(f"{ending} prepared")
            self.over(ending == "commit")
        except psycopg2.Error as error:
            self.refused(ident, how, error)

    def refused(self, ident, how, error):
        asked = self.last
        # Before its commit was sent the transaction is gone for certain; else settle_doubt() asks.
        if self.doubt is None:
            self.tell("end", id=ident, ok=False, e=self.effects, x=self.undone)
        if self.is_lost(error):
            raise error
        prepared = how == "prepare" and self.doubt is not None
        if prepared and self.rows("select 1 from pg_prepared_xacts where gid = %s", ident):
            return  # it was the second half that was refused: canceled, say.  settle_doubt() ends it.
        self.rows("rollback")
        if self.doubt is not None:
            self.over(False)
        elif error.pgcode == "SL102" and not self.effects and not self.undone:
            token = self.token_of(error)
            self.held.pop(token, None)
            self.tell("dead", token=token, asked=asked)
        if prepared:
            # Expected only of transactions that may have claimed or ended something, a claim of nothing included.
            self.tell("refused", id=ident, took=not self.only_makes, code=error.pgcode, message=str(error))
        elif error.pgcode not in EXPECTED:
            self.tell("wrong", id=ident, message=f"{error.pgcode} {error}")
        self.count(f"refused {error.pgcode}")

    @staticmethod
    def token_of(error):
        return (error.diag.message_detail or "").removeprefix("Token ")[:36]

    def block(self, verbs, choice):
        for _ in range(verbs):
            if self.depth < 3 and self.chance.random() < 0.2:
                self.savepoint(choice)
            else:
                verb = self.chance.choices(*choice)[0]
                verb(self)

    def savepoint(self, choice):
        """Some verbs, or a savepoint again, in a savepoint that is released or rolled back, by an error too."""
        name = f"s{self.depth}"
        before, reply, mark = dict(self.view), self.reply, len(self.effects)
        self.rows(f"savepoint {name}")
        self.depth += 1
        try:
            self.block(self.chance.choice([1, 1, 2]), choice)
            if self.chance.random() < 0.5:
                raise Undone
            self.rows(f"release savepoint {name}")
            self.count("savepoint released")
        except (Undone, psycopg2.DatabaseError) as error:
            if isinstance(error, psycopg2.Error) and (self.is_lost(error) or error.pgcode not in EXPECTED):
                raise
            self.rows(f"rollback to savepoint {name}")
            self.undone += self.effects[mark:]
            del self.effects[mark:]
            self.view, self.reply = before, reply
            self.count("savepoint rolled back" if isinstance(error, Undone) else "savepoint rolled back after an error")
        finally:
            self.depth -= 1

    # --- Verbs that make runs ---

    def options(self):
        chance = self.chance
        return {"queue": chance.choice(QUEUES), "priority": chance.choice([0, 0, 0, 5, 3600]),
                "concurrency_key": chance.choice(KEYS), "max_attempts": chance.randint(1, 4),
                "run_at": self.later(chance.choice([None, None, None, 0.2, 1])),
                "idempotency_key": f"k{chance.randrange(400)}" if chance.random() < 0.15 else None}

    @staticmethod
    def later(seconds):
        return seconds and (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()

    def payload(self):
        """A sql task records its number, so that its effect can be counted."""
        self.work += 1
        return {"work": f"{self.name}#{self.work}"}

    def made(self, since, run, task, options, payload, existing=False):
        self.effect("found" if existing else "made", since, run=run, task=task, max=options["max_attempts"],
                    start=options["run_at"], key=options["idempotency_key"], work=payload["work"])

    def enqueue(self):
        task, options, payload, since = self.chance.choices(TASKS, [4, 4, 2])[0], self.options(), self.payload(), time.monotonic()
        names = "".join(f", {name} => %s" for name in options)
        [(run, existing)] = self.rows(f"select run_id, existing from sluice.enqueue_result(%s, %s{names})",
                                      task, json.dumps(payload), *options.values())
        self.made(since, run, task, options, payload, existing)

    def enqueue_many(self):
        """Without idempotency keys, of which the reply would not say whether they existed."""
        task, since = self.chance.choice(TASKS), time.monotonic()
        items = [{**self.options(), "idempotency_key": None} for _ in range(self.chance.randint(2, 12))]
        payloads = [self.payload() for _ in items]
        given = [json.dumps({name: value for name, value in item.items() if value is not None}) for item in items]
        runs = self.rows("select * from sluice.enqueue_many(%s, %s::jsonb[], %s::jsonb[])",
                         task, [json.dumps(payload) for payload in payloads], given)
        for (run,), item, payload in zip(runs, items, payloads):
            self.made(since, run, task, item, payload)

    def replay(self):
        run = self.some_run()
        if run:
            since, payload = time.monotonic(), self.payload()
            [(task, most)] = self.rows("select t.task, t.max_attempts from sluice.run join sluice.task as t using (task_id)"
                                       " where run_id = %s", run)
            new = self.value("select sluice.replay(%s, %s)", run, json.dumps(payload))
            self.made(since, new, task, {"run_at": None, "max_attempts": most, "idempotency_key": None}, payload)

    # --- Verbs of a worker ---

    def took(self, since, leases):
        """What a claim handed out, with where it counts."""
        leases = list(leases)
        if leases:
            until = self.last
            where = {run: (queue, lane) for run, queue, lane in self.rows(
                "select run_id, queue, lane from sluice.run join sluice.queue using (queue_id) where run_id = any(%s)",
                [lease[1] for lease in leases])}
            for token, run, attempt, task in leases:
                queue, lane = where[run]
                self.effects.append({"k": "claim", "s": since, "a": until, "token": token, "run": run, "n": attempt, "task": task,
                                     "queue": queue, "lane": lane, "by": self.name})
                self.view[token] = (run, queue)

    def claim(self, queues=None, capacity=None):
        since = time.monotonic()
        if queues is None and self.chance.random() < 0.5:
            queues = self.chance.sample(QUEUES, self.chance.randint(1, 3))
        self.took(since, self.rows("select token, run_id, attempt, task from sluice.claim(%s, %s, %s)",
                                   self.name, queues, capacity or self.chance.randint(1, 5)))

    def exchange(self):
        kinds = ["completed", "completed", "failed", "crashed", "oom", "timed_out", "released", "canceled"]
        outcomes = []
        for token in self.view:
            if self.chance.random() < 0.4:
                outcome = {"token": token, "outcome": self.chance.choice(kinds)}
                if outcome["outcome"] == "completed":
                    outcome["output"] = {"token": token}
                elif outcome["outcome"] in ("failed", "crashed"):
                    outcome["error"] = {"message": "again", "retryable": self.chance.random() < 0.8}
                    outcome["retry_in"] = self.chance.choice([0, 0.2, 1])
                outcomes.append(outcome)
        ended = {outcome["token"]: outcome for outcome in outcomes}
        beats = [token for token in self.view if token not in ended]
        since, claimed, lost = time.monotonic(), [], set()
        for kind, token, answer, run, attempt, task, reply in self.rows(
                "select kind, token, answer, run_id, attempt, task, reply"
                " from sluice.exchange(%s, %s, %s::uuid[], %s, %s, '{external}', %s)",
                self.name, json.dumps(outcomes), beats, self.chance.choice([0, 1, 3]),
                self.chance.choice([None, list(self.chance.sample(QUEUES, 2))]), self.seen if self.registered else None):
            if kind == "reply" and reply is not None:
                self.reply = reply
            elif kind == "ended":
                self.ended(since, token, ended[token]["outcome"], answer,
                           again=ended[token].get("error", {}).get("retryable", False))
            elif kind == "lost":
                lost.add(token)
            elif kind == "claimed":
                claimed.append((token, run, attempt, task))
        self.beaten(since, [token for token in beats if token not in lost])
        for token in lost:
            self.effect("lost", since, token=token, run=self.view.pop(token)[0])
        self.took(since, claimed)

    def ended(self, since, token, how, answer, again=False):
        run, _ = self.view.pop(token)
        self.effect("end", since, token=token, run=run, how=how, answer=answer, again=again)

    def beaten(self, since, tokens):
        if tokens:
            self.effect("beat", since, tokens=tokens)

    def some_held(self):
        return self.chance.choice(list(self.view)) if self.view else None

    def complete(self, token=None):
        token, since = token or self.some_held(), time.monotonic()
        if token:
            self.ended(since, token, "completed",
                       self.value("select sluice.complete(%s, %s)", token, json.dumps({"token": token})))

    def complete_twice(self):
        """The second time the token has ended its attempt already."""
        token = self.some_held()
        if token:
            held = self.view[token]
            self.complete(token)
            if self.effects[-1]["answer"] == "done":
                self.view[token] = held
                self.complete(token)

    def fail(self):
        token, since, again = self.some_held(), time.monotonic(), self.chance.random() < 0.8
        if token:
            self.ended(since, token, "failed", again=again, answer=self.value(
                "select sluice.fail(%s, %s, clock_timestamp() + %s * interval '1 second')",
                token, json.dumps({"message": "no", "retryable": again}), self.chance.choice([None, 0, 0.3])))

    def release(self):
        token, since = self.some_held(), time.monotonic()
        if token:
            self.ended(since, token, "released", self.value("select sluice.release(%s)", token))

    def heartbeat(self):
        if self.view:
            since = time.monotonic()
            alive = {token for (token,) in self.rows("select token from sluice.heartbeat(%s::uuid[])", list(self.view))}
            self.beaten(since, list(alive))
            for token in self.view.keys() - alive:
                self.effect("lost", since, token=token, run=self.view.pop(token)[0])

    def forget(self):
        """A worker that no longer knows what it holds."""
        token = self.some_held()
        if token:
            self.effect("forget", time.monotonic(), token=token, run=self.view.pop(token)[0])

    def pass_on(self):
        """Ends an attempt and claims the next one of the queue of one slot, which no commit lies between."""
        for token in [token for token, (_, queue) in self.view.items() if queue == "one"]:
            self.complete(token)
        self.claim(["one"], 1)

    # --- Verbs of control ---

    def some_run(self):
        """One of its own, or of those that are live.  Own ones may be final; of the live some are executing."""
        if self.known and self.chance.random() < 0.3:
            return self.chance.choice(self.known)
        rows = self.rows("select run_id from sluice.run where finished_at is null order by random() limit 1")
        return rows[0][0] if rows else None

    def cancel(self):
        run, since = self.some_run(), time.monotonic()
        if run:
            self.effect("cancel", since, run=run, did=self.value("select sluice.cancel(%s)", run))

    def requeue(self):
        run, since = self.some_run(), time.monotonic()
        if run:
            self.rows("select sluice.requeue(%s, queue => %s, priority => %s, run_at => %s)", run, self.chance.choice([None, *QUEUES]),
                      self.chance.choice([None, 0, 100]), self.later(self.chance.choice([None, None, 0.3])))
            self.effect("requeue", since, run=run)

    def reschedule(self):
        run, since = self.some_run(), time.monotonic()
        if run:
            self.rows("select sluice.reschedule(%s, %s)", run, self.later(self.chance.choice([-1, 0.3, 1])))
            self.effect("reschedule", since, run=run)

    def limits(self):
        since, limits = time.monotonic(), (self.chance.choice([None, 0, 1, 2, 4]), self.chance.choice([None, 1, 2]))
        self.rows("select sluice.create_queue('shifting', %s, %s)", *limits)
        self.effect("limits", since, queue="shifting", limits=limits)

    def pause(self):
        since = time.monotonic()
        self.rows("select sluice.pause('shifting', 'soak')")
        self.effect("paused", since, queue="shifting", paused=True)

    def resume(self):
        since = time.monotonic()
        self.rows("select sluice.resume('shifting')")
        self.effect("paused", since, queue="shifting", paused=False)

    def wait(self):
        self.rows("call sluice.wait_for_work(timeout => '50 milliseconds', worker => %s)", self.name)
        self.count("wait_for_work")

    ENQUEUES = ([enqueue, enqueue_many, replay], [8, 3, 1])
    VERBS = ([enqueue, enqueue_many, replay, claim, exchange, complete, complete_twice, fail, release, heartbeat, forget, pass_on,
              cancel, requeue, reschedule, limits, pause, resume],
             [22, 5, 2, 20, 22, 20, 2, 6, 4, 7, 1, 10, 5, 5, 4, 2, 1, 3])

    # --- Its life ---

    def told_to_stop(self, seconds):
        return bool(select.select([0], [], [], seconds)[0])

    def live(self):
        while not self.told_to_stop(self.chance.expovariate(1 / 0.02)):
            try:
                if self.connection is None:
                    self.come_back()
                self.settle_doubt()
                if self.chance.random() < 0.04:
                    self.wait()
                else:
                    self.transaction()
            except psycopg2.Error as error:
                # A server that is down, a name that is still in use, a canceled wait, registration or question.
                if self.is_lost(error):
                    self.lose()
                elif error.pgcode in EXPECTED:
                    self.lose()
                    self.count(f"refused {error.pgcode}")
                else:
                    self.tell("wrong", id="", message=f"{error.pgcode} {error}")
                    return
        if self.connection is not None:
            self.settle_doubt()
            self.lose()  # told before the others stop: with its session go its leases


if __name__ == "__main__":
    Client(**json.loads(sys.argv[1])).live()
