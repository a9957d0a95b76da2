#!/usr/bin/env bash
# Installs what building, testing and the demo need on Debian 12, and does nothing, quickly, when all is there.
# With --check it only says what is missing, and fails if anything is.
# The one thing to know: server and development package must be of the same minor version, since the module is
# compiled against the headers of one and loaded by the other; so they are always installed together.
set -euo pipefail

server=(postgresql-15 postgresql-client-15 postgresql-server-dev-15)
packages=(
    "${server[@]}" libpq-dev
    cmake g++ make git ca-certificates ccache
    libboost1.81-dev libboost-json1.81-dev libboost-system1.81-dev
    libspdlog-dev libfmt-dev libcli11-dev libtomlplusplus-dev libgtest-dev
    postgresql-15-pgtap postgresql-15-partman libtap-parser-sourcehandler-pgtap-perl
    python3 python3-psycopg2 python3-pytest
    clang-format clang-tidy shellcheck jq
    ffmpeg procps util-linux
)

# One line for each installed package: its name and its version.
installed() { dpkg-query -W -f='${db:Status-Status} ${Package} ${Version}\n' 2>/dev/null | sed -n 's/^installed //p'; }

# Prints what has to be installed, or nothing.
missing() {
    local present version
    present=$(installed)
    for package in "${packages[@]}"; do
        grep -q "^$package " <<<"$present" || printf '%s\n' "$package"
    done
    version=$(sed -n 's/^postgresql-15 //p' <<<"$present")
    for package in "${server[@]}"; do
        if grep -q "^$package " <<<"$present" && ! grep -qxF "$package $version" <<<"$present"; then
            printf '%s\n' "${server[@]}"
            return
        fi
    done
}

list_of() { sort -u <<<"$1" | tr '\n' ' '; }

if ! command -v dpkg-query >/dev/null; then
    absent=
    for program in cmake g++ "${PG_CONFIG:-pg_config}" python3; do
        command -v "$program" >/dev/null || absent+=" $program"
    done
    [ -n "$absent" ] || exit 0
    printf 'This system has no dpkg, so nothing can be installed for you.  Not found:%s\n' "$absent" >&2
    printf 'On Debian 12 these packages are used: %s\n' "${packages[*]}" >&2
    exit 1
fi

wanted=$(missing)
[ -n "$wanted" ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
if [ "${1:-}" = --check ] || { [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; }; then
    printf 'These packages are missing, or of other minor versions than the server:\n    %s\n' "$(list_of "$wanted")" >&2
    printf 'Install them as root:  apt-get update && apt-get install %s\n' "$(list_of "$wanted")" >&2
    exit 1
fi

printf 'Installing: %s\n' "$(list_of "$wanted")"
"${as_root[@]}" apt-get update -q

# Installing the server would create and start a cluster "main".  Sluice needs none, so it asks for none; the wish
# is withdrawn afterwards, and clusters that exist are not touched.
drop_in=/etc/postgresql-common/createcluster.d/sluice-install.conf
if ! grep -q '^postgresql-15 ' <<<"$(installed)"; then
    "${as_root[@]}" mkdir -p "${drop_in%/*}"
    printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$drop_in" >/dev/null
    trap '"${as_root[@]}" rm -f "$drop_in"' EXIT
fi

# shellcheck disable=SC2046 # a list of packages
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(list_of "$wanted")

still=$(missing)
if [ -n "$still" ]; then
    printf 'Still missing, or of other minor versions than the server: %s\n' "$(list_of "$still")" >&2
    exit 1
fi
