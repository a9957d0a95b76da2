"""What must be true of the database after what the clients of the soak know that they did.

Clients tell what they are about to commit and what came of it (client.py).  A transaction whose end nobody heard of is
in doubt, and the table soak.ledger says which way it went.  From the transactions that committed follow the runs that
exist, what each one's end may be, and when each slot was surely taken:

  A claim's slot is held from the moment its client knew of the commit until the earliest moment at which anybody may
  have freed it: the client sent the token's end, or forgot it; its lease, counted from before the claim or heartbeat
  was sent, was over; or the last answer that a registered session got before it was lost.  A success that only a
  standing token has (a heartbeat, an end that was "done") proves that it stood until it was sent.  A token stands as
  long as that, or until somebody canceled or requeued its run.

Both are lower bounds, so whatever they show is a fault of Sluice and not of a clock or a lost message.
"""

import collections
import datetime
import math
import time

LEASES = {"quick": 1.0, "job": 2.0, "statement": 1.0}
FINAL = ("completed", "failed", "canceled", "crashed", "system_failure", "timed_out", "expired")
# Ends that only the owner of a standing attempt can bring about: of a token there is one at most.
STRONG = {"completed": ("completed",), "failed": ("failed",), "crashed": ("crashed",), "oom": ("crashed",),
          "timed_out": ("timed_out",)}
# How far two clocks of one machine may be apart over a lease.
MARGIN = 0.05


class Hold:
    """One claim: when its slot was surely taken, and when its token surely stood."""

    def __init__(self, effect, txn):
        self.effect, self.txn = effect, txn
        self.token, self.run, self.queue, self.lane = (effect[name] for name in ("token", "run", "queue", "lane"))
        self.start = txn.at
        self.slot_end = self.stands_until = -math.inf
        self.maybe_until = -math.inf  # stands_until, where also what was rolled back may have ended it


class Transaction:
    """What one client did; committed is None while in doubt."""

    def __init__(self, ident, effects, sent):
        self.ident, self.effects, self.undone, self.sent = ident, effects, [], sent
        self.committed, self.at, self.how = None, math.inf, ""

    def all_effects(self):
        return self.effects + self.undone


class Round:
    """What the clients told in one round.  Filled by the driver's readers, then asked once."""

    def __init__(self, limits, refuses_prepared_claims):
        self.refuses_prepared_claims = refuses_prepared_claims
        self.transactions, self.gone, self.dead, self.wrong = {}, collections.defaultdict(list), [], []
        self.last_heard, self.tally, self.refused = {}, collections.Counter(), []
        self.limits = limits  # of the queues at its begin: {queue: (concurrency, key_concurrency)}
        self.ended_at = math.inf
        self.epoch = time.time() - time.monotonic()

    # --- Listening ---

    def hear(self, client, said):
        kind, at = said["t"], said["at"]
        self.last_heard[client] = at
        if kind == "intent":
            transaction = self.transactions[said["id"]] = Transaction(said["id"], said["e"], at)
            transaction.how = said["how"]
        elif kind == "end":
            transaction = self.transactions.setdefault(said["id"], Transaction(said["id"], said["e"], at))
            transaction.effects, transaction.undone = said["e"], said["x"]
            transaction.committed, transaction.at = said["ok"], at
            self.tally["committed" if said["ok"] else "rolled back"] += 1
            if said["ok"]:
                self.tally.update(effect["k"] if effect["k"] != "end" else effect["how"] for effect in said["e"])
        elif kind == "gone":
            self.gone[client].append(said["last"])
        elif kind == "dead":
            self.dead.append(said)
        elif kind == "refused":
            self.refused.append(said)
        elif kind == "wrong":
            self.wrong.append(f"{client}: {said['message']} ({said['id']})")
        elif kind == "count":
            self.tally[said["what"]] += 1

    def killed(self, client):
        """Its last words are the last that is known of its session."""
        self.gone[client].append(self.last_heard.get(client, -math.inf))

    # --- After the load has ended ---

    def resolve(self, ledger, now):
        """Gives every transaction its end; yields where what a client knew for certain is not what the ledger says."""
        self.ended_at = now
        for transaction in self.transactions.values():
            there = transaction.ident in ledger
            if transaction.committed is None:
                transaction.committed, transaction.at = there, now
                self.tally["in doubt, committed" if there else "in doubt, rolled back"] += 1
            elif transaction.committed != there:
                known = "committed" if transaction.committed else "rolled back"
                yield None, f"transaction {transaction.ident} was {known}, the ledger says otherwise"
        for ident in ledger - self.transactions.keys():
            yield None, f"transaction {ident} is in the ledger, but nobody sent its commit"

    def committed(self, *kinds):
        return ((transaction, effect) for transaction in self.transactions.values() if transaction.committed
                for effect in transaction.effects if effect["k"] in kinds)

    def history(self, run, tokens=()):
        """What was done to a run, in order, for people."""
        lines = []
        for transaction in self.transactions.values():
            for effect in transaction.all_effects():
                if effect.get("run") == run or effect.get("token") in tokens or set(tokens) & set(effect.get("tokens", ())):
                    undone = "" if effect in transaction.effects else ", then undone"
                    state = f"committed, known at {transaction.at:.3f}" if transaction.committed else "rolled back"
                    lines.append((effect["s"], f"{effect['s']:.3f}–{effect['a']:.3f} {transaction.ident} {effect}{undone}; {state}"))
        return [line for _, line in sorted(lines)]

    def holds(self):
        """Every claim of the round, also those that were undone: by run."""
        killers, ends, beats, proofs = (collections.defaultdict(list) for _ in range(4))
        for transaction in self.transactions.values():
            for effect in transaction.all_effects():
                kept = transaction.committed and effect not in transaction.undone
                if effect["k"] in ("cancel", "requeue"):
                    killers[effect["run"]].append((effect["s"], effect["a"], kept))
                elif effect["k"] in ("end", "forget"):
                    ends[effect["token"]].append((effect["s"], kept))
                    if kept and effect.get("how") in STRONG and effect["answer"] == "done":
                        proofs[effect["token"]].append(effect["s"])
                elif effect["k"] == "beat" and kept:
                    for token in effect["tokens"]:
                        beats[token].append(effect["s"])
                        proofs[token].append(effect["s"])
        found = collections.defaultdict(list)
        for transaction in self.transactions.values():
            for effect in transaction.all_effects():
                if effect["k"] == "claim":
                    hold = Hold(effect, transaction)
                    hold.kept = transaction.committed and effect not in transaction.undone
                    if hold.kept:
                        self.bound(hold, killers[hold.run], ends[hold.token], beats[hold.token], proofs[hold.token])
                    found[hold.run].append(hold)
        return found

    def bound(self, hold, killers, ends, beats, proofs):
        lease = LEASES[hold.effect["task"]] - MARGIN
        # Beats count only while they follow each other within the lease; a later one that succeeded is a proof.
        deadline = hold.effect["s"] + lease
        for beat in sorted(beats):
            if beat <= deadline:
                deadline = max(deadline, beat + lease)
        cuts = [deadline, self.ended_at]
        cuts += [last for last in self.gone[hold.effect["by"]] if last >= hold.effect["s"]]
        proof = max(proofs, default=-math.inf)
        certain = min(cuts + [sent for sent, kept in ends if kept])
        hold.slot_end = max(certain, proof)
        # One that was sent before the claim may have waited for it.
        died = [sent for sent, answered, kept in killers if kept and answered >= hold.effect["s"]]
        hold.stands_until = max(min([certain] + died), proof)
        hold.maybe_until = min(cuts + [sent for sent, _ in ends] + [
            sent for sent, answered, _ in killers if answered >= hold.effect["s"]])

    # --- Rules about what the clients saw, without the database ---

    def seen_faults(self):
        """Yields (run or None, words) for everything that clients saw and that must not be."""
        for words in self.wrong:
            yield None, words
        for said in self.refused:
            if not said["took"]:
                yield None, f"transaction {said['id']} only made runs, and could not be prepared: {said['code']} {said['message']}"
        for transaction, effect in self.committed("claim"):
            if transaction.how == "prepare" and self.refuses_prepared_claims:
                yield effect["run"], f"was claimed by the prepared transaction {transaction.ident}, which the index cannot follow"
        holds = self.holds()
        yield from self.two_owners(holds)
        yield from self.over_limits([hold for held in holds.values() for hold in held if hold.kept])
        yield from self.dead_too_early(holds)
        yield from self.claimed_too_early(holds)
        yield from self.answers(holds)

    @staticmethod
    def two_owners(holds):
        for run, held in holds.items():
            kept = [hold for hold in held if hold.kept]
            for one in kept:
                for other in held:
                    if other is one or other.token == one.token:
                        continue
                    if other.kept and max(one.start, other.start) < min(one.stands_until, other.stands_until):
                        yield run, f"tokens {one.token} and {other.token} stood at one time"
                    elif other.effect["s"] > one.start and other.effect["a"] < one.maybe_until:
                        yield run, f"token {other.token} was handed out while {one.token} stood"

    def limits_between(self, queue, since, until):
        """The limits that may have been in force at some time in between, and whether it may not have been paused."""
        changes = sorted((transaction.at, effect["s"], effect) for transaction, effect in self.committed("limits", "paused")
                         if effect["queue"] == queue)
        limits, running = set(), set()
        for kind, into, first in (("limits", limits, self.limits[queue]), ("paused", running, False)):
            of_kind = [(sent, known, effect[kind]) for known, sent, effect in changes if effect["k"] == kind]
            for sent, known, value in [(-math.inf, -math.inf, first)] + of_kind:
                # In force at the longest until a later change, which began after this one was over, is known.
                over = min((later for begun, later, _ in of_kind if begun >= known), default=math.inf)
                if sent <= until and over >= since:
                    into.add(tuple(value) if kind == "limits" else value)
        return limits, False in running

    def over_limits(self, holds):
        """Sweeps over time.  Whoever of the holders came last came after the latest of their claims was sent: so one of the
        limits that may have been in force since then allows all of them."""
        groups = collections.defaultdict(list)
        for hold in holds:
            if hold.queue == "shifting" and not self.limits_between(hold.queue, hold.effect["s"], hold.effect["a"])[1]:
                yield hold.run, f"claimed from {hold.queue}, which was paused"
            if hold.start < hold.slot_end:
                groups[hold.queue, None].append(hold)
                if hold.lane:
                    groups[hold.queue, hold.lane].append(hold)
        for (queue, lane), held in groups.items():
            held.sort(key=lambda hold: hold.start)
            ends = []  # of those that hold at present
            for hold in held:
                ends = [other for other in ends if other.slot_end > hold.start] + [hold]
                latest = max(other.effect["s"] for other in ends)
                most = [limit[0 if lane is None else 1] for limit in self.limits_between(queue, latest, hold.start)[0]]
                if None not in most and len(ends) > max(most):
                    where = f"queue {queue}" if lane is None else f"lane {lane} of queue {queue}"
                    yield hold.run, f"{len(ends)} slots of {where} were held at {hold.start:.3f}, of {max(most)}: " + ", ".join(
                        f"{other.token} ({other.start:.3f}–{other.slot_end:.3f})" for other in ends)
                    break

    def dead_too_early(self, holds):
        """A token that its client was told is dead, and that must have stood."""
        standing = {hold.token: hold for held in holds.values() for hold in held if hold.kept}
        told = [(said["token"], said["asked"], said["at"]) for said in self.dead]
        told += [(effect["token"], effect["s"], effect["a"]) for transaction in self.transactions.values()
                 for effect in transaction.all_effects() if effect["k"] == "lost"]
        for token, asked, answered in told:
            hold = standing.get(token)
            if hold and hold.start <= asked and answered < hold.maybe_until:
                yield hold.run, f"token {token} was said to be dead at {answered:.3f}, but stood until {hold.maybe_until:.3f}"

    def claimed_too_early(self, holds):
        """Before its time, unless somebody has moved that."""
        moved = {effect["run"] for transaction in self.transactions.values() for effect in transaction.all_effects()
                 if effect["k"] in ("requeue", "reschedule")}
        for _, effect in self.committed("made"):
            if effect["start"] and effect["run"] not in moved:
                start = datetime.datetime.fromisoformat(effect["start"]).timestamp() - self.epoch
                for hold in holds.get(effect["run"], ()):
                    if hold.effect["a"] < start - MARGIN:
                        yield effect["run"], f"was claimed at {hold.effect['a']:.3f}, and was to start at {start:.3f}"

    def answers(self, holds):
        done = collections.defaultdict(list)
        claimed = {hold.token for held in holds.values() for hold in held if hold.kept}
        for _, effect in self.committed("end"):
            if effect["how"] in STRONG and effect["answer"] == "done":
                done[effect["token"]].append(effect)
        for token, effects in done.items():
            if len(effects) > 1:
                yield effects[0]["run"], f"token {token} has ended its attempt {len(effects)} times"
            if token not in claimed:
                yield effects[0]["run"], f"token {token} has ended an attempt, but its claim was undone"
        for _, effect in self.committed("end"):
            if effect["answer"] == "already_done" and not done[effect["token"]]:
                yield effect["run"], f"token {effect['token']} was said to have ended its attempt, and has not"

    # --- Rules about what the database holds ---

    def stored_faults(self, stored, before, attempts, outputs, performed):
        """stored: {run: (status, attempt, max_attempts)} with all that is there; before: that of the rounds before, all of
        it final; attempts, outputs, performed: of this round's runs, {run: number}, {run: token}, {work: times}."""
        made = {effect["run"]: effect for _, effect in self.committed("made")}
        for run in made.keys() - stored.keys():
            yield run, "was committed and does not exist"
        for run in stored.keys() - made.keys() - before.keys():
            yield run, "exists, and nobody committed it"
        for run, row in before.items():
            if stored.get(run) != row:
                yield run, f"was final as {row} in an earlier round and is {stored.get(run)}"
        ends, cancels = collections.defaultdict(list), collections.Counter()
        for _, effect in self.committed("end", "cancel"):
            if effect["k"] == "cancel":
                cancels[effect["run"]] += effect["did"]
            elif effect["how"] in STRONG and effect["answer"] == "done":
                ends[effect["run"]].append(effect)
        final_at = {}
        for transaction, effect in self.committed("end", "cancel"):
            if effect.get("did") or (effect.get("how") == "completed" and effect["answer"] == "done"):
                final_at[effect["run"]] = transaction.at
        for run, held in self.holds().items():
            for hold in held:
                # A transaction may claim what it has itself made, and end without either.
                if run not in made and not any(own["run"] == run for own in hold.txn.all_effects() if own["k"] == "made"):
                    yield run, "was claimed, and nobody committed it"
                if hold.effect["s"] > final_at.get(run, math.inf):
                    yield run, f"was claimed at {hold.effect['s']:.3f}, when it had been final"
        for run in made.keys() & stored.keys():
            for words in self.one_run(made[run], stored[run], ends[run], cancels[run], attempts.get(run, 0), outputs.get(run),
                                      performed[made[run]["work"]]):
                yield run, words
        yield from self.keys(stored, made)

    @staticmethod
    def one_run(effect, row, ends, cancels, attempts, output, performed):
        status, attempt, most, _ = row
        internal = effect["task"] == "statement"
        completions = [end for end in ends if end["how"] == "completed"]
        completed = performed if internal else len(completions)
        if completed != (status == "completed"):
            yield f"is {status}, and was completed {completed} times"
        if internal and ends:
            yield "was ended by a client that cannot have claimed it"
        if cancels != (status == "canceled"):
            yield f"is {status}, and was canceled {cancels} times"
        if attempt > most or most != effect["max"]:
            yield f"has had {attempt} attempts of {most}, made for {effect['max']}"
        if status in FINAL and attempts != attempt:
            yield f"is {status} after {attempt} attempts, of which {attempts} are recorded"
        if status == "completed" and not internal and completions and output != completions[0]["token"]:
            yield f"was completed by {completions[0]['token']}, its output is by {output}"
        for end in ends:
            lasting = end["how"] in ("oom", "timed_out") or (end["how"] in ("failed", "crashed") and not end["again"])
            if lasting and status not in STRONG[end["how"]]:
                yield f"is {status}, but attempt of {end['token']} ended it as {end['how']}"
        if not internal and status in ("failed", "crashed", "timed_out") and not any(status in STRONG[end["how"]] for end in ends):
            yield f"is {status}, and nobody said so"
        if status == "system_failure" and attempt < most:
            yield f"is system_failure after {attempt} attempts of {most}"

    def keys(self, stored, made):
        """Of the runs that were made with one key at most the last is not failed; a found one exists."""
        of_key = collections.defaultdict(set)
        for effect in made.values():
            if effect["key"]:
                of_key[effect["task"], effect["key"]].add(effect["run"])
        for (task, key), runs in of_key.items():
            lasting = [run for run in runs if run in stored and stored[run][0] in ("queued", "executing", "completed", "canceled")]
            if len(lasting) > 1:
                yield max(lasting), f"has the idempotency key {key} of task {task}, and so have {lasting}"
        for _, effect in self.committed("found"):
            if effect["run"] not in stored:
                yield effect["run"], "was found by its idempotency key and does not exist"
