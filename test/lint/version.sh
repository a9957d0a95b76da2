#!/usr/bin/env bash
# Every copy of the version says what default_version in the control file says.
set -euo pipefail

version=$(sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" extension/sluice.control)
[ -n "$version" ] || { echo "extension/sluice.control has no default_version"; exit 1; }

status=0
same() { # where, what it says
    [ "$2" = "$version" ] || { echo "$1 says \"$2\", extension/sluice.control says \"$version\""; status=1; }
}
same "META.json, version" "$(jq -r .version META.json)"
same "META.json, provides.sluice.version" "$(jq -r .provides.sluice.version META.json)"
same "CHANGELOG.md, top heading" "$(sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)"

# CMake and sluiced read it at build time; a build that exists must be of this version.
build=${SLUICE_BUILD_DIR:-build}
if [ -f "$build/CMakeCache.txt" ]; then
    same "$build/CMakeCache.txt" "$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$build/CMakeCache.txt")"
fi
if [ -x "$build/sidecar/sluiced" ]; then
    same "sluiced --version" "$("$build/sidecar/sluiced" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+[^ )]*' | head -n 1)"
fi
exit $status
