"""Keeps the local platform's state in one SQLite file: it survives a restart and a kill -9.

Reads are answered from memory, every change is written through at once. A change that the disk refuses (it may be full)
stays in memory, and is written together with the next one that succeeds: a deployment that failed because the disk is
full can still say so. Log lines lie beside it, see `fairlead.localplatform.logs`.
"""

import base64
import dataclasses
import json
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fairlead._procfile import WEB
from fairlead.exceptions import PlatformError
from fairlead.localplatform.logs import Logs
from fairlead.localplatform.records import (
    INITIALIZING,
    Deployment,
    LogLine,
    OwnedProcess,
    Step,
    now,
)

__all__ = ["Deployment", "LogLine", "OwnedProcess", "Step", "Store"]

FILE: Final = "state.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statuses (deployment TEXT NOT NULL, status TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS statuses_of_deployment ON statuses (deployment);
"""
_SECRET_BYTES: Final = 32


class Store:
    """The platform's memory in `directory`, which is made when it is not there. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.RLock()
        self._unwritten: list[tuple[str, tuple[Any, ...]]] = []
        self._connection = _open(directory / FILE)
        self._facts: dict[str, dict[str, Any]] = {}
        for kind, key, value in self._connection.execute("SELECT kind, key, value FROM facts"):
            self._facts.setdefault(kind, {})[key] = json.loads(value)
        self._deployments = {
            key: Deployment(**value)
            for key, value in sorted(self._facts.get("deployment", {}).items(), key=lambda item: item[1]["created_at"])
        }
        self.logs = Logs(directory / "logs")

    def close(self) -> None:
        """Close the file; what could not be written before is tried once more."""
        with self._lock:
            self._flush(required=False)
            self._connection.close()

    # --- identity and secrets ---

    @property
    def project_id(self) -> str:
        """The project's id, the same for as long as the folder exists."""
        return self._lasting("identity", "project", lambda: str(uuid.uuid4()))

    @property
    def environment_id(self) -> str:
        """The environment's id."""
        return self._lasting("identity", "environment", lambda: str(uuid.uuid4()))

    def service_id(self, kind: str = WEB) -> str:
        """Return the id of the service of a kind: "web", "worker" …"""
        key = "service" if kind == WEB else f"service {kind}"
        return self._lasting("identity", key, lambda: str(uuid.uuid4()))

    @property
    def token(self) -> str:
        """The token that the API asks for."""
        return self._lasting("identity", "token", lambda: secrets.token_urlsafe(_SECRET_BYTES))

    def secret(self, name: str) -> str:
        """Return the generated secret called `name`, made on first use: 32 random bytes in standard base64."""
        return self._lasting(
            "secret", name, lambda: base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")
        )

    def value(self, name: str) -> Any:
        """Return a remembered value, None when there is none."""
        with self._lock:
            return self._facts.get("value", {}).get(name)

    def remember(self, name: str, value: Any) -> None:
        """Remember a value that JSON can hold; None forgets it."""
        with self._lock:
            self._put("value", name, value)
            self._flush(required=False)

    # --- deployments ---

    def add_deployment(self, *, message: str | None, service: str = WEB, **facts: Any) -> Deployment:
        """Record a new deployment; raise `PlatformError` when it cannot be written down."""
        time = now()
        deployment = Deployment(
            id=str(uuid.uuid4()),
            status=INITIALIZING,
            created_at=time,
            status_updated_at=time,
            message=message,
            service=service,
            **facts,
        )
        with self._lock:
            earlier = len(self._unwritten)
            self._write_deployment(deployment, status=True)
            try:
                self._flush(required=True)
            except PlatformError:
                del self._deployments[deployment.id], self._facts["deployment"][deployment.id]
                del self._unwritten[earlier:]
                raise
        return deployment

    def change(self, deployment_id: str, *, status: str | None = None, **facts: Any) -> Deployment:
        """Change facts of a deployment, among them its status, and return what it is now."""
        with self._lock:
            before = self._deployments[deployment_id]
            changed = status is not None and status != before.status
            if changed:
                facts |= {"status": status, "status_updated_at": now()}
            after = dataclasses.replace(before, **facts)
            if after != before:
                self._write_deployment(after, status=changed)
                self._flush(required=False)
            return after

    def deployment(self, deployment_id: str) -> Deployment | None:
        """Return one deployment."""
        with self._lock:
            return self._deployments.get(deployment_id)

    def deployments(self, *, limit: int | None = None, service: str | None = None) -> tuple[Deployment, ...]:
        """Return deployments, newest first, of one kind of service or of all."""
        with self._lock:
            known = reversed(self._deployments.values())
            newest_first = tuple(one for one in known if service in {None, one.service})
        return newest_first if limit is None else newest_first[: max(limit, 0)]

    def statuses(self, deployment_id: str) -> tuple[tuple[str, str], ...]:
        """Return each status that a deployment has had with the time it was reached, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT status, at FROM statuses WHERE deployment = ? ORDER BY rowid", (deployment_id,)
            )
            return tuple((str(status), str(at)) for status, at in rows)

    @property
    def active(self) -> str | None:
        """The id of the web's deployment that serves, or that should."""
        return self.active_of(WEB)

    def active_of(self, kind: str) -> str | None:
        """Return the id of the deployment that runs as a kind of service, or that should."""
        active = self.value(_active_key(kind))
        return active if isinstance(active, str) else None

    def activate(self, deployment: Deployment) -> None:
        """Remember that a deployment is the one that runs as its kind of service."""
        self.remember(_active_key(deployment.service), deployment.id)

    def step(self, deployment_id: str, step: str) -> Step:
        """Record that a step of a deployment begins."""
        begun = Step(str(uuid.uuid4()), step, now())
        with self._lock:
            self._write_steps(deployment_id, (*self.steps(deployment_id), begun))
        return begun

    def end_step(self, deployment_id: str, begun: Step, *, error: str | None = None) -> None:
        """Record that a step of a deployment has ended."""
        ended = dataclasses.replace(begun, completed_at=now(), error=error)
        with self._lock:
            steps = self.steps(deployment_id)
            self._write_steps(deployment_id, tuple(ended if one.id == begun.id else one for one in steps))

    def steps(self, deployment_id: str) -> tuple[Step, ...]:
        """Return the steps of a deployment, oldest first."""
        with self._lock:
            return tuple(Step(**facts) for facts in self._facts.get("steps", {}).get(deployment_id, ()))

    def forget_steps(self, deployment_id: str) -> None:
        """Forget the steps of a deployment."""
        with self._lock:
            self._put("steps", deployment_id, None)
            self._flush(required=False)

    def _write_steps(self, deployment_id: str, steps: tuple[Step, ...]) -> None:
        self._put("steps", deployment_id, [dataclasses.asdict(one) for one in steps])
        self._flush(required=False)

    def environment(self, deployment_id: str) -> Path | None:
        """Return the environment that a deployment's release was built with, None when that is not known."""
        path = self.value(f"environment of {deployment_id}")
        return Path(path) if isinstance(path, str) else None

    def remember_environment(self, deployment_id: str, environment: Path | None) -> None:
        """Remember the environment that a deployment's release was built with; None forgets it."""
        self.remember(f"environment of {deployment_id}", None if environment is None else str(environment))

    def variables(self, deployment_id: str) -> dict[str, str] | None:
        """Return the variables that were declared when a deployment was made, None when that is not known."""
        kept = self.value(f"variables of {deployment_id}")
        return dict(kept) if isinstance(kept, dict) else None

    def remember_variables(self, deployment_id: str, variables: Mapping[str, str] | None) -> None:
        """Remember the variables that were declared when a deployment was made; None forgets them."""
        self.remember(f"variables of {deployment_id}", None if variables is None else dict(variables))

    # --- processes ---

    def add_process(self, process: OwnedProcess) -> None:
        """Record a process group that was started."""
        with self._lock:
            self._put("process", str(process.pid), dataclasses.asdict(process))
            self._flush(required=False)

    def remove_process(self, pid: int) -> None:
        """Forget a process group that has ended."""
        with self._lock:
            self._put("process", str(pid), None)
            self._flush(required=False)

    def processes(self) -> tuple[OwnedProcess, ...]:
        """Return the process groups that were started and not seen to end."""
        with self._lock:
            return tuple(OwnedProcess(**facts) for facts in self._facts.get("process", {}).values())

    # --- writing ---

    def _lasting(self, kind: str, key: str, make: Callable[[], str]) -> str:
        with self._lock:
            known = self._facts.get(kind, {}).get(key)
            if known is None:
                known = self._facts.setdefault(kind, {})[key] = self._write_once(kind, key, make())
            return str(known)

    def _write_once(self, kind: str, key: str, value: str) -> str:
        """Write a value unless another process was first; return what holds."""
        try:
            with self._connection:
                self._connection.execute(
                    "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (kind, key, json.dumps(value))
                )
            row = self._connection.execute("SELECT value FROM facts WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        except sqlite3.Error as error:
            raise _unusable(self.directory / FILE, error) from error
        return str(json.loads(row[0]))

    def _put(self, kind: str, key: str, value: Any) -> None:
        facts = self._facts.setdefault(kind, {})
        if value is None:
            if facts.pop(key, None) is None:
                return
            self._unwritten.append(("DELETE FROM facts WHERE kind = ? AND key = ?", (kind, key)))
            return
        facts[key] = value
        statement = "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value"
        self._unwritten.append((statement, (kind, key, json.dumps(value))))

    def _write_deployment(self, deployment: Deployment, *, status: bool) -> None:
        self._deployments[deployment.id] = deployment
        self._put("deployment", deployment.id, dataclasses.asdict(deployment))
        if status:
            row = (deployment.id, deployment.status, deployment.status_updated_at)
            self._unwritten.append(("INSERT INTO statuses VALUES (?, ?, ?)", row))

    def _flush(self, *, required: bool) -> None:
        try:
            with self._connection:
                for statement, arguments in self._unwritten:
                    self._connection.execute(statement, arguments)
        except sqlite3.Error as error:
            if required:
                raise _unusable(self.directory / FILE, error) from error
        else:
            self._unwritten.clear()


def _active_key(kind: str) -> str:
    return "active" if kind == WEB else f"active {kind}"


def _open(file: Path) -> sqlite3.Connection:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600, exist_ok=True)
        file.chmod(0o600)
        connection = sqlite3.connect(file, timeout=10.0, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise _unusable(file, error) from error
    return connection


def _unusable(file: Path, error: Exception) -> PlatformError:
    text = str(error)
    if "full" in text or "No space left" in text:
        hint = "free some space on that disk and try again"
    else:
        hint = f"check the folder's permissions; `invoke platform.down` and removing {file.parent} starts afresh"
    return PlatformError(f"the local platform cannot keep its state in {file}: {text}", hint=hint)
