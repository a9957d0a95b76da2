"""The documentation does not lie: every ```sql block of it is run, page by page, as a reader would who types it into psql.

A page gets a fresh database with Sluice and a running sluiced, and one psql session for all of its blocks.  A block may
say more about itself behind ```sql:
    error=SL001     its last statement fails with this code
    database=new    it runs in an empty database of its own
If a ```text block follows directly, it is what psql shows; numbers are compared only if they are short, since ids and
times differ.
"""

import re
import subprocess

import pytest

from pages import DOCS, TOP, anchors, blocks, links, pages
from sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(sidecar=False) as sandbox:
        yield sandbox


@pytest.fixture
def fresh(sandbox):
    """The sandbox with an untouched database, and a sidecar on it."""
    recreate(sandbox, "sluice")
    sandbox.rows("create extension sluice")
    sandbox.rows("select sluice.setup()")
    sandbox.sidecar_start()
    yield sandbox
    sandbox.sidecar_stop()
    # Roles and settings belong to the cluster: what a page made must not meet the next one.
    for (role,) in sandbox.rows("select rolname from pg_roles where rolname !~ '^(pg_|sluice|postgres)'", dbname="postgres"):
        sandbox.rows(f"drop owned by {role}")  # also what was granted to it
        sandbox.rows(f"drop role {role}")
    sandbox.rows("alter system reset all", dbname="postgres")
    sandbox.rows("select pg_reload_conf()", dbname="postgres")


def recreate(sandbox, name):
    sandbox.rows(f"drop database if exists {name} with (force)", dbname="postgres")
    sandbox.rows(f"create database {name}", dbname="postgres")


def psql(sandbox, texts, dbname="sluice"):
    """What psql prints and complains of for each text, all in one session."""
    mark = "=== end of block ==="
    script = "".join(f"{text}\n\\echo {mark}\n\\warn {mark}\n" for text in texts)
    done = subprocess.run(["psql", "-Xq", "-v", "VERBOSITY=verbose", "-d", dbname], input=script, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=sandbox.env, check=False, timeout=120)
    shown, complaints = done.stdout.split(mark + "\n"), done.stderr.split(mark + "\n")
    assert len(shown) == len(complaints) == len(texts) + 1, done.stderr
    return list(zip(shown, complaints))


def without_what_differs(text):
    """Long numbers and lines' ends aside; trailing blanks are psql's padding."""
    text = re.sub(r"\d{6,}", "N", text)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def judge(page, block, shown, complaints):
    where = f"{page}, line {block.line}"
    codes = re.findall(r"ERROR:  (\w{5}):", complaints)
    wanted = [block.attributes["error"]] if "error" in block.attributes else []
    assert codes == wanted, f"{where}: {complaints or 'no error'}"
    if block.output is not None:
        found, told = without_what_differs(shown), without_what_differs(block.output)
        assert found.endswith(told), f"{where}: psql shows\n{shown}"


@pytest.mark.parametrize("page", sorted(pages()))
def test_every_sql_block_of_the_page_works(page, fresh):
    path = pages()[page]
    found = [block for block in blocks(path) if block.language == "sql"]
    for block in found:
        assert set(block.attributes) <= {"error", "database"}, f"{page}, line {block.line}: {block.attributes}"

    in_order = [block for block in found if "database" not in block.attributes]
    for block, (shown, complaints) in zip(in_order, psql(fresh, [block.text for block in in_order])):
        judge(page, block, shown, complaints)

    # After the session above: such a block may make roles, which all databases share.
    for block in found:
        if "database" in block.attributes:
            fresh.sidecar_stop()
            recreate(fresh, "page")
            judge(page, block, *psql(fresh, [block.text], dbname="page")[0])
            fresh.rows("drop database page", dbname="postgres")


@pytest.mark.parametrize("page", sorted(pages()))
def test_every_link_of_the_page_leads_somewhere(page):
    path = pages()[page]
    for link in links(path):
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(file), f"{page}: {link}"


def test_the_index_leads_to_every_page():
    listed = {(DOCS / link).resolve() for link in links(DOCS / "README.md")}
    assert set(DOCS.glob("*.md")) - {DOCS / "README.md"} <= listed


def test_the_readme_begins_with_what_it_is_and_the_two_commands():
    title, sentences, commands = (TOP / "README.md").read_text().split("\n\n")[:3]
    assert title == "# Sluice"
    assert len(re.findall(r"\.(?: |$)", sentences)) == 2
    assert commands == "    make demo\n    make test"
