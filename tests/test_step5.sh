#!/usr/bin/env bash
# Does step 5 publish its key, and does gen-token sign with it?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS='1.1 1.2 2.1 2.2 2.3 3.1 3.2 4.1 4.2 4.3 5.1 5.2'
start 5 "$@"
judge
finish
