#!/bin/sh
# Run nginx in the foreground from its directory. The workers of a master that was killed hold the port
# and belong to its process group: they are ended first.
set -eu
[ ! -s run/nginx.pid ] || pkill -KILL -g "$(cat run/nginx.pid)" -x nginx || true
exec nginx -p ./ -c nginx.conf -e stderr -g 'daemon off;'
