"""No block of code on a page is out of reach of a test.

Blocks in ```sql are typed in by test_docs, page by page, and files of sluiced are read by test_commands.  Whatever else
looks like code, fenced in another language or indented, is named here with the test that runs it.
"""

import pytest

from pages import TOP, blocks, indented_blocks, is_file_of_sluiced, pages

RUN_BY = {
    ("README.md", "make demo"): "test/demo/test_demo.py",
    ("docs/http.md", "python"): "test/sidecar/test_http.py",
    ("docs/operate.md", "pg_dump -Fc -d shop -f shop.dump"): "test/docs/test_commands.py",
    ("docs/psql.md", "psql"): "test/docs/test_transcript.py",
    ("docs/python.md", "python"): "test/sidecar/test_python.py",
    ("docs/security.md", "ini"): "test/docs/test_commands.py",
    ("docs/start.md", "make"): "test/docs/test_docs.py",  # whose sandbox it starts
    ("docs/start.md", "make install"): "test/docs/test_commands.py",
    ("docs/sidecar.md", "sluiced --database"): "test/sidecar/test_config.py",
    ("docs/upgrade.md", "createdb shop_new"): "test/upgrade/test_releases.py",
    ("docs/upgrade.md", "psql -d shop"): "test/docs/test_commands.py",
    ("docs/workers.md", "PGDATABASE=shop python3 docs/examples/worker.py"): "test/docs/test_workers.py",
    ("docs/workers.md", "sh"): "test/docs/test_workers.py",
}


def other_code(page):
    path = pages()[page]
    found = [block.language for block in blocks(path) if block.language not in ("sql", "text")]
    return found + [lines[0] for lines in indented_blocks(path) if not is_file_of_sluiced(lines)]


@pytest.mark.parametrize("page", sorted(pages()))
def test_every_block_of_the_page_is_run_by_a_test(page):
    for first in other_code(page):
        by = [test for (where, begins), test in RUN_BY.items() if where == page and first.startswith(begins)]
        assert by, f"nobody runs the block {first!r}"
        assert (TOP / by[-1]).exists()


def test_no_block_is_named_that_is_not_there():
    assert [(page, begins) for page, begins in RUN_BY if not any(first.startswith(begins) for first in other_code(page))] == []
