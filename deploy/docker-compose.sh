#!/bin/sh
# docker compose as every command of the stack runs it: with its passwords (in $STACK_SECRETS, if that is set), and
# with what .local has of providers and of receivers of webhooks.
set -eu
[ ! -e .local/providers/providers.toml ] || export OIDC_PROVIDERS_FILE=/providers/providers.toml
# Its secrets are for its owner and user 10001 of the containers (docs/webhooks.md).
[ ! -e .local/webhooks/webhooks.toml ] || export WEBHOOKS_FILE=/webhooks/webhooks.toml COMPOSE_PROFILES=webhooks
exec docker compose --env-file "${STACK_SECRETS:-.local/secrets.env}" "$@"
