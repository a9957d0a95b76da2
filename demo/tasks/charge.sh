#!/bin/bash
# A card terminal that does not answer at first: the first attempt fails, the second succeeds.
set -euo pipefail

order=$(jq -r .order_id)
echo "asking the card terminal about order $order, attempt $SLUICE_ATTEMPT"
if [ "$SLUICE_ATTEMPT" -eq 1 ]; then
    echo "the card terminal did not answer" >&2
    exit 75
fi
printf '{"order_id": %s, "charged": true}\n' "$order"
