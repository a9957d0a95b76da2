"""A session in psql, as a page shows it: typed in again, and compared line by line.

A ```psql block has what is typed, behind psql's prompt, and what psql answers.  All blocks of a page are one session, as
an ordinary role.  A line with nothing but … stands for lines that the page leaves out.  Ids, times and the widths of
columns differ from session to session and do not count.  With SLUICE_WRITE_PAGES=1 the page is written anew instead:

    SLUICE_WRITE_PAGES=1 test/run --suite docs --filter transcript
"""

import os
import re
import subprocess
from dataclasses import dataclass, field

import pytest

from pages import DOCS
from sandbox import Sandbox

PAGE = DOCS / "psql.md"
PROMPT = re.compile(r"shop([=\-('$])[*!]?> (.*)")
LEFT_OUT = "…"
MARK = "=== end of answer ==="


@dataclass
class Exchange:
    """What was typed, with its prompts, and what is shown for it."""
    lines: list
    shown: list = field(default_factory=list)

    @property
    def typed(self):
        return "\n".join(PROMPT.fullmatch(line)[2] for line in self.lines)


@pytest.fixture(scope="module")
def session():
    with Sandbox() as sandbox:
        sandbox.rows("create role shop_app login in role sluice_producer, sluice_payload_reader")
        sandbox.rows("grant create on schema public to shop_app")
        sandbox.env |= {"PGUSER": "shop_app"}
        yield sandbox


def read_page():
    """The page as text between the blocks, and for each block the exchanges in it."""
    parts = re.split(r"(?<=^```psql\n)(.*?)(?=^```$)", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for n in range(1, len(parts), 2):
        exchanges = []
        for line in parts[n].splitlines():
            prompt = PROMPT.fullmatch(line)
            if prompt and prompt[1] == "=":
                exchanges.append(Exchange([line]))
            elif prompt:
                exchanges[-1].lines.append(line)
            else:
                exchanges[-1].shown.append(line)
        parts[n] = exchanges
    return parts


def answers(sandbox, typed):
    """What psql says to each text; complaints come behind the answer."""
    script = "".join(f"{text}\n\\echo {MARK}\n\\warn {MARK}\n" for text in typed)
    done = subprocess.run(["psql", "-X", "-P", "pager=off"], input=script, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=sandbox.env, check=False, timeout=120)
    shown, complaints = done.stdout.split(MARK + "\n"), done.stderr.split(MARK + "\n")
    assert len(shown) == len(complaints) == len(typed) + 1, done.stderr
    return [[line.rstrip() for line in (out + err).splitlines()] for out, err in zip(shown, complaints)][:-1]


def without_what_differs(line):
    for pattern, instead in [(r"\d{15,}", "ID"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00", "TIME"),
                             (r"\d\d:\d\d:\d\d(\.\d+)?", "TIME"), (r"\b\d+(\.\d+)? (ms|s|seconds?|minutes?)\b", "TIME"), (r"-+", "-"), (r"\s+", " ")]:
        line = re.sub(pattern, instead, line)
    return line.strip()


def agrees(shown, found):
    """Whether an answer is what the page shows of it."""
    parts = "\n".join(map(without_what_differs, shown)).split(LEFT_OUT)
    return re.fullmatch(".*".join(map(re.escape, parts)), "\n".join(map(without_what_differs, found)), re.DOTALL) is not None


def excerpt(shown, found):
    """As much of an answer as the page shows, from its beginning and, behind what is left out, from its end."""
    if LEFT_OUT not in shown:
        return found
    head, tail = shown.index(LEFT_OUT), len(shown) - shown.index(LEFT_OUT) - 1
    return [*found[:head], LEFT_OUT, *found[len(found) - tail:]]


def test_the_session_goes_as_the_page_shows_it(session):
    parts = read_page()
    exchanges = [exchange for part in parts[1::2] for exchange in part]
    found = answers(session, [exchange.typed for exchange in exchanges])

    if os.environ.get("SLUICE_WRITE_PAGES"):
        for exchange, lines in zip(exchanges, found):
            exchange.shown = excerpt(exchange.shown, lines)
        for part in parts[1::2]:
            part[:] = ["".join(line + "\n" for exchange in part for line in (*exchange.lines, *exchange.shown))]
        PAGE.write_text("".join(part if isinstance(part, str) else part[0] for part in parts))
    for exchange, lines in zip(exchanges, found):
        assert agrees(exchange.shown, lines), exchange.typed + "\n" + "\n".join(lines)


def test_a_page_that_is_wrong_is_noticed():
    """The comparison forgives ids, times and widths, and nothing else."""
    assert agrees(["a | b", "--+--", "1 | 00:00:01", "…", "(9 rows)"], ["a    | b", "-----+-----", "1 | 00:12:00.5", "x", "(9 rows)"])
    assert not agrees(["a | b"], ["a | c"])
    assert not agrees(["…", "(9 rows)"], ["a", "(8 rows)"])
    assert not agrees(["(1 row)"], ["(1 row)", "(1 row)"])
