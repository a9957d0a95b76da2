// watch and unwatch: make and drop the triggers of a watch; see watch.hpp for what they are.
//
// Both run as the caller, with the caller's search_path, so that everything happens with the rights of whoever owns
// the table: not through the trampoline, since nothing that the storage's owner could change may choose what is done in
// the caller's name.  Only the question whether there is such a task is asked as the storage's owner.

#include "pg/boundary.hpp"

#include "pg/identity.hpp"
#include "pg/version.hpp"
#include "index/spi.hpp"
#include "watch.hpp"

namespace {

using namespace sluice::pg;
using sluice::index::connect;
namespace watch = sluice::watch;

struct Event {
    const char *name;
    int         type;
    const char *row; // what a column without a prefix belongs to
    bool        has_old;
    bool        has_new;
    const char *referencing;
};

constexpr Event all_events[] = {
    {"insert", TRIGGER_TYPE_INSERT, "new", false, true, "new table as new_rows"},
    {"update", TRIGGER_TYPE_UPDATE, "new", true, true, "old table as old_rows new table as new_rows"},
    {"delete", TRIGGER_TYPE_DELETE, "old", true, false, "old table as old_rows"},
};

/// A watched table, and how its names are written in SQL.
struct Table {
    Oid         id;
    const char *name;
    const char *qualified;
    bool        is_partitioned;
    Oid         owner;
};

/// The arguments of watch(), null where they were not given.
struct Settings {
    const char *name;
    const char *task;
    int         rows_per_run;
    ArrayType  *columns;
    const char *condition;
    const char *concurrency_key;
    const char *priority;
    ArrayType  *only_when_changed;
    const char *columns_text;
    const char *changed_text;
};

[[noreturn]] void refuse(const char *message, const char *hint)
{
    ereport(ERROR, errcode(errcode_invalid_value), errmsg("%s", message), errhint("%s", hint));
    pg_unreachable();
}

void execute(const char *statement)
{
    const int code = SPI_execute(statement, false, 0);
    if (code < 0)
        elog(ERROR, "could not run \"%s\": %s", statement, SPI_result_code_string(code));
}

Oid trigger_function()
{
    List *name = list_make2(makeString(pstrdup("sluice")), makeString(pstrdup("watched")));
    return LookupFuncName(name, 0, nullptr, false);
}

// --- Tables ---

[[noreturn]] void not_watchable(const char *table, const char *detail, const char *hint)
{
    ereport(ERROR, errcode(errcode_not_watchable), errmsg("table \"%s\" cannot be watched", table),
            errdetail("%s", detail), errhint("%s", hint));
    pg_unreachable();
}

/// Locks a table as CREATE TRIGGER does, and looks whether it is the caller's to watch.
Table own_table(Oid id)
{
    LockRelationOid(id, ShareRowExclusiveLock);
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(id));
    if (!HeapTupleIsValid(tuple))
        ereport(ERROR, errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the table to watch does not exist"),
                errhint("Give the name of a table."));
    const FormData_pg_class form = *reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    ReleaseSysCache(tuple);

    const char *name   = pstrdup(NameStr(form.relname));
    const char *schema = get_namespace_name(form.relnamespace);
    const bool  system = id < FirstNormalObjectId || isAnyTempNamespace(form.relnamespace) ||
                        strcmp(schema, "sluice") == 0 || strcmp(schema, "sluice_storage") == 0;
    switch (form.relkind) {
    case RELKIND_RELATION:
    case RELKIND_PARTITIONED_TABLE:
        break;
    case RELKIND_VIEW:
    case RELKIND_MATVIEW:
        not_watchable(name, "It is a view: no rows of its own change.",
                      "Watch the tables that the view reads.");
    case RELKIND_FOREIGN_TABLE:
        not_watchable(name, "It is a foreign table, whose rows change elsewhere.",
                      "Watch the table in its own database.");
    default:
        not_watchable(name, "It is not a table.", "Give the name of a table.");
    }
    if (form.relpersistence == RELPERSISTENCE_TEMP)
        not_watchable(name, "It is a temporary table, and ends with its session.",
                      "Call sluice.enqueue_many instead.");
    if (system)
        not_watchable(name, "It belongs to Postgres or to sluice itself.", "Watch a table of your own.");
    if (form.relispartition)
        not_watchable(name, "It is a partition: rows that come through its parent do not fire its triggers.",
                      "Watch the partitioned table, with a condition if only some rows matter.");
    if (!owns_table(id, GetUserId()))
        ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of table %s", name),
                errdetail("A watch enqueues for everybody who changes the table."),
                errhint("Ask the owner to call it, who needs the role sluice_producer."));
    return Table{id, name, quote_qualified_identifier(schema, name),
                 form.relkind == RELKIND_PARTITIONED_TABLE, form.relowner};
}

const char *qualified_name(Oid table)
{
    return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table));
}

/// The partitions at all levels, locked; none of a table that has none.
List *partitions_of(const Table &table)
{
    if (!table.is_partitioned)
        return NIL;
    return list_delete_first(find_all_inheritors(table.id, ShareRowExclusiveLock, nullptr));
}

// --- Dropping ---

/// Drops the statement or the row triggers of a table that belong to a watch, or to any; returns how many.
int drop_triggers(Oid id, Oid function, const char *name, bool for_each_row)
{
    Relation           table = table_open(id, NoLock);
    List              *names = NIL;
    const TriggerDesc *all   = table->trigdesc;
    for (int i = 0; all != nullptr && i < all->numtriggers; ++i) {
        const Trigger &one = all->triggers[i];
        if (watch::is_ours(one, function) && (name == nullptr || watch::is_of(one, function, name)) &&
            !one.tgisclone && (TRIGGER_FOR_ROW(one.tgtype) != 0) == for_each_row)
            names = lappend(names, pstrdup(one.tgname));
    }
    table_close(table, NoLock);

    ListCell *cell;
    foreach (cell, names)
        execute(psprintf("drop trigger %s on %s", quote_identifier(static_cast<char *>(lfirst(cell))),
                         qualified_name(id)));
    return list_length(names);
}

/// The statement triggers first, since they depend on the row triggers.  Partitions have statement triggers of ours
/// only, since the row triggers are clones.
int drop_watch(const Table &table, Oid function, const char *name)
{
    ListCell *cell;
    int       dropped = 0;
    foreach (cell, partitions_of(table))
        drop_triggers(lfirst_oid(cell), function, name, false);
    dropped += drop_triggers(table.id, function, name, false);
    dropped += drop_triggers(table.id, function, name, true);
    return dropped;
}

// --- Expressions ---

/// Turns the place of an error in an expression of the user's into one of that text.
void say_which_expression(void *argument)
{
    const auto *text     = static_cast<const char *>(argument);
    const int   position = geterrposition();
    if (position > 0) {
        errposition(0);
        internalerrposition(position);
        internalerrquery(text);
    }
}

/// Refuses what is not one expression, whatever it would do inside of a larger one.
void assert_expression(const char *argument, const char *text)
{
    ErrorContextCallback context{error_context_stack, say_which_expression, const_cast<char *>(text)};
    error_context_stack = &context;
    List *statements    = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
    error_context_stack = context.previous;

    auto *raw    = linitial_node(RawStmt, statements);
    auto *select = reinterpret_cast<SelectStmt *>(raw->stmt);
    if (list_length(select->targetList) != 1 ||
        linitial_node(ResTarget, select->targetList)->name != nullptr || select->distinctClause != NIL ||
        select->fromClause != NIL || select->whereClause != nullptr || select->groupClause != NIL ||
        select->havingClause != nullptr || select->windowClause != NIL || select->sortClause != NIL ||
        select->limitOffset != nullptr || select->limitCount != nullptr || select->lockingClause != NIL)
        refuse(psprintf("%s is not one SQL expression", argument),
               "For example total > 100, or new.total > old.total.");
}

struct Scope {
    const Table *table;
    const char  *row;
};

void assert_column(const Scope &scope, const char *column)
{
    if (get_attnum(scope.table->id, column) > 0)
        return;
    ereport(
        ERROR, errcode(errcode_no_such_column),
        errmsg("table \"%s\" has no column \"%s\"", scope.table->name, column),
        errhint("Columns are named as in \\d %s; in an expression new and old are the row after and before.",
                scope.table->qualified));
}

bool is_row(const char *word)
{
    return strcmp(word, "new") == 0 || strcmp(word, "old") == 0;
}

/// Gives each column the row that it belongs to, as WHEN wants it: total and orders.total become new.total.
bool qualify_columns(Node *node, void *argument)
{
    if (node == nullptr)
        return false;
    if (!IsA(node, ColumnRef))
        return walk_raw_expression(node, qualify_columns, argument);

    const auto &scope  = *static_cast<const Scope *>(argument);
    auto       *column = reinterpret_cast<ColumnRef *>(node);
    Node       *first  = static_cast<Node *>(linitial(column->fields));
    if (!IsA(first, String))
        return false;
    const char *word = strVal(first);
    if (list_length(column->fields) == 1) {
        if (is_row(word) && get_attnum(scope.table->id, word) == InvalidAttrNumber)
            return false;
        assert_column(scope, word);
        column->fields = lcons(makeString(pstrdup(scope.row)), column->fields);
        return false;
    }
    Node *second = static_cast<Node *>(lsecond(column->fields));
    if (strcmp(word, scope.table->name) == 0 && !is_row(word)) {
        linitial(column->fields) = makeString(pstrdup(scope.row));
        word                     = scope.row;
    }
    if (is_row(word) && IsA(second, String))
        assert_column(scope, strVal(second));
    return false;
}

/// Calls `each` with every element of a list of names.
template <typename Each>
void for_each_name(ArrayType *names, const char *argument, Each each)
{
    Datum *elements;
    bool  *nulls;
    int    count;
    deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
    if (count == 0)
        refuse(psprintf("%s is empty", argument), "Name at least one, or leave it out.");
    for (int i = 0; i < count; ++i) {
        if (nulls[i])
            refuse(psprintf("%s has an element that is null", argument), "Name it, or leave it out.");
        each(i, TextDatumGetCString(elements[i]));
    }
}

/// An expression that makes an object of a row's columns, or of all of it.
void append_image(StringInfo text, const Settings &settings, const char *row)
{
    constexpr int pairs_a_call = 40; // a function has at most 100 arguments
    if (settings.columns == nullptr) {
        appendStringInfo(text, "pg_catalog.to_jsonb(%s.*)", row);
        return;
    }
    for_each_name(settings.columns, "columns", [&](int i, const char *column) {
        if (i % pairs_a_call == 0)
            appendStringInfoString(text, i == 0 ? "pg_catalog.jsonb_build_object("
                                                : ") operator(pg_catalog.||) pg_catalog.jsonb_build_object(");
        else
            appendStringInfoChar(text, ',');
        appendStringInfo(text, "%s, %s.%s", quote_literal_cstr(column), row, quote_identifier(column));
    });
    appendStringInfoChar(text, ')');
}

/// The row of columns that must differ.
void append_row(StringInfo text, ArrayType *columns, const char *row)
{
    appendStringInfoString(text, "row(");
    for_each_name(columns, "only_when_changed", [&](int i, const char *column) {
        appendStringInfo(text, "%s%s.%s", i == 0 ? "" : ", ", row, quote_identifier(column));
    });
    appendStringInfoChar(text, ')');
}

/// false and row(condition, concurrency key, priority, payload) is null.  A line break ends each expression of the
/// user's, since it may end with a comment.
const char *when_clause(const Table &table, const Settings &settings, const Event &event)
{
    StringInfoData text;
    initStringInfo(&text);
    appendStringInfo(&text, "false and row(true and (%s\n)",
                     settings.condition == nullptr ? "true" : settings.condition);
    if (settings.only_when_changed != nullptr && event.has_old && event.has_new) {
        // By their bytes: every type has these, equal or not.
        appendStringInfoString(&text, " and pg_catalog.record_image_ne(");
        append_row(&text, settings.only_when_changed, "old");
        appendStringInfoString(&text, ", ");
        append_row(&text, settings.only_when_changed, "new");
        appendStringInfoChar(&text, ')');
    }
    appendStringInfo(&text, ", (%s\n)::pg_catalog.text, (%s\n)::pg_catalog.int4, ",
                     settings.concurrency_key == nullptr ? "null" : settings.concurrency_key,
                     settings.priority == nullptr ? "null" : settings.priority);
    appendStringInfo(
        &text, "pg_catalog.jsonb_build_object('table', %s::pg_catalog.text, 'event', %s::pg_catalog.text",
        quote_literal_cstr(table.qualified), quote_literal_cstr(event.name));
    if (event.has_old) {
        appendStringInfoString(&text, ", 'old', ");
        append_image(&text, settings, "old");
    }
    if (event.has_new) {
        appendStringInfoString(&text, ", 'new', ");
        append_image(&text, settings, "new");
    }
    appendStringInfoString(&text, ")) is null");
    return text.data;
}

// --- Making ---

const char *or_empty(const char *text)
{
    return text == nullptr ? "" : text;
}

List *trigger_arguments(const Settings &settings)
{
    const char *values[watch::argument_count];
    values[watch::name]              = settings.name;
    values[watch::task]              = settings.task;
    values[watch::rows_per_run]      = psprintf("%d", settings.rows_per_run);
    values[watch::columns]           = or_empty(settings.columns_text);
    values[watch::condition]         = or_empty(settings.condition);
    values[watch::concurrency_key]   = or_empty(settings.concurrency_key);
    values[watch::priority]          = or_empty(settings.priority);
    values[watch::only_when_changed] = or_empty(settings.changed_text);
    List *arguments                  = NIL;
    for (const char *value : values)
        arguments = lappend(arguments, makeString(pstrdup(value)));
    return arguments;
}

/// The name of a trigger; `suffix` sets apart the row trigger.
char *trigger_name(const Settings &settings, const Event &event, const char *suffix)
{
    return psprintf("sluice_%s_%s%s", settings.name, event.name, suffix);
}

/// The row trigger is disabled, and would not fire if somebody enabled all triggers of the table.
ObjectAddress make_row_trigger(const Table &table, const Settings &settings, const Event &event)
{
    const char *text = when_clause(table, settings, event);
    const Scope scope{&table, event.row};

    ErrorContextCallback context{error_context_stack, say_which_expression, const_cast<char *>(text)};
    error_context_stack = &context;
    auto *raw           = linitial_node(RawStmt, raw_parser(text, RAW_PARSE_PLPGSQL_EXPR));
    auto *condition = linitial_node(ResTarget, reinterpret_cast<SelectStmt *>(raw->stmt)->targetList)->val;
    qualify_columns(condition, const_cast<Scope *>(&scope));

    CreateTrigStmt *made = makeNode(CreateTrigStmt);
    made->trigname       = trigger_name(settings, event, "_row");
    made->relation   = makeRangeVar(get_namespace_name(get_rel_namespace(table.id)), pstrdup(table.name), -1);
    made->funcname   = list_make2(makeString(pstrdup("sluice")), makeString(pstrdup("watched")));
    made->args       = trigger_arguments(settings);
    made->row        = true;
    made->timing     = TRIGGER_TYPE_AFTER;
    made->events     = static_cast<int16>(event.type);
    made->whenClause = condition;

    const ObjectAddress address =
        CreateTriggerFiringOn(made, text, table.id, InvalidOid, InvalidOid, InvalidOid, InvalidOid,
                              InvalidOid, nullptr, false, false, TRIGGER_DISABLED);
    error_context_stack = context.previous;
    CommandCounterIncrement();
    return address;
}

/// `row` is the row trigger of the table; null for a partition, which is to be detached from it at any time.
void make_statement_trigger(Oid id, const Settings &settings, const Event &event, const ObjectAddress *row)
{
    const char    *name = trigger_name(settings, event, "");
    StringInfoData text;
    initStringInfo(&text);
    appendStringInfo(
        &text,
        "create trigger %s after %s on %s referencing %s for each statement execute function sluice.watched(",
        quote_identifier(name), event.name, qualified_name(id), event.referencing);
    ListCell *cell;
    foreach (cell, trigger_arguments(settings))
        appendStringInfo(&text, "%s%s", foreach_current_index(cell) == 0 ? "" : ", ",
                         quote_literal_cstr(strVal(lfirst(cell))));
    if (row == nullptr)
        appendStringInfo(&text, ", %s", quote_literal_cstr(watch::partition_mark));
    appendStringInfoChar(&text, ')');
    execute(text.data);

    if (row == nullptr)
        return;
    // Whoever drops a column with cascade drops the watch with it, and not only the half that knows the column.
    const ObjectAddress statement{TriggerRelationId, get_trigger_oid(id, name, false), 0};
    recordDependencyOn(&statement, row, DEPENDENCY_NORMAL);
    CommandCounterIncrement();
}

// --- Arguments ---

const char *text_argument(FunctionCallInfo fcinfo, int number)
{
    return PG_ARGISNULL(number) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

ArrayType *array_argument(FunctionCallInfo fcinfo, int number)
{
    return PG_ARGISNULL(number) ? nullptr : PG_GETARG_ARRAYTYPE_P(number);
}

const char *array_text(ArrayType *array)
{
    return array == nullptr ? nullptr : OidOutputFunctionCall(F_ARRAY_OUT, PointerGetDatum(array));
}

/// The wanted events as a set of TRIGGER_TYPE_….
int wanted_events(ArrayType *events)
{
    int wanted = 0;
    for_each_name(events, "events", [&](int, const char *name) {
        int found = 0;
        for (const Event &event : all_events) {
            if (strcmp(event.name, name) == 0)
                found = event.type;
        }
        if (found == 0)
            refuse(psprintf("event \"%s\" is not known", name),
                   strcmp(name, "truncate") == 0 ? "The events are insert, update and delete; truncate "
                                                   "changes no row that could be looked at."
                                                 : "The events are insert, update and delete.");
        wanted |= found;
    });
    return wanted;
}

/// What needs the tables of sluice, asked as the storage's owner: that there is such a task, which the table's owner may
/// use, and keeps being until we commit.
void assert_settings(Oid table_owner, const Settings &settings)
{
    Oid            types[]  = {TEXTOID, TEXTOID, INT4OID, OIDOID};
    Datum          values[] = {CStringGetTextDatum(settings.name), CStringGetTextDatum(settings.task),
                               Int32GetDatum(settings.rows_per_run), ObjectIdGetDatum(table_owner)};
    const Identity before   = switch_to_owner(storage_owner(extension_schema()));
    SPI_execute_with_args("select sluice._assert_watch($1, $2, $3, $4)", 4, types, values, nullptr, false, 0);
    become(before);
}

} // namespace

SLUICE_FUNCTION(sluice_watch)
{
    check_version();
    if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(8))
        refuse("table_name, events, task and rows_per_run must not be null",
               "For example sluice.watch('orders', '{insert}', task => 'index_order').");
    Settings settings{};
    settings.task              = text_argument(fcinfo, 2);
    settings.columns           = array_argument(fcinfo, 3);
    settings.condition         = text_argument(fcinfo, 4);
    settings.concurrency_key   = text_argument(fcinfo, 5);
    settings.priority          = text_argument(fcinfo, 6);
    settings.only_when_changed = array_argument(fcinfo, 7);
    settings.rows_per_run      = PG_GETARG_INT32(8);
    settings.name              = PG_ARGISNULL(9) ? settings.task : text_argument(fcinfo, 9);
    settings.columns_text      = array_text(settings.columns);
    settings.changed_text      = array_text(settings.only_when_changed);

    const int wanted = wanted_events(PG_GETARG_ARRAYTYPE_P(1));
    if (settings.only_when_changed != nullptr && (wanted & TRIGGER_TYPE_UPDATE) == 0)
        refuse("only_when_changed is for updates", "Add update to the events, or leave it out.");
    if (settings.condition != nullptr)
        assert_expression("condition", settings.condition);
    if (settings.concurrency_key != nullptr)
        assert_expression("concurrency_key", settings.concurrency_key);
    if (settings.priority != nullptr)
        assert_expression("priority", settings.priority);

    connect();
    const Table table = own_table(PG_GETARG_OID(0));
    assert_settings(table.owner, settings);
    const Oid function   = trigger_function();
    List     *partitions = partitions_of(table);
    ListCell *cell;
    foreach (cell, partitions) {
        if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE)
            not_watchable(
                table.name,
                psprintf("Its partition \"%s\" is a foreign table.", get_rel_name(lfirst_oid(cell))),
                "Watch the table in the database where its rows are.");
    }

    drop_watch(table, function, settings.name);
    for (const Event &event : all_events) {
        if ((wanted & event.type) == 0)
            continue;
        const ObjectAddress row = make_row_trigger(table, settings, event);
        make_statement_trigger(table.id, settings, event, &row);
        foreach (cell, partitions)
            make_statement_trigger(lfirst_oid(cell), settings, event, nullptr);
    }
    SPI_finish();
    PG_RETURN_VOID();
}

SLUICE_FUNCTION(sluice_unwatch)
{
    check_version();
    if (PG_ARGISNULL(0))
        refuse("table_name must not be null", "For example sluice.unwatch('orders').");
    const char *name = text_argument(fcinfo, 1);

    connect();
    const Oid id = PG_GETARG_OID(0);
    LockRelationOid(id, AccessExclusiveLock);
    const char *title = get_rel_name(id);
    if (title == nullptr)
        ereport(ERROR, errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the table to watch does not exist"),
                errhint("Give the name of a table."));
    if (!owns_table(id, GetUserId()))
        ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of table %s", title),
                errhint("Ask the owner to call it."));
    const Table table{id, title, qualified_name(id), get_rel_relkind(id) == RELKIND_PARTITIONED_TABLE,
                      InvalidOid};
    if (drop_watch(table, trigger_function(), name) == 0)
        ereport(ERROR, errcode(errcode_no_such_watch),
                name == nullptr ? errmsg("table \"%s\" is not watched", title)
                                : errmsg("table \"%s\" has no watch \"%s\"", title, name),
                errhint("The view sluice.watches lists the watches of all tables."));
    SPI_finish();
    PG_RETURN_VOID();
}
