#!/bin/sh
# Write the types of the API, by its OpenAPI document, to the file $2; $1 is a Python with the requirements.
set -eu
cd "$(dirname "$0")/.."
document=$(mktemp)
trap 'rm -f "$document"' EXIT
"$1" -m services.openapi --for-apps >"$document"
tests/watermelon/node_modules/.bin/openapi-typescript "$document" --output "$2" >/dev/null
