"""`migrate` and `migrations.*`: the life of a migration, from a new file to a table and back."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act, confirm
from fairlead.tasks.db import database_url
from fairlead.tasks.migration_checks import lint, tell_risks, verify

if TYPE_CHECKING:
    from fairlead.config import Config
    from fairlead.migrations import Engine, Migration, Step

_ENV = "the environment: local, staging, production …"
_JSON = "print JSON for a program to read"
_LOCK_WAIT = "how many seconds to wait for another runner"
_SURE = "say yes to every question"


@act(
    help={
        "env": _ENV,
        "to": "stop after this version",
        "dry": "print what would run and what is risky in it; nothing is changed",
        "lock-wait": _LOCK_WAIT,
        "allow-out-of-order": "also apply what is below the newest applied version",
        "create": "create the database when there is none",
        "auto-confirm": _SURE,
    }
)
def migrate(
    env: str = "local",
    to: str = "",
    dry: bool = False,
    lock_wait: float = 30.0,
    allow_out_of_order: bool = False,
    create: bool = False,
    auto_confirm: bool = False,
) -> None:
    """Apply what is pending, each migration and its record in one transaction."""
    from fairlead import config

    loaded = config.load()
    with _open(loaded, env, lock_wait=lock_wait, out_of_order=allow_out_of_order, create=create) as engine:
        planned = engine.plan(to=to or None)
        if dry:
            _show(planned, "would apply")
            if planned:
                tell_risks(loaded, planned)
            return
        if planned:
            _ask(loaded, env, f"Apply {_count(len(planned))} to {env}?", auto_confirm=auto_confirm)
        applied = engine.apply(to=to or None, on_progress=_tell)
        _warn(loaded, engine)
    _output.result(f"applied {_count(len(applied))} to {env}" if applied else f"nothing to apply: {env} is up to date")


@act(help={"env": _ENV, "json": _JSON})
def status(env: str = "local", json: bool = False) -> None:
    """Say of each migration whether it is applied, pending, changed or missing."""
    import dataclasses

    from fairlead import config

    loaded = config.load()
    with _open(loaded, env) as engine:
        found = engine.status()
        _warn(loaded, engine)
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


@act(
    positional=["slug"],
    help={"slug": "what it does, in a few words", "env": "Alembic: the database that the models are compared with"},
)
def new(slug: str, env: str = "local") -> None:
    """Create the next migration: an empty file and the down beside it, or what Alembic sees of the models."""
    from fairlead import config, migrations

    loaded = config.load()
    if loaded.migrations.engine == "alembic":
        from fairlead.migrations.alembic import AlembicEngine

        with _open(loaded, env) as engine:
            files = engine.new(slug) if isinstance(engine, AlembicEngine) else ()
    else:
        files = migrations.create_migration(loaded.migrations.directory, slug)
    for file in files:
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
    with _open(loaded, env, lock_wait=lock_wait) as engine:
        chosen = {"to": to} if to else {"steps": steps}
        planned = engine.plan_revert(**chosen)
        if dry:
            _show(planned, "would undo")
            return
        if planned:
            _ask(loaded, env, f"Undo {_count(len(planned))} of {env}?", auto_confirm=auto_confirm)
        reverted = engine.revert(**chosen, on_progress=_tell)
    _output.result(
        f"undid {_count(len(reverted))} of {env}" if reverted else f"nothing to undo: {env} has none applied"
    )


@act(
    positional=["version"],
    help={"version": "the newest one that the database holds already", "env": _ENV, "auto-confirm": _SURE},
)
def baseline(version: str, env: str = "local", auto_confirm: bool = False) -> None:
    """Adopt an existing database: record everything up to a version as applied, without running it."""
    from fairlead import config

    loaded = config.load()
    with _open(loaded, env) as engine:
        _ask(loaded, env, f"Record everything up to {version} as applied to {env}?", auto_confirm=auto_confirm)
        recorded = engine.baseline(version)
    _output.result(f"recorded {_count(len(recorded))} as applied to {env}, without running any")


@act(
    positional=["version"],
    help={
        "version": "the one that was interrupted",
        "applied": "you have seen that all of it is done",
        "reverted": "nothing of it is wanted; an INVALID index that it left is dropped",
        "env": _ENV,
        "auto-confirm": _SURE,
    },
)
def resolve(
    version: str, applied: bool = False, reverted: bool = False, env: str = "local", auto_confirm: bool = False
) -> None:
    """Say what became of a migration that was interrupted outside a transaction."""
    from fairlead import config
    from fairlead.exceptions import ConfigurationError, MigrationError
    from fairlead.migrations import Migrator

    if applied == reverted:
        raise ConfigurationError(
            "say what became of it: --applied or --reverted", hint=f"invoke migrations.resolve {version} --reverted"
        )
    loaded = config.load()
    with _open(loaded, env) as engine:
        if not isinstance(engine, Migrator):
            raise MigrationError("Alembic records nothing that could be resolved", hint="invoke migrations.status")
        word = "applied" if applied else "reverted"
        _ask(loaded, env, f"Record {version} as {word} in {env}?", auto_confirm=auto_confirm)
        dropped = engine.resolve(version, "applied" if applied else "reverted")
    for name in dropped:
        _output.status("ok", f"dropped the INVALID index {name}")
    _output.result(f"{version} is recorded as {word} in {env}")


@contextlib.contextmanager
def _open(
    loaded: "Config", env: str, *, lock_wait: float = 30.0, out_of_order: bool = False, create: bool = False
) -> "Iterator[Engine]":
    from fairlead import migrations

    address = database_url(loaded, loaded.environment(env))
    if warning := migrations.pooler_warning(address):
        _output.status("warn", warning)
    options = migrations.Options(lock_wait=lock_wait, out_of_order=out_of_order, create=create)
    with migrations.open_engine(loaded.migrations, address, options=options) as engine:
        yield engine


def _warn(loaded: "Config", engine: "Engine") -> None:
    """Print what Alembic sees short of an error: several heads, models that differ from the database."""
    if loaded.migrations.engine != "alembic":
        return
    from fairlead.migrations.alembic import AlembicEngine

    if isinstance(engine, AlembicEngine):
        for warning in engine.warnings():
            _output.status("warn", warning)


def _ask(loaded: "Config", env: str, question: str, *, auto_confirm: bool) -> None:
    if loaded.environment(env).approval:
        confirm(question, auto_confirm=auto_confirm)


def _tell(step: "Step") -> None:
    if step.kind == "waiting":
        wait = _output.duration(step.seconds)
        _output.status("warn", f"{step.migration.label} did not get its lock; rolled back, and tried again in {wait}")
    if step.kind == "done":
        word = "applied" if step.action == "apply" else "undid"
        place = f"{step.index}/{step.total}"
        _output.status("ok", f"{place} {word} {step.migration.label}  {_output.duration(step.seconds)}")


def _show(planned: "Sequence[Migration]", word: str) -> None:
    if not planned:
        _output.result("nothing to do")
    for migration in planned:
        _output.result(f"{word} {migration.label}")


def _count(number: int) -> str:
    return "1 migration" if number == 1 else f"{number} migrations"


ACTS = (status, new, down, baseline, resolve, verify, lint)
