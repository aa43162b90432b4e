"""Every reason not to deploy, found before anything is changed and told at once.

What the tree says is looked at without asking anybody; what the platform says, once it can be reached.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fairlead import _locks, build, bundle, migrations
from fairlead._procfile import WEB
from fairlead.bundle import Bundle
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.lock import Lock
from fairlead.deploy.releases import Release, find_serving, read_release
from fairlead.deploy.services import compare_settings, read_processes
from fairlead.deploy.suites import name_missing_for_suites
from fairlead.deploy.target import Target, TargetService, name_missing_access
from fairlead.exceptions import ConfigurationError, Error, LockedError, MigrationError, PlatformError, PreflightError
from fairlead.railway import Deployment
from fairlead.railway.settings import Difference

#: Given the revision that serves, None where nothing does: what the linter finds in the migrations that are new.
Lint = Callable[[str | None], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the platform says before a deploy, by kind of service, and what is amiss.

    `known` are the deployments, newest first, `differences` the settings that are not live as they are declared.
    """

    known: dict[str, tuple[Deployment, ...]]
    problems: tuple[str, ...]
    differences: dict[str, tuple[Difference, ...]]

    def serving(self, service: TargetService) -> Release | None:
        """Return the release that the platform says a service serves."""
        return find_serving(self.known[service.kind])

    def describe_differences(self) -> tuple[str, ...]:
        """Say which settings of which service will be changed, a line for each."""
        return tuple(
            f"will be changed for the {kind}: {one.sentence}"
            for kind, found in self.differences.items()
            for one in found
        )


def plan(
    config: Config, environment: EnvironmentConfig, *, from_dirty: bool = False, backup: bool = False
) -> tuple[Bundle, tuple[str, ...]]:
    """Make the bundle that a deploy would send and collect every reason of the tree's not to send it.

    With `backup` the environment's database must be known. Touches nothing and asks nobody. Where there are reasons,
    the bundle may be empty.
    """
    info = build.collect(config.root, name=config.name, version=config.version, environ=config.environ)
    problems: list[str] = []
    try:
        made = bundle.make_bundle(config, info)
    except PreflightError as error:
        made, problems = Bundle((), info), list(error.problems)
    problems += _look_at_migrations(config)
    problems += _look_at_lock(config)
    if environment.branch and info.branch != environment.branch:
        problems.append(f"{environment.name} is deployed from branch {environment.branch}, and this is {info.branch}")
    problems += _name_missing_processes(config, environment)
    problems += name_missing_access(config, environment)
    problems += name_missing_for_suites(config, environment)
    problems += name_missing_database(config, environment) if backup else []
    if info.dirty and environment.platform != "local" and not from_dirty:
        problems.append("the tree has uncommitted changes; commit them, or pass --from-dirty to deploy them marked so")
    return made, tuple(problems)


def inspect(
    config: Config, environment: EnvironmentConfig, target: Target, *, lock: Lock, lint: Lint | None = None
) -> Standing:
    """Ask the platform what it has, and collect every reason of its not to deploy.

    Raises `LockedError` where it is deploying already, unless that is what the killed owner of the lock began.
    """
    known = fetch_known(environment, target, lock)
    problems = [problem for service in target.services for problem in name_missing_variables(config, target, service)]
    serving = find_serving(known[target.web.kind])
    if lint is not None:
        problems += lint(serving.revision if serving else None)
    differences = _compare_settings(config, target, problems)
    return Standing(known, tuple(problems), differences)


def fetch_known(environment: EnvironmentConfig, target: Target, lock: Lock) -> dict[str, tuple[Deployment, ...]]:
    """Fetch the deployments of each kind of service, newest first.

    Raises `LockedError` where one is in flight that is not the lock's killed owner's.
    """
    known = {service.kind: target.deployments(service) for service in target.services}
    for deployments in known.values():
        for one in deployments:
            if one.status.is_in_flight and not lock.began(one.id, one.message):
                release = read_release(one)
                who = f" by {release.by}" if release and release.by else ""
                what = f"deployment {one.id}{who} is {one.status}"
                raise LockedError(
                    f"the platform is deploying to {environment.name} already: {what}",
                    hint="wait for it to end, or end it there, then run this again",
                )
    return known


def _compare_settings(config: Config, target: Target, problems: list[str]) -> dict[str, tuple[Difference, ...]]:
    if target.local:
        # It runs each release by what its bundle says: there is nothing to set.
        return {}
    found = {}
    for service in target.services:
        try:
            _, found[service.kind] = compare_settings(config, target, service, read_processes(config))
        except (PlatformError, ConfigurationError) as error:
            problems.append(f"whether {service.name} is run as declared could not be checked: {error.message}")
    return found


def _name_missing_processes(config: Config, environment: EnvironmentConfig) -> list[str]:
    try:
        known = read_processes(config)
    except ConfigurationError as error:
        return [error.message]
    return [
        f"the Procfile does not say how to start {name}: it has no line `{kind}:`"
        for kind, name in environment.services.items()
        if kind != WEB and kind not in known
    ]


def _look_at_migrations(config: Config) -> list[str]:
    try:
        if not migrations.load_migrations(config.migrations.directory):
            return [f"{config.migrations.directory} holds no migration"]
    except MigrationError as error:
        return [error.message]
    return []


def _look_at_lock(config: Config) -> list[str]:
    """Hold the release's lock against what is asked for: each pinned, hashed, and at a version that is allowed."""
    lock = config.backend / "requirements.txt"
    source = lock.with_suffix(".in")
    if not (lock.is_file() and source.is_file()):
        return []
    try:
        return _locks.disagreements(source.read_text("utf-8"), lock.read_text("utf-8"), name=lock.name)
    except OSError as error:
        return [f"{lock} cannot be held against {source.name}: {error.strerror}"]


def name_missing_variables(config: Config, target: Target, service: TargetService) -> list[str]:
    """Name the variables that releases of a service must have, and that the platform does not have for it."""
    required = config.deploy.required_variables
    if not required:
        return []
    try:
        present = target.client.fetch_variable_names(
            project_id=target.project_id, environment_id=target.environment_id, service_id=service.id
        )
    except Error as error:
        return [f"whether {service.name} has its variables could not be checked: {error.message}"]
    missing = [name for name in required if name not in present]
    known = config.environment("local").variables if target.local else {}
    return [
        f"the variable {name} is declared, and the local platform that runs does not know it: invoke platform.down"
        if name in known
        else f"the variable {name} is not set for {service.name}"
        for name in missing
    ]


def name_missing_database(config: Config, environment: EnvironmentConfig) -> list[str]:
    """Name what it takes to reach the database that a backup is made of, and is not there."""
    variable = environment.database_url_env
    if variable:
        return [] if config.environ.get(variable) else [f"{variable} is not set, and a backup is made of its database"]
    if environment.platform == "local":
        return []
    return [f"tool.fairlead.environments.{environment.name}.database-url-env is missing: a backup is made there"]
