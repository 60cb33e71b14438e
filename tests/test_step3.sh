#!/usr/bin/env bash
# Does step 3 list its tools and prompts?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 3 "$@"
judge
finish
