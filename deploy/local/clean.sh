#!/bin/sh
# Remove what can be made again: the virtual environment, caches, logs, measurements. Never under a stack that
# runs. With $1 = yes also what cannot: databases, backups, signing keys, passwords, settings.
set -eu
compose="deploy/docker-compose.sh --profile monitoring"
has_docker() { [ -e .local/secrets.env ] && docker info >/dev/null 2>&1; }

for pid in .local/run.pid .local/native/supervisord.pid; do
    if pgrep -F "$pid" -f 'gunicorn|supervisord' >/dev/null 2>&1; then
        echo "A stack runs from here. Stop it first: Ctrl-C in make run, make down-native" >&2
        exit 1
    fi
done
if has_docker && [ -n "$($compose ps --all --quiet)" ]; then
    echo "A stack runs from here. Stop it first: make down" >&2
    exit 1
fi
find . -name __pycache__ -not -path './.local/*' -prune -exec rm -rf {} +
rm -rf .hypothesis .import_linter_cache .mypy_cache .ruff_cache
if [ "${1:-}" = yes ]; then
    # The passwords are those of the volumes.
    ! has_docker || $compose down --volumes
    rm -rf .local
    exit
fi
kept=
for path in .local/* .local/.[!.]*; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    case ${path#.local/} in
    backups | embedded.db* | gateway.env | keys | native | secrets.env) kept="$kept $path" ;;
    *) rm -rf "$path" ;;
    esac
done
[ -z "$kept" ] || echo "Kept:$kept. To remove these too, for good: make clean ALL=yes"
