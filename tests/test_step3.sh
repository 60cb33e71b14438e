#!/usr/bin/env bash
# Does step 3 list its tools and prompts?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS='1.1 1.2 2.1 2.2 2.3 3.1 3.2 4.3'
start 3 "$@"
judge
finish
