#!/usr/bin/env bash
# Does step 8 permit what scope and role both allow, and nothing else?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 8 "$@"
judge
finish
