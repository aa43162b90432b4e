"""What a deploy would send, and every reason not to send it; touches nothing and asks nobody."""

from fairlead import build, bundle, migrations
from fairlead.bundle import Bundle
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.target import name_missing_access
from fairlead.exceptions import MigrationError, PreflightError


def plan(
    config: Config, environment: EnvironmentConfig, *, from_dirty: bool = False, backup: bool = False
) -> tuple[Bundle, tuple[str, ...]]:
    """Make the bundle that a deploy would send and collect every reason not to send it.

    With `backup` the environment's database must be known. Touches nothing and asks nobody. Where there are reasons,
    the bundle may be empty.
    """
    info = build.collect(config.root, name=config.name, version=config.version, environ=config.environ)
    problems: list[str] = []
    try:
        made = bundle.make_bundle(config, info)
    except PreflightError as error:
        made, problems = Bundle((), info), list(error.problems)
    try:
        if not migrations.load_migrations(config.migrations.directory):
            problems.append(f"{config.migrations.directory} holds no migration")
    except MigrationError as error:
        problems.append(error.message)
    if environment.branch and info.branch != environment.branch:
        problems.append(f"{environment.name} is deployed from branch {environment.branch}, and this is {info.branch}")
    problems += name_missing_access(config, environment)
    problems += _name_missing_database(config, environment) if backup else []
    if info.dirty and environment.platform != "local" and not from_dirty:
        problems.append("the tree has uncommitted changes; commit them, or pass --from-dirty to deploy them marked so")
    return made, tuple(problems)


def _name_missing_database(config: Config, environment: EnvironmentConfig) -> list[str]:
    """Name what it takes to reach the database that a backup is made of, and is not there."""
    variable = environment.database_url_env
    if variable:
        return [] if config.environ.get(variable) else [f"{variable} is not set, and a backup is made of its database"]
    if environment.platform == "local":
        return []
    return [f"tool.fairlead.environments.{environment.name}.database-url-env is missing: a backup is made there"]
