"""What a Python task can say to Sluice while it runs.  It comes with sluiced: there is nothing to install.

Everything here works only inside a task; elsewhere it raises NotInTask, so that code that is imported by both a task and
a web server notices where it is.
"""

import json
import os
import sys
import threading

__all__ = ["Abort", "NotInTask", "OutOfMemory", "Retry", "context", "heartbeat", "log", "metadata", "output", "payload", "tags"]


class NotInTask(RuntimeError):
    """Something was used that exists only while a task runs."""


class Abort(Exception):
    """Raise it to end the run as failed, whatever attempts are left."""


class Retry(Exception):
    """Raise it to end the attempt as failed and to say when the next one may start: after so many seconds."""

    def __init__(self, message="", *, after):
        super().__init__(message)
        self.after = float(after)
        if not 0 <= self.after <= 31_536_000:
            raise ValueError("after is a number of seconds from 0 to 31536000")


class OutOfMemory(MemoryError):
    """Raise it to end the attempt as out of memory, where the program notices before the machine does."""


class Context:
    """Which attempt this is.  Other names than these are errors, so that a misspelt one is not taken for nothing."""

    __slots__ = ()
    _names = {"run_id": int, "attempt": int, "task": str, "token": str, "traceparent": str}

    def __getattr__(self, name):
        kind = self._names.get(name)
        if kind is None:
            raise AttributeError(f"the context has {', '.join(self._names)}, and no {name!r}")
        value = os.environ.get("TRACEPARENT" if name == "traceparent" else f"SLUICE_{name.upper()}")
        if value is None:
            raise NotInTask(f"there is no {name} here: this is not a task of Sluice")
        return kind(value)

    def __dir__(self):
        return list(self._names)

    def __repr__(self):
        return f"<sluice context: run {os.environ.get('SLUICE_RUN_ID', 'none')}>"


context = Context()

_lock = threading.Lock()
_channel = None  # the descriptor by which the runner speaks to sluiced
_owner = None  # its process: a forked child must not speak for its parent
_payload = None
_output = None
_tags = set()  # that this attempt has added
_LONGEST_NOTE = 256 * 1024  # sluiced takes lines that are longer


def _say(word, text):
    """One message to sluiced, of a word and JSON.  Messages of threads do not mix."""
    if _channel is None or _owner != os.getpid():
        raise NotInTask(f"{word} works only in the process of a task of Sluice")
    line = f"{word} {text}\n".encode()
    with _lock:
        while line:
            line = line[os.write(_channel, line):]


def payload():
    """What the run was enqueued with; None if with nothing."""
    if _channel is None:
        raise NotInTask("there is no payload here: this is not a task of Sluice")
    return _payload


def output(value):
    """Says what the run gives back, where there is no function to return it from.  The last one counts."""
    global _output
    if _channel is None:
        raise NotInTask("there is nobody to give an output to: this is not a task of Sluice")
    json.dumps(value, allow_nan=False)  # what is wrong is best said here
    _output = value


def log(message, *, level="info", **fields):
    """A line of the run's log: debug and info among stdout, warning and error among stderr."""
    if level not in ("debug", "info", "warning", "error"):
        raise ValueError("level is debug, info, warning or error")
    text = str(message).replace("\n", "\\n")
    if level != "info":
        text = f"{level}: {text}"
    for name, value in fields.items():
        text += f" {name}={value if isinstance(value, str) and value.isalnum() else json.dumps(value, default=str)}"
    stream = sys.stderr if level in ("warning", "error") else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def heartbeat():
    """Says that the task makes headway.  Only a task with heartbeat_seconds has to: it is ended if it is silent for longer.
    The lease needs no care: sluiced renews it."""
    _say("heartbeat", "null")


class Metadata:
    """What is noted about the run beside its payload.  It is seen in sluice.runs within seconds, and stays for later attempts."""

    __slots__ = ()

    def set(self, name, value):
        """Notes a value under a name, in place of the one before; None removes it."""
        if not isinstance(name, str) or not name:
            raise TypeError("the name of metadata is a string that is not empty")
        text = f"{json.dumps(name)} {json.dumps(value, allow_nan=False)}"
        if len(text) > _LONGEST_NOTE:
            raise ValueError(f"metadata {name!r} is longer than {_LONGEST_NOTE} bytes")
        _say("metadata", text)

    def update(self, values):
        """Notes each value of a dict under its name."""
        for name, value in values.items():
            self.set(name, value)

    def remove(self, name):
        self.set(name, None)


class Tags:
    """Words by which the run is found."""

    __slots__ = ()

    def add(self, *names):
        """Adds tags, each once: a run has 10 at most, of at most 128 characters."""
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise TypeError("a tag is a string that is not blank")
            if len(name) > 128:
                raise ValueError(f"a tag has at most 128 characters, and {name!r} has {len(name)}")
        if len(_tags.union(names)) > 10:
            raise ValueError("a run has at most 10 tags")
        _say("tags", json.dumps(names))
        _tags.update(names)


metadata = Metadata()
tags = Tags()
