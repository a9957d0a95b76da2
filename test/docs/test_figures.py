"""The figures of README are those of the results that it links to."""

import json
import re

from pages import TOP

LINE = re.compile(r"^\|(.*)\|$", re.MULTILINE)


def linked_results():
    """Of the table, of its row old_snapshot, and of the sentence about delays behind it."""
    names = re.findall(r"\(test/bench/results/(peers-[\w.-]+)\)", (TOP / "README.md").read_text())
    assert len(names) == 3
    return [json.loads((TOP / "test/bench/results" / name).read_text())["results"] for name in names]


def table_of_peers():
    """(measure and place, system, what README says) of each cell."""
    text = (TOP / "README.md").read_text()
    start = text.index("| Sluice, against |")
    head, _, *rows = [[cell.strip() for cell in line.split("|")] for line in LINE.findall(text[start:text.index("\n\n", start)])]
    return [(row[0].removesuffix(" (less is better)"), system, said) for row in rows for system, said in zip(head[1:], row[1:], strict=True)]


def test_the_ratios_of_the_peers_are_those_that_were_measured():
    table, snapshot, _ = linked_results()
    results = [*table, *(one for one in snapshot if one["measure"] == "old_snapshot")]
    measured = {(f"{one['measure']}, {one['at']}", one["system"]): str(one.get("ratio_node", one.get("ratio"))) for one in results}
    said = table_of_peers()
    assert {system for _, system, _ in said} == {system for _, system in measured if not system.startswith("Sluice")}
    assert [cell for cell in said if measured.get(cell[:2], "") != cell[2]] == []


def test_nothing_was_lost_or_done_twice():
    assert [one for results in linked_results() for one in results if one.get("lost") or one.get("twice")] == []


def test_the_lateness_of_delays_is_that_which_was_measured():
    late = {one["system"]: f"{one['p99_ms'] / 1000:.1f} s" for one in linked_results()[2] if one["measure"] == "delayed"}
    [said] = re.findall(r"^Of 50 000 delays .*$", (TOP / "README.md").read_text(), re.MULTILINE)
    assert re.findall(r"[\d.]+ s\b", said) == list(late.values())
