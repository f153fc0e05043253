#!/bin/sh
# Unpack Oracle's MySQL server from Debian unstable into the directory $1, beside the system, unless it
# is there. `bin/mysqld` in it then runs with the libraries that came with it.
set -eu
target=$1
[ -x "$target/bin/mysqld" ] && exit 0

uri=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
[ -n "$uri" ] || uri=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*main.*/\2/p' /etc/apt/sources.list | head -n 1)
[ -n "$uri" ] || { echo "No Debian source is configured to take MySQL from" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/state" "$target/bin"
: >"$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main" >"$work/sources.list"
apt() {
    apt-get -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
        -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::Etc::preferencesparts="$work/parts" -o Dir::Cache="$work/cache" \
        -o Dir::Cache::archives="$work/cache/archives" -o Dir::State="$work/state" \
        -o APT::Sandbox::User=root "$@" >>"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}
echo "Downloading MySQL"
apt update
# With an empty status file: everything that it needs, down to the C library.
apt install -y --no-install-recommends --download-only mysql-server-core
for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$target"; done

target=$(cd "$target" && pwd)
libraries=$target/usr/lib/x86_64-linux-gnu
cat >"$target/bin/mysqld" <<SH
#!/bin/sh
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$target/usr/sbin/mysqld" --no-defaults \\
    --basedir="$target/usr" --lc-messages-dir="$target/usr/share/mysql" \\
    --character-sets-dir="$target/usr/share/mysql/charsets" --plugin-dir="$target/usr/lib/mysql/plugin" \\
    --secure-file-priv=NULL "\$@"
SH
chmod +x "$target/bin/mysqld"
