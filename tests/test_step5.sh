#!/usr/bin/env bash
# Does step 5 publish its key, and does gen-token sign with it?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 5 "$@"
judge
finish
