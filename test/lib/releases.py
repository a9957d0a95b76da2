"""Releases of Sluice for the tests of upgrades: the one that is checked out, those that were recorded, and one to come.

The one to come, 99.0.0, is made from the sources by edits that are what a release may do: functions that are new, gone,
or have other arguments or results; columns, constraints, indexes, tables and views that are new or differ; rows that are
rewritten.  Its scripts are put together as the build does it, so an upgrade to it goes the way of a real one.
"""

import os
import pathlib
import re
import shutil
import subprocess

from sandbox import TOP

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD_DIR") or TOP / "build")
FIXTURES = TOP / "test" / "upgrade" / "fixtures"
CURRENT = re.search(r"^default_version = '(.+)'", (TOP / "extension" / "sluice.control").read_text(), re.MULTILINE)[1]
NEXT = "99.0.0"


def script_of_current():
    return BUILD / "sql" / f"sluice--{CURRENT}.sql"


def make_scripts(sql, version, out):
    """The scripts of a release, by sql/scripts.cmake; what it said."""
    out.mkdir(exist_ok=True)
    done = subprocess.run(["cmake", f"-DSQL={sql}", f"-DVERSION={version}", f"-DOUT={out}", "-P", str(TOP / "sql" / "scripts.cmake")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


class Sources:
    """A copy of sql/ that is edited.  An edit that meets nothing is an error: the sources have changed."""

    def __init__(self, place):
        self.dir = place
        shutil.copytree(TOP / "sql", place)

    def edit(self, file, pattern, replacement):
        path = self.dir / file
        text, found = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert found, f"{file}: {pattern!r} is not there"
        path.write_text(text)

    def add(self, file, text):
        assert not (self.dir / file).exists()
        (self.dir / file).parent.mkdir(exist_ok=True)
        (self.dir / file).write_text(text)


def storage_version():
    return int(re.search(r"function sluice\._schema_version.*?select (\d+);", (TOP / "sql/api/20_setup.sql").read_text(), re.DOTALL)[1])


def make_next(place):
    """Writes the release to come into place/: scripts, control file and library."""
    sources = Sources(place / "sources")
    version = storage_version() + 1

    sources.edit("api/20_setup.sql", r"(function sluice\._schema_version.*?select )\d+;", rf"\g<1>{version};")
    # A function gets another argument, one gets another result, one is gone, one is new, and one says something else.
    sources.edit("api/30_task.sql", r"sluice\.pause\(queue text, reason text default null\)",
                 "sluice.pause(queue text, reason text default null, until timestamptz default null)")
    sources.edit("api/30_task.sql", r"sluice\._pause\(queue text, reason text\)", "sluice._pause(queue text, reason text, until timestamptz)")
    sources.edit("api/30_task.sql", r"(comment on function sluice\._?pause\(text, text)\)", r"\1, timestamptz)")
    sources.edit("api/75_result.sql", r"(create function sluice\._?result\([^)]*?out error jsonb)\)", r"\1, out note text)")
    sources.edit("api/60_finish.sql", r"create function sluice\._?release\(token uuid\).*?comment on function sluice\._?release\(uuid\)[^;]*;[^\n]*\n", "")
    sources.edit("api/90_grant.sql", r"'release', ", "")
    sources.edit("api/90_grant.sql", r"(\('sluice_reader', +array\[)", r"\1'notes_of', ")
    sources.edit("api/85_check.sql", r"(comment on function sluice\.check\(\) is\s+')", r"\1Now and then: ")
    sources.add("api/89_note.sql", """-- note: what somebody has to say of a run.

create function sluice.notes_of(run_id bigint) returns setof text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.notes_of(bigint) is 'What was noted of a run.';

create function sluice._notes_of(run_id bigint) returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select n.note from sluice.note as n where n.run_id = _notes_of.run_id;
end
$$;
comment on function sluice._notes_of(bigint) is 'Twin of notes_of().';
""")
    # The extension's view has its function's columns.
    sources.edit("api/88_stats.sql", r"(create function sluice\._?queue_stats\(\)\nreturns table [^)]*?stale bigint)\)", r"\1, expired bigint)")
    sources.edit("api/88_stats.sql", r"n\.conflicts, n\.stale\n", "n.conflicts, n.stale, 0::bigint\n")
    sources.edit("api/88_stats.sql", r"s\.conflicts, s\.stale\n", "s.conflicts, s.stale, s.expired\n")
    sources.edit("api/88_stats.sql", r"(comment on column sluice\.queue_stats\.stale [^\n]*\n)", r"\1comment on column sluice.queue_stats.expired is 'Runs that expired.';\n")
    # Columns of a small table and of the large ones, a constraint, an index, options, a table with partitions, a sequence.
    sources.edit("storage/20_task.sql", r"(create table sluice\.task \(.*?)(\n +constraint task_pkey)", r"\1\n        described_as text not null,\2")
    sources.edit("storage/20_task.sql", r"max_attempts between 1 and 250", "max_attempts between 1 and 251")
    sources.edit("storage/30_run.sql", r"(create table sluice\.run \(.*?)(\n +constraint run_pkey)", r"\1\n        notes smallint not null default 0,\2")
    sources.edit("storage/30_run.sql", r"(create index run_due .*?;\n)", r"\1    create index run_noted on sluice.run (run_id) where notes > 0;\n")
    sources.edit("storage/40_slot.sql", r"(create unlogged table sluice\.worker .*?)fillfactor = 50", r"\1fillfactor = 60")
    sources.edit("storage/50_view.sql", r"(create or replace view sluice\.queues as.*?)(\n    from sluice\.queue as q)", r"\1,\n        q.queue_id as number\2")
    sources.edit("storage/50_view.sql", r"^begin\n", "begin\n    create or replace view sluice.notes as select n.run_id, n.note from sluice.note as n;\n"
                 "    comment on view sluice.notes is 'What was noted.';\n")
    sources.edit("api/25_partition.sql", r"\('log', 'fillfactor = 100'\)", "('log', 'fillfactor = 100'), ('note', 'fillfactor = 90')")
    sources.edit("storage/30_run.sql", r"(\n    perform sluice\._make_default_partitions\(\);)", r"\n    perform sluice._make_note();\n\1")
    sources.edit("storage/60_comment.sql", r"(function sluice\._comments\(\)[^;]*?\n    values\n)", r"\1    ('note', 'run_id', 'Its run.'), ('note', 'note', 'What was noted.'), ('note', 'number', 'Its place.'),\n"
                 r"    ('notes', 'run_id', 'Its run.'), ('notes', 'note', 'What was noted.'), ('queues', 'number', 'Its number.'),\n"
                 r"    ('run', 'notes', 'How many notes it has.'), ('task', 'described_as', 'What people call it.'),\n")
    sources.add("storage/71_note.sql", """create function sluice._make_note() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    create table sluice.note (
        run_id bigint  not null,
        number integer not null,
        note   text    not null,
        constraint note_pkey primary key (run_id, number)
    ) partition by range (run_id);
    comment on table sluice.note is 'What was noted of runs.';
    create sequence sluice.note_seq as smallint;
    comment on sequence sluice.note_seq is 'Nothing yet.';
end
$$;
comment on function sluice._make_note() is 'Step of setup(): makes the table of notes.';
""")
    sources.add(f"storage/72_migrate_to_{version}.sql", f"""create function sluice._migrate_to_{version}() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._as_owner('alter table sluice.task add column described_as text');
    perform sluice._as_owner($sql$update sluice.task as t set described_as = 'the task ' || t.task$sql$);
    perform sluice._as_owner('alter table sluice.task alter column described_as set not null');
    perform sluice._as_owner('alter table sluice.task drop constraint task_attempts_in_range,
                              add constraint task_attempts_in_range check (max_attempts between 1 and 251)');
    perform sluice._as_owner('alter table sluice.run add column notes smallint not null default 0');
    perform sluice._as_owner('alter table sluice.worker set (fillfactor = 60)');
    create index run_noted on sluice.run (run_id) where notes > 0;
    perform sluice._make_note();
end
$$;
comment on function sluice._migrate_to_{version}() is 'Step of setup().';
""")
    # Tasks that are defined there get the new column from its writer.
    sources.edit("api/30_task.sql", r"insert into sluice\.task as (\w+) \(task, ", r"insert into sluice.task as \1 (described_as, task, ")
    sources.edit("api/30_task.sql", r"(insert into sluice\.task as \w+ \(described_as.*?values \()", r"\1'the task ' || _create_task.task, ")
    sources.add(f"upgrade/{CURRENT}--{NEXT}.sql", """-- What cannot be replaced.
drop function if exists sluice.pause(text, text);
drop function if exists sluice._pause(text, text);
drop function if exists sluice.result(bigint, interval);
drop function if exists sluice._result(bigint, interval);
drop function if exists sluice.release(uuid);
drop function if exists sluice._release(uuid);
drop view if exists sluice.queue_stats;
drop function if exists sluice.queue_stats();
drop function if exists sluice._queue_stats();
""")
    make_scripts(sources.dir, NEXT, place / "scripts")
    control = (TOP / "extension" / "sluice.control").read_text()
    (place / "scripts" / "sluice.control").write_text(control.replace(f"default_version = '{CURRENT}'", f"default_version = '{NEXT}'"))
    return place / "scripts"


def installed(sandbox, name):
    [path] = pathlib.Path(sandbox.dir).glob(f"pg/**/{name}")
    return path


def install_scripts(sandbox, *directories):
    """Puts scripts (and a control file, if there is one) beside those that the sandbox has."""
    extensions = installed(sandbox, "sluice.control").parent
    for directory in directories:
        for path in [*directory.glob("sluice--*.sql"), *directory.glob("sluice.control")]:
            shutil.copyfile(path, extensions / path.name)


def install_library(sandbox, library):
    """Another file takes the place of the library: who has loaded the old one keeps it."""
    old = installed(sandbox, "sluice.so")
    fresh = old.with_suffix(".new")
    shutil.copyfile(library, fresh)
    fresh.chmod(0o755)
    fresh.replace(old)


def library_of_next():
    return BUILD / "test" / "upgraded" / "sluice.so"
