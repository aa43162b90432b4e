"""`db.*`: where an environment's database is, its backups, and back from one."""

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fairlead.config import Config, EnvironmentConfig
    from fairlead.postgres.backup import Manifest


_ENV = "the environment: local, staging, production …"


@act(
    help={
        "env": _ENV,
        "show-password": "print it whole, for another program",
    }
)
def url(env: str = "local", show_password: bool = False) -> None:
    """Print the address of an environment's database; its password only when asked for."""
    from fairlead import config

    loaded = config.load()
    address = database_url(loaded, loaded.environment(env))
    if show_password:
        # Asked for by name, so that `psql "$(invoke db.url --show-password)"` works: the one line that is not redacted.
        _output.reveal(address)
        return
    _output.result(address)


@act(
    help={
        "env": _ENV,
        "output": "the file to write; by default a dated one under the state directory",
        "json": "print JSON for a program to read",
    }
)
def backup(env: str = "local", output: str = "", json: bool = False) -> None:
    """Dump an environment's database as it is at one moment, with a manifest of what it holds."""
    import dataclasses
    from pathlib import Path

    from fairlead import config

    loaded = config.load()
    target, manifest = make_backup(loaded, loaded.environment(env), Path(output) if output else None)
    if json:
        _output.result_json({"file": str(target), **dataclasses.asdict(manifest)})
        return
    _output.status("ok", f"{_output.size(manifest.size)}, {_count(manifest)}")
    _output.result(str(target))


@act(
    positional=["file"],
    help={
        "file": "a backup that db.backup made, with its manifest beside it",
        "env": _ENV,
        "replace": "put it in the place of a database that holds tables; what was written since is lost",
        "name": "the name of that database, instead of typing it when asked",
        "keep-old": "keep the replaced database under another name",
    },
)
def restore(file: str, env: str = "local", replace: bool = False, name: str = "", keep_old: bool = False) -> None:
    """Restore a backup into a new database, which takes the old one's place when it is whole."""
    from functools import partial
    from pathlib import Path

    from fairlead import config
    from fairlead.migrations import normalise_url
    from fairlead.postgres import restore as restores

    loaded = config.load()
    address = normalise_url(database_url(loaded, loaded.environment(env)))
    if replace and not name:
        name = ask(f"The database of {env} is replaced, and what was written since the backup is lost. Its name:")
    with _progress("restored") as tell:
        manifest = restores.restore(
            address,
            Path(file),
            replace=name if replace else None,
            keep_old=keep_old,
            on_progress=tell,
            on_note=partial(_output.status, "note"),
        )
    _output.result(f"restored {_count(manifest)} of {manifest.made_at}")


def make_backup(
    loaded: "Config", environment: "EnvironmentConfig", target: "Path | None" = None
) -> "tuple[Path, Manifest]":
    """Back up an environment's database to `target`, or a dated file under the state directory; return both."""
    from datetime import UTC, datetime

    from fairlead.migrations import normalise_url
    from fairlead.postgres import backup as backups

    address = normalise_url(database_url(loaded, environment))
    if target is None:
        with backups.connected(address) as connection:
            version = backups.newest_migration(connection) or "none"
        name = f"{loaded.name}-{environment.name}-{version}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"
        target = loaded.state_dir / "backups" / name
    with _progress("written") as tell:
        return target, backups.back_up(address, target, on_progress=tell)


def _count(manifest: "Manifest") -> str:
    rows, tables = sum(manifest.rows.values()), len(manifest.rows)
    return f"{rows} {'row' if rows == 1 else 'rows'} in {tables} {'table' if tables == 1 else 'tables'}"


@contextlib.contextmanager
def _progress(word: str) -> "Iterator[Callable[[int], None] | None]":
    """Give what shows the bytes so far and the time in one line, gone at the end; nothing where no terminal is."""
    if not sys.stderr.isatty():
        yield None
        return
    started, shown = time.monotonic(), 0

    def tell(count: int) -> None:
        nonlocal shown
        line = f"· {_output.size(count)} {word} in {_output.duration(time.monotonic() - started)}"
        _output.live(line.ljust(shown) + "\r")
        shown = max(shown, len(line))

    try:
        yield tell
    finally:
        if shown:
            _output.live(" " * shown + "\r")


def database_url(loaded: "Config", environment: "EnvironmentConfig") -> str:
    """Return the address of an environment's database: its variable's, or the local platform's, which is started."""
    from fairlead.exceptions import ConfigurationError

    if environment.database_url_env:
        address = loaded.environ.get(environment.database_url_env)
        if not address:
            hint = f"set it to the address of {environment.name}'s database (postgresql://user:password@host/name)"
            raise ConfigurationError(f"{environment.database_url_env} is not set", hint=hint)
        return address
    if environment.platform != "local":
        where = f"tool.fairlead.environments.{environment.name}.database-url-env"
        raise ConfigurationError(f"{where} is missing", hint="name the variable that holds the database's address")
    from fairlead import localplatform

    return localplatform.start(loaded).database_url


ACTS = (url, backup, restore)
