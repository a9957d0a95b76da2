"""The daemon's life: drain, reload, lost servers, lost leases, several side by side."""

import json
import os
import signal
import subprocess

from sandbox import is_alive, wait_until


# A second sidecar's settings: it does not wait long for anything.
CONF_BRIEF = ('worker.executors = ["sql", "process"]', "process.allow_shell = true", 'worker.drain_timeout = "200ms"',
              'process.grace = "300ms"')


def test_drain_lets_work_finish(scene):
    run = scene.start(scene.shell("echo pid $$; while [ ! -e $GO ]; do sleep 0.05; done; echo 1",
                                  env={"GO": str(scene.sandbox.dir / "go")}))
    scene.said(run, "pid")
    pid = scene.sandbox.sidecar_pid()
    os.kill(pid, signal.SIGTERM)
    scene.logged("draining")
    later = scene.start(scene.shell("echo 2"))
    (scene.sandbox.dir / "go").touch()
    scene.gone(pid)
    assert scene.result(run) == ("completed", 1, None)
    assert scene.status(later) == "queued"
    assert scene.log()[-1]["msg"] == "stopped" and scene.log()[-1]["exit_code"] == 0


def test_drain_gives_back_what_does_not_finish(scene):
    scene.sandbox.sidecar_stop()
    scene.sandbox.sidecar_start("brief", conf=CONF_BRIEF)
    run = scene.start(scene.shell("echo pid $$; while :; do sleep 0.05; done"))
    child = scene.said(run, "pid")
    statement = scene.start(scene.task("sql", "select pg_sleep(75)::text"))
    wait_until("the statement runs", lambda: scene.status(statement) == "executing")
    pid = scene.sandbox.sidecar_pid("brief")
    os.kill(pid, signal.SIGTERM)
    scene.gone(pid)
    scene.gone(child)
    for each in (run, statement):
        assert scene.status(each) == "queued"
        assert scene.value("select attempt from sluice.runs where run_id = %s", each) == 0
    assert scene.log("brief")[-1]["exit_code"] == 0


def test_drain_ends_though_a_statement_catches_its_cancel(scene):
    scene.sandbox.sidecar_stop()
    scene.sandbox.sidecar_start("brief", conf=CONF_BRIEF)
    scene.value("""create function public.stubborn() returns text language plpgsql as $$ begin
        loop begin perform pg_sleep(600); exception when query_canceled then null; end; end loop; end $$;
        select ''""")
    run = scene.start(scene.task("sql", "select public.stubborn()"))
    wait_until("the statement runs", lambda: scene.status(run) == "executing")
    pid = scene.sandbox.sidecar_pid("brief")
    os.kill(pid, signal.SIGTERM)
    scene.gone(pid, 60)
    assert scene.status(run) == "queued"


def test_a_second_sigterm_ends_at_once(scene):
    run = scene.start(scene.shell("trap '' TERM; echo pid $$; while :; do sleep 0.05; done"))
    child = scene.said(run, "pid")
    pid = scene.sandbox.sidecar_pid()
    os.kill(pid, signal.SIGTERM)
    scene.logged("draining")
    assert is_alive(pid)
    os.kill(pid, signal.SIGTERM)
    scene.gone(pid, 5)
    scene.gone(child)
    assert scene.status(run) == "queued"


def test_sighup_reloads(scene):
    toml = scene.sandbox.sidecar_file("toml")
    toml.write_text(toml.read_text() + "worker.capacity = 1\nleader.enabled = false\n")
    os.kill(scene.sandbox.sidecar_pid(), signal.SIGHUP)
    assert scene.logged("reloaded")[0]["capacity"] == 1
    assert scene.logged("these settings change at the next start only")[0]["settings"] == "leader.enabled"
    task = scene.shell("echo pid $$; while :; do sleep 0.05; done")
    runs = [scene.start(task) for _ in range(3)]
    wait_until("one runs", lambda: [scene.status(run) for run in runs].count("executing") == 1)
    for run in runs[1:]:
        scene.value("select sluice.cancel(%s)", run)
    toml.write_text(toml.read_text() + "worker.nonsense = 1\n")
    os.kill(scene.sandbox.sidecar_pid(), signal.SIGHUP)
    assert "worker.nonsense" in scene.logged("the file was not reloaded")[0]["reason"]
    assert scene.status(runs[0]) == "executing"


def test_a_flood_of_lines_goes_in_portions_and_the_outcome_follows_them(scene):
    toml = scene.sandbox.sidecar_file("toml")
    toml.write_text(toml.read_text().replace('process.max_log_bytes = "20kB"', 'process.max_log_bytes = "256kB"'))
    os.kill(scene.sandbox.sidecar_pid(), signal.SIGHUP)
    scene.logged("reloaded")
    run = scene.start(scene.shell("yes '' | head -n 1000000; echo 7"))
    assert scene.result(run)[:2] == ("completed", 7)
    # The longest exchange, in which the heartbeats of all other runs are as well: a transaction for the lines of each run.
    (longest,), (kept,) = scene.rows("""
        select max(n) from (select count(*) as n from sluice.log where run_id = %(run)s group by xmin::text) as t
        union all select count(*) from sluice.log where run_id = %(run)s""".replace("%(run)s", str(run)))
    assert longest <= 2000 < 10_000 < kept < 20_000
    assert "further lines were dropped" in scene.lines(run)[-1]


def test_a_program_outlives_a_restart_of_the_server(scene):
    go = scene.sandbox.dir / "go"
    run = scene.start(scene.shell("echo pid $$; while [ ! -e $GO ]; do sleep 0.05; done; echo 1", env={"GO": str(go)}))
    child = scene.said(run, "pid")
    scene.sandbox.restart("fast")
    assert is_alive(int(child))
    wait_until("the worker is back", lambda: scene.value(
        "select executing from sluice.workers where worker = 'sidecar'") == 1)
    go.touch()
    assert scene.result(run) == ("completed", 1, None)
    assert scene.value("select attempt from sluice.runs where run_id = %s", run) == 1


def test_an_outcome_survives_a_crash_of_the_server(scene):
    go = scene.sandbox.dir / "go"
    run = scene.start(scene.shell("echo pid $$; while [ ! -e $GO ]; do sleep 0.05; done; echo 1", env={"GO": str(go)}))
    child = scene.said(run, "pid")
    scene.sandbox.server_stop("immediate")
    go.touch()
    scene.gone(child)
    scene.sandbox.server_start()
    assert scene.result(run) == ("completed", 1, None)
    assert scene.value("select attempt from sluice.runs where run_id = %s", run) == 1


def test_a_lost_token_stops_the_program(scene):
    run = scene.start(scene.shell("echo pid $$; while :; do sleep 0.05; done"))
    child = scene.said(run, "pid")
    scene.rows("select sluice.pause(queue) from sluice.queues")
    scene.value("select sluice.requeue(%s)", run)
    scene.gone(child)
    wait_until("the place is free", lambda: scene.value(
        "select executing from sluice.workers where worker = 'sidecar'") == 0)
    assert scene.status(run) == "queued"


def test_a_frozen_sidecar_finds_its_lease_gone_and_stops_its_program(scene):
    go = scene.sandbox.dir / "go"
    task = scene.shell('echo "attempt $SLUICE_ATTEMPT $$"; while [ ! -e $GO ]; do sleep 0.05; done; echo 1',
                       env={"GO": str(go)}, lease="2 seconds", attempts=2)
    run = scene.start(task)
    first = scene.said(run, "attempt 1")
    scene.sandbox.sidecar_start("second", conf=CONF_BRIEF)
    frozen = scene.sandbox.sidecar_pid()
    os.kill(frozen, signal.SIGSTOP)
    try:
        # The frozen one held the leader's lock; its session is ended as a network that breaks would end it.
        scene.rows("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sluiced leader'"
                   " and pid in (select pid from pg_locks where locktype = 'advisory')")
        second = scene.said(run, "attempt 2", 20)
        assert is_alive(int(first))
    finally:
        os.kill(frozen, signal.SIGCONT)
    scene.gone(first)
    assert is_alive(int(second))
    go.touch()
    assert scene.result(run) == ("completed", 1, None)
    assert scene.value("select count(*) from sluice.attempts where run_id = %s and outcome = 'completed'", run) == 1
    assert not scene.rows("select * from sluice.check()")


def test_without_the_database_the_lease_ends_here_too(scene):
    run = scene.start(scene.shell('echo "pid $$"; while :; do sleep 0.05; done', lease="1 second", attempts=2))
    child = scene.said(run, "pid")
    scene.sandbox.server_stop("immediate")
    scene.gone(child)
    scene.logged("the lease could not be renewed in time, stopping the attempt")
    scene.sandbox.server_start()
    wait_until("it is tried again", lambda: scene.value(
        "select attempt from sluice.runs where run_id = %s", run) == 2, 20)


def test_the_leader_is_replaced(scene):
    scene.logged("leader")
    scene.sandbox.sidecar_start("second", conf=CONF_BRIEF)
    scene.sandbox.sidecar_kill()
    scene.logged("leader", "second", seconds=5)


def test_a_worker_that_dies_gives_its_runs_back_at_once(scene):
    run = scene.start(scene.shell("echo pid $$; [ $SLUICE_ATTEMPT = 2 ] || sleep 76", attempts=2, lease="10 minutes"))
    scene.said(run, "pid")
    scene.sandbox.sidecar_start("second", conf=CONF_BRIEF)
    scene.sandbox.sidecar_kill()
    assert scene.result(run)[0] == "completed"


def test_an_idle_sidecar_sends_next_to_nothing(scene):
    scene.logged("leader")
    count = ("select xact_commit from pg_stat_database where datname = 'sluice'")
    wait_until("statistics are there", lambda: scene.value(count))
    pid = scene.sandbox.sidecar_pid()

    def cpu():
        fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    started = scene.value("select clock_timestamp()")
    before = cpu()
    wait_until("3 seconds are over", lambda: scene.value("select clock_timestamp() - %s > interval '3 seconds'", started))
    assert cpu() - before <= 30, "an idle sidecar used more than a tenth of a processor"


def test_a_copy_is_left_alone_until_it_is_adopted(scene):
    scene.sandbox.sidecar_stop()
    run = scene.start(scene.shell("echo 1"))
    scene.rows("create database copy template sluice")
    env = scene.sandbox.env
    log = scene.sandbox.dir / "copy.log"
    with open(log, "w", encoding="utf-8") as file:
        sidecar = subprocess.Popen([scene.sandbox.dir / "bin" / "sluiced", "--executors", "process", "--database",
                                    f"host={env['PGHOST']} port={env['PGPORT']} user=sluiced dbname=copy"],
                                   env={"SLUICE_PROCESS_ALLOW_SHELL": "true"}, stderr=file, stdin=subprocess.DEVNULL)
    try:
        def says(message):
            return [line for line in map(json.loads, log.read_text().splitlines()) if line["msg"] == message]
        refused = wait_until("it is refused", lambda: says("cannot work with the database, trying again"))
        assert "copy" in refused[0]["reason"]
        assert scene.value("select status from sluice.runs where run_id = %s", run, dbname="copy") == "queued"
        scene.rows("select sluice.adopt()", dbname="copy")
        wait_until("it works", lambda: scene.value(
            "select status from sluice.runs where run_id = %s", run, dbname="copy") == "completed", 30)
        assert len(says("cannot work with the database, trying again")) == 1
    finally:
        sidecar.terminate()
        assert sidecar.wait(20) == 0
