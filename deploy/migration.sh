#!/bin/sh
# Write a migration named $1 for what the models have and the newest migration has not.
set -eu
[ -n "$1" ] || { echo 'Say what it does: make migration M="add comments"' >&2; exit 1; }
bin=.local/venv/bin
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
export DATABASE_URL="sqlite:///$scratch/empty.db"
newest=$(basename "$(ls migrations/versions/*.py | tail -n 1)" | sed "s/^0*//; s/_.*//")
number=$(printf %04d $((newest + 1)))
"$bin/python" -m alembic upgrade head
"$bin/python" -m alembic revision --autogenerate --rev-id "$number" -m "$1"
# Without what tests need, it is left as it was written.
if "$bin/python" -c "import ruff" 2>/dev/null; then
    "$bin/python" -m ruff format --quiet migrations
    "$bin/python" -m ruff check --quiet --fix migrations
    "$bin/python" -m ruff format --quiet migrations
fi
echo "Next: read it. make run and make up-native apply it; make client-schema prints the app's end of it."
