"""A tick makes one run at most, whoever else fires, whatever is killed, and however long nobody was there; and it makes it
at the very second.
"""

import collections
import contextlib
import os
import signal
import threading

import psycopg2
import pytest

from sandbox import Sandbox, is_alive, wait_until
from sessions import Background, Session, assert_sound, can_connect, kill_backend, seeded_random, sessions

# A tick that is not of this time, so that no clock makes another: the n-th.
TICK = "timestamptz '2190-01-01 00:00+00' + %s * interval '1 day'"


def due(session, number, where="true"):
    """The next tick of these schedules is the n-th, and it is due."""
    session.rows(f"update sluice.schedule set next_tick = {TICK}, fire_at = clock_timestamp() where {where}", number)


def ticks(session):
    """Of each schedule and tick the number of runs."""
    return collections.Counter(session.rows("select payload ->> 'schedule', payload ->> 'external_id', payload ->> 'timestamp' from sluice.runs"))


def define(session, instances, **options):
    session.rows("select sluice.create_task('job', 'external')")
    names = "".join(f", {name} => %s" for name in options)
    session.rows(f"select count(sluice.create_schedule('s', 'job', '0 0 * * *', external_id => n::text{names})) from generate_series(1, %s) as n",
                 *options.values(), instances)


def test_two_that_fire_at_once_make_one_run_of_each_tick(fresh):
    """Should two sessions ever believe that they lead: the rows themselves keep them apart."""
    fire = """select sluice._fire(array(select d.schedule_id from (select s.schedule_id from sluice.schedule as s where s.fire_at <= clock_timestamp()
              order by s.fire_at limit 50 for update skip locked) as d), clock_timestamp())"""
    with sessions(fresh, 3) as (first, second, third):
        define(first, 200)
        due(first, 1)
        with first.transaction():
            assert first.value(fire) == 50
            assert second.value(fire) == 50, "others pass over what one fires"
        due(first, 2)

        def fire_all(session):
            return sum(iter(lambda: session.value(fire), 0))
        with Background(fire_all, second) as other, Background(fire_all, third) as another:
            mine = fire_all(first)
        assert mine + other.result + another.result == 200
        made = ticks(first)
        assert len(made) == 300 and set(made.values()) == {1}


def test_what_was_not_committed_is_fired_again_and_only_that(fresh):
    with Session(fresh) as client:
        define(client, 30)
        due(client, 1)
        with contextlib.suppress(psycopg2.Error), Session(fresh) as leader:
            leader.lead()
            leader.rows("begin")
            assert leader.value("select fired from sluice.fire_schedules()") == 30
            client.rows("select pg_terminate_backend(%s)", leader.pid)
            leader.rows("commit")
        assert client.value("select count(*) from sluice.runs") == 0
        with Session(fresh) as leader:
            leader.lead()
            assert leader.value("select fired from sluice.fire_schedules()") == 30
        made = ticks(client)
        assert len(made) == 30 and set(made.values()) == {1}


@pytest.fixture(scope="module")
def stage():
    """A cluster with sidecars that run nothing and lead."""
    with Sandbox(sidecar=False, conf=["recovery_init_sync_method = syncfs"]) as sandbox:
        yield sandbox


def start(sandbox, *names):
    for name in names:
        sandbox.sidecar_start(name, conf=('worker.executors = ["sql"]',))


@pytest.mark.parametrize("victim, rounds", [("leader", 4), ("backend", 2)])
def test_no_tick_is_lost_or_comes_twice_while_what_fires_is_killed(stage, victim, rounds):
    chance = seeded_random("fire under fire")
    instances = 2500
    with Session(stage) as session:
        session.rows("truncate sluice.schedule")
        forget = session.value("select count(sluice.cancel(run_id)) from sluice.runs where finished_at is null")
        assert forget is not None
        define(session, instances, catch_up="one")
        before = session.value("select coalesce(max(run_id), 0) from sluice.runs")
    start(stage, "one", "two")
    with contextlib.closing(stage.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
    for number in range(1, rounds + 1):
        with Session(stage) as session:
            due(session, number)
            session.rows("notify sluice_schedules")
            wanted = chance.randint(1, instances - 1)
            # Somewhere in the middle of the burst: batches are of a thousand.
            wait_until("the burst has begun", lambda: session.value("select count(*) from sluice.schedule where last_tick = " + TICK, number) >= min(wanted, 1000),
                       seconds=30)
            name = session.value("select worker from sluice.leader")
            pid = session.value("select pid from pg_stat_activity where application_name = 'sluiced leader' limit 1")
        if victim == "leader":
            stage.sidecar_kill(name)
            start(stage, name)
        elif pid:
            with contextlib.suppress(ProcessLookupError):
                kill_backend(stage, pid)
        wait_until("the server is up", lambda: can_connect(stage), seconds=30)
        with Session(stage) as session:
            wait_until("every schedule has fired", lambda: session.value(
                "select count(*) from sluice.schedule where last_tick is distinct from " + TICK, number) == 0, seconds=40)
    for name in ("one", "two"):
        stage.sidecar_stop(name)
    with Session(stage) as session:
        made = collections.Counter(session.rows(
            "select payload ->> 'external_id', payload ->> 'timestamp' from sluice.runs where run_id > %s", before))
        assert len(made) == instances * rounds and set(made.values()) == {1}
        assert session.value("select sum(skipped) from sluice.schedule") == 0
    assert_sound(stage)


def test_a_tick_is_fired_at_its_second_also_of_a_schedule_that_is_new(stage):
    with Session(stage) as session:
        session.rows("truncate sluice.schedule")
        session.rows("select sluice.create_task('punctual', 'external')")
        start(stage, "one")
        wait_until("somebody leads", lambda: session.value("select count(*) from sluice.leader"))
        wait_until("the leader has nothing to wait for", lambda: session.value(
            "select count(*) from pg_stat_activity where application_name = 'sluiced leader' and state = 'idle'"))
        latenesses = []
        for number in range(1, 6):
            session.rows("select sluice.create_schedule('soon', 'punctual', '0 0 * * *')")
            with session.transaction():
                session.rows(f"update sluice.schedule set next_tick = {TICK}, fire_at = clock_timestamp() + interval '300 milliseconds'", number)
                session.rows("select sluice._wake_schedules()")
            late = wait_until("the tick has made a run", lambda: session.value(
                "select extract(epoch from r.created_at - (s.updated_at)) from sluice.schedules as s join sluice.runs as r on r.run_id = s.last_run_id"
                " where s.last_tick = " + TICK, number), seconds=5)
            latenesses.append(float(late))
            session.rows("select sluice.drop_schedule('soon')")
        stage.sidecar_stop("one")
        # Not before its time; and the leader did not find it by looking now and then, which it does each ten seconds.
        assert min(latenesses) > 0.29 and sorted(latenesses)[2] < 0.8, latenesses


def test_what_came_while_no_sidecar_was_there_is_skipped_and_counted_or_made_up_for(stage):
    with Session(stage) as session:
        session.rows("truncate sluice.schedule")
        session.rows("select sluice.create_task('minutely', 'external')")
        for rule in ("skip", "one", "all"):
            session.rows("select sluice.create_schedule(%s, 'minutely', '* * * * *', catch_up => %s)", rule, rule)
        # As if the sidecars had been away for seven minutes.
        session.rows("update sluice.schedule set next_tick = next_tick - interval '7 minutes', fire_at = fire_at - interval '7 minutes'")
        missed = session.value("select min(next_tick) from sluice.schedule")
        start(stage, "one")
        wait_until("all have gone on", lambda: session.value("select min(next_tick) > clock_timestamp() from sluice.schedule"))
        stage.sidecar_stop("one")
        for rule, runs in (("skip", 1), ("one", 1), ("all", None)):
            skipped, gone, made = session.rows("select s.skipped, extract(epoch from s.next_tick - %s)::int / 60,"
                                               " (select count(*) from sluice.runs as r where r.schedule = s.schedule) from sluice.schedules as s where s.schedule = %s", missed, rule)[0]
            assert gone in (7, 8) and skipped + made == gone, (rule, skipped, gone, made)
            # A minute may have begun in between, whose tick is on time.
            assert made in ((runs, runs + 1) if runs else (gone,)), (rule, skipped, gone, made)
