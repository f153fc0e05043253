#!/bin/sh
# `make up`, `make up-mail`, `make up-monitoring` and `make down`: the stack in Docker, with passwords that are made on the first start.
set -eu
docker compose version >/dev/null 2>&1 || {
    echo "Docker with its compose plugin is needed; make up-native does without." >&2
    exit 1
}
secrets=.local/secrets.env
mkdir -p .local/tls .local/providers .local/webhooks
# What containers read from here, they read as users of their own, which a strict umask shuts out.
chmod a+rx .local/tls
chmod -R a+rX .local/providers
chmod -R a+rX gateway deploy/monitoring deploy/mysql-users.sh

given=$secrets
trap 'rm -f "$secrets.new"' EXIT
if [ ! -e "$secrets" ]; then
    given=$secrets.new
fi
# Those that the file lacks, in one of an older release too.
deploy/local/secrets.sh "$given"
export STACK_SECRETS="$given"
compose=deploy/docker-compose.sh
volume=$($compose config | sed -n 's/^name: *//p')_mysql

# refuse REASON
refuse() {
    echo "$1 Put the file back that the database was made with, or delete its data for good: make down; docker volume rm $volume" >&2
    exit 1
}

case $1 in
up)
    if [ "$given" != "$secrets" ]; then
        if docker volume inspect "$volume" >/dev/null 2>&1; then
            refuse "The database has data, but its passwords in $secrets are gone."
        fi
        mv "$given" "$secrets"
        STACK_SECRETS=$secrets
    fi
    $compose up --detach --build --wait || {
        # 1045: access denied.
        ! $compose exec -T mysql sh -c 'MYSQL_PWD="$MIGRATE_PASSWORD" mysql -h 127.0.0.1 -u migrate -e "SELECT 1"' 2>&1 |
            grep -q 1045 || refuse "The database was made with other passwords than those in $secrets."
        exit 1
    }
    scheme=http
    ! grep -qs '^GATEWAY_TLS=on' .local/gateway.env || scheme=https
    echo
    echo "Ready: $scheme://localhost:${PORT:-8080}/v1"
    echo "Next: make logs, make admin EMAIL=you@example.com, make scale SERVICE=sync N=3; make down stops it."
    ;;
mail)
    # The services learn of it by being started anew; `make up` with another MAIL_URL, or none, takes it away.
    export MAIL_URL='smtp://mail:1025?from=app@localhost'
    $compose --profile mail up --detach --wait mail auth users sync
    echo "Mails: http://localhost:${MAIL_PORT:-8025}"
    ;;
monitoring)
    $compose --profile monitoring up --detach prometheus grafana
    echo "Prometheus: http://localhost:${PROMETHEUS_PORT:-9090}  Grafana: http://localhost:${GRAFANA_PORT:-3000}"
    ;;
down) $compose --profile mail --profile monitoring --profile webhooks down ;;
esac
