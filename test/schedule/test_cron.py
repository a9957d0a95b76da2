"""Cron against an independent implementation: which minutes on the wall a cron names is croniter's word, which instants
these are is that of Python's zoneinfo; and both for as many crons and zones as SLUICE_CRON_CASES says.
"""

import datetime
import os
import re
import zoneinfo

from croniter import croniter

from sessions import Session, seeded_random

CASES = int(os.environ.get("SLUICE_CRON_CASES", "1500"))
UTC = datetime.timezone.utc
MINUTE, HOUR, DAY = datetime.timedelta(minutes=1), datetime.timedelta(hours=1), datetime.timedelta(days=1)

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()

# Zones whose clocks do what few others' do, beside any of the rest.
PECULIAR = ["Europe/Berlin", "Europe/Dublin", "Europe/Lisbon", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Havana",
            "America/Santiago", "America/Caracas", "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Apia", "Pacific/Chatham",
            "Pacific/Norfolk", "Africa/Casablanca", "Africa/Cairo", "Asia/Kathmandu", "Asia/Tehran", "Asia/Gaza", "Asia/Pyongyang",
            "Europe/Moscow", "Europe/Istanbul", "Antarctica/Troll", "Antarctica/Casey", "UTC"]


def field(chance, low, high, names=()):
    """A field as people write it; names stand for the numbers from low on."""
    def number(n):
        return chance.choice([str(n), names[n - low], names[n - low].upper()]) if names and n - low < len(names) else str(n)

    def part():
        first = chance.randint(low, high)
        last = chance.randint(first, high)
        step = f"/{chance.randint(1, max(1, (high - low) // 2))}" if chance.random() < 0.3 else ""
        return chance.choice([number(first), number(first), f"{number(first)}-{number(last)}{step}", f"*{step}"])
    if chance.random() < 0.4:
        return "*"
    return ",".join(part() for _ in range(chance.choice([1, 1, 1, 2, 3])))


def a_cron(chance):
    return " ".join([field(chance, 0, 59), field(chance, 0, 23), field(chance, 1, 28), field(chance, 1, 12, MONTHS), field(chance, 0, 6, WEEKDAYS)])


def changes(zone, start):
    """An instant within a day of which the zone's clocks are changed, in the year from start on; start itself if they are not."""
    offset = start.astimezone(zone).utcoffset()
    for days in range(370):
        at = start + days * DAY
        if at.astimezone(zone).utcoffset() != offset:
            return at
    return start


def instants(wall, zone, names_no_hour):
    """When it is so late on the wall: what the clock skips, by the clock before; what it shows twice, once or twice."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) != wall or not names_no_hour:
        return [first]
    return [first, second]


def number_of(name, place):
    """The number of a minute, hour, day, month or weekday."""
    if name.isdigit():
        return int(name)
    return MONTHS.index(name.lower()) + 1 if place == 3 else WEEKDAYS.index(name.lower())


def for_croniter(cron):
    """The same cron in words on which all versions of croniter agree with cron: some take 5-5 for everything, and some
    do not take days or weekdays that leave none out, such as */1, for a star, by which the other field decides alone."""
    fields = cron.split()
    for place, field_text in enumerate(fields):
        parts = field_text.split(",")
        for at, part_text in enumerate(parts):
            ends = re.fullmatch(r"(\w+)-(\w+)(/\d+)?", part_text)
            if ends and number_of(ends[1], place) == number_of(ends[2], place):
                parts[at] = ends[1]
        fields[place] = ",".join(parts)
    for place, all_of_them in ((2, 31), (4, 7)):
        if len(set(croniter.expand(" ".join(fields))[0][place])) == all_of_them:
            fields[place] = "*"
    return " ".join(fields)


def expected(cron, zone, after):
    """The first tick after an instant, by looking at all minutes on the wall that could be it."""
    cron = for_croniter(cron)
    hours = croniter.expand(cron)[0][1]
    names_no_hour = "*" in hours or len(hours) == 24
    span = 25 * HOUR if zone.key in ("Pacific/Apia", "Antarctica/Casey") else 3 * HOUR
    found = None
    for wall in croniter(cron, after.astimezone(zone).replace(tzinfo=None, fold=0) - span, ret_type=datetime.datetime):
        later = [at for at in instants(wall, zone, names_no_hour) if at > after]
        found = min(later + [found] if found else later, default=None)
        if found and wall.replace(tzinfo=UTC) - span > found.astimezone(zone).replace(tzinfo=UTC):
            return found
    return found


def test_cron_agrees_with_croniter_and_zoneinfo(cluster):
    chance = seeded_random("cron")
    names = sorted(name for name in zoneinfo.available_timezones() if "/" in name)
    cases = []
    for _ in range(CASES):
        zone = zoneinfo.ZoneInfo(chance.choice(PECULIAR if chance.random() < 0.6 else names))
        after = datetime.datetime(2002, 1, 1, tzinfo=UTC) + chance.randrange(34 * 365 * 24 * 60) * MINUTE
        if chance.random() < 0.7:
            after = changes(zone, after) + chance.randint(-36 * 60, 12 * 60) * MINUTE
        cases.append((a_cron(chance), zone, after))
    with Session(cluster, dbname="postgres") as session:
        session.rows("create extension if not exists sluice")
        found = session.rows("select sluice._cron_tick(c, z, a) from unnest(%s, %s, %s) with ordinality as u (c, z, a, n) order by n",
                             [c for c, _, _ in cases], [z.key for _, z, _ in cases], [a for _, _, a in cases])
    wrong = [(cron, zone.key, after.isoformat(), tick.astimezone(UTC).isoformat(), wanted.isoformat())
             for (cron, zone, after), (tick,) in zip(cases, found) if tick != (wanted := expected(cron, zone, after))]
    assert not wrong, f"{len(wrong)} of {CASES} differ (cron, zone, after, ours, expected): {wrong[:5]}"
