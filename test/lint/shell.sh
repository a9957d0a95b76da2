#!/usr/bin/env bash
# No script gives shellcheck anything to say.
set -euo pipefail
grep -rlIE '^#!.*\<(ba)?sh\>' --exclude-dir=.git --exclude-dir=build . | sort | tr '\n' '\0' | xargs -0 shellcheck -x
