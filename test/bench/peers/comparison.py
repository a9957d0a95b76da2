"""The arithmetic of make bench-peers: ratios of Sluice to each peer, medians of rounds, and the table to read.

A result has a measure, what it was measured at, a system and the figures.  Ratios are Sluice / peer: of rates, where
more is better, and of milliseconds at the median, where less is.
"""

import statistics

OURS = "Sluice"
OURS_IN_NODE = "Sluice, Node client"
MEASURED = ("per_s", "p50_ms")
COLUMNS = ("measure", "at", "system", "client", "per_s", "first_per_s", "last_per_s", "first_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms", "ratio", "ratio_node",
           "log_enqueue", "log_drain", "lost", "twice", "left", "failed")
WORDS = {"measure", "at", "system", "client", "failed"}


def median(rounds):
    """One result of several of the same thing: the medians of its figures, the sums of what must not be."""
    merged = dict(rounds[0])
    for name, value in rounds[0].items():
        values = [result[name] for result in rounds if result[name] is not None]
        if not values:
            continue
        if name in ("lost", "twice", "left"):
            merged[name] = sum(values)
        elif isinstance(value, float):
            merged[name] = round(statistics.median(values), 2)
        elif isinstance(value, int):
            merged[name] = round(statistics.median(values))
    return merged


def ratio(ours, peer):
    """Sluice / peer in the figure that both have, or None."""
    for name in MEASURED:
        if ours and name in ours and peer.get(name):
            return round(ours[name] / peer[name], 2)
    return None


def with_ratios(results):
    """The same results, each peer's with its ratio to Sluice in the same measure, and a Node library's with that to
    Sluice with a client in Node, too."""
    ours = {(result["measure"], result["at"], result["system"]): result for result in results}
    compared = []
    for result in results:
        compared.append(dict(result))
        if result["system"] in (OURS, OURS_IN_NODE):
            continue
        for name, system in (("ratio", OURS), ("ratio_node", OURS_IN_NODE)):
            if system == OURS_IN_NODE and result.get("client") != "Node":
                continue
            value = ratio(ours.get((result["measure"], result["at"], system)), result)
            if value is not None:
                compared[-1][name] = value
    return compared


def shown(value):
    if value is None:
        return ""
    if isinstance(value, (int, float)) and value >= 1000:
        return f"{value:,.0f}"
    return str(value)


def table(results):
    """One block of lines for each measure, with the columns that it has."""
    blocks = []
    for measure in dict.fromkeys(result["measure"] for result in results):
        of_it = [result for result in results if result["measure"] == measure]
        columns = [name for name in COLUMNS if any(result.get(name) is not None for result in of_it)]
        lines = [columns] + [[shown(result.get(name)) for name in columns] for result in of_it]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        blocks.append("\n".join(
            "  ".join(cell.ljust(width) if name in WORDS else cell.rjust(width)
                      for cell, width, name in zip(line, widths, columns)).rstrip()
            for line in lines))
    return "\n\n".join(blocks)
