"""`migrate` and `migrations.*`: the life of a migration, from a new file to a table and back."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act, confirm
from fairlead.tasks.db import database_url

if TYPE_CHECKING:
    from fairlead.config import Config
    from fairlead.migrations import Migration, Migrator, Step

_ENV = "the environment: local, staging, production …"
_JSON = "print JSON for a program to read"
_LOCK_WAIT = "how many seconds to wait for another runner"
_SURE = "say yes to every question"


@act(
    help={
        "env": _ENV,
        "to": "stop after this version",
        "dry": "print what would run; nothing is changed",
        "lock-wait": _LOCK_WAIT,
        "auto-confirm": _SURE,
    }
)
def migrate(
    env: str = "local",
    to: str = "",
    dry: bool = False,
    lock_wait: float = 30.0,
    auto_confirm: bool = False,
) -> None:
    """Apply what is pending, each migration and its record in one transaction."""
    from fairlead import config

    loaded = config.load()
    with _open(loaded, env, lock_wait=lock_wait) as migrator:
        planned = migrator.plan(to=to or None)
        if dry:
            _show(planned, "would apply")
            return
        if planned:
            _ask(loaded, env, f"Apply {_count(len(planned))} to {env}?", auto_confirm=auto_confirm)
        applied = migrator.apply(to=to or None, on_progress=_tell)
    _output.result(f"applied {_count(len(applied))} to {env}" if applied else f"nothing to apply: {env} is up to date")


@act(help={"env": _ENV, "json": _JSON})
def status(env: str = "local", json: bool = False) -> None:
    """Say of each migration whether it is applied, pending, changed or missing."""
    import dataclasses

    from fairlead import config

    with _open(config.load(), env) as migrator:
        found = migrator.status()
    if json:
        _output.result_json([dataclasses.asdict(row) for row in found])
        return
    rows = [
        (
            row.version,
            row.name,
            row.state,
            "yes" if row.reversible else "no",
            f"{row.applied_at:%Y-%m-%d %H:%M:%S}" if row.applied_at else "-",
            f"{row.duration_ms} ms" if row.duration_ms is not None else "-",
        )
        for row in found
    ]
    _output.table(("version", "name", "state", "down", "applied", "took"), rows)


@act(positional=["slug"], help={"slug": "what it does, in a few words"})
def new(slug: str) -> None:
    """Create the next migration: an empty file and the down beside it."""
    from fairlead import config, migrations

    for file in migrations.create_migration(config.load().migrations.directory, slug):
        _output.result(str(file))


@act(
    help={
        "env": _ENV,
        "steps": "how many to undo",
        "to": "undo all above this version instead (0: every one)",
        "dry": "print what would run; nothing is changed",
        "lock-wait": _LOCK_WAIT,
        "auto-confirm": _SURE,
    }
)
def down(
    env: str = "local",
    steps: int = 1,
    to: str = "",
    dry: bool = False,
    lock_wait: float = 30.0,
    auto_confirm: bool = False,
) -> None:
    """Undo the newest migrations by the down files beside them."""
    from fairlead import config

    loaded = config.load()
    with _open(loaded, env, lock_wait=lock_wait) as migrator:
        chosen = {"to": to} if to else {"steps": steps}
        planned = migrator.plan_revert(**chosen)
        if dry:
            _show(planned, "would undo")
            return
        if planned:
            _ask(loaded, env, f"Undo {_count(len(planned))} of {env}?", auto_confirm=auto_confirm)
        reverted = migrator.revert(**chosen, on_progress=_tell)
    _output.result(
        f"undid {_count(len(reverted))} of {env}" if reverted else f"nothing to undo: {env} has none applied"
    )


@act()
def verify() -> None:
    """Prove on a scratch database that every down undoes its up, and that all of them apply again."""
    from fairlead import config, migrations, postgres

    found = migrations.load_migrations(config.load().migrations.directory)
    with postgres.temporary_server() as server:
        server.create_database("scratch")
        with migrations.connect(server.url("scratch")) as connection:
            migrations.verify_reversible(connection, found)
    _output.result(f"{_count(len(found))}: up, down and up again leave the schema as it should be")


@contextlib.contextmanager
def _open(loaded: "Config", env: str, *, lock_wait: float = 30.0) -> "Iterator[Migrator]":
    from fairlead import migrations

    found = migrations.load_migrations(loaded.migrations.directory)
    address = database_url(loaded, loaded.environment(env))
    with migrations.connect(address) as connection:
        yield migrations.Migrator(connection, found, lock_wait=lock_wait)


def _ask(loaded: "Config", env: str, question: str, *, auto_confirm: bool) -> None:
    if loaded.environment(env).approval:
        confirm(question, auto_confirm=auto_confirm)


def _tell(step: "Step") -> None:
    if step.kind == "done":
        word = "applied" if step.action == "apply" else "undid"
        place = f"{step.index}/{step.total}"
        _output.status("ok", f"{place} {word} {step.migration.label}  {_output.duration(step.seconds)}")


def _show(planned: "tuple[Migration, ...]", word: str) -> None:
    if not planned:
        _output.result("nothing to do")
    for migration in planned:
        _output.result(f"{word} {migration.label}")


def _count(number: int) -> str:
    return "1 migration" if number == 1 else f"{number} migrations"


ACTS = (status, new, down, verify)
