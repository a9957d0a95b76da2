"""What doctor() finds only in a server that is configured for it: a replication slot that nobody reads."""

from sandbox import Sandbox


def test_a_slot_that_nobody_reads_is_found():
    with Sandbox(sidecar=False, conf=["wal_level = logical"]) as sandbox:
        assert sandbox.rows("select * from sluice.doctor() where what = 'replication slot'") == []
        sandbox.rows("select pg_create_logical_replication_slot('left', 'pgoutput')")
        [(severity, subject, what_to_do)] = sandbox.rows(
            "select severity, subject, what_to_do from sluice.doctor() where what = 'replication slot'")
        assert (severity, subject) == ("warning", "left")
        assert "select pg_drop_replication_slot('left')" in what_to_do
        sandbox.rows("select pg_drop_replication_slot('left')")
        assert sandbox.rows("select * from sluice.doctor() where what = 'replication slot'") == []
