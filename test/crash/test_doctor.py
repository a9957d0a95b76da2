"""What doctor() finds only in a server that is configured for it: replication that holds back vacuum, and memory that runs out."""

import ctypes
import struct

import psycopg2
from psycopg2.extras import PhysicalReplicationConnection

from sandbox import Sandbox, wait_until


def test_a_slot_that_nobody_reads_and_a_standby_that_lags_are_found():
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
        standbys_that_lag_are_found(sandbox)


class Standby:
    """The protocol's side of a standby with hot_standby_feedback whose query sees all that was there when it connected."""

    def __init__(self, sandbox, slot=None):
        xid = sandbox.value("select pg_current_xact_id()::text::bigint")
        self.connection = psycopg2.connect(host=sandbox.env["PGHOST"], port=sandbox.env["PGPORT"], user="postgres",
                                           connection_factory=PhysicalReplicationConnection)
        cursor = self.connection.cursor()
        cursor.start_replication(slot_name=slot, start_lsn=sandbox.value("select pg_current_wal_lsn()::text"))
        message = struct.pack("!cqIIII", b"h", 0, xid & 0xFFFFFFFF, xid >> 32, 0, 0)
        libpq, connection = ctypes.CDLL("libpq.so.5"), ctypes.c_void_p(self.connection.pgconn_ptr)
        assert libpq.PQputCopyData(connection, message, len(message)) == 1 and libpq.PQflush(connection) == 0


def standbys_that_lag_are_found(sandbox):
    def found():
        return sandbox.rows("select what, subject, what_to_do ~ 'End the long queries there|end the long queries there'"
                            " from sluice.doctor() where what in ('replication slot', 'standby') order by 1")

    sandbox.rows("select pg_create_physical_replication_slot('kept', true)")
    standbys = [Standby(sandbox), Standby(sandbox, "kept")]
    pid = wait_until("the server knows what the standbys see", lambda: sandbox.value(
        "select pid from sluice._standbys() where exists (select from pg_replication_slots where slot_name = 'kept' and xmin is not null)"))
    assert found() == []
    sandbox.rows("do 'begin for i in 1 .. 1000000 loop perform pg_current_xact_id(); commit; end loop; end'")
    assert found() == [("replication slot", "kept", True), ("standby", f"backend {pid}", True)]
    for standby in standbys:
        standby.connection.close()
    wait_until("nobody reads from the slot", lambda: [row[0] for row in found()] == ["replication slot"])
    sandbox.rows("select pg_drop_replication_slot('kept')")
    assert found() == []


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
