"""`migrations.verify`: what is proven of the files on a scratch database."""

import sys
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act

if TYPE_CHECKING:
    from fairlead.migrations import Migration


@act()
def verify() -> None:
    """Prove on a scratch database, revision by revision, that every down undoes its up."""
    from fairlead import config, migrations, postgres
    from fairlead.exceptions import ConfigurationError

    settings = config.load().migrations
    try:
        seed = settings.seed.read_text("utf-8") if settings.seed else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the seed cannot be read: {error}", hint="see migrations.seed") from None
    with postgres.temporary_server() as server, postgres.scratch_database(server) as name:
        url = server.url(name)
        with migrations.open_engine(settings, url) as engine, migrations.connect(url) as connection:
            found = engine.plan()
            migrations.verify_reversible(
                connection,
                found,
                engine=engine if settings.engine == "alembic" else None,
                seed=seed,
                accepted=settings.baseline_irreversible,
                on_progress=_tell,
            )
    _output.result(f"{len(found)} migrations: up, down and up again leave the schema as it should be")


def _tell(migration: "Migration", index: int, total: int) -> None:
    if sys.stderr.isatty():
        _output.status("dim", f"{index}/{total} {migration.label}")
