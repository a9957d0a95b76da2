"""The ready index over the life of a server: its memory full, missing, switched off and on; databases that come and go;
rows that move; a standby that takes over; and how soon it wakes those who wait."""

import os
import pathlib
import pwd
import subprocess
import threading
import time

import psycopg2
import pytest

from sandbox import SCRIPT, Sandbox, wait_until
from sessions import HELD, Background, Session, assert_sound, kill_backend, sessions, statuses

SECOND_LOOK = 1  # how long a waiter sleeps at most that nobody wakes


def index_stats(sandbox, names, **where):
    return sandbox.rows(f"select {names} from sluice.index_stats()", **where)[0]


def as_user(sandbox, *command):
    """As the user that the server runs as."""
    user = os.environ.get("SLUICE_SANDBOX_USER", "postgres")
    drop = []
    if os.geteuid() == 0:
        drop = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups", "--"]
    subprocess.run([*drop, *command], env={**sandbox.env, "HOME": str(sandbox.dir)}, cwd=sandbox.dir, check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def set_index_memory(sandbox, memory):
    """For sessions that begin after this."""
    with Session(sandbox) as session:
        session.rows("select sluice.version()")  # which makes the setting known there
        session.rows(f"alter system set sluice.index_memory = '{memory}'")
        session.rows("select pg_reload_conf()")
    wait_until("the setting holds", lambda: sandbox.rows(
        "select current_setting('sluice.index_memory', true) from (select sluice.version() offset 0) as loaded") == [(memory,)])


# --- Memory ---

def test_with_the_least_memory_every_run_comes_out_once_and_in_order():
    with Sandbox(sidecar=False, conf=["sluice.index_memory = '1kB'"]) as sandbox, Session(sandbox) as client:
        client.rows("select sluice.create_task('job', 'external')")
        client.claim()  # builds the index, so that what follows is pushed
        for call in range(100):
            client.rows("""
                select count(*) from sluice.enqueue_many('job', array(select to_jsonb(i) from generate_series(1, 1000) as i),
                    array(select jsonb_build_object('priority', (i * 7919 + %s) %% 100, 'concurrency_key', 'k' || i %% 3)
                          from generate_series(1, 1000) as i))""", call)
        client.rows("create temp table place as select run_id, lane, class, claim_key from sluice.run")
        assert client.value("select count(*) from place") == 100_000
        client.rows("create temp table got (nr bigint generated always as identity, run_id bigint, token uuid, open bool default true)")
        client.rows("create index on got (open) where open")
        # No more at once than there is room for leases.
        while client.value("with claimed as (insert into got (run_id, token) select run_id, token from sluice.claim('w', capacity => 10000)"
                           " returning 1) select count(*) from claimed"):
            client.rows("select sluice._complete_many(array(select token from got where open), null)")
            client.rows("update got set open = false where open")
        assert client.rows("select count(*), count(distinct run_id) from got") == [(100_000, 100_000)]
        assert client.value("""
            select count(*) from (
                select (class, claim_key, run_id) < lag((class, claim_key, run_id)) over (partition by lane order by nr) as early
                from got join place using (run_id)) as order_of where early""") == 0
        spills, refills = index_stats(sandbox, "spills, refills")
        assert spills > 0 and refills > 0, "not all of it was in memory"
        assert statuses(sandbox) == {"completed": 100_000}
        assert_sound(sandbox)


def test_with_more_runs_executing_than_there_are_places_for_leases_claims_go_by_the_tables():
    with Sandbox(sidecar=False, conf=["sluice.index_memory = '1kB'"]) as sandbox, sessions(sandbox, 3) as (client, open_claim, other):
        client.rows("select sluice.create_queue('wide', 1000)")
        client.rows("select sluice.create_task('job', 'external', lease => '1 hour', queue => 'wide')")
        client.claim()
        mode, places = index_stats(sandbox, "mode, lease_room")
        assert mode == "index" and 10 < places < 500
        client.rows("select count(sluice.enqueue('job')) from generate_series(1, %s)", 1000 + places)

        # All places, by claims that are open: nobody can change the way meanwhile.
        with open_claim.transaction():
            first = open_claim.claim("open", places - 3)
            assert len(first) == places - 3
            with other.transaction():
                second = other.claim("other", places)
                assert len(second) == 3, "as many as there are places for"
                assert client.claim("client", 5) == []
                assert client.value("call sluice.wait_for_work(timeout => '0 s')") == "timeout", "nor is there work to be had"
                assert client.claim("client", 5) == []
                other.rows("rollback")
                other.rows("begin")
            assert len(client.claim("client", 2)) == 2, "whose claim is rolled back leaves its places"
            assert index_stats(sandbox, "mode") == ("index",)
        held = places - 1
        assert index_stats(sandbox, "leases") == (held,)

        def claims():
            nonlocal held
            held += len(client.claim("client", 1))
            return index_stats(sandbox, "mode") == ("table",)
        wait_until("claims go by the tables", claims)
        assert "leases" in index_stats(sandbox, "why")[0]
        got = client.claim("client", 2000)
        assert held + len(got) == 1000, "up to the queue's limit"
        assert client.claim("client", 5) == []
        assert_sound(sandbox)
        assert client.heartbeat(first[0].token, got[0].token) == [first[0].token, got[0].token]
        client.rows("select sluice._complete_many(array_agg(token), null) from sluice.slot")
        assert client.value("select count(*) from sluice.run where status = 'completed'") == 1000
        assert client.value("select count(*) from sluice.slot") == 0
        assert index_stats(sandbox, "leases") == (0,)
        assert len(client.claim("client", 2000)) == places


def test_claims_in_transaction_blocks_leave_the_change_to_who_waits():
    """A change of ways in a transaction block would stop all others until it ends."""
    with Sandbox(sidecar=False, conf=["sluice.index_memory = '1kB'"]) as sandbox, sessions(sandbox, 2) as (client, waiting):
        client.rows("select sluice.create_task('job', 'external', lease => '1 hour')")
        client.claim()
        [places] = index_stats(sandbox, "lease_room")
        client.rows("select count(sluice.enqueue('job')) from generate_series(1, %s)", places + 5)
        with client.transaction():
            assert len(client.claim("client", 2000)) == places
        with client.transaction():
            assert client.claim("client", 5) == []
        assert waiting.value("call sluice.wait_for_work(timeout => '20 seconds')") == "work"
        assert index_stats(sandbox, "mode") == ("table",)
        with client.transaction():
            assert len(client.claim("client", 10)) == 5
        assert_sound(sandbox)


def test_queues_that_come_and_go_do_not_use_up_the_index():
    with Sandbox(sidecar=False, conf=["sluice.index_memory = '1kB'"]) as sandbox, sessions(sandbox, 4) as (client, enqueues, ends, idle):
        client.rows("select sluice.create_queue('one', 1), sluice.create_queue('two', 2)")
        client.rows("select sluice.create_task('job', 'external', lease => '1 hour', queue => 'one')")
        for queue in ("one", "one", "two", "two", "two"):
            client.enqueue("job", queue=queue)
        [held] = client.claim("w1", 5, ["one"])
        ended, beating = client.claim("w2", 5, ["two"])
        client.rows("select sluice.cancel(%s)", beating.run_id)
        idle.heartbeat(held.token)

        # Open transactions that have logged places in the segment that is to be replaced.
        enqueues.rows("begin")
        late = enqueues.enqueue("job", queue="two")
        ends.rows("begin")
        assert ends.complete(ended.token) == "done"
        with client.transaction():  # and one that changes its mind
            client.rows("savepoint s")
            client.rows("select sluice.reschedule(run_id, clock_timestamp() + '1 hour') from sluice.run where status = 'queued'")
            client.rows("rollback to s")
        assert client.claim("w3", 5, ["two"]) == []

        for number in range(200):  # there are places for 64
            client.rows("select sluice.create_queue(%s)", f"q{number}")
            run = client.enqueue("job", queue=f"q{number}")
            # Where no place was left the next claim builds, at most once a second.
            [lease] = wait_until("it is claimed", lambda queue=f"q{number}": client.claim("w", 5, [queue]))
            assert (lease.run_id, client.complete(lease.token)) == (run, "done")
            client.rows("select sluice.drop_queue(%s)", f"q{number}")
            assert index_stats(sandbox, "mode") == ("index",)

        # What was held is held, by whom it was, and no less long.
        assert client.claim("w3", 5, ["one", "two"]) == []
        assert idle.heartbeat(held.token) == [held.token]
        [(left, worker)] = client.rows(f"select until - clock_timestamp(), worker from {HELD} as h where token = %s", held.token)
        assert 3000 < left.total_seconds() <= 3600 and worker == "w1"
        assert client.value(f"select revoked from {HELD} as h where token = %s", beating.token) == "canceled"

        # Those transactions go on by the tables' truth.
        assert ends.claim("w4", 5) == [], "one that has logged elsewhere cannot claim"
        ends.rows("commit")
        enqueues.rows("commit")
        [third] = wait_until("the end is seen", lambda: client.claim("w5", 5, ["two"]))
        assert client.claim("w5", 5, ["two"]) == [], "at its limit again"
        assert client.value("select sluice.release(%s)", beating.token) == "done"
        [fourth] = wait_until("the enqueue is seen", lambda: client.claim("w6", 5, ["two"]))
        assert fourth.run_id == late and third.run_id != late
        assert idle.complete(held.token) == "done"
        assert len(client.claim("w7", 5, ["one"])) == 1
        assert_sound(sandbox)


def restart_with_shm(sandbox, size):
    """Starts the server anew in a namespace with a /dev/shm of that size."""
    sandbox.server_stop()
    subprocess.run(["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"', "sh",
                    str(SCRIPT), "server", "start", "--dir", str(sandbox.dir)], check=True, stdin=subprocess.DEVNULL)


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a server a small /dev/shm")


@only_root
def test_where_dev_shm_is_small_the_index_is_smaller_and_leaves_room():
    """As containers have it: 64 MB, in which the index that is asked for does not fit beside what the server needs."""
    with Sandbox(sidecar=False) as sandbox:
        restart_with_shm(sandbox, "64m")
        with Session(sandbox) as client:
            client.rows("select sluice.create_task('job', 'external')")
            runs = {client.enqueue("job") for _ in range(100)}
            leases = client.claim("client", 100)
            assert {lease.run_id for lease in leases} == runs
            [(mode, why, megabytes)] = client.rows("select mode, why, bytes / 1048576 from sluice.index_stats()")
            assert (mode, why) == ("index", None) and 16 <= megabytes <= 32, "half of the 64 MB that are asked for"
            client.rows("create table many as select g, md5(g::text) as m from generate_series(1, 200000) as g")
            client.rows("analyze many")
            with client.transaction():
                for setting in ("min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                                "enable_mergejoin = off", "enable_nestloop = off"):
                    client.rows(f"set local {setting}")
                plan = "\n".join(line for (line,) in client.rows(
                    "explain (analyze, costs off, timing off) select count(*) from many as a join many as b using (m)"))
            assert "Parallel Hash" in plan and "Workers Launched: 2" in plan, plan
            assert {client.complete(lease.token) for lease in leases} == {"done"}
        assert_sound(sandbox)


@only_root
def test_without_memory_claims_go_by_the_tables_and_it_says_why():
    with Sandbox(sidecar=False) as sandbox:
        # Enough for the server itself; a smaller index than was asked for is tried down to 1 MB.
        restart_with_shm(sandbox, "1200k")
        with Session(sandbox) as client:
            client.rows("select sluice.create_task('job', 'external')")
            run = client.enqueue("job")
            [lease] = client.claim()
            assert lease.run_id == run
            mode, why = index_stats(sandbox, "mode, why")
            assert (mode, bool(why)) == ("table", True)
            assert client.value("select count(*) from sluice.slot") == 1
            assert client.complete(lease.token) == "done"
        assert_sound(sandbox)


def test_switching_the_index_off_and_on_keeps_a_limit_of_one_and_what_a_beat_was_told(fresh):
    """A worker goes on all the while; what it holds is counted through every change, until the deadline of its last beat."""
    done = threading.Event()
    last_beat = "select extract(epoch from beat_at)::float8 from sluice._slots_of('holder')"

    def work():
        with Session(fresh) as worker:
            while not done.is_set():
                for lease in worker.claim("busy", 5, ["one"]):
                    worker.rows("insert into public.busy values (%s)", lease.run_id)
                    worker.rows("delete from public.busy")
                    worker.complete(lease.token)

    with Session(fresh) as client:
        # Two at once would meet here.
        client.rows("create table public.busy (run_id bigint, one bool default true unique)")
        client.rows("select sluice.create_queue('one', 1), sluice.create_queue('held', 1)")
        client.rows("select sluice.create_task('job', 'external', queue => 'one')")
        for _ in range(2):
            client.enqueue("job", queue="held")
        [held] = client.claim("holder", 5, ["held"])
        client.rows("select count(sluice.enqueue('job')) from generate_series(1, 5000)")
        with Background(work), Background(work):
            try:
                for memory, mode in [("0", "table"), ("64MB", "index"), ("0", "table"), ("64MB", "index")]:
                    assert client.heartbeat(held.token) == [held.token]
                    beat = client.value(last_beat)
                    client.rows(f"alter system set sluice.index_memory = '{memory}'")
                    client.rows("select pg_reload_conf()")
                    wait_until(f"claims go by the {mode}", lambda wanted=mode:
                               index_stats(fresh, "mode, build_due") == (wanted, False))
                    assert client.value(last_beat) > beat - 0.001, "the change cuts no lease short"
                    assert client.claim("other", 5, ["held"]) == [], "the one slot is held through the change"
                    assert client.heartbeat(held.token) == [held.token]
                # The lease has a row in the table by now, with the deadline that it had there.
                beat, builds = client.value(last_beat), index_stats(fresh, "builds")
                client.rows("select sluice._index_change_storage()")
                wait_until("the index is built anew", lambda: client.claim("other", 5, ["held"]) == [] and index_stats(fresh, "builds") > builds)
                assert client.value(last_beat) > beat - 0.001, "nor does another build"
            finally:
                done.set()
                client.rows("alter system reset sluice.index_memory")
                client.rows("select pg_reload_conf()")
        assert client.complete(held.token) == "done"
        [second] = client.claim("other", 5, ["held"])
        assert client.complete(second.token) == "done"


def beat_at(client):
    """When the holder's one token was heard of last, by what decides its end."""
    return client.value("select extract(epoch from beat_at)::float8 from sluice._slots_of('holder')")


def is_beating(client, token):
    """Sends a heartbeat and returns since when its lease goes on at least."""
    before = client.value("select extract(epoch from clock_timestamp())::float8")
    assert client.heartbeat(token) == [token]
    return before - 0.001  # the leases' clock and this one are read one after the other


def test_a_beat_that_commits_beside_the_change_to_the_index_counts_in_it(fresh):
    with sessions(fresh, 2) as (holder, other):
        try:
            set_index_memory(fresh, "0")
            holder.rows("select sluice.create_task('job', 'external')")
            holder.enqueue("job")
            [lease] = holder.claim("holder")
            with holder.transaction():
                told = is_beating(holder, lease.token)
                set_index_memory(fresh, "64MB")
                assert other.claim("other") == []  # which would make the change
            wait_until("claims go by the index", lambda: other.claim("other") == [] and index_stats(fresh, "mode") == ("index",))
            assert beat_at(other) > told
        finally:
            set_index_memory(fresh, "64MB")


def test_a_beat_beside_the_change_to_the_tables_counts_in_them(fresh):
    with sessions(fresh, 4) as (client, holder, changes, blocks):
        try:
            client.rows("select sluice.create_queue('held', 1), sluice.create_queue('one', 1)")
            client.rows("select sluice.create_task('job', 'external', queue => 'held')")
            client.enqueue("job")
            [lease] = holder.claim("holder", 1, ["held"])
            client.enqueue("job", queue="one")
            # The claim that makes the change has written the deadlines, and waits for a queue before it commits.
            queue = client.value("select queue_id from sluice.queue where queue = 'one'")
            blocks.rows("select pg_advisory_lock(1936487793, %s)", queue)  # class "sluq"
            set_index_memory(fresh, "0")
            with Background(changes.claim, "changes", 1, ["one"]) as change:
                wait_until("it waits for the queue", lambda: client.value("select wait_event from pg_stat_activity where pid = %s", changes.pid) == "advisory")
                with Background(is_beating, holder, lease.token) as beat:
                    wait_until("the beat has been made, or waits for the change", lambda: not beat.is_running() or client.value(
                        "select wait_event_type from pg_stat_activity where pid = %s", holder.pid) == "Lock")
                    blocks.rows("select pg_advisory_unlock_all()")
            assert len(change.result) == 1
            assert index_stats(fresh, "mode") == ("table",)
            assert beat_at(client) > beat.result
        finally:
            set_index_memory(fresh, "64MB")


def test_an_attempt_that_ends_while_the_index_comes_holds_no_slot_for_long():
    with Sandbox(sidecar=False, conf=["sluice.index_memory = '0'"]) as sandbox, sessions(sandbox, 3) as (client, ends, other):
        client.rows("select sluice.create_task('job', 'external')")
        client.enqueue("job")
        client.enqueue("job")
        [first, second] = client.claim(capacity=2)
        with ends.transaction():
            assert ends.complete(first.token) == "done"  # there is no index that could be told
            client.rows("alter system set sluice.index_memory = '64MB'")
            client.rows("select pg_reload_conf()")
            wait_until("claims go by the index", lambda: other.claim() == [] and index_stats(sandbox, "mode, leases") == ("index", 2))
        assert index_stats(sandbox, "leases, build_due") == (2, True)
        assert client.rows("select * from sluice.check()") == []
        wait_until("it is built anew", lambda: other.claim() == [] and index_stats(sandbox, "leases, build_due") == (1, False))
        assert_sound(client)
        assert client.complete(second.token) == "done"


# --- Databases and tables that come and go ---

def test_more_databases_than_the_root_has_places_for_come_and_go(fresh):
    """Each has its own index while it is there; a place is used again after its database is dropped."""
    for number in range(40):
        name = f"many_{number % 20}"
        fresh.rows(f"create database {name} template pristine", dbname="postgres")
        try:
            with Session(fresh, dbname=name) as client:
                client.rows("select sluice.adopt()")
                client.rows("select sluice.create_task('job', 'external')")
                run = client.enqueue("job")
                assert [lease.run_id for lease in client.claim(capacity=5)] == [run]
                assert client.value("select mode from sluice.index_stats()") == "index"
        finally:
            fresh.rows(f"drop database {name} with (force)", dbname="postgres")


@pytest.mark.parametrize("takes", ["a place", "memory"])
def test_dropped_databases_give_their_memory_back(takes):
    """As soon as another database takes some: it may have been all that the system had."""
    segments = "select count(*) from pg_ls_dir('pg_dynshmem') as f where (pg_stat_file('pg_dynshmem/' || f)).size >= 4000000"
    conf = ["dynamic_shared_memory_type = mmap", "sluice.index_memory = '4MB'"]
    with Sandbox(sidecar=False, conf=conf) as sandbox:
        def use(name):
            with Session(sandbox, dbname=name) as client:
                client.rows("select sluice.adopt()")
                client.claim()
                assert client.value("select mode from sluice.index_stats()") == "index"

        for name in ("last", "a", "b", "c"):
            sandbox.rows(f"create database {name} template sluice", dbname="postgres")
        if takes == "memory":  # it has a place and no segment
            set_index_memory(sandbox, "0")
            with Session(sandbox, dbname="last") as client:
                assert client.value("select mode from sluice.index_stats()") == "unbuilt"
            set_index_memory(sandbox, "4MB")
        for name in ("a", "b", "c"):
            use(name)
        assert sandbox.rows(segments, dbname="postgres") == [(3,)]
        for name in ("a", "b"):
            sandbox.rows(f"drop database {name} with (force)", dbname="postgres")
        use("last")
        assert sandbox.rows(segments, dbname="postgres") == [(2,)]
        with Session(sandbox, dbname="c") as client:
            assert client.value("select mode from sluice.index_stats()") == "index", "what is there is left alone"


def test_databases_side_by_side_do_not_see_each_others_runs(fresh):
    names = ["side_a", "side_b", "side_c"]
    for name in names:
        fresh.rows(f"create database {name} template pristine", dbname="postgres")
    made = []
    try:
        made = [Session(fresh, dbname=name) for name in names]
        for session in made:
            session.rows("select sluice.adopt()")
            session.rows("select sluice.create_task('job', 'external')")
        runs = [session.enqueue("job") for session in made]
        assert [[lease.run_id for lease in session.claim(capacity=5)] for session in made] == [[run] for run in runs]
        assert [session.rows("select * from sluice.check()") for session in made] == [[], [], []]
    finally:
        for session in made:
            session.close()
        for name in names:
            fresh.rows(f"drop database {name} with (force)", dbname="postgres")


def test_rows_that_move_are_found(fresh):
    """VACUUM FULL of a partition gives every row a new place while workers claim."""
    done = threading.Event()

    def work():
        with Session(fresh) as worker:
            while not done.is_set():
                leases = worker.claim("mover", 20)
                worker.rows("select sluice.complete(t) from unnest(%s::uuid[]) as t", [lease.token for lease in leases])

    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external')")
        client.enqueue("job")
        week = client.value("select tableoid::regclass::text from sluice.run")
        client.rows("select count(sluice.enqueue('job')) from generate_series(1, 3000)")
        with Background(work), Background(work):
            try:
                for _ in range(5):
                    client.rows(f"vacuum full {week}")
                wait_until("all are completed", lambda: set(statuses(fresh)) == {"completed"}, seconds=60)
            finally:
                done.set()
        assert statuses(fresh) == {"completed": 3001}


def test_a_truncated_storage_is_forgotten(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_task('job', 'external')")
        client.rows("select sluice.create_queue('one', 1)")
        client.enqueue("job", queue="one")
        assert len(client.claim()) == 1
        client.rows("select count(sluice.enqueue('job')) from generate_series(1, 100)")
        client.rows("truncate sluice.run, sluice.payload, sluice.output, sluice.attempt, sluice.log, sluice.slot, sluice.lease")
        client.rows("select sluice.rebuild_index()")
        run = client.enqueue("job", queue="one")
        [lease] = wait_until("the slot of a run that is gone is free", lambda: client.claim(queues=["one"]))
        assert lease.run_id == run
        assert client.claim(capacity=100) == []


# --- A build and its time ---

def test_a_statement_timeout_does_not_end_a_build(fresh):
    """Else sessions with a short one would begin it again and again, and nobody would claim."""
    with sessions(fresh, 3) as (client, hurried, locks):
        client.rows("select sluice.create_task('job', 'external')")
        runs = [client.enqueue("job") for _ in range(3)]
        client.claim()
    fresh.restart()
    with sessions(fresh, 3) as (client, hurried, locks):
        hurried.rows("set statement_timeout = '300ms'")

        def builds(seconds):
            return wait_until("it builds for that long", lambda: client.value(
                "select wait_event_type = 'Lock' and clock_timestamp() - query_start > %s * interval '1 second'"
                " from pg_stat_activity where pid = %s", seconds, hurried.pid))

        # A build reads the table of slots, so this stops it.
        with locks.transaction():
            locks.rows("lock table sluice.slot in access exclusive mode")
            with Background(hurried.claim) as claim:
                builds(1)
                locks.rows("rollback")
                locks.rows("begin")
            assert [lease.run_id for lease in claim.join()] == [runs[1]]
        assert hurried.value("show statement_timeout") == "300ms"
        with pytest.raises(psycopg2.errors.QueryCanceled) as canceled:
            hurried.rows("select pg_sleep(20)")
        assert (canceled.value.diag.message_hint, canceled.value.diag.context) == (None, None), "the next statement has its timeout"

    # What the build took is not the statement's, the rest is.
    fresh.restart()
    with sessions(fresh, 3) as (client, hurried, locks):
        hurried.rows("set statement_timeout = '300ms'")
        assert hurried.sqlstate("select pg_sleep(20) from sluice.claim('w')") == "57014"
        assert index_stats(fresh, "mode") == ("index",), "it was built nevertheless"

    # Who cancels it means it, and is told what to do.
    fresh.restart()
    with sessions(fresh, 3) as (client, hurried, locks):
        with locks.transaction():
            locks.rows("lock table sluice.slot in access exclusive mode")
            with Background(lambda: pytest.raises(psycopg2.errors.QueryCanceled, hurried.claim)) as claim:
                wait_until("it builds", lambda: client.value(
                    "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", hurried.pid))
                client.rows("select pg_cancel_backend(%s)", hurried.pid)
            told = claim.join().value.diag
            assert "The next claim begins it anew" in told.message_hint and "making the ready index" in told.context
        assert index_stats(fresh, "mode") == ("unbuilt",)
        assert [lease.run_id for lease in hurried.claim()] == [runs[2]]
        assert index_stats(fresh, "mode") == ("index",)


# --- Another server ---

def test_a_promoted_standby_claims_and_gives_leases_one_more_period():
    with Sandbox(sidecar=False) as sandbox, sessions(sandbox, 1) as (client,):
        copy = pathlib.Path(sandbox.dir) / "standby"

        client.rows("select sluice.create_queue('one', 1)")
        client.rows("select sluice.create_task('job', 'external', lease => '3 seconds', queue => 'one')")
        first, second = client.enqueue("job"), client.enqueue("job")
        [lease] = client.claim("w")
        as_user(sandbox, "pg_basebackup", "-D", str(copy), "-R", "-X", "stream", "-c", "fast")
        third = client.enqueue("job")
        sandbox.server_stop("fast")
        # The same port, in a directory of its own.
        sockets = pathlib.Path(sandbox.dir) / "standby-sockets"
        as_user(sandbox, "mkdir", str(sockets))
        as_user(sandbox, "pg_ctl", "start", "-D", str(copy), "-l", str(pathlib.Path(sandbox.dir) / "standby.log"), "-s", "-w",
                "-o", f"-k {sockets} -c listen_addresses=")
        try:
            sandbox.env["PGHOST"] = str(sockets)
            with Session(sandbox) as there:
                assert there.value("select pg_is_in_recovery()")
                assert there.sqlstate("select * from sluice.claim('w')") in ("25006", "0A000"), "a standby is read-only"
                as_user(sandbox, "pg_ctl", "promote", "-D", str(copy), "-s", "-w")
                before = there.value("select clock_timestamp()")
                assert there.claim("other", 5) == [], "the one slot is still held"
                [(left,)] = there.rows(f"select until - %s from {HELD} as h where token = %s", before, lease.token)
                assert 2 < left.total_seconds() < 15, "the lease has one more period"
                assert there.complete(lease.token) == "done"
                [again] = there.claim("other", 5)
                assert (again.run_id, there.complete(again.token)) == (second, "done")
                assert there.value("select count(*) from sluice.runs where run_id in (%s, %s)", first, third) >= 1
            assert_sound(sandbox)
        finally:
            as_user(sandbox, "pg_ctl", "stop", "-D", str(copy), "-s", "-m", "immediate")


def test_after_a_crash_an_executing_run_holds_its_slot_and_has_its_lease_again(fresh):
    with Session(fresh) as client:
        client.rows("select sluice.create_queue('one', 1)")
        client.rows("select sluice.create_task('job', 'external', lease => '100 seconds', queue => 'one')")
        runs = [client.enqueue("job") for _ in range(3)]
        [held] = client.claim("w", 5)
        client.rows("select sluice.cancel(%s)", runs[0])
        kill_backend(fresh, client.pid)
    with Session(fresh) as client:
        assert client.claim("other", 5) == [], "a dead token holds its slot across a crash"
        assert client.value(f"select revoked from {HELD} as h where token = %s", held.token) == "canceled"
        assert client.value("select sluice.release(%s)", held.token) == "done"
        [second] = client.claim("other", 5)
        assert second.run_id == runs[1]
    fresh.restart("immediate")
    with Session(fresh) as client:
        assert client.claim("other", 5) == [], "a run that executes holds its slot across a crash"
        assert client.value(f"select until - clock_timestamp() between '90 s' and '101 s' from {HELD} as h where token = %s",
                            second.token), "and has one more lease"
        assert client.complete(second.token) == "done"
        assert [lease.run_id for lease in client.claim("other", 5)] == [runs[2]]


# --- Waking ---

def commits(client, _held):
    client.enqueue("job", queue="one")


def frees(client, held):
    client.complete(held.token)


def falls_due(client, _held):
    client.enqueue("job", queue="one", run_at=client.value("select clock_timestamp() + interval '300 ms'"))
    return 0.3


@pytest.mark.parametrize("event", [commits, frees, falls_due])
def test_who_waits_is_woken_at_once_without_looking(fresh, event):
    """Of nine waits most end within a tenth of a second, where by its own looks one in ten would."""
    early = 0
    with sessions(fresh, 2) as (client, waiting):
        client.rows("select sluice.create_queue('one', 1)")
        client.rows("select sluice.create_task('job', 'external', queue => 'one')")
        client.claim()  # before the first claim there is nothing to wait for
        for _ in range(9):
            held = None
            if event is frees:
                client.enqueue("job")
                [held] = client.claim()
                client.enqueue("job")
            with Background(waiting.value, "call sluice.wait_for_work(timeout => '20 seconds')") as wait:
                wait_until("the waiter sleeps", lambda: client.value(
                    "select wait_event_type = 'Extension' from pg_stat_activity where pid = %s", waiting.pid))
                assert client.value("select backend_xmin is null and backend_xid is null"
                                    " from pg_stat_activity where pid = %s", waiting.pid)
                began = time.monotonic()
                expected = event(client, held) or 0
                assert wait.join(20) == "work"
                early += time.monotonic() - began - expected < SECOND_LOOK / 10
            for lease in client.claim(capacity=5):
                client.complete(lease.token)
    assert early >= 5
