#!/bin/sh
# `make up`, `make up-monitoring` and `make down`: the stack in Docker, with passwords that are made on the first start.
set -eu
secrets=.local/secrets.env
if [ ! -e "$secrets" ]; then
    mkdir -p .local
    (
        umask 077
        for name in ROOT MIGRATE AUTH USERS SYNC PURGE REDIS; do
            echo "${name}_PASSWORD=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"
        done >"$secrets"
    )
fi
docker compose version >/dev/null 2>&1 || {
    echo "Docker with its compose plugin is needed; make up-native does without." >&2
    exit 1
}
compose="docker compose --env-file $secrets"
case $1 in
up)
    $compose up --detach --build --wait
    echo
    echo "Ready: http://localhost:${PORT:-8080}/v1"
    echo "Next: make logs, make admin EMAIL=you@example.com, make scale SERVICE=sync N=3; make down stops it."
    ;;
monitoring)
    $compose --profile monitoring up --detach prometheus grafana
    echo "Prometheus: http://localhost:${PROMETHEUS_PORT:-9090}  Grafana: http://localhost:${GRAFANA_PORT:-3000}"
    ;;
down) $compose --profile monitoring down ;;
esac
