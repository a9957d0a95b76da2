"""What doctor() finds only in a server that is configured for it: a replication slot that nobody reads, and memory that runs out."""

from sandbox import Sandbox


def test_a_slot_that_nobody_reads_is_found():
    with Sandbox(sidecar=False, conf=["wal_level = logical", "sluice.index_memory = 1MB"]) as sandbox:
        memory_that_runs_out_is_found(sandbox)
        assert sandbox.rows("select * from sluice.doctor() where what = 'replication slot'") == []
        sandbox.rows("select pg_create_logical_replication_slot('left', 'pgoutput')")
        [(severity, subject, what_to_do)] = sandbox.rows(
            "select severity, subject, what_to_do from sluice.doctor() where what = 'replication slot'")
        assert (severity, subject) == ("warning", "left")
        assert "select pg_drop_replication_slot('left')" in what_to_do
        sandbox.rows("select pg_drop_replication_slot('left')")
        assert sandbox.rows("select * from sluice.doctor() where what = 'replication slot'") == []


def memory_that_runs_out_is_found(sandbox):
    def found():
        return sandbox.rows("select severity, subject, what_to_do from sluice.doctor() where what = 'memory runs out'")

    sandbox.rows("select sluice.create_task('job', 'external')")
    sandbox.rows("select from sluice.claim('w')")  # builds the index
    room = sandbox.value("select lease_room from sluice.index_stats()")
    assert 0 < room < 10000
    sandbox.rows("select count(*) from sluice.enqueue_many('job', array_fill('1'::jsonb, array[%s]))", room)
    sandbox.rows("select count(*) from sluice.claim('w', capacity => %s)", int(room * 0.7))
    assert found() == []
    sandbox.rows("select count(*) from sluice.claim('w', capacity => %s)", int(room * 0.2))
    assert found() == [("warning", "sluice.index_memory", "Set sluice.index_memory above 1MB and reload, or claim less at once.")]
    sandbox.rows("select count(sluice.release(token)) from sluice.run where status = 'executing'")
    assert found() == []
