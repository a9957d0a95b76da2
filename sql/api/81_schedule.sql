-- Schedules: when a cron ticks, and which schedules there are.
--
-- What is due is fired in sql/api/82_fire.sql.  Fields are read, and instants found, in C++ (extension/cron.cpp).

create function sluice._cron_tick(cron text, timezone text, after timestamptz) returns timestamptz
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_tick';
comment on function sluice._cron_tick(text, text, timestamptz) is 'The first tick after an instant; null if there is none before the year 10000.';

create function sluice._cron_ticks(cron text, timezone text, after timestamptz, count integer) returns timestamptz[]
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_ticks';
comment on function sluice._cron_ticks(text, text, timestamptz, integer) is 'The next ticks after an instant, in order.';

create function sluice._cron_count(cron text, timezone text, after timestamptz, until timestamptz) returns bigint
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_count';
comment on function sluice._cron_count(text, text, timestamptz, timestamptz) is 'How many ticks there are after one instant and not after another.';

create function sluice._cron_zone(timezone text) returns text
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_zone';
comment on function sluice._cron_zone(text) is 'A zone''s name as it is spelled; null unless it is one of the IANA data base.';

create function sluice._cron_words(cron text) returns text
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_words';
comment on function sluice._cron_words(text) is 'What a cron means, in words; raises SL006 for what is none.';

create function sluice._assert_cron(cron text, timezone text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if _assert_cron.cron is null then
        perform sluice._refuse('cron', 'must not be null', 'For example ''30 9 * * mon-fri'' or ''@daily''.');
    end if;
    if _assert_cron.timezone is null then
        perform sluice._refuse('timezone', 'must not be null', 'Leave it out for UTC.');
    end if;
    perform sluice._cron_tick(_assert_cron.cron, _assert_cron.timezone, clock_timestamp());
end
$$;
comment on function sluice._assert_cron(text, text) is 'Raises SL006, naming the field, unless cron and zone can be read.';

create function sluice.cron_next(cron text, timezone text default 'UTC', after timestamptz default null) returns timestamptz
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.cron_next(text, text, timestamptz) is
    'When a cron ticks for the first time after an instant, which is now unless given, by the clocks of a time zone.';

create function sluice._cron_next(cron text, timezone text, after timestamptz) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_cron(_cron_next.cron, _cron_next.timezone);
    return sluice._cron_tick(_cron_next.cron, _cron_next.timezone, coalesce(_cron_next.after, clock_timestamp()));
end
$$;
comment on function sluice._cron_next(text, text, timestamptz) is 'Twin of cron_next().';

create function sluice.cron_describe(cron text) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.cron_describe(text) is 'What a cron means, in words: at 09:30, Monday to Friday.';

create function sluice._cron_describe(cron text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_cron(_cron_describe.cron, 'UTC');
    return sluice._cron_words(_cron_describe.cron);
end
$$;
comment on function sluice._cron_describe(text) is 'Twin of cron_describe().';
