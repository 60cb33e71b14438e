#!/usr/bin/env bash
# Does step 7 tell a client where its tokens come from?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 7 "$@"
judge
finish
