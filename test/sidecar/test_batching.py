"""How often the sidecar speaks to the database: seldom when it is busy, without delay when it is not.

The fixture's window, in which ends are gathered, is so long that a slow machine cannot blur what is counted.
"""

import pytest
from sandbox import wait_until


def exchanges(scene):
    return scene.value("select reply from sluice.worker where worker = 'sidecar'")


def task(scene, executor):
    return scene.task("sql", "select 1") if executor == "sql" else scene.task(argv=["/usr/bin/true"])


@pytest.mark.parametrize("executor", ["sql", "process"])
def test_quick_runs_share_exchanges(slow_to_gather, executor):
    scene, name = slow_to_gather, task(slow_to_gather, executor)
    before = exchanges(scene)
    scene.rows("select sluice.enqueue_many(%s, array_fill('{}'::jsonb, array[200]))", name)
    wait_until("all 200 are completed",
               lambda: scene.value("select count(*) from sluice.runs where task = %s and status = 'completed'", name) == 200,
               60)
    # Ten places are filled twenty times.
    assert 20 <= exchanges(scene) - before <= 40


def test_the_end_of_a_single_run_is_not_held_back(slow_to_gather):
    scene = slow_to_gather
    name = task(scene, "process")
    took = []
    for _ in range(4):
        run = scene.start(name)
        assert scene.result(run)[0] == "completed"
        took.append(scene.value("select extract(epoch from finished_at - started_at) from sluice.runs where run_id = %s", run))
    assert min(took) < 0.9


def test_a_single_sql_run_costs_one_exchange(slow_to_gather):
    scene, name = slow_to_gather, task(slow_to_gather, "sql")
    before = exchanges(scene)
    for _ in range(10):
        assert scene.run(name)[0] == "completed"
    assert 10 <= exchanges(scene) - before < 15
