#!/usr/bin/env bash
# Does step 2 speak JSON-RPC, in both eras of MCP?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS='1.1 1.2 2.1 2.2 2.3 4.3'
start 2 "$@"
judge
finish
