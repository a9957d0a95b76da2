"""Servers whose wall clock the tests set, and what they see of it."""

import pathlib
import tempfile

import pytest

from sandbox import Sandbox, wait_until
from sessions import Session, assert_sound


class Clock:
    """A file that says by how much the clock that reads it is shifted."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="clock-"))
        self.dir.chmod(0o755)
        self.file = self.dir / "shift"
        self.set(0)

    def set(self, seconds):
        new = self.dir / "new"
        new.write_text(f"{seconds:+d}\n")
        new.chmod(0o644)
        new.rename(self.file)  # whole, for whoever reads it at this moment


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def sandbox(clock):
    with Sandbox(sidecar=False, clock=clock.file) as sandbox:
        yield sandbox


@pytest.fixture
def shop(sandbox, clock):
    """The sandbox with a sidecar that leads and executes nothing but sql tasks, at the right time; nothing left of the last test."""
    clock.set(0)
    sandbox.sidecar_start()
    # Else it sees this step and the test's as one, or two that cancel each other out as none.
    wait_until("the leader has seen the right time", lambda: sandbox.value("select abs(extract(epoch from clock_offset)) < 1 from sluice.leader"))
    yield sandbox
    sandbox.sidecar_stop()
    with Session(sandbox) as session:
        session.rows("select sluice.cancel(run_id) from sluice.runs where finished_at is null")
        assert_sound(sandbox)
