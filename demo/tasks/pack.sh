#!/bin/bash
# Packs one file with gzip and names its SHA-256.  Payload on stdin: {"input": path}; the last line is the output.
set -euo pipefail

input=$(jq -r .input)
sum=$(sha256sum "$input")
gzip -9nc "$input" >"$input.gz.$SLUICE_ATTEMPT"
mv "$input.gz.$SLUICE_ATTEMPT" "$input.gz"
echo "packed $(basename "$input")" >&2

jq -cn --arg input "$input" --arg sha256 "${sum%% *}" --argjson packed "$(stat -c %s "$input.gz")" \
    '{input: $input, sha256: $sha256, packed_bytes: $packed}'
