#!/bin/sh
# Installs what package-lock.json names, unless that is installed already: then nothing is asked of the network.
# Runs before `npm start` and `npm test`, and by Bun alone before `bun start` and `bun run test`.
#
# It adds and replaces packages but never clears node_modules (as `npm ci` would), so a running cluster keeps its files.
# Two at once: the first installs, the second waits. The lock is a symlink to the owner's process id, made atomically.
set -eu
installed=node_modules/.installed-lock.json
lock=.installing-packages

up_to_date() { [ -f "$installed" ] && [ "$(cat package-lock.json)" = "$(cat "$installed")" ]; }

up_to_date && exit 0
until ln -s $$ "$lock" 2>/dev/null; do
  owner=$(readlink "$lock") || continue
  if kill -0 "$owner" 2>/dev/null; then
    echo "Waiting for process $owner, which is installing the packages (if it is not, delete $lock)."
  else
    rm -f "$lock"
  fi
  sleep 1
done
trap 'rm -f "$lock"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
up_to_date && exit 0

echo "Installing packages (the first start only) ..."
case ${npm_config_user_agent:-} in
  bun*) bun install --no-save ;;
  *)
    npm install --no-save --no-audit --no-fund --loglevel=error
    # Where npm runs no install scripts, Bun's own one has not put the binary in place yet.
    node_modules/.bin/bun --version >/dev/null 2>&1 || node node_modules/bun/install.js
    ;;
esac
cp package-lock.json "$installed"
