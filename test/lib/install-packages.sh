#!/usr/bin/env bash
# Installs what building, testing and the demo need on Debian 12, 13 or testing, and does nothing, quickly, when all is
# there.
# With --check it only says what is missing, and fails if anything is.  With --peers it is about what make bench-peers
# needs besides; nothing of that is started as a service.
# The one thing to know: server and development package must be of the same minor version, since the module is
# compiled against the headers of one and loaded by the other; so they are always installed together.
set -euo pipefail

# The version of Postgres and the names that carry a version are those of the Debian release; any other system is
# taken for a Debian 12.
release=12
if [ -r /etc/os-release ]; then
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && printf '%s' "${VERSION_ID:-${VERSION_CODENAME:-}}")
fi
case $release in
13)
    postgres=17
    versioned=(libboost-dev libboost-json-dev libclang-rt-dev)
    ;;
forky | sid)
    postgres=18
    versioned=(libboost-dev libboost-json-dev libclang-rt-dev)
    ;;
*)
    postgres=15
    versioned=(libboost1.81-dev libboost-json1.81-dev libclang-rt-14-dev)
    ;;
esac

server=("postgresql-$postgres" "postgresql-client-$postgres" "postgresql-server-dev-$postgres")
packages=(
    "${server[@]}" libpq-dev
    cmake g++ make git ca-certificates ccache
    "${versioned[@]}"
    libspdlog-dev libfmt-dev libcli11-dev libtomlplusplus-dev libgtest-dev
    libcurl4-openssl-dev libssl-dev
    "postgresql-$postgres-pgtap" "postgresql-$postgres-partman" libtap-parser-sourcehandler-pgtap-perl pgbouncer
    python3 python3-psycopg2 python3-pytest python3-croniter python3-venv
    clang clang-format clang-tidy shellcheck jq spin
    ffmpeg procps util-linux libfaketime systemd
)

# Services that tests and benchmarks start by themselves, privately.
peer_services=(redis-server pgqd)
peers=(redis-server redis-tools "postgresql-$postgres-pgq3" pgqd)
command -v npm >/dev/null || peers+=(nodejs npm)

check=
services=(pgbouncer)
programs=(cmake g++ "${PG_CONFIG:-pg_config}" python3)
for argument in "$@"; do
    case $argument in
    --check) check=yes ;;
    --peers)
        server=()
        packages=("${peers[@]}")
        services=("${peer_services[@]}")
        programs=(redis-server redis-cli pgqd npm)
        ;;
    *)
        printf 'usage: test/lib/install-packages.sh [--check] [--peers]\n' >&2
        exit 2
        ;;
    esac
done

# One line for each installed package: its name and its version.
installed() { dpkg-query -W -f='${db:Status-Status} ${Package} ${Version}\n' 2>/dev/null | sed -n 's/^installed //p'; }

# Prints what has to be installed, or nothing.
missing() {
    local present version
    present=$(installed)
    for package in "${packages[@]}"; do
        grep -q "^$package " <<<"$present" || printf '%s\n' "$package"
    done
    version=$(sed -n "s/^postgresql-$postgres //p" <<<"$present")
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
    for program in "${programs[@]}"; do
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
if [ -n "$check" ] || { [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; }; then
    printf 'These packages are missing, or of other minor versions than the server:\n    %s\n' "$(list_of "$wanted")" >&2
    printf 'Install them as root:  apt-get update && apt-get install %s\n' "$(list_of "$wanted")" >&2
    exit 1
fi

printf 'Installing: %s\n' "$(list_of "$wanted")"
"${as_root[@]}" apt-get update -q

# Installing the server would create and start a cluster "main".  Sluice needs none, so it asks for none; the wish
# is withdrawn afterwards, and clusters that exist are not touched.
drop_in=/etc/postgresql-common/createcluster.d/sluice-install.conf
policy=/usr/sbin/policy-rc.d
withdraw=()
# shellcheck disable=SC2317 # called by the trap
withdraw() { [ "${#withdraw[@]}" -eq 0 ] || "${as_root[@]}" rm -f "${withdraw[@]}"; }
trap withdraw EXIT
if ! grep -q "^postgresql-$postgres " <<<"$(installed)"; then
    "${as_root[@]}" mkdir -p "${drop_in%/*}"
    printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$drop_in" >/dev/null
    withdraw+=("$drop_in")
fi

# Nor is a service wanted that was not there before: it is kept from starting now, by a policy unless the machine has
# its own, and at the next start of the machine.
new_services=()
for service in "${services[@]}"; do
    if grep -qx "$service" <<<"$wanted"; then new_services+=("$service"); fi
done
if [ "${#new_services[@]}" -gt 0 ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    withdraw+=("$policy")
    "${as_root[@]}" chmod 755 "$policy"
fi

# shellcheck disable=SC2046 # a list of packages
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(list_of "$wanted")
for service in "${new_services[@]}"; do "${as_root[@]}" update-rc.d "$service" disable >/dev/null; done

still=$(missing)
if [ -n "$still" ]; then
    printf 'Still missing, or of other minor versions than the server: %s\n' "$(list_of "$still")" >&2
    exit 1
fi
