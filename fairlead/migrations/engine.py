"""Opens the engine that the configuration names, SQL files or Alembic: both answer to the same acts."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fairlead.migrations.files import Migration, load_migrations
from fairlead.migrations.runner import Migrator, Step
from fairlead.migrations.table import Status
from fairlead.migrations.url import connect

if TYPE_CHECKING:
    from fairlead.config import MigrationsConfig


@dataclass(frozen=True, slots=True)
class Options:
    """What one run asks for: seconds to wait for another runner, whether gaps are filled, a database created."""

    lock_wait: float = 30.0
    out_of_order: bool = False
    create: bool = False


class Engine(Protocol):
    """What both engines do; see `Migrator` for each."""

    def status(self) -> tuple[Status, ...]: ...  # noqa: D102 - told by Migrator
    def plan(self, *, to: str | None = None) -> Sequence[Migration]: ...  # noqa: D102 - told by Migrator
    def apply(  # noqa: D102 - told by Migrator
        self, *, to: str | None = None, on_progress: Callable[[Step], None] | None = None
    ) -> Sequence[Migration]: ...
    def plan_revert(  # noqa: D102 - told by Migrator
        self, *, steps: int | None = None, to: str | None = None
    ) -> Sequence[Migration]: ...
    def revert(  # noqa: D102 - told by Migrator
        self, *, steps: int | None = None, to: str | None = None, on_progress: Callable[[Step], None] | None = None
    ) -> Sequence[Migration]: ...
    def baseline(self, version: str) -> Sequence[Migration]: ...  # noqa: D102 - told by Migrator


def fingerprint(settings: "MigrationsConfig") -> str:
    """Return what the migrations of `settings` are told apart by: equal where their files are, 16 characters."""
    digest = hashlib.sha256(settings.engine.encode())
    if settings.engine == "alembic":
        for file in sorted(settings.directory.rglob("*")):
            inside = file.relative_to(settings.directory)
            if file.suffix in {".py", ".ini", ".toml", ".sql"} and not any(p.startswith(".") for p in inside.parts):
                digest.update(f"\0{inside}\0".encode() + file.read_bytes())
    else:
        for migration in load_migrations(settings.directory):
            digest.update(f"\0{migration.label}\0{migration.checksum}".encode())
    return digest.hexdigest()[:16]


@contextmanager
def open_engine(settings: "MigrationsConfig", url: str, *, options: Options | None = None) -> Iterator[Engine]:
    """Open the engine of `settings` on the database at `url`, in any of its spellings.

    Raises `MigrationError` for files that cannot be used, and a database that cannot be reached.
    """
    options = options or Options()
    if settings.engine == "alembic":
        from fairlead.migrations.alembic import AlembicEngine

        if options.create:
            with connect(url, create=True):
                pass
        with AlembicEngine(
            settings.directory,
            url,
            python=settings.alembic_python,
            url_env=settings.alembic_url_env,
            heads=settings.alembic_heads,
            check=settings.alembic_check,
            lock_wait=options.lock_wait,
            lock_timeout=settings.lock_timeout,
            statement_timeout=settings.statement_timeout,
        ) as engine:
            yield engine
        return
    found = load_migrations(settings.directory)
    with connect(url, create=options.create) as connection:
        yield Migrator(
            connection,
            found,
            lock_wait=options.lock_wait,
            lock_timeout=settings.lock_timeout,
            statement_timeout=settings.statement_timeout,
            out_of_order=options.out_of_order,
            transaction_control=settings.transaction_control,
        )
