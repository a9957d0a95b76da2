#!/usr/bin/env bash
# docs/errors.md lists each SQLSTATE of class SL that the SQL and the library can raise, once, and no other; and all
# codes that SQL raises are of class SL or standard ones that this check knows.
set -euo pipefail

standard='42501 42704' # insufficient_privilege, undefined_object

raised=$({
    grep -rhoE "(errcode = |sqlstate )'[0-9A-Z]{5}'" sql | grep -oE "[0-9A-Z]{5}" || true
    sed -nE "s/.*MAKE_SQLSTATE\('(.)', *'(.)', *'(.)', *'(.)', *'(.)'\).*/\1\2\3\4\5/p" extension/pg/error.hpp
} | sort -u)
documented=$(sed -nE 's/^\| (SL[0-9]{3}) \|.*/\1/p' docs/errors.md)

status=0
say() { printf '%s\n' "$1"; status=1; }

for code in $raised; do
    case $code in
    SL*) grep -qx "$code" <<<"$documented" || say "docs/errors.md does not list $code, which is raised" ;;
    *) [[ " $standard " == *" $code "* ]] || say "sql/ raises $code, which is neither of class SL nor in the list of this check" ;;
    esac
done
for code in $documented; do
    grep -qx "$code" <<<"$raised" || say "docs/errors.md lists $code, which nothing raises"
done
twice=$(sort <<<"$documented" | uniq -d)
[ -z "$twice" ] || say "docs/errors.md lists twice: $twice"
[ "$documented" = "$(sort <<<"$documented")" ] || say "docs/errors.md is not in the order of codes"

# Every exception says its code; without one it would be P0001.
while IFS= read -r place; do
    say "an exception without errcode: $place"
done < <(find sql -name '*.sql' -print0 | sort -z | xargs -0 awk '
    /raise exception/ { place = FILENAME ":" FNR; open = 1; lines = 0 }
    open && /errcode/ { open = 0 }
    open && ++lines > 2 { print place; open = 0 }')
exit $status
