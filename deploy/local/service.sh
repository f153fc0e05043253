#!/bin/sh
# Run an instance of the service $1 on the port $2 with the Python $3.
set -eu
pid=.local/native/programs/$1-$2.pid
# One process, which takes its connections with it when it ends.
[ "$1" != live ] || exec deploy/local/as.sh sync "$3" -m services.sync.live.server --host=127.0.0.1 --port="$2"
if [ "$1" = webhooks ]; then
    # It asks twice a second what waits: in a log, that would hide all else.
    export LOG_SQL="${LOG_SQL-false}"
    exec deploy/local/as.sh webhooks "$3" -m services.sync.webhooks --host=127.0.0.1 --port="$2"
fi
export PROMETHEUS_MULTIPROC_DIR=.local/native/metrics/$1-$2
# What is left of one that was killed: workers, which hold the port and belong to its process group, and counts.
[ ! -s "$pid" ] || pkill -KILL -g "$(cat "$pid")" -f gunicorn || true
rm -rf "$PROMETHEUS_MULTIPROC_DIR"
mkdir -p "$PROMETHEUS_MULTIPROC_DIR"
exec deploy/local/as.sh "$1" "$3" -m gunicorn --config=deploy/gunicorn.conf.py --bind="127.0.0.1:$2" --pid="$pid" \
    "services.$1:create_app()"
