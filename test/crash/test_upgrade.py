"""A new library beside an old one, of which each lays out the ready index in its own way: what sessions see that stay
connected while the file is replaced."""

import os
import pathlib
import shutil

import psycopg2
import pytest

from sandbox import TOP, Sandbox, wait_until
from sessions import Background, assert_sound, sessions

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD_DIR") or TOP / "build")


def install_the_next_library(sandbox):
    [installed] = pathlib.Path(sandbox.dir).glob("pg/**/sluice.so")
    fresh = installed.with_suffix(".new")
    shutil.copyfile(BUILD / "test" / "next" / "sluice.so", fresh)
    fresh.chmod(0o755)
    fresh.replace(installed)  # another file: who has loaded the old one keeps it


def refusal(session, statement):
    with pytest.raises(psycopg2.Error) as refused:
        session.rows(statement)
    return refused.value


def test_sessions_with_the_old_library_are_sent_away_and_no_run_has_two_owners():
    with Sandbox(sidecar=False) as sandbox:
        with sessions(sandbox, 5) as (client, claims, gives_up, ends, enqueues):
            client.rows("select sluice.create_queue('three', 3)")
            client.rows("select sluice.create_task('job', 'external', lease => '1 hour', queue => 'three')")
            runs = [client.enqueue("job") for _ in range(8)]
            [held] = client.claim("w1", 1)
            # In flight: a claim that will be committed, one that will not, an end and an enqueue.
            claims.rows("begin")
            [kept] = claims.claim("w2", 1)
            gives_up.rows("begin")
            [given_back] = gives_up.claim("w3", 1)
            ends.rows("begin")
            assert ends.complete(held.token) == "done"
            enqueues.rows("begin")
            added = enqueues.enqueue("job")

            install_the_next_library(sandbox)
            with sessions(sandbox, 2) as (new, witness):
                # The open claims keep the lock without which nothing is built, so nothing is handed out twice.
                with Background(new.claim, "w4", 5) as claim:
                    wait_until("it waits for them", lambda: witness.value(
                        "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s", new.pid))

                    for session in (client, enqueues):
                        error = refusal(session, "select sluice.enqueue('job')")
                        assert error.pgcode == "SL012" and "older library" in error.diag.message_primary
                        assert "Reconnect" in error.diag.message_hint
                    for verb in ("select sluice.claim('w1')", "call sluice.wait_for_work()", "select sluice.index_stats()",
                                 f"select sluice.heartbeat(array['{kept.token}']::uuid[])"):
                        assert refusal(client, verb).pgcode == "SL012"
                    assert claim.is_running()

                    enqueues.rows("rollback")  # its transaction had failed
                    gives_up.rows("rollback")
                    claims.rows("commit")
                # Whether the end is committed before or after the build: it holds its slot until then.
                taken = [lease.run_id for lease in claim.join()]
                assert taken == [given_back.run_id], "of three places one is still held by an end in flight, and one by the old claim"
                ends.rows("commit")
                [last] = wait_until("the end is seen", lambda: new.claim("w4", 5))
                assert new.claim("w4", 5) == []
                assert len({held.run_id, kept.run_id, given_back.run_id, last.run_id}) == 4 and added not in runs
                assert_sound(sandbox)

                # A reconnected worker goes on with what it has.
                assert new.heartbeat(kept.token) == [kept.token]
                assert new.complete(kept.token) == "done"
                assert len(new.claim("w4", 5)) == 1
                assert witness.value("select mode from sluice.index_stats()") == "index"
                assert_sound(sandbox)


def test_an_enqueue_in_flight_in_an_old_session_is_not_forgotten():
    with Sandbox(sidecar=False) as sandbox:
        with sessions(sandbox, 2) as (client, enqueues):
            client.rows("select sluice.create_task('job', 'external')")
            client.claim()
            enqueues.rows("begin")
            run = enqueues.enqueue("job")
            install_the_next_library(sandbox)
            with sessions(sandbox, 1) as (new,):
                assert new.claim("w", 5) == [], "it is not committed"
                enqueues.rows("commit")
                [lease] = wait_until("it is found", lambda: new.claim("w", 5))
                assert (lease.run_id, new.complete(lease.token)) == (run, "done")
                assert_sound(sandbox)
