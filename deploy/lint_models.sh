#!/bin/sh
# Check that the migrations build what the models declare: `alembic check` on a scratch SQLite.
set -eu
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
export DATABASE_URL="sqlite:///$scratch/empty.db"
.local/venv/bin/python -m alembic upgrade head
.local/venv/bin/python -m alembic check
