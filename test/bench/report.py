"""What a run of the benchmark leaves: a table to read, and a file with machine, commit and command beside the figures."""

import datetime
import json
import os
import pathlib
import platform
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = ("measure", "at", "runs_per_s", "rows_per_s", "peer", "peer_per_s", "ratio", "p50_ms", "p99_ms", "max_ms", "first_ms",
           "ms", "made_max_ms", "calls_per_s", "wal_bytes", "percent", "lost", "twice")


def first_line(path, begins, default="unknown"):
    with open(path, encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(begins)), default)


def git(*arguments):
    done = subprocess.run(["git", "-C", str(TOP), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=False)
    return done.stdout.strip()


def about(command, conf):
    """The circumstances, taken before the first measure."""
    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    if git("status", "--porcelain", "--untracked-files=no"):
        commit += "-dirty"
    return {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit,
        "command": command,
        "conf": list(conf),
        "load_before": round(os.getloadavg()[0], 2),
        "machine": {
            "cpu": first_line("/proc/cpuinfo", "model name"),
            "cores": len(os.sched_getaffinity(0)),
            "memory": first_line("/proc/meminfo", "MemTotal"),
            "kernel": platform.release(),
        },
    }


def shown(value):
    if isinstance(value, (int, float)) and value >= 1000:
        return f"{value:,.0f}"
    return "" if value is None else str(value)


def table(results):
    """A table of the columns that have anything in them."""
    columns = [name for name in COLUMNS if any(name in result for result in results)]
    lines = [columns] + [[shown(result.get(name)) for name in columns] for result in results]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    words = {"measure", "at", "peer"}
    return "\n".join(
        "  ".join(cell.ljust(width) if name in words else cell.rjust(width)
                  for cell, width, name in zip(line, widths, columns)).rstrip()
        for line in lines)


def save(directory, circumstances, results, suffix):
    """One JSON object, with a line for each result."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{circumstances['at'][:10]}-{circumstances['commit']}{suffix}.json"
    head = json.dumps(circumstances, indent=1, ensure_ascii=False)[:-2]
    lines = ",\n  ".join(json.dumps(result, ensure_ascii=False) for result in results)
    path.write_text(f'{head},\n "results": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    return path
