"""The reference is complete and names nothing that does not exist: functions, views, settings and errors against the
catalog and the sources, in both directions."""

import re

import pytest

from pages import DOCS, TOP, sections
from sandbox import Sandbox

# What pg_settings calls a context, in the words of the page.
CHANGE = {"superuser": "session (superuser)", "user": "session", "sighup": "reload", "postmaster": "restart"}
ROLES = ["sluice_producer", "sluice_caller", "sluice_claimer", "sluice_worker", "sluice_reader", "sluice_payload_reader", "sluice_admin"]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(sidecar=False) as sandbox:
        yield sandbox


def one_line(text):
    """A signature without its layout."""
    return re.sub(r"\s+", " ", text).strip().replace("( ", "(").replace(" )", ")")


def plain(text):
    """Types as people write them, and defaults without casts."""
    for name, short in [("timestamp with time zone", "timestamptz"), ("'00:00:30'", "'30 seconds'"), ("'00:05:00'", "'5 minutes'"), ("'00:00:00'", "'0'"),
                        ("DEFAULT", "default"), ("NULL", "null"), ("INOUT ", "inout "), ("OUT ", "out "), ("IN ", ""),
                        ("TABLE(", "table ("), ("SETOF", "setof")]:
        text = text.replace(name, short)
    return re.sub(r"::[a-z ]+(\[\])?", "", text)


@pytest.fixture(scope="module")
def functions(sandbox):
    """Every public function: signature, and the roles that may call it, without those that may as members of another."""
    members = {"sluice_admin": set(ROLES), "sluice_payload_reader": {"sluice_reader"}}
    found = {}
    for name, kind, arguments, result, roles in sandbox.rows("""
            select p.proname, p.prokind, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
                   array(select r from unnest(%s) as r where has_function_privilege(r, p.oid, 'execute'))
            from pg_proc as p where p.pronamespace = 'sluice'::regnamespace and p.proname not like '\\_%%'""", ROLES):
        arguments = [plain(part) for part in arguments.split(", ")] if arguments else []
        out = [part[4:] for part in arguments if part.startswith("out ")]
        given = ", ".join(part for part in arguments if not part.startswith("out "))
        signature = f"call sluice.{name}({given})" if kind == "p" else \
            f"sluice.{name}({given}) → " + (f"({', '.join(out)})" if out else plain(result))
        found[name] = signature, [role for role in roles if not members.get(role, set()) & set(roles) - {role}]
    return found


@pytest.fixture(scope="module")
def documented():
    return sections(DOCS / "functions.md", 3)


def test_every_public_function_is_documented_and_no_other(functions, documented):
    assert sorted(documented) == sorted(functions)


def test_signatures_have_the_real_names_types_and_defaults(functions, documented):
    for name, (signature, _) in functions.items():
        shown = re.search(r"```text\n(.*?)```", documented[name].text, re.DOTALL)[1]
        assert one_line(shown) == signature


def test_every_column_of_a_result_is_explained(functions, documented):
    for name, (signature, _) in functions.items():
        columns = re.search(r"→ .*?\((.*)\)$", signature)
        prose = re.sub(r"```.*?```", "", documented[name].text, flags=re.DOTALL)
        for column in columns[1].split(", ") if columns else []:
            assert f"`{column.split()[0]}`" in prose, f"{name}: {column}"


def test_every_function_has_an_example_that_calls_it(documented):
    for name, section in documented.items():
        assert any(f"sluice.{name}(" in example for example in re.findall(r"```sql.*?```", section.text, re.DOTALL)), name


def test_grants_are_those_of_the_catalog(functions, documented):
    for name, (_, roles) in functions.items():
        shown = re.search(r"\*\*Grant\*\* (.*?) ·", documented[name].text)[1]
        assert re.findall(r"`(\w+)`", shown) == roles, name
        assert roles or shown == "the extension's owner", name


def codes_in_sources():
    found = set()
    for path in [*(TOP / "sql").rglob("*.sql"), *(TOP / "extension").rglob("*.[ch]pp")]:
        text = path.read_text()
        found.update(re.findall(r"'(SL[0-9]{3})'", text))
        found.update("".join(part) for part in re.findall(
            r"MAKE_SQLSTATE\('(S)', '(L)', '(\d)', '(\d)', '(\d)'\)", text))
    return found


def test_every_error_code_is_documented_and_no_other():
    assert set(re.findall(r"\bSL[0-9]{3}\b", (DOCS / "errors.md").read_text())) == codes_in_sources()


def test_pages_name_only_error_codes_that_exist():
    for path in [TOP / "README.md", *DOCS.glob("*.md")]:
        assert set(re.findall(r"\bSL[0-9]{3}\b", path.read_text())) <= codes_in_sources(), path


def test_every_finding_of_doctor_is_explained_and_no_other():
    source = (TOP / "sql" / "api" / "87_doctor.sql").read_text()
    found = re.findall(r"'(?:error|warning|notice)'(?: end)?,\s*(case .*? end|'[^']*')", source)
    phrases = {phrase for part in found for phrase in re.findall(r"(?:^|then |else )'([^']*)'", part)}
    shown = re.findall(r"^\| `([^`]+)` \|", (DOCS / "troubleshoot.md").read_text(), re.MULTILINE)
    assert shown == sorted(phrases)


def test_every_view_is_documented_with_its_columns_in_order(sandbox):
    shown = {name: re.findall(r"^\| `(\w+)` \|", section.text, re.MULTILINE)
             for name, section in sections(DOCS / "views.md", 2).items()}
    found = dict(sandbox.rows("""
        select c.relname::text, array_agg(a.attname::text order by a.attnum)
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'sluice'::regnamespace and c.relkind = 'v' group by c.relname"""))
    assert shown == found


def test_columns_of_views_are_described_in_the_words_of_the_catalog(sandbox):
    """What a page says of a column is what \\d+ says of it, without capital, full stop and markup."""
    said = {(view, column): text for view, column, text in sandbox.rows("""
        select c.relname::text, a.attname::text, col_description(a.attrelid, a.attnum)
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'sluice'::regnamespace and c.relkind = 'v'""")}
    for view, section in sections(DOCS / "views.md", 2).items():
        for column, shown in re.findall(r"^\| `(\w+)` \| (.*) \|$", section.text, re.MULTILINE):
            text = said[view, column]
            assert re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", shown) == text[0].lower() + text[1:].rstrip("."), f"{view}.{column}"


def test_status_and_outcomes_are_those_that_are_stored(sandbox):
    """What views.md names as status or outcome is what the tables' checks allow, and what the view adds."""
    for view, column, constraint, made_by_the_view in [("runs", "status", "run_status_fits", {"delayed", "retrying"}),
                                                       ("attempts", "outcome", "attempt_outcome_known", {"completed"})]:
        rule = sandbox.value("select pg_get_constraintdef(oid) from pg_constraint where conname = %s and conparentid = 0"
                             " and conrelid = any (array['sluice.run'::regclass, 'sluice.attempt'::regclass])", constraint)
        row = re.search(rf"^\| `{column}` \|(.*)\|$", sections(DOCS / "views.md", 2)[view].text, re.MULTILINE)[1]
        stored = {word for quoted in re.findall(r"'([^']*)'", rule) for word in re.findall(r"\w+", quoted)}
        assert set(re.findall(r"`(\w+)`", row)) == stored | made_by_the_view


def test_every_setting_is_documented_as_it_is(sandbox):
    connection = sandbox.connect()
    with connection.cursor() as cursor:
        cursor.execute("select sluice.version()")  # loads the library, which defines them
        cursor.execute("select name, boot_val, coalesce(unit, '-'), coalesce(min_val || ' to ' || max_val, 'on or off'), context from pg_settings where name like 'sluice.%'")
        found = {name: (default, unit, values, CHANGE[context]) for name, default, unit, values, context in cursor.fetchall()}
        cursor.execute("select name, short_desc from pg_settings where name like 'sluice.%'")
        described = dict(cursor.fetchall())
    connection.close()
    pages = sections(DOCS / "settings.md", 2)
    assert found == {name: re.search(r"\*\*Default\*\* (\S+) · \*\*Unit\*\* (\S+) · \*\*Range\*\* (.+) · \*\*Change needs\*\* (.+)",
                                     section.text).groups() for name, section in pages.items()}
    for name, text in described.items():
        assert pages[name].text.startswith(text.rstrip(".")), f"{name}: the page begins otherwise than pg_settings"
