#!/bin/sh
# Unpack Oracle's MySQL server from Debian unstable into the directory $1, beside the system, unless it
# is there. `bin/mysqld` in it then runs with the libraries that came with it.
set -eu
target=$1
[ -x "$target/bin/mysqld" ] && exit 0
"$(dirname "$0")/unstable.sh" --whole "$target" mysql-server-core
mkdir -p "$target/bin"

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
