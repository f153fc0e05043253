#!/bin/sh
# Install what the tests on real servers need, or only what the native stack needs (`packages.sh stack`)
# or also what clusters need (`packages.sh cluster`),
# where that is possible; say what is missing where not.
set -eu
PATH=$PATH:/usr/sbin:/sbin
packages=
need() { command -v "$1" >/dev/null || packages="$packages $2"; }

need mariadbd mariadb-server
need redis-server redis-server
need nginx nginx
need pgrep procps
if [ "${1:-}" = cluster ]; then
    [ -e /usr/lib/galera/libgalera_smm.so ] || packages="$packages galera-4"
    need rsync rsync
fi
[ "${1:-}" != bench ] || need wrk wrk
if [ "${1:-}" != stack ]; then
    need node nodejs
    need npm npm
    need chromium chromium
    need openssl openssl
    need prometheus prometheus
fi

[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    # No service of the machine's own is to start with them.
    [ -e /usr/sbin/policy-rc.d ] || {
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm /usr/sbin/policy-rc.d' EXIT
    }
    log=$(mktemp)
    # shellcheck disable=SC2086
    { apt-get update && apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
    rm "$log"
else
    echo "Missing:$packages" >&2
    [ "${1:-}" != stack ] || { echo "Install them: sudo apt-get install$packages" >&2; exit 1; }
    echo "Tests that need them are skipped" >&2
fi
