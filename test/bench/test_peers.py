"""make bench-peers: its arithmetic, and that its client in C++ hands in what it takes.  The peers are installed by the
benchmark alone, so what speaks to them is tried there."""

import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE), str(HERE / "peers")]

import comparison  # noqa: E402
import systems  # noqa: E402
from sandbox import Sandbox  # noqa: E402

JOBS = 350


def result(system, **figures):
    return {"measure": "m", "at": "here", "system": system, **figures}


# --- Arithmetic ---

def test_a_ratio_is_ours_by_the_peers():
    ours, in_node, peer = comparison.with_ratios(
        [result("Sluice", per_s=3000), result("Sluice, Node client", per_s=1500), result("other", per_s=2000)])

    assert peer["ratio"] == 1.5
    assert "ratio" not in ours and "ratio" not in in_node


def test_only_a_node_library_is_compared_with_our_client_in_node():
    _, _, library, server = comparison.with_ratios(
        [result("Sluice", per_s=3000), result("Sluice, Node client", per_s=1500), result("library", client="Node", per_s=2000),
         result("server", client="C++", per_s=2000)])

    assert (library["ratio"], library["ratio_node"]) == (1.5, 0.75)
    assert server["ratio"] == 1.5 and "ratio_node" not in server


def test_where_nothing_is_counted_the_median_time_is_compared():
    peer = comparison.with_ratios([result("Sluice", p50_ms=1.0, p99_ms=9.0), result("other", p50_ms=4.0, p99_ms=9.0)])[1]

    assert peer["ratio"] == 0.25


def test_only_what_was_measured_at_the_same_is_compared():
    elsewhere = {**result("Sluice", per_s=1), "at": "elsewhere"}

    assert "ratio" not in comparison.with_ratios([elsewhere, result("other", per_s=2)])[1]


@pytest.mark.parametrize("peer", [{"failed": "no answer"}, {"per_s": 0}])
def test_without_a_figure_there_is_no_ratio(peer):
    assert "ratio" not in comparison.with_ratios([result("Sluice", per_s=1), result("other", **peer)])[1]
    assert "ratio" not in comparison.with_ratios([result("Sluice", failed="no answer"), result("other", per_s=1)])[1]


def test_rounds_give_the_median_of_figures_and_the_sum_of_faults():
    rounds = [result("x", per_s=rate, p50_ms=ms, lost=lost, left=None)
              for rate, ms, lost in ((10, 1.0, 0), (30, 9.0, 2), (20, 2.5, 1))]

    assert comparison.median(rounds) == result("x", per_s=20, p50_ms=2.5, lost=3, left=None)


def test_a_table_has_a_block_for_each_measure_with_its_columns():
    results = [result("Sluice", per_s=12345), result("other", per_s=7), {**result("Sluice", p50_ms=1.5), "measure": "n"}]

    assert comparison.table(results) == (
        "measure  at    system   per_s\n"
        "m        here  Sluice  12,345\n"
        "m        here  other        7\n"
        "\n"
        "measure  at    system  p50_ms\n"
        "n        here  Sluice     1.5")


# --- The client ---

@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(sidecar=False) as one:
        yield one


@pytest.fixture(params=["Sluice", "SKIP LOCKED, delete", "SKIP LOCKED, lease"])
def system(request, sandbox):
    chosen = next(system for system in systems.ALL if system.name == request.param)
    chosen.begin(sandbox)
    yield chosen
    chosen.end()


def test_a_drain_hands_every_job_to_the_handler_once(system):
    system.load("fill", jobs=JOBS, batch=100, connections=3)
    assert system.left() == JOBS

    said = system.load("drain", jobs=JOBS, batch=7)

    assert (said["done"], said["lost"], said["twice"], system.left()) == (JOBS, 0, 0, 0)


def test_a_job_that_is_not_there_is_called_lost(system, sandbox):
    system.load("fill", jobs=JOBS, batch=100)
    if system.name == "Sluice":
        sandbox.rows("select sluice.cancel(run_id) from sluice.runs where payload ->> 'id' = '7'")
    else:
        sandbox.rows("delete from peer.job where payload ->> 'id' = '7'")

    said = system.load("drain", jobs=JOBS, patience=2)

    assert (said["done"], said["lost"], said["twice"]) == (JOBS - 1, 1, 0)


def test_steady_load_loses_nothing_and_says_each_window(system):
    said = system.load("steady", seconds=1, window=0.5, bulk=10, bound=100)

    assert len(said["windows"]) == 2 and said["done"] > 0
    assert (said["lost"], said["twice"], system.left()) == (0, 0, 0)


def test_latency_is_that_of_every_job(system):
    said = system.load("latency", seconds=0.5, rate=100)

    assert (said["done"], said["lost"], said["twice"], system.left()) == (50, 0, 0, 0)
    assert 0 < said["p50_ms"] <= said["p95_ms"] <= said["p99_ms"] <= said["max_ms"]


def test_a_failure_of_the_client_is_one_of_the_system(system, sandbox):
    sandbox.rows("drop extension if exists sluice cascade")
    sandbox.rows("drop table peer.job" if system.name != "Sluice" else "select 1")

    with pytest.raises(systems.Failed, match="does not exist"):
        system.load("fill", jobs=1)
