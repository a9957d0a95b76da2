"""Reads the pages of documentation: their blocks, headings and links."""

import re
from dataclasses import dataclass, field

from sandbox import TOP

DOCS = TOP / "docs"


def pages():
    """README and every page for users, by name."""
    return {path.relative_to(TOP).as_posix(): path for path in [TOP / "README.md", *sorted(DOCS.glob("*.md"))]}


@dataclass
class Block:
    """A fenced block: ```language attribute=value …"""
    language: str
    attributes: dict
    text: str
    line: int
    output: str = None  # the text block that directly follows an sql block: what psql shows


@dataclass
class Section:
    title: str
    body: list = field(default_factory=list)

    @property
    def text(self):
        return "\n".join(self.body)


def blocks(path):
    """All fenced blocks of a page in order.  A text block right behind an sql block becomes its output."""
    found, language, previous_end = [], None, None
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if language is None and line.startswith("```"):
            language, *attributes = line[3:].split() or [""]
            start, body = number, []
        elif line == "```":
            text = "\n".join(body) + "\n"
            if language == "text" and found and found[-1].language == "sql" and start - previous_end <= 2:
                found[-1].output = text
            else:
                found.append(Block(language, dict(a.split("=", 1) for a in attributes), text, start))
            language, previous_end = None, number
        elif language is not None:
            body.append(line)
    assert language is None, f"{path}: the block of line {start} has no end"
    return found


def sections(path, level):
    """What stands under each heading of a level, by the heading's text; a higher heading ends it."""
    found, current, fenced = {}, None, False
    for line in path.read_text().splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"(#+) (.*)", line)
        if heading and len(heading[1]) <= level:
            current = found.setdefault(heading[2], Section(heading[2])) if len(heading[1]) == level else None
        elif current is not None:
            current.body.append(line)
    return found


def anchors(path):
    """The anchors that headings get on a forge: lower case, spaces to hyphens, other signs dropped."""
    fenced, found = False, set()
    for line in path.read_text().splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"#+ (.*)", line)
        if heading:
            found.add(re.sub(r"[^a-z0-9 _-]", "", heading[1].lower()).replace(" ", "-"))
        found.update(re.findall(r'<a (?:name|id)="([^"]+)"', line))
    return found


def links(path):
    """Targets of links that lead to files of this repository."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def indented(path, first):
    """The indented block of a page that begins with a line."""
    lines = path.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("    " + first))
    end = next(n for n in range(start, len(lines) + 1) if n == len(lines) or not lines[n].startswith("    "))
    return [line[4:] for line in lines[start:end]]


def indented_blocks(path):
    """The indented blocks of a page, each a list of lines."""
    found, fenced, before = [], False, ""
    for line in path.read_text().splitlines():
        fenced ^= line.startswith("```")
        if not fenced and line.startswith("    ") and line.strip():
            if not before.startswith("    "):
                found.append([])
            found[-1].append(line[4:])
        before = line if line.strip() else before if fenced else ""
    return found


def is_file_of_sluiced(lines):
    return bool(re.fullmatch(r"\[(database|worker|process|python|http|log|metrics)\]", lines[0]))
