#!/bin/sh
# Build the package in a directory of its own, $1: what `npm pack` would put there (needs Node).
set -eu
mkdir -p "$1/dist" "$1/react"
target=$(cd "$1" && pwd)
cd "$(dirname "$0")"
tsc=../tests/watermelon/node_modules/typescript/bin/tsc
"$tsc" --outDir "$target/dist/esm"
"$tsc" --outDir "$target/dist/cjs" --module commonjs --moduleResolution node10
echo '{"type": "commonjs"}' >"$target/dist/cjs/package.json"
# For bundlers that do not read `exports`.
echo '{"main": "../dist/cjs/react.js", "types": "../dist/cjs/react.d.ts"}' >"$target/react/package.json"
cp -R src package.json README.md ../LICENSE "$target"
