"""The demo does what it says: started as `make demo` starts it, and looked at in its database and in its files."""

import os
import pathlib
import re
import signal
import subprocess

import psycopg2
import pytest

from sandbox import TOP, wait_until

DEMO = TOP / "demo" / "run"
SECONDS = 150


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that has done its work and waits for Ctrl-C."""
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    environment = {name: value for name, value in os.environ.items() if name != "DEMO_ONCE"}
    with open(log, "wb") as output:
        process = subprocess.Popen([str(DEMO)], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True)
    process.log = log
    try:
        wait_until("the demo has ended its work", lambda: "Ctrl-C" in log.read_text() or process.poll() is not None, SECONDS)
        assert process.poll() is None, log.read_text()
        process.dir = pathlib.Path(re.search(r"export SLUICE_DIR=(\S+)", log.read_text()).group(1))
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.fixture
def query(demo):
    exports = dict(re.findall(r"export (PG\w+)=(\S+)", demo.log.read_text()))
    connection = psycopg2.connect(host=exports["PGHOST"], port=exports["PGPORT"], user=exports["PGUSER"],
                                  dbname=exports["PGDATABASE"])

    def rows(statement):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    yield rows
    connection.close()


def test_every_claim_it_prints_holds(demo):
    text = demo.log.read_text()
    assert "NOT ok" not in text
    assert len(re.findall(r"^ok  ", text, re.MULTILINE)) == 14


def test_it_shows_progress_queues_runs_attempts_and_a_failure_with_its_log(demo):
    text = demo.log.read_text()
    for shown in ["executing 6", "key_concurrency", "output_or_error", "outcome", "Invalid data found when processing input",
                  "runs_of_the_rolled_back_order", "killed with SIGKILL"]:
        assert shown in text, shown


def test_every_run_is_final_and_accounted_for(query):
    assert dict(query("select status, count(*) from sluice.runs where schedule is null group by status")) == {"completed": 27, "failed": 1, "expired": 1}
    assert query("select * from sluice.check()") == []


def test_each_minute_that_began_was_tallied_once(query):
    minutes = query("select payload ->> 'timestamp', count(*) from sluice.runs where schedule = 'each-minute' group by 1")
    assert minutes and {count for _, count in minutes} == {1}


def test_committed_orders_have_receipts_and_the_rolled_back_one_never_existed(query):
    assert query("select order_id from shop.receipt order by 1") == [(1,), (2,), (3,)]
    assert query("select count(*) from sluice.runs where payload = '{\"order_id\": 4}'") == [(0,)]


def test_the_film_of_the_killed_worker_was_made_by_the_other(query):
    first, second = query("select a.outcome, a.worker from sluice.attempts as a join sluice.runs as r using (run_id)"
                          " where r.task = 'film' order by a.attempt")
    assert (first[0], second[0]) == ("lost", "completed")
    assert first[1] != second[1]


def test_the_poster_ran_out_of_memory_and_was_made_on_a_larger_machine(query):
    assert query("select outcome, error ->> 'machine', machine from sluice.attempts join sluice.resources using (run_id, attempt)"
                 " where run_id = (select run_id from sluice.runs where task = 'poster') order by attempt") == [
                     ("oom", "micro", "micro"), ("completed", None, "small-2x")]


def test_the_killed_worker_is_back(query):
    assert query("select worker from sluice.workers where registered_at is not null order by 1") == [("east",), ("west",)]


def test_converted_files_can_be_played_and_no_part_has_a_final_name(demo, query):
    outputs = [pathlib.Path(path) for (path,) in query(
        "select output ->> 'output' from sluice.runs where task in ('transcode', 'film') and status = 'completed'")]
    assert sorted(outputs) == sorted((demo.dir / "out").glob("*.mp4"))
    for path in outputs:
        subprocess.run(["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"], check=True,
                       stdin=subprocess.DEVNULL)


def test_the_lines_to_paste_work(demo):
    """What the demo prints to look further, run by a shell."""
    lines = [line.strip() for line in demo.log.read_text().split("Paste this:")[1].splitlines() if line.startswith("    ")]
    commands = [line for line in lines if line.startswith(("export ", "psql ", "ls "))]
    assert len(commands) > 10
    done = subprocess.run(["bash", "-euc", "\n".join(commands)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


# Last: it ends the demo that the tests above look at.
def test_ctrl_c_stops_everything_and_leaves_nothing(demo):
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0
    assert not demo.dir.exists()
    assert [line for line in processes() if str(demo.dir) in line] == []


def test_once_it_ends_by_itself():
    done = subprocess.run([str(DEMO)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=os.environ | {"DEMO_ONCE": "1"}, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    assert "all is accounted for" in done.stdout
    assert not pathlib.Path(re.search(r"two workers, in (\S+)", done.stdout).group(1)).exists()


def processes():
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            pass
