"""The shell commands and files on the pages work as they stand: into an own database, dump and restore, sluiced's file."""

import subprocess

import psycopg2
import pytest

from pages import DOCS, blocks, indented, indented_blocks, is_file_of_sluiced, pages
from sandbox import Sandbox, wait_until


@pytest.fixture(scope="module")
def sandbox():
    """A server with nothing but an empty database shop; sluiced is in the path, as after make install."""
    with Sandbox(setup=False) as sandbox:
        sandbox.rows("create database shop", dbname="postgres")
        sandbox.env["PATH"] = f"{sandbox.dir}/bin:{sandbox.env['PATH']}"
        del sandbox.env["PGDATABASE"]
        yield sandbox


def shell(sandbox, lines):
    done = subprocess.run(["bash", "-euc", "\n".join(lines)], env=sandbox.env, cwd=sandbox.dir, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def shop(sandbox):
    """The database shop as start.md sets it up, with sluiced running as there."""
    install, *commands, run = indented(DOCS / "start.md", "make install")
    assert install.startswith("make install") and run.startswith("sluiced --database")
    shell(sandbox, commands)
    with open(sandbox.dir / "shop.log", "wb") as log:
        process = subprocess.Popen(["bash", "-c", f"exec {run}"], env=sandbox.env, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT)
    try:
        wait_until("sluiced leads", lambda: sandbox.value("select worker from sluice.workers where leader", dbname="shop"))
        yield sandbox
    finally:
        process.terminate()
        process.wait(20)


def result(sandbox, dbname):
    sandbox.rows("select sluice.create_task('sum', target => 'select 2 + 3')", dbname=dbname)
    run = sandbox.value("select sluice.enqueue('sum')", dbname=dbname)
    return sandbox.rows("select status, output from sluice.result(%s, '10 seconds')", run, dbname=dbname)


def test_a_database_of_ones_own_works_after_the_commands_of_start(shop):
    assert result(shop, "shop") == [("completed", 5)]


def test_a_restored_copy_hands_out_nothing_until_it_is_adopted(shop):
    shop.rows("select sluice.create_task('work', executor => 'external')", dbname="shop")
    waiting = shop.value("select sluice.enqueue('work', '{\"n\": 1}')", dbname="shop")
    shell(shop, indented(DOCS / "operate.md", "pg_dump"))

    assert shop.value("select sluice.enqueue('work', '{\"n\": 2}')", dbname="shop_copy") > waiting
    for refused in ["select * from sluice.claim('copy')", "select sluice.try_lead('copy')"]:
        with pytest.raises(psycopg2.Error) as error:
            shop.rows(refused, dbname="shop_copy")
        assert error.value.pgcode == "SL015"

    shop.rows("select sluice.adopt()", dbname="shop_copy")
    assert shop.value("select run_id from sluice.claim('copy')", dbname="shop_copy") == waiting
    assert shop.rows("select * from sluice.check()", dbname="shop_copy") == []


FILES = [(page, number) for page, path in pages().items()
         for number, lines in enumerate(indented_blocks(path)) if is_file_of_sluiced(lines)]


@pytest.mark.parametrize("page, number", FILES)
def test_files_of_sluiced_on_the_pages_are_understood(sandbox, tmp_path, page, number):
    file = tmp_path / "sluiced.toml"
    file.write_text("\n".join(indented_blocks(pages()[page])[number]) + "\n")
    done = subprocess.run([sandbox.env["SLUICED"], "--check-config", "--config", str(file)], env=sandbox.env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    assert "executors = [" in done.stdout


def test_the_command_that_upgrades_does_not_wait_for_long(shop):
    shell(shop, indented(DOCS / "upgrade.md", "psql -d shop"))
    assert result(shop, "shop") == [("completed", 5)]


def test_systemd_understands_the_unit_on_the_page(tmp_path):
    unit, = [block.text for block in blocks(DOCS / "security.md") if block.language == "ini"]
    file = tmp_path / "sluiced.service"
    file.write_text(unit.replace("/usr/local/bin/sluiced", "/bin/true"))  # it must be there
    done = subprocess.run(["systemd-analyze", "verify", str(file)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, timeout=60)
    assert (done.returncode, [line for line in done.stdout.splitlines() if str(file) in line or file.name in line]) == (0, [])
