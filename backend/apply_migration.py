"""Applies one migration file to the database at DATABASE_URL: `python backend/apply_migration.py 015_new_feature.sql`.

The engine is Fairlead's own, which lies beside this file in a release and one folder above it in a checkout.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
USAGE = "usage: python apply_migration.py 015_new_feature.sql"


def main(arguments: list[str], environ: dict[str, str]) -> int:
    """Apply the file named in `arguments`; return the exit code."""
    if not (HERE / "fairlead").is_dir():
        sys.path.insert(0, str(HERE.parent))
    try:
        from fairlead import _output
        from fairlead.exceptions import ConfigurationError, Error
    except ImportError:
        sys.stderr.write(f"error: there is no fairlead/ beside {HERE} or in it\n  next: pip install fairlead\n")
        return 10
    if arguments in (["-h"], ["--help"]):
        _output.result(f"{__doc__}\n{USAGE}")
        return 0
    try:
        if len(arguments) != 1:
            raise ConfigurationError("name the one file to apply", hint=USAGE)
        apply(arguments[0], environ.get("DATABASE_URL", ""))
    except Error as error:
        _output.error(error.message, hint=error.hint)
        return error.exit_code
    return 0


def apply(name: str, url: str) -> None:
    """Apply the migration called `name` unless it is applied already."""
    from fairlead import _output
    from fairlead.exceptions import ConfigurationError
    from fairlead.migrations import Migrator, connect, describe_url, find_migration, load_migrations
    from fairlead.migrations.url import pooler_warning

    given = Path(name).resolve()
    if given.is_file() and HERE / "migrations" not in given.parents:
        raise ConfigurationError(
            f"{name} does not lie in {HERE / 'migrations'}", hint="move it there, and name it alone"
        )
    migrations = load_migrations(HERE / "migrations")
    migration = find_migration(migrations, name)
    if not url:
        raise ConfigurationError(
            "DATABASE_URL is not set, and says which database to change",
            hint="set it: DATABASE_URL=postgresql://user:password@host:5432/database",
        )
    if warning := pooler_warning(url):
        _output.status("warn", warning)
    where = describe_url(url)
    with connect(url, application="fairlead apply_migration") as connection:
        if Migrator(connection, migrations).apply_one(migration):
            _output.status("ok", f"{migration.label} applied to {where}")
        else:
            _output.status("note", f"{migration.label} is applied already to {where}; nothing to do")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
