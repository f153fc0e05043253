#!/bin/sh
# Make the passwords of the local stacks that the file $1 lacks, for their owner only.
set -eu
umask 077
mkdir -p "$(dirname "$1")"
touch "$1"
for name in ROOT MIGRATE AUTH USERS SYNC PURGE JOBS WEBHOOKS REDIS SUPERVISOR; do
    grep -q "^${name}_PASSWORD=" "$1" ||
        echo "${name}_PASSWORD=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')" >>"$1"
done
