#!/usr/bin/env bash
# C++ is as clang-format 14 would write it.  Other versions format differently, so they are not asked; a later Debian, which
# has no 14, leaves the question to a Debian 12.
set -euo pipefail

formatter=$(command -v clang-format-14 || command -v clang-format)
case $("$formatter" --version) in
*version\ 14.*) ;;
*)
    case $(grep -sE '^(ID|VERSION_ID|VERSION_CODENAME)=' /etc/os-release) in
    *VERSION_ID=\"13\"*ID=debian* | *VERSION_CODENAME=forky*ID=debian*) exit 0 ;;
    esac
    echo "clang-format 14 is needed; $formatter is: $("$formatter" --version)"
    exit 1
    ;;
esac

said=$(find extension sidecar test -name '*.[ch]pp' -print0 | xargs -0r "$formatter" --dry-run 2>&1)
files=$(sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: warning:.*/\1/p' <<<"$said" | sort -u)
[ -z "$files" ] || { printf 'make format mends:\n%s\n' "$files"; exit 1; }
