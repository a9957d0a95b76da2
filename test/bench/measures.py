"""What is measured.  A measure is a function that yields results; a new one goes into ALL, at the end.

A result has a measure, what it was measured at, figures with their unit in the name, and where there is a peer its
figure and the ratio.  Ours and the peer's rounds take turns, so that what else the machine does falls on both.
"""

import statistics
import time
from types import SimpleNamespace

from server import PAYLOAD

QUICK = SimpleNamespace(rounds=3, round_seconds=1, backlog=20_000, deep=100_000, latency_runs=3_000, lane_depth=2, schedules=1_000)
FULL = SimpleNamespace(rounds=5, round_seconds=4, backlog=200_000, deep=1_000_000, latency_runs=20_000, lane_depth=10, schedules=10_000)
LANES = 10_000
BULK = 1000

ENQUEUE = f"select sluice.enqueue('bench', '{PAYLOAD}'::jsonb)"
ENQUEUE_MANY = f"select count(*) from sluice.enqueue_many('bench', array_fill('{PAYLOAD}'::jsonb, array[{BULK}]))"
BARE = f"insert into peer.bare (payload) values ('{PAYLOAD}')"
PEER_MANY = f"insert into peer.job (payload) select unnest(array_fill('{PAYLOAD}'::jsonb, array[{BULK}]))"


def clients(connections):
    return f"{connections} connection" + "s" * (connections > 1)


def in_turn(server, ours, peers, size, *, connections):
    """Medians of calls a second of two statements and of their ratios, in rounds that change who begins."""
    rates = {ours: [], peers: []}
    for number in range(size.rounds):
        for statement in (ours, peers) if number % 2 == 0 else (peers, ours):
            rates[statement].append(server.pgbench(statement, connections=connections, seconds=size.round_seconds))
    ratio = statistics.median(a / b for a, b in zip(rates[ours], rates[peers]))
    return statistics.median(rates[ours]), statistics.median(rates[peers]), round(ratio, 2)


def enqueue_one_by_one(server, size):
    """One run for each call and commit, beside the commit of one inserted row."""
    server.fresh_database()
    for connections in (1, 4, 16):
        ours, bare, ratio = in_turn(server, ENQUEUE, BARE, size, connections=connections)
        yield {"measure": "enqueue", "at": clients(connections), "runs_per_s": round(ours),
               "peer": "one-row insert", "peer_per_s": round(bare), "ratio": ratio}


def enqueue_in_bulk(server, size):
    """A thousand runs for each call and commit, beside the peer's insert of as many rows."""
    server.fresh_database()
    for connections in (1, 2):
        ours, peer, ratio = in_turn(server, ENQUEUE_MANY, PEER_MANY, size, connections=connections)
        yield {"measure": "enqueue_many", "at": f"{clients(connections)}, {BULK} a call", "runs_per_s": round(ours * BULK),
               "peer": "insert … select", "peer_per_s": round(peer * BULK), "ratio": ratio}


def drain_backlog(server, size):
    """Claim and complete fused in exchange, until nothing is left, beside the peer's delete."""
    for batch in (10, 100):
        server.fresh_database()
        server.fill(size.backlog)
        server.fill_peer(size.backlog)
        server.settle()
        common = {"connections": 4, "batch": batch, "runs": size.backlog}
        ours = server.drain(way="exchange", **common)
        peer = server.drain(way="peer", **common)
        yield {"measure": "drain", "at": f"{size.backlog} runs, 4 connections, batch {batch}",
               "runs_per_s": ours["per_second"], "p50_ms": ours["p50_ms"], "p99_ms": ours["p99_ms"],
               "wal_bytes": round(ours["wal_bytes"] / ours["drained"]), "lost": size.backlog - ours["drained"],
               "twice": ours["twice"], "peer": "delete … skip locked", "peer_per_s": peer["per_second"],
               "ratio": round(ours["per_second"] / peer["per_second"], 2)}


def wal_of_a_run(server, size):
    """Bytes of WAL of each step of a run's life, and how many claims were updated in place."""
    runs = size.backlog // 4 # all held at once, each with a lease
    server.fresh_database()

    singles = 1000
    one_by_one = server.wal_of(lambda: server.rows(
        "do $$ begin for n in 1.." + str(singles) + " loop perform sluice.enqueue('bench', '" + PAYLOAD
        + "'::jsonb); commit; end loop; end $$"))
    in_bulk = server.wal_of(lambda: server.fill(runs))
    server.settle()
    claims = server.drain(way="hold", batch=10, runs=runs + singles)
    updated, hot = server.rows(
        "select sum(n_tup_upd)::int, sum(n_tup_hot_upd)::int from pg_stat_user_tables "
        "where schemaname = 'sluice_storage' and relname like 'run\\_%%'")[0]
    server.fresh_database()
    server.fill(runs)
    server.settle()
    life = server.drain(way="exchange", batch=10, runs=runs)

    claim = claims["wal_bytes"] / claims["drained"]
    whole = life["wal_bytes"] / life["drained"]
    for step, size_of_it in (("enqueue, one by one", one_by_one / singles), ("enqueue_many", in_bulk / runs),
                             ("claim, batch 10", claim), ("complete, batch 10", whole - claim),
                             ("enqueue + claim + complete", one_by_one / singles + whole)):
        yield {"measure": "WAL of a run", "at": step, "wal_bytes": round(size_of_it)}
    yield {"measure": "HOT share of claims", "at": f"{updated} updates", "percent": round(100 * hot / updated, 1)}


def claim_latency(server, size):
    """The time of a claim of 10 with its commit, beside much that is ready, much that is not, and many lanes."""
    server.fresh_database()
    server.fill(size.deep)
    yield from latencies(server, size, f"{size.deep} ready")

    server.fresh_database()
    server.fill(size.deep, options={"delay": "1d"})
    server.fill(4 * size.latency_runs)
    yield from latencies(server, size, f"{size.deep} delayed")

    server.fresh_database()
    server.rows("select sluice.create_queue('bench', key_concurrency => 1)")
    server.fill(LANES * size.lane_depth, keys=LANES)
    yield from latencies(server, size, f"{LANES} lanes of limit 1")


def latencies(server, size, beside):
    server.settle()
    for connections in (1, 4):
        runs = size.latency_runs if connections == 4 else size.latency_runs // 3
        got = server.drain(way="verbs", connections=connections, batch=10, runs=runs)
        yield {"measure": "claim of 10", "at": f"{beside}, {clients(connections)}", "p50_ms": got["p50_ms"],
               "p99_ms": got["p99_ms"], "max_ms": got["max_ms"], "first_ms": got["first_ms"], "claims": got["takes"], "twice": got["twice"]}


def watch_bulk(server, size):
    """One insert of many rows into a watched table, beside a trigger for each row that enqueues, and no trigger."""
    rows = size.backlog // 2
    insert = f"insert into peer.bare (payload) select '{PAYLOAD}'::jsonb from generate_series(1, {rows})"
    ways = {"nothing": ["select 1"],
            "watch": ["select sluice.watch('peer.bare', '{insert}', 'bench')"],
            "watch, 100 rows a run": ["select sluice.watch('peer.bare', '{insert}', 'bench', rows_per_run => 100)"],
            "for each row": ["create function peer.enqueue() returns trigger language plpgsql as "
                             "'begin perform sluice.enqueue(''bench'', to_jsonb(new)); return null; end'",
                             "create trigger by_hand after insert on peer.bare for each row execute function peer.enqueue()"]}
    seconds = {}
    for way, statements in ways.items():
        server.fresh_database()
        for statement in statements:
            server.rows(statement)
        taken = []
        for _ in range(size.rounds):
            taken.append(server.seconds_of(insert))
            server.rows("truncate peer.bare")
        seconds[way] = statistics.median(taken)
    for way in ("watch", "watch, 100 rows a run"):
        for peer in ("for each row", "nothing"):
            yield {"measure": "watch", "at": f"insert of {rows}, {way}", "rows_per_s": round(rows / seconds[way]),
                   "peer": peer, "peer_per_s": round(rows / seconds[peer]), "ratio": round(seconds[peer] / seconds[way], 2)}


HELD = 10_000


def heartbeats(server, size):
    """One call that moves the leases of ten thousand runs: what it takes, and what it writes."""
    server.fresh_database()
    server.fill(HELD)
    server.settle()
    with server.session() as worker:
        tokens = [token for (token,) in worker.rows("select token from sluice.claim('w', capacity => %s)", HELD)]
        server.rows("checkpoint")
        beat = ("select count(*) from sluice.heartbeat(%s::uuid[])", tokens)
        worker.rows(*beat)
        taken = []
        calls = 20 * size.rounds

        def beats():
            for _ in range(calls):
                started = time.monotonic()
                assert worker.value(*beat) == HELD
                taken.append(time.monotonic() - started)
        wal = server.wal_of(beats)
        yield {"measure": "heartbeat", "at": f"{HELD} leases a call", "p50_ms": round(1000 * statistics.median(taken), 2),
               "max_ms": round(1000 * max(taken), 2), "wal_bytes": round(wal / calls / HELD, 4)}


BEATEN = 100


def statements_of_a_sluiced(server, size):
    """What one sluiced sends, as the server counts it, with nothing to do and with runs that it beats for each 15 seconds,
    by default; a beat is one statement, however many runs there are."""
    seconds = 15 * (1 if size is QUICK else 4)
    server.fresh_database()
    server.rows("select sluice.create_task('long', 'process', options => '{\"argv\": [\"/usr/bin/sleep\", \"3600\"]}')")
    with server.sidecar('worker.executors = ["process"]', f"worker.capacity = {BEATEN}", 'process.directories = ["/usr/bin"]',
                        'process.memory = "100GiB"'):  # which programs that sleep do not need
        def a_second():
            with server.session() as session:
                count = "select xact_commit from pg_stat_database where datname = current_database()"
                before = session.value(count)
                time.sleep(seconds)
                return (session.value(count) - before) / seconds  # its own are counted when it ends, or with a second's delay

        server.wait_until("somebody leads", lambda: server.value("select count(*) > 0 from sluice.leader"))
        rates = {0: a_second()}
        server.rows("select count(*) from sluice.enqueue_many('long', array_fill('1'::jsonb, array[%s]))", BEATEN)
        server.wait_until("all execute", lambda: server.value("select sum(executing) from sluice.workers") == BEATEN, seconds=60)
        rates[BEATEN] = a_second()
        server.rows("select count(sluice.cancel(run_id)) from sluice.runs where finished_at is null")
    for held, rate in rates.items():
        yield {"measure": "statements of one sluiced", "at": f"{held} runs under lease", "calls_per_s": round(rate, 2)}


def recovery(server, size):
    """A worker process that holds a thousand runs is killed: until all of them wait for another attempt."""
    held = 1000
    taken = []
    server.fresh_database()
    server.rows("select sluice.create_task('long', 'external', queue => 'bench', lease => '1 day', retry => '{\"max_attempts\": 250}')")
    server.rows("select count(*) from sluice.enqueue_many('long', array_fill('1'::jsonb, array[%s]))", held)
    with server.sidecar():
        for number in range(size.rounds):
            worker = server.python(f"""
import psycopg2, select
connection = psycopg2.connect('')
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("select sluice.register_worker('victim-{number}')")
cursor.execute("select count(*) from sluice.exchange('victim-{number}', capacity => {held})")
print(cursor.fetchone()[0], flush=True)
select.select([], [], [])
""")
            server.wait_until("the worker holds them", lambda: server.value("select executing from sluice.workers where worker = %s", f"victim-{number}") == held)
            worker.kill()
            started = time.monotonic()
            worker.wait()
            server.wait_until("they wait again", lambda: server.value("select depth from sluice.queues where queue = 'bench'") == held)
            taken.append(time.monotonic() - started)
    yield {"measure": "recovery", "at": f"kill -9 of a worker with {held} runs", "p50_ms": round(1000 * statistics.median(taken)),
           "max_ms": round(1000 * max(taken))}


def schedules_at_once(server, size):
    """Schedules that all tick at one instant: how late their runs are made, and how late they start, at a client that
    claims and completes, and in a sluiced."""
    for claimer, executor in (("a client, 2 connections, batch 100", "external"), ("sql tasks in one sluiced", "sql")):
        server.fresh_database()
        server.rows("select sluice.create_task('tick', %s, target => %s)", executor, "select 1" if executor == "sql" else None)
        server.rows("select count(sluice.create_schedule('s', 'tick', '0 0 * * *', external_id => n::text)) from generate_series(1, %s) as n",
                    size.schedules)
        server.settle()
        with server.sidecar('worker.executors = ["sql"]', "worker.capacity = 16"):
            server.wait_until("somebody leads", lambda: server.value("select count(*) > 0 from sluice.leader"))
            [(at,)] = server.rows("with v as materialized (select clock_timestamp() + interval '2 seconds' as at),"
                                  " u as (update sluice.schedule set next_tick = '2190-01-01', fire_at = v.at from v returning 1)"
                                  " select v.at from v, (select count(*) from u) as c")
            server.rows("notify sluice_schedules")
            if executor == "external":
                server.wait_until("they are due in a moment", lambda: server.value("select clock_timestamp() > %s - interval '200 milliseconds'", at))
                server.drain(way="exchange", connections=2, batch=100, runs=size.schedules, seconds=60)
            # Asked rarely, of the table alone: who asks all the time takes the processor from those who work.
            server.wait_until("all have started", lambda: server.value("select count(started_at) from pg_sleep(0.3), sluice.run") == size.schedules,
                              seconds=60)
        late = "extract(epoch from {} - %s) * 1000"
        [(made, p50, p99, most, runs, apart)] = server.rows(f"""
            select max({late.format("created_at")})::int, percentile_cont(0.5) within group (order by {late.format("started_at")})::int,
                   percentile_cont(0.99) within group (order by {late.format("started_at")})::int, max({late.format("started_at")})::int,
                   count(*), count(distinct external_id) from sluice.runs""", at, at, at, at)
        yield {"measure": "schedules", "at": f"{size.schedules} at one instant, {claimer}", "made_max_ms": made, "p50_ms": p50, "p99_ms": p99,
               "max_ms": most, "lost": size.schedules - apart, "twice": runs - apart}


def drop_of_a_schedule(server, size):
    """The deletion of a schedule by how many runs it has made."""
    server.fresh_database()
    for runs in (0, size.deep):
        server.rows("select sluice.create_schedule('s', 'bench', '@daily'), sluice.create_schedule('first', 'bench', '@daily')")
        with server.session() as session:
            session.rows("select sluice.version()") # loads the library, whose functions the next one calls
            for _ in range(runs // 10_000):
                session.rows("select count(*) from sluice._enqueue_all((select task_id from sluice.task where task = 'bench'),"
                             " array_fill(%s::jsonb, array[10000]), null, array_fill('{\"schedule\": \"s\"}'::jsonb, array[10000]))", PAYLOAD)
            session.rows("select sluice.drop_schedule('first')") # what a session's first call takes is not meant
            started = time.monotonic()
            session.rows("select sluice.drop_schedule('s')")
            taken = time.monotonic() - started
        made = server.value("select count(*) from sluice.payload where options ->> 'schedule' = 's'")
        yield {"measure": "drop of a schedule", "at": f"{made} runs", "ms": round(1000 * taken, 2)}


ALL = (enqueue_one_by_one, enqueue_in_bulk, drain_backlog, wal_of_a_run, claim_latency, watch_bulk, heartbeats, statements_of_a_sluiced,
       recovery, schedules_at_once, drop_of_a_schedule)
