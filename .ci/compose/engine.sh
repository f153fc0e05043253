#!/bin/sh
# A Docker engine in the directory $1 for a machine that has none and reaches no image registry: Debian's
# own, with stand-ins under the names of the official images. Needs root on Debian. Prints the
# environment to use it with. `engine.sh stop DIRECTORY` ends it.
set -eu
PATH=$PATH:/usr/sbin:/sbin
if [ "$1" = stop ]; then
    kill "$(cat "$2/pid")"
    while [ -e "$2/pid" ]; do sleep 0.1; done
    ip link delete docker0 2>/dev/null || true
    exit 0
fi
dir=$1
mkdir -p "$dir/config/cli-plugins"
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive DOCKER_HOST="unix://$dir/socket" DOCKER_CONFIG="$dir/config"
uri=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
[ -n "$uri" ] || uri=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*main.*/\2/p' /etc/apt/sources.list | head -n 1)
say() { echo "$@" >&2; }

for package in docker.io mmdebstrap iproute2; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="${missing:-} $package"
done
# shellcheck disable=SC2086
[ -z "${missing:-}" ] || { apt-get update && apt-get install -y --no-install-recommends $missing; } >&2

if [ ! -e "$dir/config/cli-plugins/docker-compose" ]; then
    say "Unpacking compose and buildx"
    "$here/../unstable.sh" "$dir/unpacked" docker-compose docker-buildx
    cp "$dir"/unpacked/usr/libexec/docker/cli-plugins/* "$dir/config/cli-plugins/"
fi

if ! docker info >/dev/null 2>&1; then
    say "Starting the engine"
    # With a process group of its own: Ctrl-C in a test is not for it.
    setsid dockerd --data-root "$dir/root" --exec-root "$dir/exec" --pidfile "$dir/pid" -H "$DOCKER_HOST" \
        >"$dir/log" 2>&1 &
    for _ in $(seq 100); do docker info >/dev/null 2>&1 && break; sleep 0.2; done
    docker info >/dev/null
fi

# stand_in NAME SUITE PACKAGES ENTRY [mmdebstrap option …]
stand_in() {
    name=$1 suite=$2 packages=$3 entry=$4
    shift 4
    docker image inspect "$name" >/dev/null 2>&1 && return
    say "Making a stand-in for $name"
    tar=$dir/image.tar
    # A mirror that stands still is good enough for a test.
    mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' --include="ca-certificates,$packages" "$@" \
        "$suite" "$tar" "$uri" >&2
    docker import --change "ENTRYPOINT $entry" \
        --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" "$tar" "$name" >&2
    rm "$tar"
}

stand_in python:3.11-slim bookworm python3,python3-venv,python3-pip '[]' \
    --customize-hook='ln -s python3 "$1/usr/bin/python"' \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs'
stand_in redis:7-alpine bookworm redis-server '[]' --customize-hook='mkdir "$1/data"'
stand_in nginx:1.29-alpine sid nginx,gettext-base,curl '["/nginx-entry.sh"]' \
    --customize-hook="copy-in $here/nginx-entry.sh /"
stand_in mysql:8.4 sid mysql-server-core,mysql-client-core '["/mysql-entry.sh"]' \
    --customize-hook="copy-in $here/mysql-entry.sh /" \
    --customize-hook='mkdir -p "$1/docker-entrypoint-initdb.d" "$1/var/lib/mysql"'

echo "export DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG"
