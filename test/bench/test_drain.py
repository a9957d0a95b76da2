"""The benchmark's client hands in what it claims: figures of a driver that loses or doubles work would be worthless."""

import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib"), str(pathlib.Path(__file__).resolve().parent)]

from sandbox import Sandbox  # noqa: E402
from server import Server  # noqa: E402

RUNS = 300


@pytest.fixture(scope="module")
def server():
    with Sandbox(sidecar=False) as sandbox:
        yield Server(sandbox)


@pytest.fixture
def backlog(server):
    server.fresh_database()
    server.fill(RUNS)
    server.fill_peer(RUNS)
    return server


@pytest.mark.parametrize("way", ["exchange", "verbs"])
def test_a_drain_completes_every_run_once(backlog, way):
    said = backlog.drain(way=way, connections=4, batch=7, runs=RUNS)

    assert (said["drained"], said["twice"]) == (RUNS, 0)
    assert backlog.rows("select status, attempt, count(*) from sluice.runs group by 1, 2") == [("completed", 1, RUNS)]
    assert backlog.rows("select * from sluice.check()") == []


def test_a_drain_of_the_peer_takes_every_job_once(backlog):
    said = backlog.drain(way="peer", connections=4, batch=7, runs=RUNS)

    assert (said["drained"], said["twice"]) == (RUNS, 0)
    assert backlog.value("select count(*) from peer.job") == 0


def test_holding_claims_every_run_and_ends_none(backlog):
    said = backlog.drain(way="hold", connections=4, batch=7, runs=RUNS)

    assert (said["drained"], said["twice"]) == (RUNS, 0)
    assert backlog.rows("select status, count(*) from sluice.runs group by 1") == [("executing", RUNS)]
