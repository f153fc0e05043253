#!/bin/sh
# Write the lock files with $1, uv: what runs, with what a whole stack needs besides, with what tests need.
set -eu
uv=$1
shift
compile() {
    "$uv" pip compile --quiet --universal --generate-hashes --no-header --no-annotate pyproject.toml "$@"
}

compile "$@" -o requirements.txt
compile "$@" --extra tracing --extra native -c requirements.txt -o requirements-stack.txt
compile "$@" --extra tracing --extra native --group dev -c requirements-stack.txt -o requirements-dev.txt
