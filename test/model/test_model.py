"""The models of the ready index hold, in every order of their steps, and each can fail.

Spin turns a model into a program that visits every state.  A switch of a model (what it asks for with #ifdef or
#ifndef) breaks the protocol in one place, and then a promise of the model must be found broken: an assertion, not a
model that got stuck.
"""

import pathlib
import re
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
MODELS = sorted(path.name for path in HERE.glob("*.pml"))
SECONDS = 300


def switches(model):
    return sorted(set(re.findall(r"^#ifn?def (\w+)", (HERE / model).read_text(), re.MULTILINE)))


def run(command, where):
    """What a command printed; anything but success fails the test."""
    ended = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}"
    return ended.stdout


def verify(model, where, *options, level="-O0"):
    """Builds the verifier of a model and returns what it says; it ends with 0 whatever it found.

    A search that ends early is over before an optimizer has begun.
    """
    (where / model).write_text((HERE / model).read_text())
    said = run(["spin", *options, "-a", model], where)
    assert "rror" not in said, said
    # Without cycles, which are not asked for.  The room is bounded, so that a model that grows fails and says so.
    run(["gcc", level, "-w", "-DSAFETY", "-DMEMLIM=2000", "-o", "pan", "pan.c"], where)
    said = run(["./pan", "-m100000", "-w22"], where)
    assert re.search(r"^State-vector .* errors: \d+$", said, re.MULTILINE), said
    return said


def unreached(said):
    """Steps that no order of events comes to.  The end of a process that waits for more work is none."""
    found = []
    for process, steps in re.findall(r"^unreached in (.*)\n((?:\t.*\n)*)", said, re.MULTILINE):
        found += [f"{process}: {step.strip()}" for step in steps.splitlines()
                  if "states)" not in step and '"-end-"' not in step]
    return found


def test_there_are_models():
    assert MODELS
    assert all(switches(model) for model in MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_holds(model, tmp_path):
    said = verify(model, tmp_path, level="-O2")

    assert "errors: 0" in said, said + trail(model, tmp_path)
    for truncated in ("Search not completed", "max search depth too small", "out of memory"):
        assert truncated not in said, said
    assert unreached(said) == []
    assert not re.search(r'unreached in init\n\t.*"-end-"', said), "the promises at the end were never looked at\n" + said
    states = re.search(r"(\d+) states, stored", said).group(1)
    depth = re.search(r"depth reached (\d+)", said).group(1)
    print(f"{model}: {states} states, depth {depth}")


@pytest.mark.parametrize("model, switch", [(model, switch) for model in MODELS for switch in switches(model)])
def test_is_broken_by(model, switch, tmp_path):
    said = verify(model, tmp_path, f"-D{switch}")

    broken = re.search(r"^pan:1: assertion violated (.*) \(at depth \d+\)$", said, re.MULTILINE)
    assert broken and "invalid array index" not in broken.group(1), said
    print(f"{model} with {switch}: not {broken.group(1)}")


def trail(model, where):
    """The steps that led to a broken promise, when there is one."""
    return run(["spin", "-t", "-p", "-g", model], where) if (where / f"{model}.trail").exists() else ""
