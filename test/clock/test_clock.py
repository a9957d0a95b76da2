"""The wall clock is set by an hour, forward or back: nothing ends that should not, and nothing waits for the hour to pass."""

import collections
import datetime
import time

import pytest

from sandbox import wait_until
from sessions import Session

HOUR = 3600


def status(sandbox, run):
    return sandbox.value("select status from sluice.runs where run_id = %s", run)


def follow(sandbox, clock, seconds):
    """Sets the clock and waits until the leader has seen it."""
    clock.set(seconds)
    assert abs(sandbox.value("select extract(epoch from sluice._clock_offset())::float8") - seconds) < 1, "the server sees another clock"
    wait_until("the leader has seen it", lambda: sandbox.value(
        "select abs(extract(epoch from clock_offset) - %s) < 1 from sluice.leader", seconds))


@pytest.mark.both_modes
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_leases_neither_end_nor_live_on(shop, clock, seconds):
    with Session(shop) as client:
        client.rows("select sluice.create_task('held', 'external', lease => '1 minute', retry => '{\"max_attempts\": 9}')")
        client.rows("select sluice.create_task('brief', 'external', lease => '3 seconds', retry => '{\"max_attempts\": 9}')")
        held = [client.enqueue("held") for _ in range(50)]
        tokens = client.rows("select token, run_id from sluice.claim('client', '{task/held}', 50)")
        brief = client.enqueue("brief")
        client.rows("select * from sluice.claim('client', '{task/brief}', 1)")
        begun = time.monotonic()
        follow(shop, clock, seconds)
        wait_until("the lease that nobody renews ends in its own time", lambda: status(shop, brief) == "queued", 10)
        assert time.monotonic() - begun > 2
        assert {status(shop, run) for run in held} == {"executing"}, "the others stand"
        now, until = client.rows("select clock_timestamp(), lease_until from sluice.heartbeat(%s::uuid[])", [token for token, _ in tokens])[0]
        assert 55 < (until - now).total_seconds() <= 60, "a heartbeat moves a lease by its length"
        for token, _ in tokens:
            client.rows("select sluice.complete(%s)", token)


@pytest.mark.both_modes
def test_what_could_start_can_start_when_the_clock_goes_back(shop, clock):
    with Session(shop) as client:
        client.rows("select sluice.create_task('sql', 'sql', 'select 1', retry => '{\"min_delay\": \"1 second\", \"max_delay\": \"2 seconds\", \"randomize\": false}')")
        client.rows("select sluice.create_task('external', 'external', retry => '{\"min_delay\": \"1 second\", \"max_delay\": \"2 seconds\", \"randomize\": false}')")
        waiting = [client.enqueue("external", priority=n) for n in range(20)]
        failed = client.enqueue("external", priority=1000)
        client.fail(client.claim("client", 1)[0].token, {"message": "again"})
        client.rows("select sluice.pause('task/sql')")
        paused = [client.enqueue("sql") for _ in range(20)]
        later = client.enqueue("sql", delay="2h")
        follow(shop, clock, -HOUR)
        client.rows("select sluice.resume('task/sql')")
        wait_until("what waited for a queue runs", lambda: {status(shop, run) for run in paused} == {"completed"})
        wait_until("what waited for its next attempt can", lambda: status(shop, failed) == "queued")
        assert {lease.run_id for lease in client.claim("client", 30)} == {*waiting, failed}, "each can be claimed"
        assert status(shop, later) == "delayed"
        fresh = client.enqueue("sql", delay="1s")
        wait_until("a delay of the new time passes", lambda: status(shop, fresh) == "completed")


@pytest.mark.both_modes
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_time_to_live_is_so_long(shop, clock, seconds):
    with Session(shop) as client:
        client.rows("select sluice.create_task('mortal', 'external', ttl => '10m')")
        runs = [client.enqueue("mortal") for _ in range(20)]
        follow(shop, clock, seconds)
        soon = client.enqueue("mortal", ttl="1s")
        wait_until("one of the new time expires", lambda: status(shop, soon) == "expired")
        left = client.rows("select status, extract(epoch from expires_at - clock_timestamp())::float8 from sluice.runs where run_id = any(%s)", runs)
        assert {state for state, _ in left} == {"queued"}, "nobody else does"
        assert all(500 < seconds_left <= 600 for _, seconds_left in left), left


@pytest.mark.both_modes
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_time_to_live_that_began_hours_ago_ends_in_its_time(shop, clock, seconds):
    """Its beginning is in the past by either clock."""
    with Session(shop) as client:
        client.rows("select sluice.create_task('mortal', 'external', ttl => '3h')")
        runs = [client.enqueue("mortal") for _ in range(20)]
        with client.transaction():
            client.rows("update sluice.run set ready_at = ready_at - interval '2 hours', claim_key = claim_key - interval '2 hours' where run_id = any(%s)", runs)
            client.rows("update sluice.expiry set expires_at = expires_at - interval '2 hours' where run_id = any(%s)", runs)
            client.rows("select sluice.rebuild_index()")
        follow(shop, clock, seconds)
        left = client.rows("select status, extract(epoch from expires_at - clock_timestamp())::float8 from sluice.runs where run_id = any(%s)", runs)
        assert {state for state, _ in left} == {"queued"}
        assert all(HOUR - 100 < seconds_left <= HOUR for _, seconds_left in left), left


@pytest.mark.both_modes
def test_what_the_clock_passes_is_announced(sandbox, clock):
    """The leader knows when the next run is due; that is not so long, but until then."""
    clock.set(0)
    with Session(sandbox) as leader:
        leader.rows("select sluice.create_task('announced', 'external')")
        leader.lead()
        run = leader.enqueue("announced", delay="30m")
        wait_until("the leader knows of it", lambda: leader.value("select next_in < interval '31 minutes' from sluice.announce_due()"))
        clock.set(HOUR)
        assert leader.value("select due from sluice.announce_due()") == 1
        leader.rows("select sluice.cancel(%s)", run)
    clock.set(0)


def test_a_sidecar_with_a_wrong_clock_works(sandbox, clock):
    clock.set(0)
    wrong = type(clock)()
    wrong.set(5 * HOUR)
    sandbox.sidecar_start("wrong", clock=wrong.file)
    try:
        with Session(sandbox) as client:
            client.rows("select sluice.create_task('nap', 'sql', 'select pg_sleep(2)', lease => '1 second')")
            run = client.enqueue("nap", ttl="10m", max_duration="5 seconds")
            wait_until("it runs", lambda: status(sandbox, run) == "executing")
            wrong.set(-5 * HOUR)
            wait_until("it is completed", lambda: status(sandbox, run) == "completed")
            assert client.value("select count(*) from sluice.attempts where run_id = %s", run) == 1, "its lease was kept"
    finally:
        sandbox.sidecar_stop("wrong")


def test_a_schedule_ticks_once_and_goes_on(shop, clock):
    """Forward by an hour, back by it, and on to where it was."""
    with Session(shop) as client:
        instances = 20

        def next_tick(least="min"):
            return client.value(f"select {least}(next_tick) from sluice.schedules where schedule in ('skip', 'one')")

        def ticks():
            return collections.Counter(client.rows(
                "select schedule, external_id, payload ->> 'timestamp' from sluice.runs where schedule in ('skip', 'one')"))

        client.rows("select sluice.create_task('tick', 'external')")
        for rule in ("skip", "one"):
            client.rows("select count(sluice.create_schedule(%s, 'tick', '* * * * *', catch_up => %s, external_id => n::text))"
                        " from generate_series(1, %s) as n", rule, rule, instances)
        first = next_tick()
        follow(shop, clock, HOUR)
        wait_until("the ticks of the hour are gone", lambda: client.value(
            "select min(next_tick) > clock_timestamp() and count(*) = count(last_tick) from sluice.schedules where schedule in ('skip', 'one')"), 20)
        each = collections.Counter((schedule, instance) for schedule, instance, _ in ticks())
        # A minute may have begun in between, whose tick is on time.
        assert len(each) == 2 * instances and max(each.values()) <= 2, "of the ticks of an hour nothing but the last makes runs"
        assert client.value("select bool_and(skipped between 57 and 60 and skipped"
                            " = extract(epoch from next_tick - %s) / 60 - (select count(*) from sluice.runs as r"
                            " where r.schedule = s.schedule and r.external_id = s.external_id))"
                            " from sluice.schedules as s where schedule in ('skip', 'one')", first), "each is made or counted"

        made, after = ticks(), next_tick()
        follow(shop, clock, 0)
        client.rows("select count(sluice.deactivate_schedule(s, '1')), count(sluice.activate_schedule(s, '1')) from unnest('{skip,one}'::text[]) as s")
        client.rows("select sluice.create_schedule('skip', 'tick', '*/1 * * * *', external_id => '2')")
        client.rows("select sluice.create_schedule('witness', 'tick', '0 0 * * *')")
        with client.transaction():
            client.rows("update sluice.schedule set fire_at = clock_timestamp() where schedule = 'witness'")
            client.rows("select sluice._wake_schedules()")
        wait_until("the leader has fired what is due", lambda: client.value("select last_tick is not null from sluice.schedules where schedule = 'witness'"))
        assert ticks() == made, "a tick that has been does not come again"
        assert after <= next_tick() and next_tick("max") < after + datetime.timedelta(minutes=2), "also not of one that was defined or activated anew"

        ahead = client.value("select extract(epoch from %s - clock_timestamp())::int", next_tick("max"))
        follow(shop, clock, ahead - 1)
        wait_until("the next tick comes", lambda: client.value(
            "select min(last_tick) >= %s from sluice.schedules where schedule in ('skip', 'one')", after), 20)
        assert set(ticks().values()) == {1}
        client.rows("select sluice.drop_schedule(s, all_instances => true) from unnest('{skip,one,witness}'::text[]) as s")
