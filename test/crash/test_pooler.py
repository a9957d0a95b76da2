"""Behind a pool that hands out one connection by transaction: clients enqueue and claim, whatever others leave in the
session; waits hold the pool up for as long as they last and no longer; sluiced refuses to work there."""

import concurrent.futures
import itertools
import subprocess
import time

import psycopg2
import pytest

from sandbox import Sandbox, wait_until
from sessions import assert_sound

# What a client may leave in a session that is not its own.  None of it is taken back.
POISON = [
    "set search_path = evil, pg_temp", "set plan_cache_mode = force_custom_plan", "set plan_cache_mode = force_generic_plan",
    "set enable_indexscan = off", "set enable_nestloop = off", "set enable_seqscan = off", "set timezone = 'Asia/Kathmandu'",
    "set datestyle = 'German'", "set intervalstyle = 'sql_standard'", "set bytea_output = 'escape'", "set extra_float_digits = -15",
    "set session_replication_role = replica", "set standard_conforming_strings = off", "set lc_messages = 'C'", "set row_security = off",
    "set plpgsql.variable_conflict = 'use_variable'", "set plpgsql.extra_errors = 'all'", "set statement_timeout = '30s'",
    "create temp table if not exists run (run_id bigint)", "create temp table if not exists task (task text)",
    "create temp table if not exists pg_class (oid oid)", "listen sluice", "select pg_advisory_lock(1936483689, 1)",
    "prepare \"%s\" as select 1", "declare \"%s\" cursor with hold for select 1", "set role none", "set transform_null_equals = on",
]
EVIL = """
    create schema evil;
    create table evil.hits (what text);
    create function evil.hit(a bigint, b bigint) returns boolean language plpgsql as
        $$ begin insert into evil.hits values ('='); return true; end $$;
    create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.hit);
    create function evil.clock_timestamp() returns timestamptz language plpgsql as
        $$ begin insert into evil.hits values ('clock'); return '1999-01-01'; end $$;
    create table evil.run (run_id bigint);
    create domain evil.text as pg_catalog.text check (false);
"""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(sidecar=False) as sandbox:
        sandbox.pooler_start()
        sandbox.rows(EVIL)
        sandbox.rows("select sluice.create_queue('two', concurrency => 2)")
        sandbox.rows("select sluice.create_task('job', 'external', queue => 'two')")
        yield sandbox


def enqueue(sandbox, number, runs):
    with sandbox.pooled() as client:
        return [client.rows("select sluice.enqueue('job', %s::jsonb, concurrency_key => %s)", f'{{"n": [{number}, {n}]}}', str(number))[0][0]
                for n in range(runs)]


def work(sandbox, name, wanted, done):
    """Claims and completes, each in a transaction of its own, until all is done."""
    with sandbox.pooled() as client:
        while len(done) < wanted:
            for token, run_id, payload in client.rows("select token, run_id, payload from sluice.claim(%s, capacity => 2)", name):
                assert client.rows("select sluice.complete(%s, %s::jsonb)", token, payload and str(payload["n"]))[0][0] == "done"
                done.append(run_id)


def poison(sandbox, until):
    count = itertools.count()
    with sandbox.pooled() as client:
        for statement in itertools.cycle(POISON):
            if until():
                return next(count)
            client.rows(statement.replace("%s", f"p{next(count)}"))


def test_many_clients_of_one_connection_do_their_work_in_a_poisoned_session(sandbox):
    clients, runs, done, parts = 6, 25, [], []

    def over():
        return len(done) >= clients * runs or any(part.done() and part.exception() for part in parts)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        poisoner = pool.submit(poison, sandbox, over)
        enqueued = [pool.submit(enqueue, sandbox, number, runs) for number in range(clients)]
        workers = [pool.submit(work, sandbox, f"worker {n}", clients * runs, done) for n in range(3)]
        parts += enqueued + workers
        made = [run_id for part in enqueued for run_id in part.result(timeout=120)]
        for part in workers:
            part.result(timeout=120)
        assert poisoner.result(timeout=60) > len(POISON), "every poison was given"
    assert sorted(done) == sorted(made) and len(set(done)) == clients * runs
    assert sandbox.rows("select status, count(*)::int from sluice.runs group by status") == [("completed", clients * runs)]
    assert sandbox.rows("select * from evil.hits") == []
    assert_sound(sandbox)


@pytest.mark.parametrize("left, call, state", [
    ("set default_transaction_isolation = 'serializable'", "select sluice.claim('w')", "SL013"),
    ("set default_transaction_read_only = on", "select sluice.enqueue('job')", "25006"),
])
def test_what_a_session_may_not_have_is_said_clearly(sandbox, left, call, state):
    # By the client that has set it: pgbouncer 1.26 keeps some settings apart.
    with sandbox.pooled() as client:
        client.rows(left)
        with pytest.raises(psycopg2.Error) as refused:
            client.rows(call)
        assert refused.value.pgcode == state
        client.rows("reset all")


def test_a_wait_holds_the_pool_up_for_its_time_and_no_longer(sandbox):
    with sandbox.pooled() as waiter, sandbox.pooled() as other:
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(waiter.rows, "call sluice.wait_for_work(timeout => '200 ms')")
            wait_until("it waits", lambda: sandbox.rows("select from pg_stat_activity where query ~* '^call sluice.wait_for_work' and state = 'active'")
                       or answer.done())
            assert other.rows("select 1") == [(1,)]
            assert answer.result(timeout=30) == [("timeout",)]
        assert time.monotonic() - begun < 10


def test_an_sql_task_is_performed_through_the_pool_unless_another_client_left_a_cursor(sandbox):
    sandbox.rows("select sluice.create_task('sum', target => 'select 1 + ($1 ->> 0)::int')")
    run_id = sandbox.value("select sluice.enqueue('sum', '[41]')")
    with sandbox.pooled() as client:
        [(token,)] = client.rows("select token from sluice.claim('w', executors => '{sql}')")
        client.rows("discard all")
        with sandbox.pooled() as other:
            other.rows("declare left_behind cursor with hold for select 1")
        with pytest.raises(psycopg2.Error, match="may not leave a cursor with hold"):
            client.rows("call sluice.perform(%s, null)", token)
        client.rows("close all")
        assert client.rows("call sluice.perform(%s, null)", token) == [("done",)]
    assert sandbox.value("select output from sluice.runs where run_id = %s", run_id) == 42


def test_sluiced_says_that_it_needs_a_direct_connection(sandbox):
    done = subprocess.run([sandbox.env["SLUICED"], "--database", f"host={sandbox.pooler} port={sandbox.env['PGPORT']} user=sluiced dbname=sluice"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "goes through a pooler" in done.stdout and "give the address of the server itself" in done.stdout
    assert sandbox.rows("select * from sluice.workers where backend_pid is not null") == []
