#!/usr/bin/env bash
# Real clients at a real Keycloak: keycloak.sh URL ISSUER, of a step 10 and of the realm mcp-realm that it trusts.
# Needs what run.sh needs, and Chromium.
set -euo pipefail
cd "$(dirname "$0")"
. ./setup.sh
node keycloak.mjs clients "$@"
"$target/interop-venv/bin/python" keycloak.py "$@"
