"""One cluster for the whole folder, and a fresh database in it for each test.

`cluster` has no sidecar: tests drive workers and the leader's duties over SQL, and may kill what they like as long as
they leave the server running.  `fresh` is that cluster with an empty, set-up database named sluice.  After each test
its invariants are checked, whatever the test itself looked at.
"""

import pytest

from sandbox import Sandbox, wait_until
from sessions import assert_sound, can_connect


def give_fresh_database(cluster):
    if not cluster.rows("select 1 from pg_database where datname = 'pristine'", dbname="postgres"):
        cluster.rows("create database pristine", dbname="postgres")
        cluster.rows("create extension sluice", dbname="pristine")
        cluster.rows("select sluice.setup()", dbname="pristine")
    # Dropped at once, its buffers need never be written.
    cluster.rows("drop database if exists sluice with (force)", dbname="postgres")
    cluster.rows("create database sluice template pristine", dbname="postgres")
    cluster.rows("select sluice.adopt()")


@pytest.fixture(scope="session")
def cluster():
    # Recovery syncs every file of the cluster unless told that one call does.
    with Sandbox(sidecar=False, conf=["recovery_init_sync_method = syncfs"]) as sandbox:
        yield sandbox


@pytest.fixture
def fresh(cluster):
    wait_until("the server is up", lambda: can_connect(cluster))
    give_fresh_database(cluster)
    yield cluster
    wait_until("the server is up", lambda: can_connect(cluster))
    if cluster.value("select to_regclass('sluice.meta') is not null"):
        assert_sound(cluster)


@pytest.fixture
def fresh_database():
    """For tests with a cluster of their own: gives it an empty database."""
    return give_fresh_database
