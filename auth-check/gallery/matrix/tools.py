"""Each tool of the matrix: what it is made for, how it is run, and what in its output is a finding.

A tool is run as its own documentation says. Each function returns the findings as texts; a text that the run without a
fault has too does not count.
"""

import json
import os
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VENV = TARGET / "matrix-venv/bin"
INTEROP = ROOT / "tests/interop"
# A tool that has not ended then could not be run.
SECONDS = 90


def run(site, *command, **env):
    """What a program prints. Its exit code says what it found, which the output says too."""
    command = [str(part) for part in command]
    # A folder of its own as home: nothing of this machine's, and nothing is left behind.
    env = {**os.environ, "HOME": str(site.folder), "DO_NOT_TRACK": "1", "NO_COLOR": "1", **env}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=site.folder, env=env)
    return done.stdout, done.stderr


def auth_check(site):
    report = site.folder / "auth-check.json"
    # The gallery logs everybody in, so this does for a browser.
    site.write("xdg-open", b'#!/bin/sh\nexec curl -sL -o /dev/null "$1"\n').chmod(0o700)
    path = f"{site.folder}:{os.environ['PATH']}"
    ways = ["--issuer-key", site.key, "--issuer", site.issuer, "--login", "--active"]
    run(site, TARGET / "debug/auth-check", site.url, *ways, "--quiet", "--json", report, PATH=path)
    return [check["id"] for check in json.loads(report.read_text())["checks"] if check["outcome"] == "found"]


def authlab(site):
    def program(*command):
        # Its tokens are in this folder, of this run alone.
        return run(site, VENV / "mcp-authlab", *command, site.url, XDG_CONFIG_HOME=str(site.folder))

    # On loopback it follows the log-in itself. The scope lets it list tools, but not call one.
    out, said = program("login", "--no-browser", "--scope", "files:read", "--timeout", "20")
    failed = [line for line in said.splitlines() if line.startswith("login failed")]
    # The log-in leaves its results and a token to the scan. If it failed, the scan gets a token from here.
    token = [] if out.startswith("logged in") else ["--token", site.narrow]
    out, _ = program("scan", *token, "--foreign-token", site.foreign, "--format", "json")
    bad = [one for one in json.loads(out)["results"] if one["status"] in ("fail", "warn", "error")]
    return failed + [f"{one['id']} {one['status']}" for one in bad]


def mcpjam(site):
    out, _ = run(site, "node", HERE / "mcpjam.mjs", site.url)
    return json.loads(out.splitlines()[-1])["failed"]


def posture(site):
    token = site.folder / "token"
    token.write_text(site.token)
    out, _ = run(site, VENV / "mcp-posture", "scan", "--allow-private", "--token-file", token, "-f", "json", site.url)
    findings = json.loads(out)["targets"][0]["findings"]
    return [f"{one['check_id']} {one['message']}" for one in findings if one["severity"] != "info"]


def authgent(site):
    # Its argument is the server's base URL.
    out, _ = run(site, VENV / "authgent-server", "lint", site.base, "-f", "json")
    return [one["check_id"] for one in json.loads(out)]


def testmcpy(site):
    manifest = site.folder / "manifest.json"
    target = {
        "mcp_url": site.url,
        "allow_http_loopback": True,
        "allow_private_network": True,
        "spec_profile": "mcp-2025-11-25",
        "expectations": {"issuers": [site.base]},
        "oauth": {"flow": "bearer", "access_token": {"env": "TOKEN"}},
    }
    manifest.write_text(json.dumps({"schema": "testmcpy.io/oauth-smoke/v1", "targets": {"gallery": target}}))
    check = [VENV / "testmcpy-oauth", "check", "--config", manifest, "--format", "json"]
    out, _ = run(site, *check, TOKEN=site.token)
    checks = json.loads(out)["targets"][0]["checks"]
    return [one["id"] for one in checks if one["status"] in ("fail", "warn", "error")]


def authscan(site):
    # Its own command looks for a file that the package does not have; on loopback it wants no --authorized-by.
    out = "\n".join(run(site, VENV / "python", "-m", "mcp_authscan.main", "--allow-private", site.url))
    found, server = [], ""
    for line in out.splitlines():
        server = line.removeprefix("[*] Assessing OAuth server: ") if "Assessing OAuth server" in line else server
        if probe := re.match(r"\[\d+\] (\S+) +FAIL", line):
            found.append(f"{server} {probe[1]}")
    if not found and "Assessing OAuth server" not in out:
        # It gave up: what it says last is why.
        found.append(next((line for line in reversed(out.splitlines()) if line.startswith("[!]")), "no output"))
    return found


def fuzzer(site):
    audit = ["--auth-audit", "--auth-audit-intrusive", "--mode", "tools", "--runs", "1"]
    run(site, VENV / "mcp-fuzzer", "--protocol", "http", "--endpoint", site.url, *audit)
    findings = json.loads((site.folder / "reports/findings.json").read_text())["findings"]
    return [f"{one['category']} {one['detail']}" for one in findings if one["kind"] == "auth"]


def conformance(site):
    suite = INTEROP / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    scenario = ["--scenario", "authorization-server-metadata-endpoint", "-o", site.folder]
    run(site, INTEROP / "node_modules/node/bin/node", suite, "authorization", "--url", site.base, *scenario)
    [report] = site.folder.glob("authorization-server-*/checks.json")
    bad = [one for one in json.loads(report.read_text()) if one["status"] in ("FAILURE", "WARNING")]
    return [f"{one['id']} {one['status']}" for one in bad]


# Name, version, what it is made for, how it is run here, and the function.
TOOLS = [
    ("auth-check", "this one", "hostile tokens and metadata, at the server and the authorization server",
     "with the issuer's key, as with `--mock-issuer`, `--login` and `--active`", auth_check),
    ("mcp-authlab", "0.2.2", "grading a server against 2025-06-18, with a log-in",
     "`login --no-browser` for one of two scopes, then `scan` with a token for another resource; "
     "if the log-in fails, `scan` is given a token with that scope", authlab),
    ("MCPJam", "1.14.0", "the OAuth flow of a client, step by step, with six hostile requests",
     "`OAuthConformanceTest` of `@mcpjam/sdk`, headless, 2025-11-25, with registration", mcpjam),
    ("mcp-posture", "1.1.2", "a passive look at metadata, challenges and tools",
     "`scan` with a token; its level *info* does not count", posture),
    ("authgent lint", "0.3.4", "metadata", "`lint` of `authgent-server`", authgent),
    ("testmcpy-oauth", "0.1.0", "a smoke test of discovery and of one token", "`check` with a token", testmcpy),
    ("mcp-authscan", "1.1.3", "nine probes of authorization servers", "`mcp_authscan.main --allow-private`", authscan),
    ("mcp-fuzzer", "0.7.0", "nine flaws of authorization servers that a study found (arXiv 2605.22333)",
     "`--auth-audit --auth-audit-intrusive`", fuzzer),
    ("conformance", "0.2.0-alpha.12",
     "clients, and servers without authorization; it has two scenarios for authorization servers",
     "`authorization`, the scenario of the metadata", conformance),
]
