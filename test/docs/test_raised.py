"""Under **Errors** of a function stand the codes that it can raise: what it calls is followed through the sources.

In SQL that goes from function to function.  Of C++ it is only known which file a symbol is in, which statements that file
sends and which files it includes: enough to say what could be raised, not what must be written down.
"""

import re

import pytest

from pages import DOCS, TOP, sections

EXTENSION = TOP / "extension"

# Raised by every call: functions.md says so once.
ALWAYS = {"SL010", "SL012", "SL901"}

# Found on the way, but not on any that a call can take.
UNREACHABLE = {
    ("create_queue", "SL001"): "the queue was made just before",
    ("replay", "SL006"): "a run has only what was accepted before",
    ("replay", "SL202"): "a run has only what was accepted before",
    ("fire_schedules", "SL001"): "an error of one schedule becomes its problem",
    ("fire_schedules", "SL006"): "an error of one schedule becomes its problem",
    ("fire_schedules", "SL201"): "an error of one schedule becomes its problem",
    ("fire_schedules", "42501"): "an error of one schedule becomes its problem",
    ("fire_schedules", "SL202"): "an error of one schedule becomes its problem",
}


def without_comments(text, mark):
    return re.sub(rf"{mark}.*", "", text)


def sql_functions():
    """The text of every function in sql/, by name."""
    found = {}
    for path in sorted((TOP / "sql").rglob("*.sql")):
        parts = re.split(r"^create (?:or replace )?(?:function|procedure) sluice\.(\w+)", without_comments(path.read_text(), "--"),
                         flags=re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2]):
            found[name] = found.get(name, "") + re.split(r"^comment on ", text, flags=re.MULTILINE)[0]
    return found


SQL = sql_functions()
CPP = {path: without_comments(path.read_text(), "//") for path in [*EXTENSION.rglob("*.cpp"), *EXTENSION.rglob("*.hpp")]}
HOME = {symbol: path for path, text in CPP.items() for symbol in re.findall(r"SLUICE_FUNCTION\((\w+)\)", text)}
NAMED = {name: "".join(part) for name, *part in re.findall(
    r"(errcode_\w+)\s*=\s*MAKE_SQLSTATE\('(.)', '(.)', '(.)', '(.)', '(.)'\)", CPP[EXTENSION / "pg" / "error.hpp"])}


def calls(node, into_cpp):
    """What a function in SQL, or a C++ file, hands over to."""
    if node in SQL:
        symbol = re.search(r"as 'MODULE_PATHNAME', '(\w+)'", SQL[node])
        if symbol:
            return {HOME[symbol[1]]} if into_cpp and symbol[1] != "sluice_call" else set()
        return {name for name in re.findall(r"sluice\.(_\w+)\s*\(", SQL[node]) if name in SQL}
    strings = " ".join(re.findall(r'"((?:[^"\\]|\\.)*)"', CPP[node]))
    headers = {EXTENSION / name for name in re.findall(r'#include "((?:index/)?\w+\.hpp)"', CPP[node])}
    return {name for name in re.findall(r"sluice\.(_\w+)\(", strings) if name in SQL} | \
           {path for header in headers for path in (header, header.with_suffix(".cpp")) if path in CPP}


def codes_in(node):
    if node in SQL:
        return set(re.findall(r"errcode\s*=\s*'(\w{5})'", SQL[node]))
    return {NAMED[name] for name in re.findall(r"errcode_\w+", CPP[node]) if name in NAMED}


def raised(name, into_cpp):
    seen, rest = set(), ["_" + name if "_" + name in SQL else name]
    while rest:
        node = rest.pop()
        if node not in seen:
            seen.add(node)
            rest += calls(node, into_cpp)
    return set().union(*map(codes_in, seen))


DOCUMENTED = {name: set(re.findall(r"\b(?:SL\d{3}|\d{5})\b", re.search(r"\*\*Errors\*\* (.*)", section.text)[1]))
              for name, section in sections(DOCS / "functions.md", 3).items()}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_a_function_raises_is_on_its_page(name):
    missing = {code for code in raised(name, into_cpp=False) - DOCUMENTED[name] - ALWAYS if (name, code) not in UNREACHABLE}
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_is_on_the_page_of_a_function_can_be_raised(name):
    own = {code for code in DOCUMENTED[name] if code.startswith("SL")}
    assert own <= raised(name, into_cpp=True)


def test_what_is_unreachable_is_found():
    """An exception that is no longer needed goes."""
    assert all(code in raised(name, into_cpp=False) for name, code in UNREACHABLE)
