#!/bin/sh
# `make test-compose`: with the machine's Docker engine, or where none runs, on Debian as root, with one
# of our own and stand-ins for the official images.
set -eu
engine=/tmp/compose-engine
if ! docker compose version >/dev/null 2>&1 || ! docker info >/dev/null 2>&1; then
    environment=$(.ci/compose/engine.sh "$engine")
    eval "$environment"
    trap '.ci/compose/engine.sh stop "$engine"' EXIT
fi
.local/venv/bin/python -m pytest --backend=compose tests/stack/test_compose.py \
    tests/stack/test_watermelon.py tests/stack/test_client.py
