"""Runs auth-check and other tools against the gallery, once with each fault, and writes down who finds what:

    python3.12 auth-check/gallery/matrix/matrix.py [FAULT…]

What each says goes to target/matrix.json. Without a FAULT it runs all, and writes auth-check/MATRIX.md and the table in
auth-check/README.md too. Needs Python 3.12 and Node.js 20; versions are pinned by requirements.txt and
package-lock.json. It takes about a quarter of an hour on two free cores.
"""

import base64
import hashlib
import http.server
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools import HERE, INTEROP, ROOT, TARGET, TOOLS, VENV

GALLERY = TARGET / "debug/auth-check-gallery"
DONE = TARGET / "matrix"
MATRIX = ROOT / "auth-check/MATRIX.md"
README = ROOT / "auth-check/README.md"


def prepare():
    """Installs and builds what is missing, and goes on with the Python that has the packages."""
    if Path(sys.prefix) != VENV.parent:
        if sys.version_info < (3, 12):
            sys.exit("mcp-posture needs Python 3.12")
        if not (VENV / "python").exists():
            venv.create(VENV.parent, with_pip=True)
        pip = [VENV / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"]
        subprocess.run(pip, check=True)
        sys.exit(subprocess.run([VENV / "python", *sys.argv]).returncode)
    subprocess.run(["cargo", "build", "-p", "auth-check", "-p", "auth-check-gallery"], cwd=ROOT, check=True)
    if not (HERE / "node_modules/.package-lock.json").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    subprocess.run(["bash", "-e", "node.sh"], cwd=INTEROP, check=True)


class Issuer:
    """An authorization server whose tokens the gallery trusts. It publishes metadata and keys, and refuses codes."""

    def __init__(self):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from jwt.algorithms import RSAAlgorithm

        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.pem = self.key.private_bytes(*form)
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        named = json.dumps({name: public[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
        # The key's thumbprint (RFC 7638) is its name, as with auth-check's own keys.
        self.kid = base64.urlsafe_b64encode(hashlib.sha256(named.encode()).digest()).rstrip(b"=").decode()
        self.key_set = {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def metadata(self):
        at = {name: f"{self.url}/{path}" for name, path in
              [("authorization_endpoint", "authorize"), ("token_endpoint", "token"), ("jwks_uri", "jwks")]}
        return {
            "issuer": self.url, **at, "scopes_supported": ["files:read", "files:write"],
            "response_types_supported": ["code"], "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True, "client_id_metadata_document_supported": True,
        }

    def handler(issuer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                pages = {"/jwks": issuer.key_set, "/.well-known/oauth-authorization-server": issuer.metadata()}
                self.answer(200 if self.path in pages else 404, pages.get(self.path, {}))

            def do_POST(self):
                self.answer(400, {"error": "invalid_grant"})

            def answer(self, status, body):
                self.send_response(status)
                for name, value in [("Content-Type", "application/json"), ("Cache-Control", "no-store"),
                                    ("X-Content-Type-Options", "nosniff")]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        return Handler

    def token(self, audience, scope="files:read files:write"):
        import jwt

        now = int(time.time())
        claims = {"iss": self.url, "aud": audience, "sub": "matrix", "client_id": "matrix", "scope": scope,
                  "iat": now, "exp": now + 3600, "jti": str(time.time_ns())}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"typ": "at+jwt", "kid": self.kid})


class Site:
    """The gallery with a fault, and what tools need for it."""

    def __init__(self, issuer, fault, folder):
        self.folder, self.issuer = Path(folder), issuer.url
        self.key = self.write("key.pem", issuer.pem)
        # Between the choice of a port and its use, another may take it.
        if not any(self.starts(issuer, fault) for _ in range(5)):
            raise RuntimeError(f"the gallery does not start with {fault}")

    def starts(self, issuer, fault):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.url = f"{self.base}/mcp"
        # Tokens are for what the server calls itself, as they would be after a log-in.
        resource = self.url + {"resource-with-slash": "/", "resource-with-fragment": "#main"}.get(fault, "")
        self.token, self.narrow = issuer.token(resource), issuer.token(resource, "files:read")
        self.foreign = issuer.token(f"{self.base}/other")
        key_set = self.write("jwks.json", json.dumps(issuer.key_set).encode())
        command = [GALLERY, "--port", str(port), "--issuer", issuer.url, "--key-set", key_set]
        command += ["--fault", fault] if fault else []
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self.server.stdout.readline().startswith("listening")

    def write(self, name, content):
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def stop(self):
        self.server.kill()
        self.server.wait()


def findings(issuer, name, tool, fault):
    """Of a tool, with this fault; None if it could not be run. Each run gets a server that nobody has asked yet."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(issuer, fault, folder)
        try:
            return sorted({text.replace(site.base, "SERVER").replace(site.issuer, "ISSUER") for text in tool(site)})
        except Exception as error:
            print(f"{fault}: {name} could not be run: {error!r:.300}", file=sys.stderr, flush=True)
            return None
        finally:
            site.stop()


def kept(issuer, name, tool, run, fault):
    """The same. A matrix that was interrupted goes on where it was."""
    path = DONE / f"{name} {run}.json"
    if not path.exists():
        path.write_text(json.dumps(findings(issuer, name, tool, fault)))
        print(f"{len(list(DONE.iterdir()))} {path.stem}", flush=True)
    return json.loads(path.read_text())


def main():
    prepare()
    DONE.mkdir(exist_ok=True)
    listed = subprocess.run([GALLERY, "--list"], capture_output=True, text=True, check=True).stdout
    faults = [re.fullmatch(r"(\S+) +(.*?) +((?:[A-Z]+-\d+ ?)+)", line).groups() for line in listed.splitlines()]
    faults = [fault for fault in faults if not sys.argv[1:] or fault[0] in sys.argv[1:]]
    issuer = Issuer()
    # Three times without a fault: what a tool says now and then is no finding of a fault.
    runs = [(f"none {number}", None) for number in range(3)] + [(fault[0], fault[0]) for fault in faults]
    with ThreadPoolExecutor(4) as pool:
        columns = {name: pool.map(lambda run, name=name, tool=tool: kept(issuer, name, tool, *run), runs)
                   for name, *_, tool in TOOLS}
        columns = {name: list(column) for name, column in columns.items()}
    usual = {name: set().union(*(texts or () for texts in column[:3])) for name, column in columns.items()}
    new = [{name: row and [text for text in row if text not in usual[name]] for name, row in zip(columns, rows)}
           for rows in zip(*(column[3:] for column in columns.values()))]
    (TARGET / "matrix.json").write_text(json.dumps({fault[0]: one for fault, one in zip(faults, new)}, indent=1))
    if not sys.argv[1:]:
        write(faults, new, usual)
    shutil.rmtree(DONE)


def write(faults, new, usual):
    names = [name for name, *_ in TOOLS]
    groups = {}
    for fault, one in zip(faults, new):
        groups.setdefault(fault[2].split("-")[0], []).append(one)
    count = lambda rows, name: sum(bool(row[name]) for row in rows)
    head = f"| faults | how many | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}\n"
    rows = [(group, rows) for group, rows in groups.items()] + [("**all**", new)]
    table = head + "".join(
        f"| {group} | {len(rows)} | {' | '.join(str(count(rows, name)) for name in names)} |\n" for group, rows in rows)
    alarms = [str(len(usual[name])) for name in names]
    table += f"| false alarms without a fault | | {' | '.join(alarms)} |\n"
    text = README.read_text()
    begin, end = "<!-- matrix -->\n", "<!-- end of the matrix -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    README.write_text(f"{before}{begin}{table}{end}{after}")

    mark = lambda found: "not run" if found is None else "found" if found else ""
    full = "".join(f"| `{name}` | {what} | {ids.strip()} | {' | '.join(mark(one[tool]) for tool in names)} |\n"
                   for (name, what, ids), one in zip(faults, new))
    about = "".join(f"| {name} | {version} | {made} | {how} |\n" for name, version, made, how, _ in TOOLS)
    noise = "".join(f"- {name}: {'; '.join(sorted(usual[name])) or 'nothing'}\n" for name in names)
    MATRIX.write_text((HERE / "about.txt").read_text().format(
        date=time.strftime("%Y-%m-%d"), about=about, noise=noise, table=table,
        full=f"| fault | the server then | checks | {' | '.join(names)} |\n|---|---|---|{'---|' * len(names)}\n{full}"))


if __name__ == "__main__":
    main()
