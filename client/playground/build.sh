#!/bin/sh
# Bundle the playground into one file, $1; it is kept in git so that `make run` needs no Node.
set -eu
cd "$(dirname "$0")/../.."
modules=tests/watermelon/node_modules
NODE_PATH=$modules "$modules/.bin/esbuild" client/playground/playground.js --bundle --minify --target=es2020 \
    --define:process.env.NODE_ENV='"production"' --log-level=warning --outfile="$1"
