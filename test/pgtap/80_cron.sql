-- Cron in SQL: instants by the clocks of a zone, where these are put forward and back too; what is refused; words.
\ir lib/helper.psql
create function ticks(cron text, zone text, after timestamptz, n integer default 3) returns text language sql as $$
    select string_agg(to_char(t at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), ', ' order by t) from unnest(sluice._cron_ticks(cron, zone, after, n)) as t
$$;

-- Zones.  Each line was worked out by hand, from the days on which clocks were, or are to be, changed.
select is(ticks(cron, zone, (after || '+00')::timestamptz, n), expected, format('%s in %s: %s', cron, zone, what)) from (values
    ('30 9 * * 1-5',   'UTC',                 '2026-11-27 09:29', 3, '2026-11-27 09:30, 2026-11-30 09:30, 2026-12-01 09:30', 'UTC keeps its clocks'),
    ('0 0 * * *',      'Asia/Kathmandu',      '2026-11-29 00:00', 2, '2026-11-29 18:15, 2026-11-30 18:15', 'three quarters of an hour from others'),
    ('0 12 * * *',     'Europe/Berlin',       '2026-03-27 12:00', 4, '2026-03-28 11:00, 2026-03-29 10:00, 2026-03-30 10:00, 2026-03-31 10:00', 'noon stays noon'),
    ('30 2 * * *',     'Europe/Berlin',       '2026-03-27 12:00', 3, '2026-03-28 01:30, 2026-03-29 01:30, 2026-03-30 00:30', 'skipped, so it comes at half past three'),
    ('30 2 * * *',     'Europe/Berlin',       '2026-03-29 01:30', 1, '2026-03-30 00:30', 'and does not come again that day'),
    ('30 2 29 3 *',    'Europe/Berlin',       '2026-03-29 01:15', 1, '2026-03-29 01:30', 'seen from behind the change'),
    ('0,30 3 * * *',   'Europe/Berlin',       '2026-03-28 12:00', 3, '2026-03-29 01:00, 2026-03-29 01:30, 2026-03-30 01:00', 'what was not skipped is where it was'),
    ('0,30 2-3 * * *', 'Europe/Berlin',       '2026-03-28 12:00', 3, '2026-03-29 01:00, 2026-03-29 01:30, 2026-03-30 00:00', 'two minutes at one instant are one tick'),
    ('*/30 * * * *',   'Europe/Berlin',       '2026-03-29 00:15', 4, '2026-03-29 00:30, 2026-03-29 01:00, 2026-03-29 01:30, 2026-03-29 02:00', 'half an hour stays half an hour'),
    ('30 2 * * *',     'Europe/Berlin',       '2026-10-24 12:00', 2, '2026-10-25 00:30, 2026-10-26 01:30', 'twice on the clock, once a tick'),
    ('30 2 * * *',     'Europe/Berlin',       '2026-10-25 00:45', 1, '2026-10-26 01:30', 'the second time is none'),
    ('0 2,3 * * *',    'Europe/Berlin',       '2026-10-24 12:00', 3, '2026-10-25 00:00, 2026-10-25 02:00, 2026-10-26 01:00', 'nor at the very change'),
    ('*/30 * * * *',   'Europe/Berlin',       '2026-10-24 23:45', 5, '2026-10-25 00:00, 2026-10-25 00:30, 2026-10-25 01:00, 2026-10-25 01:30, 2026-10-25 02:00', 'a cron that names no hour goes on'),
    ('15 * 25 10 *',   'Europe/Berlin',       '2026-10-25 00:00', 3, '2026-10-25 00:15, 2026-10-25 01:15, 2026-10-25 02:15', 'each hour, also the one that is there twice'),
    ('30 2 * * *',     'America/New_York',    '2026-03-07 12:00', 2, '2026-03-08 07:30, 2026-03-09 06:30', 'forward'),
    ('30 1 * * *',     'America/New_York',    '2026-10-31 12:00', 2, '2026-11-01 05:30, 2026-11-02 06:30', 'back'),
    ('15 2 * * *',     'Australia/Lord_Howe', '2026-10-03 00:00', 2, '2026-10-03 15:45, 2026-10-04 15:15', 'forward by half an hour'),
    ('45 1 * * *',     'Australia/Lord_Howe', '2026-04-04 00:00', 2, '2026-04-04 14:45, 2026-04-05 15:15', 'back by half an hour'),
    ('45 2 * * *',     'Australia/Lord_Howe', '2026-10-03 00:00', 2, '2026-10-03 15:45, 2026-10-04 15:45', 'behind the half hour'),
    ('0 12 * * *',     'Pacific/Apia',        '2011-12-29 00:00', 3, '2011-12-29 22:00, 2011-12-30 22:00, 2011-12-31 22:00', 'a day that was skipped is the next day'),
    ('0 12 30 12 *',   'Pacific/Apia',        '2011-12-29 00:00', 2, '2011-12-30 22:00, 2012-12-29 22:00', 'also where nothing else would come'),
    ('30 2 * * *',     'Africa/Casablanca',   '2026-02-14 12:00', 2, '2026-02-15 01:30, 2026-02-16 02:30', 'back for Ramadan'),
    ('30 2 * * *',     'Africa/Casablanca',   '2026-03-21 12:00', 2, '2026-03-22 02:30, 2026-03-23 01:30', 'forward behind it'),
    ('30 1 * * *',     'Europe/Dublin',       '2026-03-28 12:00', 2, '2026-03-29 01:30, 2026-03-30 00:30', 'whose winter is what differs from the standard'),
    ('30 1 * * *',     'Europe/Dublin',       '2026-10-24 12:00', 2, '2026-10-25 00:30, 2026-10-26 01:30', 'and its end'),
    ('0 0 * * *',      'America/Sao_Paulo',   '2018-11-03 12:00', 2, '2018-11-04 03:00, 2018-11-05 02:00', 'a midnight that is skipped'),
    ('@daily',         'America/Sao_Paulo',   '2018-02-17 12:00', 2, '2018-02-18 03:00, 2018-02-19 03:00', 'and eleven at night twice'),
    ('0 23 * * *',     'America/Sao_Paulo',   '2018-02-17 12:00', 2, '2018-02-18 01:00, 2018-02-19 02:00', 'comes the first time'),
    ('30 0 * * *',     'America/St_Johns',    '2010-03-13 12:00', 2, '2010-03-14 04:00, 2010-03-15 03:00', 'a change at one minute past midnight'),
    ('0 9 * * *',      'Europe/Moscow',       '2014-10-25 00:00', 3, '2014-10-25 05:00, 2014-10-26 06:00, 2014-10-27 06:00', 'a new standard time'),
    ('0 0 1 * *',      'Asia/Kolkata',        '2026-11-29 00:00', 2, '2026-11-30 18:30, 2026-12-31 18:30', 'the month begins a day earlier in UTC'),
    ('0 0 29 2 *',     'Europe/Berlin',       '2026-11-29 00:00', 2, '2028-02-28 23:00, 2032-02-28 23:00', 'through many changes'))
    as v (cron, zone, after, n, expected, what);
select is(sluice._cron_count('*/15 * * * *', 'Europe/Berlin', '2026-10-25 00:00+02', '2026-10-26 00:00+01'), 100::bigint, 'the day has 25 hours');
select is(sluice._cron_count('*/15 2 * * *', 'Europe/Berlin', '2026-10-24 00:00+02', '2026-10-27 00:00+01'), 12::bigint, 'of which the third counts once');
select is(sluice._cron_count('*/15 2 * * *', 'Europe/Berlin', '2026-03-28 00:00+01', '2026-03-31 00:00+02'), 12::bigint, 'and is not left out where it is skipped');
-- Years are not counted tick by tick.
select is(sluice._cron_count('* * * * *', 'UTC', '2026-01-01 00:00+00', '9026-01-01 00:00+00'), extract(epoch from timestamptz '9026-01-01 00:00+00' - '2026-01-01 00:00+00')::bigint / 60, 'the ticks of thousands of years are counted');
select is(sluice._cron_last('* * * * *', 'UTC', '2026-01-01 00:00+00', '9026-01-01 00:00:30+00', 3), '{9025-12-31 23:58+00,9025-12-31 23:59+00,9026-01-01 00:00+00}', 'and the last of them found');
select is(sluice._cron_count('* * * * *', 'UTC', '9999-12-30 12:00+00', '200000-01-01 00:00+00'), 2159::bigint, 'up to the last there is');
select is((select count(*)::int from generate_series(1, cardinality(w.ticks), w.every) as n
           where sluice._cron_count(w.cron, w.zone, w.start, w.ticks[n]) <> n
              or sluice._cron_last(w.cron, w.zone, w.start, w.ticks[n], 5) is distinct from w.ticks[greatest(n - 4, 1):n]), 0, format('as one by one: %s in %s', w.cron, w.zone))
from (select v.*, sluice._cron_ticks(v.cron, v.zone, v.start, v.most) as ticks
      from (select c.*, z.zone, timestamptz '2023-09-30 05:07:11+00' as start
            from (values ('*/7 * * * *', 60000, 3989), ('15,45 0-3,22,23 * * *', 9000, 397), ('30 2 * * sun', 130, 3), ('0 0 29 2 *', 20, 1), ('* 1-3 l 3,10 *', 2000, 97)) as c (cron, most, every),
                 unnest('{UTC,Europe/Berlin,America/Havana,Asia/Beirut,Australia/Lord_Howe,Asia/Kolkata}'::text[]) as z (zone)) as v) as w;

-- cron_next
select is(sluice.cron_next('0 9 * * *', 'Europe/Berlin', '2026-11-29 08:00+01'), '2026-11-29 09:00+01'::timestamptz, 'the first tick after an instant');
select is(sluice.cron_next('0 9 * * *', 'Europe/Berlin', '2026-11-29 09:00+01'), '2026-11-30 09:00+01'::timestamptz, 'which is not that instant');
select is(sluice.cron_next('0 9 * * *', 'Europe/Berlin', '2026-11-29 08:59:59.999999+01'), '2026-11-29 09:00+01'::timestamptz, 'however near it is');
select is(sluice.cron_next('0 9 * * *', after => '2026-11-29 08:00+00'), '2026-11-29 09:00+00'::timestamptz, 'in UTC unless a zone is given');
select ok(sluice.cron_next('* * * * *') between clock_timestamp() and clock_timestamp() + interval '1 minute', 'from now on unless an instant is given');
select is(sluice.cron_next('* * * * *', after => '1999-12-31 23:59:30.5+00'), '2000-01-01 00:00+00'::timestamptz, 'before the epoch of Postgres');
select is(sluice.cron_next('0 0 1 1 *', after => '9999-06-01'), null, 'time ends with the year 9999');
select is(sluice.cron_next('* * * * *', zone, after), null, format('also from %s on', after)) from unnest('{UTC,Europe/Berlin,America/Los_Angeles}'::text[]) as zone, unnest('{10000-01-03,40000-12-31,99999-12-31,294276-12-31}'::timestamptz[]) as after;
select is(sluice.cron_next('0 9 * * *', 'europe/BERLIN', '2026-11-29 08:00+01'), '2026-11-29 09:00+01'::timestamptz, 'capitals do not matter in a zone');
select is(said(format('select sluice.cron_next(%L, %L)', cron, zone)), 'SL006: ' || expected, what) from (values
    ('61 * * * *', 'UTC', 'cron "61 * * * *": minute "61" is not from 0 to 59 [The five fields are minute, hour, day of month, month and weekday, as in 30 9 * * mon-fri.]', 'an error names field and text'),
    ('* * * *', 'UTC', 'cron "* * * *" has 4 fields, not 5 [The five fields are minute, hour, day of month, month and weekday, as in 30 9 * * mon-fri.]', 'a field is missing'),
    (null, 'UTC', 'cron must not be null [For example ''30 9 * * mon-fri'' or ''@daily''.]', 'no cron'),
    ('* * * * *', null, 'timezone must not be null [Leave it out for UTC.]', 'no zone'),
    ('* * * * *', 'Mars/Olympus', 'timezone "Mars/Olympus" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'a zone of nowhere'),
    ('* * * * *', 'Foo/Bar5', 'timezone "Foo/Bar5" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'what Postgres takes for a rule of POSIX'),
    ('* * * * *', 'CET-1CEST', 'timezone "CET-1CEST" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'a rule of POSIX'),
    ('* * * * *', 'EST5EDT4', 'timezone "EST5EDT4" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'another'),
    ('* * * * *', '+02', 'timezone "+02" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'a distance'),
    ('* * * * *', 'CEST', 'timezone "CEST" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'an abbreviation'),
    ('* * * * *', 'posix/Europe/Berlin', 'timezone "posix/Europe/Berlin" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'a folder of the zone files'),
    ('* * * * *', 'localtime', 'timezone "localtime" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'what differs from machine to machine'),
    ('* * * * *', '', 'timezone "" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'nothing'),
    ('* * * * *', repeat('x', 300), format('timezone "%s..." is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', repeat('x', 64)), 'a very long one'))
    as v (cron, zone, expected, what);
select is(said(format('select sluice.cron_next(%L, after => %L)', '* * * * *', v)), 'SL006: an instant of a schedule must not be infinite [Give a time that comes.]', 'an instant is finite') from (values ('infinity'), ('-infinity')) as v (v);
-- What is in the data base of zones and in capitals.
select ok(sluice.cron_next('* * * * *', zone) is not null, zone || ' is a zone') from unnest('{EST5EDT,CET,GMT,Etc/GMT+5,UCT,NZ-CHAT}'::text[]) as zone where exists (select from pg_timezone_names where name = zone);
select is((select count(*)::int from pg_timezone_names where name !~ '^(posix|right)/|^(localtime|posixrules|Factory)$' and sluice._cron_zone(name) is distinct from name), 0, 'every zone that Postgres knows is one');

-- Words
select is(sluice.cron_describe('30 9 * * mon-fri'), 'at 09:30, Monday to Friday', 'a cron in words');
select is(said('select sluice.cron_describe(null)'), 'SL006: cron must not be null [For example ''30 9 * * mon-fri'' or ''@daily''.]', 'nothing means nothing');
select is(said('select sluice.cron_describe(''@reboot'')'), 'SL006: cron "@reboot" is not understood [The short forms are @hourly, @daily, @weekly, @monthly and @yearly.]', 'and what is none is refused');

-- Who may
select login('cron_nobody');
select is(said('select sluice.cron_next(''@daily'')', 'cron_nobody') ~ '^42501', true, 'not everybody');
select login('cron_reader', 'sluice_reader');
select isnt(said('select sluice.cron_next(''@daily'')', 'cron_reader') ~ '^42501', true, 'a reader may ask');
select * from finish();
