"""Runs commands as a release would run them, in the terminal of whoever asks."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fairlead import _process
from fairlead._procfile import WEB
from fairlead.config import Config
from fairlead.exceptions import PlatformError
from fairlead.localplatform import releases
from fairlead.localplatform.builder import Environments
from fairlead.localplatform.endpoint import Endpoint, platform_directory, read_running_state
from fairlead.localplatform.ports import choose_free_port
from fairlead.localplatform.releases import Identity, service_names
from fairlead.localplatform.store import Store

_NAME = "local"


def run_in_release(config: Config, argv: Sequence[str], *, variables: Mapping[str, str] | None = None) -> int:
    """Run a command in the folder, the environment and with the variables of the release that serves.

    It has the terminal of the caller, and `variables` besides. Returns its exit code; raises `PlatformError` when
    nothing serves.
    """
    return _run_in_release(config, argv, variables=variables, capture=False).returncode


def call_in_release(
    config: Config, argv: Sequence[str], *, variables: Mapping[str, str] | None = None
) -> _process.Completed:
    """Run a command as `run_in_release` does, and return what it printed; raise `CommandError` when it fails."""
    return _run_in_release(config, argv, variables=variables, capture=True)


def _run_in_release(
    config: Config, argv: Sequence[str], *, variables: Mapping[str, str] | None, capture: bool
) -> _process.Completed:
    directory = platform_directory(config)
    state = read_running_state(directory)
    if state is None:
        raise PlatformError("the local platform is not running", hint="invoke deploy --env local")
    with contextlib.closing(Store(directory)) as store:
        active = store.active
        environment = None if active is None else store.environment(active)
    folder = directory / "releases" / (active or "none")
    if active is None or environment is None or not folder.is_dir():
        raise PlatformError("no release is serving", hint="invoke deploy --env local")
    own = _make_variables(config, state.endpoint, deployment_id=active, environment=environment)
    return _process.run(argv, cwd=folder, env={**own, **(variables or {})}, check=capture, capture=capture)


def prepare_environment(config: Config, lock: Path) -> Path:
    """Make the environment of a lock as a build would, if it is not there, and return its interpreter."""

    def run(argv: list[str], cwd: Path, variables: Mapping[str, str]) -> int:
        done = _process.run(argv, cwd=cwd, env=variables, check=False, capture=False)
        return done.returncode

    environments = Environments(platform_directory(config) / "environments")
    variables = releases.make_build_variables(config.environ)
    return environments.prepare(lock, run=run, variables=variables, report=_say_nothing) / "bin" / "python"


def release_environment(config: Config) -> dict[str, str]:
    """Return the variables that a release of the running platform would have; raise `PlatformError` when none runs."""
    state = read_running_state(platform_directory(config))
    if state is None:
        raise PlatformError("the local platform is not running", hint="invoke platform.up")
    return _make_variables(config, state.endpoint, deployment_id="none", environment=Path(sys.prefix))


def _make_variables(config: Config, endpoint: Endpoint, *, deployment_id: str, environment: Path) -> dict[str, str]:
    with contextlib.closing(Store(platform_directory(config))) as store:
        secrets = {name: store.secret(name) for name in config.environment(_NAME).generated_secrets}
    identity = Identity(
        project_id=endpoint.project_id,
        environment_id=endpoint.environment_id,
        environment_name=_NAME,
        service_id=endpoint.service_id,
        service_name=service_names(config)[WEB],
        public_domain=endpoint.public_url.partition("://")[2],
    )
    return releases.make_variables(
        config,
        identity=identity,
        deployment_id=deployment_id,
        environment=environment,
        port=choose_free_port(),
        database_url=endpoint.database_url,
        secrets=secrets,
    )


def _say_nothing(_text: str) -> None:
    return
