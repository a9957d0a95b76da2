"""Settings from the outside: the file, the environment, the flags, and what is said about mistakes."""

import pytest


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "sluiced.toml"
        path.write_text(text)
        return str(path)
    return write


def test_check_config_shows_what_the_settings_amount_to(sluiced, file):
    path = file('[database]\nurl = "postgres://me:geheim@db/app"\n[worker]\ncapacity = 3\nqueues = ["a"]\n')
    code, out, _ = sluiced("--config", path, "--check-config", "--queues", "b,c", SLUICE_WORKER_CAPACITY="4")
    assert code == 0
    assert "capacity = 4" in out and 'queues = ["b", "c"]' in out and "host=db" in out
    assert "geheim" not in out


def test_an_unknown_key_is_refused_with_the_nearest(sluiced, file):
    code, out, err = sluiced("--config", file("[worker]\ncapacty = 3\n"), "--check-config")
    assert (code, out) == (1, "")
    assert "unknown setting worker.capacty; did you mean worker.capacity?" in err


@pytest.mark.parametrize("args, expected", [
    (("--nonsense",), 2),
    (("--setup-url", "x"), 2),
    (("--config", "/there/is/no/file"), 1),
    (("--capacity", "many", "--check-config"), 1),
    (("--version",), 0),
    (("--help",), 0),
])
def test_exit_codes(sluiced, args, expected):
    assert sluiced(*args)[0] == expected


def test_a_database_without_the_extension_is_named_and_ends_the_start(shared, sluiced):
    shared.rows("create database empty")
    target = f"host={shared.sandbox.env['PGHOST']} port={shared.sandbox.env['PGPORT']} user=sluiced dbname=empty"
    code, _, err = sluiced("--database", target)
    assert code == 1
    assert "create extension sluice" in err


def test_setup_makes_the_storage_and_without_it_nothing_starts(shared, sluiced):
    shared.rows("create database unset")
    shared.rows("create extension sluice", dbname="unset")
    env = shared.sandbox.env
    target = f"host={env['PGHOST']} port={env['PGPORT']} dbname=unset user="
    code, _, err = sluiced("--database", target + "sluiced")
    assert code == 1
    assert "sluiced --setup" in err
    code, out, err = sluiced("--setup", "--setup-url", target + "postgres")
    assert (code, err) == (0, ""), err
    assert out.strip()
    assert sluiced("--setup", "--setup-url", target + "sluiced")[0] == 1


def test_a_login_that_is_no_worker_is_told_what_it_lacks(shared, sluiced):
    shared.rows("create role nobody_yet login")
    env = shared.sandbox.env
    code, _, err = sluiced("--database", f"host={env['PGHOST']} port={env['PGPORT']} dbname=sluice user=nobody_yet")
    assert code == 1
    assert "grant sluice_worker" in err
