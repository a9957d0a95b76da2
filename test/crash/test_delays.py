"""Delays, times to live and leases under kills: what falls due while nobody works, or while everything dies, is done once."""

import time

import pytest

from sandbox import Sandbox, wait_until
from sessions import Session, assert_sound


def statuses_of(client, runs):
    return dict(client.rows("select status, count(*)::int from sluice.runs where run_id = any(%s) group by 1", runs))


@pytest.fixture
def shop():
    with Sandbox(sidecar=False) as sandbox:
        with Session(sandbox) as client:
            client.rows("create table done (n integer)")
            client.rows("grant insert on done to public")
            client.rows("select sluice.create_task('note', 'sql', 'insert into public.done values (($1 ->> 0)::integer)')")
            client.rows("select sluice.create_task('held', 'external', ttl => '2s', retry => '{\"max_attempts\": 5}')")
        yield sandbox
        assert_sound(sandbox)


def delayed(client, count, run_at):
    return [run for (run,) in client.rows(
        "select * from sluice.enqueue_many('note', (select array_agg(jsonb_build_array(n)) from generate_series(1, %s) as n),"
        " array[jsonb_build_object('run_at', %s::text)]::jsonb[])", count, run_at)]


def test_a_burst_of_due_runs_survives_kills(shop):
    """Ten thousand fall due at one instant; sidecar, server and sidecar again are killed meanwhile.  Each is done once."""
    with Session(shop) as client:
        runs = delayed(client, 10_000, client.value("select (clock_timestamp() + interval '3 seconds')::text"))
        assert statuses_of(client, runs) == {"delayed": 10_000}
    conf = ["worker.capacity = 16"]

    def done():
        with Session(shop) as client:
            return client.value("select count(*) from done")
    shop.sidecar_start("a", conf)
    wait_until("the burst has begun", lambda: done() > 500, 30)
    shop.sidecar_kill("a")
    shop.sidecar_start("b", conf)
    wait_until("it goes on", lambda: done() > 2000, 30)
    shop.server_stop("immediate")
    shop.server_start()
    wait_until("and on", lambda: done() > 4000, 30)
    shop.sidecar_kill("b")
    shop.sidecar_start("c", conf)
    with Session(shop) as client:
        wait_until("all is done", lambda: statuses_of(client, runs) == {"completed": 10_000}, 90)
        assert client.rows("select count(*), count(distinct n) from done") == [(10_000, 10_000)]
    shop.sidecar_stop("c")


@pytest.mark.both_modes
def test_what_fell_due_while_no_sidecar_ran_is_caught_up_with_at_once(shop):
    with Session(shop) as client:
        runs = delayed(client, 200, client.value("select (clock_timestamp() + interval '1 second')::text"))
        mortal = [client.enqueue("held") for _ in range(50)]
        late = client.enqueue("held", delay="1h")
        wait_until("all of that is over", lambda: client.value(
            "select bool_and(ready_at < clock_timestamp()) and bool_and(expires_at is null or expires_at < clock_timestamp())"
            " from sluice.runs where run_id <> %s", late))
        assert statuses_of(client, [*runs, *mortal]) == {"queued": 250}, "nobody does anything"
        shop.sidecar_start()
        started = time.monotonic()
        wait_until("the late ones run", lambda: statuses_of(client, runs) == {"completed": 200})
        wait_until("those that nobody began expire", lambda: statuses_of(client, mortal) == {"expired": 50})
        assert time.monotonic() - started < 10
        assert statuses_of(client, [late]) == {"delayed": 1}
    shop.sidecar_stop()


@pytest.mark.both_modes
def test_who_dies_is_noticed_by_session_or_lease(shop):
    """A worker with a session within seconds, whatever its lease; a client that only claims when its lease is over."""
    shop.sidecar_start()
    with Session(shop) as client:
        client.rows("select sluice.create_task('long', 'external', lease => '1 day', retry => '{\"max_attempts\": 5}')")
        client.rows("select sluice.create_task('brief', 'external', lease => '4 seconds', on_lost => 'fail')")
        long = [client.enqueue("long") for _ in range(100)]
        brief = client.enqueue("brief")
        with Session(shop) as worker:
            worker.rows("select sluice.register_worker('dying')")
            worker.rows("select count(*) from sluice.exchange('dying', capacity => 100, queues => '{task/long}')")
            assert statuses_of(client, long) == {"executing": 100}
        died = time.monotonic()
        wait_until("its runs wait again", lambda: statuses_of(client, long) == {"queued": 100}, 10)
        assert time.monotonic() - died < 4, "two seconds, and what a busy machine adds"
        client.rows("select * from sluice.claim('silent', '{task/brief}')")
        wait_until("the lease of one who is silent is over", lambda: statuses_of(client, [brief]) == {"system_failure": 1}, 30)
        [(outcome, worker, blamed, silent_for)] = client.rows(
            "select outcome, worker, error ->> 'worker', extract(epoch from ended_at - (error ->> 'last_heartbeat')::timestamptz)"
            " from sluice.attempts where run_id = %s", brief)
        assert (outcome, worker, blamed) == ("lost", "silent", "silent")
        assert 4 <= silent_for < 8, "as the server has written it down: when the lease was over, and not another one later"
    shop.sidecar_stop()


def test_a_minute_without_any_sidecar_is_made_up_for(shop):
    """A real one, which no clock was put forward for: ticks come as their schedule says, and each due run once."""
    rules = ("skip", "one", "all")
    with Session(shop) as client:
        client.rows("select sluice.create_task('tick', 'external')")
        for name in ("a", "b"):
            shop.sidecar_start(name)
        for name in ("a", "b"):
            shop.sidecar_kill(name)
        for rule in rules:
            client.rows("select sluice.create_schedule(%s, 'tick', '* * * * *', catch_up => %s)", rule, rule)
        runs = [run for (run,) in client.rows(
            "select * from sluice.enqueue_many('note', array(select jsonb_build_array(n) from generate_series(1, 600) as n),"
            " array(select jsonb_build_object('delay', n / 10 + 2 || 's') from generate_series(1, 600) as n))")]
        [(tick, left)] = client.rows("select min(next_tick), 61 + extract(epoch from min(next_tick) - clock_timestamp()) from sluice.schedule")
        # A minute behind the tick it is missed.
        wait_until("it is missed", lambda: client.value("select clock_timestamp() > %s + interval '61 seconds'", tick), float(left) + 30)
        assert client.value("select count(*) from sluice.schedule where next_tick = %s", tick) == len(rules), "nobody ticks"
        for name in ("a", "b"):
            shop.sidecar_start(name)
        wait_until("all is done", lambda: statuses_of(client, runs) == {"completed": 600}, 60)
        assert client.rows("select count(*), count(distinct n) from done") == [(600, 600)]
        wait_until("all schedules have gone on", lambda: client.value("select min(next_tick) > clock_timestamp() from sluice.schedule"), 30)
        for name in ("a", "b"):
            shop.sidecar_stop(name)
        for rule in rules:
            [(gone, skipped, made, first, apart)] = client.rows(
                "select extract(epoch from s.next_tick - %s)::int / 60, s.skipped,"
                " count(r.run_id), min((r.payload ->> 'timestamp')::timestamptz), count(distinct r.payload ->> 'timestamp')"
                " from sluice.schedules as s left join sluice.runs as r on r.schedule = s.schedule where s.schedule = %s"
                " group by s.next_tick, s.skipped", tick, rule)
            assert gone >= 2 and made == apart and made + skipped == gone, (rule, gone, skipped, made, apart)
            # The second tick was on time when a sidecar came, in its last moments or before, unless it took long to come.
            assert made == gone if rule == "all" else skipped >= 1, (rule, gone, skipped, made)
            assert first == tick if rule == "all" else first is None or first > tick, (rule, first, tick)
