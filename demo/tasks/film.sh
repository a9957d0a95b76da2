#!/bin/bash
# Joins test pictures to a film of a few seconds, read in real time as from a camera (-re), so that there is a middle
# in which a worker can be killed.  Payload on stdin: {"output": path, "seconds": n}.
set -euo pipefail

job=$(cat)
output=$(jq -r .output <<<"$job")
seconds=$(jq -r .seconds <<<"$job")
part=$output.attempt-$SLUICE_ATTEMPT.part

ffmpeg -hide_banner -nostdin -loglevel error -y -re -f lavfi -i "testsrc2=size=320x180:rate=15:duration=$seconds" \
    -c:v libx264 -preset veryfast -threads 1 -f mp4 "$part"
mv "$part" "$output"
jq -cn --arg output "$output" --arg worker_attempt "$SLUICE_ATTEMPT" '{output: $output, attempt: ($worker_attempt | tonumber)}'
