"""The soak in short, in every mode; soak.py says what it is.  The long one is test/soak/run, by hand.

One seed is by chance, or SLUICE_TEST_SEED=…, and is printed like the others by a test that fails.
"""

import os
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from soak import Soak  # noqa: E402

CHANCE = int(os.environ.get("SLUICE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
KEEP = os.environ.get("SLUICE_TEST_LOGS")


@pytest.mark.parametrize("mode, seed", [
    pytest.param(mode, seed, id=mode) for mode, seed in (("table", 1), ("index", 2), ("switching", 3), ("tiny", CHANCE))])
def test_whatever_is_killed_each_run_has_one_owner_one_end_and_its_place(mode, seed):
    print(f"test/soak/run --seed {seed} --mode {mode} --seconds 5")
    summary = Soak(seed, mode, seconds=5, keep=KEEP and pathlib.Path(KEEP) / f"{mode}-{seed}").run()
    done = summary["operations"]
    assert summary["kills"] >= 3 and summary["snapshots watched"] >= 10
    assert summary["runs by status"]["completed"] >= 50
    assert min(done[what] for what in ("claim", "completed", "rolled back", "savepoint rolled back", "commit prepared")) > 0
