#!/bin/sh
# Build the package in a directory of its own, $1: what `npm pack` would put there (needs Node).
set -eu
cd "$(dirname "$0")"
tsc=../tests/watermelon/node_modules/typescript/bin/tsc
target=$1
mkdir -p "$target/dist"
"$tsc" --outDir "$target/dist/esm"
"$tsc" --outDir "$target/dist/cjs" --module commonjs --moduleResolution node10
echo '{"type": "commonjs"}' >"$target/dist/cjs/package.json"
cp -R src package.json README.md ../LICENSE "$target"
