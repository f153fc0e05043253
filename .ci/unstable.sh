#!/bin/sh
# Unpack packages of Debian unstable into a directory, beside the system: for what Debian stable lacks.
# unstable.sh [--whole] DIRECTORY PACKAGE…; --whole brings all that they need, down to the C library.
set -eu
get=download
[ "$1" != --whole ] || { get="install -y --no-install-recommends --download-only"; shift; }
target=$1
shift

uri=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
[ -n "$uri" ] || uri=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*main.*/\2/p' /etc/apt/sources.list | head -n 1)
[ -n "$uri" ] || { echo "No Debian source is configured to take $* from" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/state" "$target"
# An empty list of what is installed: then everything is missing.
: >"$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main" >"$work/sources.list"
apt() {
    (cd "$work/cache/archives" && apt-get -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
        -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::Etc::preferencesparts="$work/parts" -o Dir::Cache="$work/cache" \
        -o Dir::Cache::archives="$work/cache/archives" -o Dir::State="$work/state" \
        -o APT::Sandbox::User=root "$@") >>"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}
echo "Downloading $*" >&2
apt update
# shellcheck disable=SC2086
apt $get "$@"
for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$target"; done
