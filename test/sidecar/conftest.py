"""Fixtures of the sidecar's tests: a sandbox whose sidecar runs sql and process tasks, and what they need to watch it."""

import pathlib
import subprocess

import pytest
from sandbox import Sandbox
from scene import Scene

CONF = (
    'worker.executors = ["sql", "process"]',
    'process.directories = ["/usr/bin"]',
    "process.allow_shell = true",
    'process.grace = "300ms"',
    'process.max_log_bytes = "20kB"',
    'log.level = "debug"',
)


@pytest.fixture(scope="session")
def shared():
    """One sandbox for all tests that disturb nobody."""
    with Sandbox(sidecar_conf=CONF) as sandbox:
        yield Scene(sandbox)


@pytest.fixture
def scene():
    """A sandbox of its own, for tests that stop, freeze or restart things."""
    with Sandbox(sidecar_conf=CONF) as sandbox:
        yield Scene(sandbox)


@pytest.fixture(scope="module")
def slow_to_gather():
    """A sandbox whose sidecar gathers the ends of attempts for as long as it may."""
    with Sandbox(sidecar_conf=(*CONF, 'worker.batch_window = "1s"')) as sandbox:
        yield Scene(sandbox)


@pytest.fixture
def sluiced(shared):
    """Runs the program itself; returns exit code, stdout, stderr."""
    def call(*args, **env):
        done = subprocess.run([str(pathlib.Path(shared.sandbox.dir) / "bin" / "sluiced"), *args], env=env, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout, done.stderr
    return call
