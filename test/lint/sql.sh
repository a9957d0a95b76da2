#!/usr/bin/env bash
# Nothing in sql/ leaves state behind in the caller's session, which a pooler would hand to somebody else: no session
# advisory lock but the leader's, no LISTEN, no set_config that outlives the transaction.
set -euo pipefail

status=0
forbid() { # pattern (extended, lower case), files to leave out, why
    local hits
    # shellcheck disable=SC2016 # awk's fields, not the shell's
    hits=$(find sql -name '*.sql' ! -name "$2" -print0 | sort -z |
        xargs -0r awk -v pattern="$1" '
            { line = tolower($0); sub(/--.*/, "", line) }
            line ~ pattern { print FILENAME ":" FNR ": " $0 }')
    [ -z "$hits" ] || { printf '%s:\n%s\n' "$3" "$hits"; status=1; }
}

forbid 'pg_(try_)?advisory_lock(_shared)?[ ]*\(' '*_leader.sql' 'session advisory lock outside the leader'
forbid '^[ ]*(execute[ ]+.*)?(un)?listen[ ]' '' 'listen in SQL of the extension'
forbid 'set_config[ ]*\(.*,[ ]*false[ ]*\)' '' 'set_config that outlives the transaction'
forbid '^[ ]*set[ ]+session[ ]' '' 'setting that outlives the transaction'
exit $status
