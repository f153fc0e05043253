#!/bin/sh
# Run a command with the native stack's settings for a user of the database: as.sh USER COMMAND…
# The environment goes before deploy/development.env; DATABASE_NAME names another database.
set -eu
user=$1
shift
given=$(export -p)
set -a
. deploy/development.env
eval "$given"
set +a
. .local/secrets.env
. .local/native/ports.env
eval "password=\$$(echo "$user" | tr '[:lower:]' '[:upper:]')_PASSWORD"
export DATABASE_URL="mysql+pymysql://$user:$password@127.0.0.1:$DATABASE_PORT/${DATABASE_NAME:-app}"
export REDIS_URL="redis://:$REDIS_PASSWORD@127.0.0.1:$REDIS_PORT/0"
# Mails are kept and shown unless other machines could see them.
case $ADDRESS in
127.* | localhost:* | "[::1]:"*) kept=keep: ;;
*) kept= ;;
esac
export MAIL_URL="${MAIL_URL-$kept}" PUBLIC_URL="${PUBLIC_URL-$URL}"
[ -n "${WEBHOOKS_FILE-}" ] || [ ! -e .local/webhooks/webhooks.toml ] || WEBHOOKS_FILE=.local/webhooks/webhooks.toml
export WEBHOOKS_FILE="${WEBHOOKS_FILE-}"
export JWT_PUBLIC_KEYS_FILE=.local/keys/public.pem TRUSTED_PROXIES=1
[ "$user" != auth ] || export JWT_PRIVATE_KEY_FILE=.local/keys/private.pem
exec "$@"
