"""Makes one release ready to serve: builds it, runs its pre-deploy commands, starts it, waits until it proves itself.

A deployment runs what it built itself or, when it is a rollback, what an earlier one built.
"""

import asyncio
import contextlib
import errno
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fairlead._output import redact
from fairlead.config import Config
from fairlead.exceptions import ConfigurationError, DeadlineError, Error, PlatformError
from fairlead.localplatform import releases
from fairlead.localplatform.builder import Environments, unpack
from fairlead.localplatform.logs import Logs
from fairlead.localplatform.ports import choose_free_port
from fairlead.localplatform.processes import Child, Children, signal_group
from fairlead.localplatform.proof import WrongAnswerError, prove
from fairlead.localplatform.records import (
    BUILD_IMAGE,
    CREATE_CONTAINER,
    HEALTHCHECK,
    PRE_DEPLOY_COMMAND,
    SNAPSHOT_CODE,
    Deployment,
)
from fairlead.localplatform.releases import Identity, Plan
from fairlead.localplatform.store import Store

_BUILD_TIMEOUT: Final = 600.0
#: How long, in seconds, a process that answers no requests must have run to count as started.
_SETTLED: Final = 1.0
_SCARCE: Final = 4 * 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class ReleaseError(PlatformError):
    """A release cannot serve; the message is the deployment's diagnosis."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release that was built: where it lies, the environment it runs in, and how it is run.

    `variables` are those that were declared when it was built, None for what the configuration declares now.
    """

    deployment: Deployment
    folder: Path
    environment: Path
    plan: Plan
    variables: Mapping[str, str] | None = None

    @property
    def deployment_id(self) -> str:
        """The id of the deployment that it runs for."""
        return self.deployment.id


@dataclass(slots=True)
class _Printout:
    """Where a process's output goes: the log of the deployment that it runs for now."""

    logs: Logs
    deployment_id: str

    def __call__(self, lines: list[str]) -> None:
        self.logs.append(self.deployment_id, "deploy", lines)


@dataclass(frozen=True, slots=True)
class Running:
    """A release's process, listening on `port`."""

    release: Release
    child: Child
    port: int
    printout: _Printout

    def pass_to(self, deployment: Deployment) -> "Running":
        """Let the process run for another deployment from now on, which gets what it prints."""
        self.printout.deployment_id = deployment.id
        return replace(self, release=replace(self.release, deployment=deployment))

    @property
    def exited(self) -> "asyncio.Future[int]":
        """Resolves to the exit code; made anew each time, so that cancelling a wait cancels nothing else."""
        return asyncio.wrap_future(self.child.exited)

    async def end(self, *, grace: float) -> int:
        """Ask it to end, kill it after `grace` seconds."""
        return await asyncio.to_thread(self.child.end, grace=grace)


class Launcher:
    """Builds and starts releases; `describe` gives the names that a release is told, `database_url` its database."""

    def __init__(
        self,
        directory: Path,
        *,
        store: Store,
        children: Children,
        describe: Callable[[Config, str], Identity],
        database_url: Callable[[], str],
    ) -> None:
        self._directory = directory
        self._store = store
        self._children = children
        self._describe = describe
        self._database_url = database_url
        self.environments = Environments(directory / "environments")

    def folder(self, release: str) -> Path:
        """Return where a release lies, or would: the id is that of the deployment that built it."""
        return self._directory / "releases" / release

    async def build(self, deployment: Deployment, archive: Path, config: Config) -> Release:
        """Unpack an archive and make its environment; raise `ReleaseError` with why it cannot be."""
        try:
            return await asyncio.to_thread(self._build, deployment, archive, config)
        except Error as error:
            raise self._failed(error) from error
        except OSError as error:
            raise self._failed(PlatformError(f"the release cannot be built: {error}")) from error

    def load(self, deployment: Deployment, config: Config) -> Release:
        """Return the release of a deployment, built before; raise `PlatformError` when it is no longer whole."""
        folder = self.folder(deployment.release)
        if not folder.is_dir():
            raise PlatformError(
                f"the release's folder {folder} is gone", hint="deploy again: invoke deploy --env local"
            )
        environment = self._store.environment(deployment.release)
        if environment is None or not environment.is_dir():
            raise PlatformError(f"the release's environment {environment} is gone", hint="deploy again")
        plan = releases.read_plan(folder, config, kind=deployment.service)
        variables = self._store.variables(deployment.release) if deployment.origin else None
        return Release(deployment, folder, environment, plan, variables)

    async def prepare(self, release: Release, config: Config) -> None:
        """Run the release's pre-deploy commands, one after the other; raise `ReleaseError` when one fails."""
        if release.plan.pre_deploy_commands:
            with self.step(release.deployment_id, PRE_DEPLOY_COMMAND):
                await self._prepare(release, config)

    async def _prepare(self, release: Release, config: Config) -> None:
        for command in release.plan.pre_deploy_commands:
            self.note(release.deployment_id, f"running the pre-deploy command: {command}")
            child, _ = self._spawn(release, config, command, port=choose_free_port(), purpose="the pre-deploy command")
            try:
                code = await asyncio.wait_for(asyncio.wrap_future(child.exited), config.deploy.timeout)
            except TimeoutError:
                code = None
            finally:
                if not child.exited.done():
                    await asyncio.to_thread(child.end, grace=1.0)
            if code != 0:
                how = f"did not end within {config.deploy.timeout:g} s" if code is None else f"{_ended(code)}"
                raise self._failed(
                    PlatformError(f"the pre-deploy command `{command}` {how}{self._last_words(release)}"),
                    hint="mend what it says, then deploy again",
                )

    async def start(self, release: Release, config: Config, *, port: int | None = None) -> Running:
        """Start a release and return it once it has proved itself; raise `ReleaseError` when it does not."""
        chosen = port or choose_free_port()
        command = release.plan.start_command
        self.note(release.deployment_id, f"starting on port {chosen}: {command}")
        with self.step(release.deployment_id, CREATE_CONTAINER):
            purpose = f"release {release.deployment_id}"
            child, printout = self._spawn(release, config, command, port=chosen, purpose=purpose)
        running = Running(release, child, chosen, printout)
        try:
            await self.prove(running, config)
        except BaseException:
            signal_group(child.pid, signal.SIGKILL)
            raise
        return running

    async def prove(self, running: Running, config: Config) -> None:
        """Wait until a release has proved itself; raise `ReleaseError` when it does not."""
        with self.step(running.release.deployment_id, HEALTHCHECK):
            await self._gate(running, config)

    @contextlib.contextmanager
    def step(self, deployment_id: str, step: str) -> Iterator[None]:
        """Record a step of a deployment, and why it failed if it did."""
        begun = self._store.step(deployment_id, step)
        try:
            yield
        except BaseException as error:
            why = error.message if isinstance(error, Error) else "it was broken off"
            self._store.end_step(deployment_id, begun, error=redact(why))
            raise
        self._store.end_step(deployment_id, begun)

    def variables(self, release: Release, config: Config, *, port: int) -> dict[str, str]:
        """Return the whole environment of a release."""
        secrets = {name: self._store.secret(name) for name in config.environment("local").generated_secrets}
        for secret in secrets.values():
            redact.register(secret)
        return releases.make_variables(
            config,
            identity=self._describe(config, release.deployment.service),
            deployment_id=release.deployment_id,
            environment=release.environment,
            port=port,
            database_url=self._database_url(),
            secrets=secrets,
            declared=release.variables,
        )

    def note(self, deployment_id: str, text: str, *, stream: str = "deploy", severity: str = "info") -> None:
        """Write a line of the platform's own into a deployment's log."""
        self._store.logs.append(deployment_id, stream, [f"fairlead: {text}"], severity=severity)

    def _build(self, deployment: Deployment, archive: Path, config: Config) -> Release:
        folder = self.folder(deployment.id)

        def log(lines: list[str]) -> None:
            self._store.logs.append(deployment.id, "build", lines)

        def run(argv: list[str], cwd: Path, variables: Mapping[str, str]) -> int:
            return self._children.run(
                argv, cwd=cwd, env=variables, purpose="installing packages", lines=log, timeout=_BUILD_TIMEOUT
            )

        log(["fairlead: unpacking the bundle"])
        with self.step(deployment.id, SNAPSHOT_CODE):
            unpack(archive, folder)
            plan = releases.read_plan(folder, config, kind=deployment.service)
        self._store.change(deployment.id, digest=releases.read_digest(folder))
        with self.step(deployment.id, BUILD_IMAGE):
            environment = self.environments.prepare(
                folder / releases.LOCK,
                run=run,
                variables=releases.make_build_variables(config.environ),
                report=lambda text: log([f"fairlead: {text}"]),
            )
        self._store.remember_environment(deployment.id, environment)
        self._store.remember_variables(deployment.id, config.environment("local").variables)
        return Release(deployment, folder, environment, plan)

    def _spawn(
        self, release: Release, config: Config, command: str, *, port: int, purpose: str
    ) -> tuple[Child, _Printout]:
        variables = self.variables(release, config, port=port)
        printout = _Printout(self._store.logs, release.deployment_id)
        argv = releases.make_shell_command(command)
        try:
            child = self._children.spawn(argv, cwd=release.folder, env=variables, purpose=purpose, lines=printout)
        except Error as error:
            raise self._failed(error) from error
        return child, printout

    async def _gate(self, running: Running, config: Config) -> None:
        plan = running.release.plan
        gate: asyncio.Future[None] = asyncio.create_task(
            prove(running.port, plan, config, confirmations=config.deploy.confirmations)
            if plan.health_path is not None
            else asyncio.sleep(_SETTLED)
        )
        exited = running.exited
        try:
            await asyncio.wait((gate, exited), return_when=asyncio.FIRST_COMPLETED)
            if not gate.done() or (exited.done() and gate.exception() is not None):
                words = self._last_words(running.release)
                raise self._failed(
                    PlatformError(f"the release {_ended(exited.result())} before it was healthy{words}"),
                    hint="invoke platform.logs shows all of it",
                )
            await gate
        except (DeadlineError, WrongAnswerError) as error:
            words = self._last_words(running.release) if isinstance(error, DeadlineError) else ""
            raise self._failed(PlatformError(error.message + words), hint=error.hint) from error
        finally:
            gate.cancel()
            exited.cancel()

    def _last_words(self, release: Release) -> str:
        lines = self._store.logs.read(release.deployment_id, stream="deploy", limit=20)
        said = [line.message.strip() for line in lines if not line.message.startswith("fairlead: ")]
        last = next((text for text in reversed(said) if text), None)
        return f"; the last it said: {last[:300]}" if last else "; it said nothing"

    def _failed(self, error: Error, *, hint: str | None = None) -> ReleaseError:
        if is_full(self._directory, error):
            return ReleaseError(
                f"the disk of {self._directory} is full: {error.message}", hint="free some space, then deploy again"
            )
        return ReleaseError(error.message, hint=hint or error.hint)


def is_full(directory: Path, error: BaseException | None = None) -> bool:
    """Tell whether a disk has no space left: an error in the chain says so, or next to nothing is free."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    try:
        return shutil.disk_usage(directory).free < _SCARCE
    except OSError:
        return False


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def render_diagnosis(error: Error) -> str:
    """Render what a deployment's diagnosis says: what happened and why, then what to do next."""
    problems = ": " + "; ".join(error.problems) if isinstance(error, ConfigurationError) and error.problems else ""
    return f"{error.message}{problems}" + (f"; next: {error.hint}" if error.hint else "")
