"""What is measured: the backend's trees on databases of their own, each with an account, and how they are served."""

import base64
import json
import os
import secrets
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from fairlead import config
from fairlead._process import run
from fairlead._procfile import FILE, WEB, parse
from fairlead.exceptions import InconclusiveError
from fairlead.gates.performance.load import Target
from fairlead.gates.performance.serving import Application, Service
from fairlead.migrations import open_engine
from fairlead.postgres import Databases

HERE = Path(__file__).resolve().parent
HOT = "/api/business/me"
HEALTH = "/api/health"
#: What is served, and how, of all that a revision holds.
SERVED = ("backend/app", "backend/migrations", "backend/requirements.txt", f"backend/{FILE}")

#: What the backend's Procfile asks of uvicorn and nobody but the backend has.
_OWN_PROTOCOL = "--http app.server:Protocol"
_EMAIL = "owner@maya.test"
_TENANTS = 1000
#: Handed on to what is measured; whatever else is set here must not change it.
_HANDED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_FILL = """
WITH made AS (
    INSERT INTO tenants (name) SELECT 'Business ' || n FROM generate_series(1, %(count)s) AS n RETURNING id, name
), settled AS (
    INSERT INTO business_settings (tenant_id) SELECT id FROM made
)
INSERT INTO users (tenant_id, email, name, password_hash)
SELECT id, replace(lower(name), ' ', '-') || '@maya.test', 'Owner', (SELECT password_hash FROM users LIMIT 1) FROM made
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """One revision of the backend, ready to be served: its folder, interpreter, variables and its owner's password."""

    name: str
    backend: Path
    python: Path
    variables: dict[str, str]
    password: str

    def application(self, name: str) -> Application:
        """Return the backend as its own Procfile serves it."""
        command = parse((self.backend / FILE).read_text("utf-8"))[WEB]
        return Application(name, command, self.backend, self.variables, self.python)

    def observed(self) -> Application:
        """Return the backend with its queries timed, served in the same way."""
        plain = self.application("observed")
        path = {"PYTHONPATH": os.pathsep.join((str(HERE), str(self.backend)))}
        command = plain.command.replace("app.main:app", "observed:app")
        return replace(plain, command=command, variables=self.variables | path)

    def target(self, service: Service, path: str) -> Target:
        """Return what to ask of a service of this tree, with a token for it."""
        credentials = {"email": _EMAIL, "password": self.password}
        request = urllib.request.Request(
            f"{service.url}/api/auth/login", json.dumps(credentials).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                token = json.load(answer)["access_token"]
        except (OSError, ValueError, KeyError) as error:
            raise InconclusiveError(f"nobody can log in to {self.name}: {error}") from error
        return Target(service.url + path, {"Authorization": f"Bearer {token}"})


def prepare_tree(server: Databases, name: str, root: Path, python: Path) -> Tree:
    """Make a database `name` after the migrations of the tree at `root`, with an owner among a thousand tenants."""
    server.create_database(name)
    url = server.url(name)
    with open_engine(config.load(root, environ={}).migrations, url) as engine:
        engine.apply()
    variables = {name: os.environ[name] for name in _HANDED_ON if name in os.environ} | {
        "DATABASE_URL": url,
        "ENVIRONMENT": "production",
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        # Limits count every request, as they do in production, and stop none.
        "RATE_LIMIT": "1000000/second",
        "PYTHONUTF8": "1",
    }
    tree = Tree(name, root / "backend", python, variables, secrets.token_urlsafe(16))
    command = [python, "-m", "app.create_user", "--email", _EMAIL, "--business", "Bright Smiles Dental"]
    run(command, cwd=tree.backend, env=variables | {"MAYA_PASSWORD": tree.password}, timeout=60)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FILL, {"count": _TENANTS})
        connection.execute("VACUUM ANALYZE")
    return tree


def bare_application(tree: Tree, statement: dict[str, Any], *, connections: int) -> Application:
    """Return the bare route, which runs what `observed` told, on the database of a tree, and is served alike."""
    variables = {name: tree.variables[name] for name in (*_HANDED_ON, "DATABASE_URL") if name in tree.variables}
    variables |= {"BARE_STATEMENT": json.dumps(statement), "BARE_CONNECTIONS": str(connections)}
    command = tree.application("bare").command.replace("app.main:app", "bare:app").replace(_OWN_PROTOCOL, "")
    return Application("bare", command, HERE, variables, tree.python)


def fetch_once(target: Target) -> None:
    """Ask for a target once."""
    with urllib.request.urlopen(urllib.request.Request(target.url, headers=dict(target.headers)), timeout=30):
        pass


def fetch_queries(service: Service) -> dict[str, Any]:
    """Fetch what the observed backend noted since it was last asked."""
    with urllib.request.urlopen(f"{service.url}/-/queries", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def count_connections(tree: Tree) -> int:
    """Count the connections that the application of a tree holds open to its database."""
    with psycopg.connect(tree.variables["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(row[0]) if row else 0
