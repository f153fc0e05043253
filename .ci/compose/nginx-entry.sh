#!/bin/sh
# What the official image does: render the templates from the environment, then run the command.
set -eu
out=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
defined=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1}/p' | tr '\n' ' ')
for template in /etc/nginx/templates/*.template; do
    envsubst "$defined" <"$template" >"$out/$(basename "$template" .template)"
done
exec "$@"
