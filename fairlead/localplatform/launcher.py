"""Makes one release ready to serve: builds it, runs its pre-deploy commands, starts it, waits until it proves itself.

A release has proved itself when its health path answers 200 and its version path then gives the bundle's digest several
times in a row, all on the release's own port, before the public one leads there.
"""

import asyncio
import errno
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from fairlead._output import redact
from fairlead.config import Config
from fairlead.exceptions import ConfigurationError, DeadlineError, Error, PlatformError
from fairlead.localplatform import releases
from fairlead.localplatform.builder import Environments, unpack
from fairlead.localplatform.ports import LOOPBACK, choose_free_port
from fairlead.localplatform.processes import Child, Children, signal_group
from fairlead.localplatform.releases import Identity, Plan
from fairlead.localplatform.store import Store

_BUILD_TIMEOUT: Final = 600.0
_PAUSE: Final = 0.05
_LONGEST_ANSWER: Final = 5.0
_SCARCE: Final = 4 * 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class ReleaseError(PlatformError):
    """A release cannot serve; the message is the deployment's diagnosis."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release that was built: where it lies, the environment it runs in, and how it is run."""

    deployment_id: str
    folder: Path
    environment: Path
    plan: Plan


@dataclass(frozen=True, slots=True)
class Running:
    """A release's process, listening on `port`."""

    release: Release
    child: Child
    port: int

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
        describe: Callable[[Config], Identity],
        database_url: Callable[[], str],
    ) -> None:
        self._directory = directory
        self._store = store
        self._children = children
        self._describe = describe
        self._database_url = database_url
        self.environments = Environments(directory / "environments")

    def folder(self, deployment_id: str) -> Path:
        """Return where a deployment's release lies, or would."""
        return self._directory / "releases" / deployment_id

    async def build(self, deployment_id: str, archive: Path, config: Config) -> Release:
        """Unpack an archive and make its environment; raise `ReleaseError` with why it cannot be."""
        try:
            return await asyncio.to_thread(self._build, deployment_id, archive, config)
        except Error as error:
            raise self._failed(error) from error
        except OSError as error:
            raise self._failed(PlatformError(f"the release cannot be built: {error}")) from error

    def load(self, deployment_id: str, config: Config) -> Release:
        """Return a release that was built before; raise `PlatformError` when it is no longer whole."""
        folder = self.folder(deployment_id)
        if not folder.is_dir():
            raise PlatformError(
                f"the release's folder {folder} is gone", hint="deploy again: invoke deploy --env local"
            )
        environment = self._store.environment(deployment_id)
        if environment is None or not environment.is_dir():
            raise PlatformError(f"the release's environment {environment} is gone", hint="deploy again")
        return Release(deployment_id, folder, environment, releases.read_plan(folder, config))

    async def prepare(self, release: Release, config: Config) -> None:
        """Run the release's pre-deploy commands, one after the other; raise `ReleaseError` when one fails."""
        for command in release.plan.pre_deploy_commands:
            self.note(release.deployment_id, f"running the pre-deploy command: {command}")
            child = self._spawn(release, config, command, port=choose_free_port(), purpose="the pre-deploy command")
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
        child = self._spawn(release, config, command, port=chosen, purpose=f"release {release.deployment_id}")
        running = Running(release, child, chosen)
        try:
            await self._gate(running, config)
        except BaseException:
            signal_group(child.pid, signal.SIGKILL)
            raise
        return running

    def variables(self, config: Config, *, deployment_id: str, environment: Path, port: int) -> dict[str, str]:
        """Return the whole environment of a release."""
        secrets = {name: self._store.secret(name) for name in config.environment("local").generated_secrets}
        for secret in secrets.values():
            redact.register(secret)
        return releases.make_variables(
            config,
            identity=self._describe(config),
            deployment_id=deployment_id,
            environment=environment,
            port=port,
            database_url=self._database_url(),
            secrets=secrets,
        )

    def note(self, deployment_id: str, text: str, *, stream: str = "deploy", severity: str = "info") -> None:
        """Write a line of the platform's own into a deployment's log."""
        self._store.logs.append(deployment_id, stream, [f"fairlead: {text}"], severity=severity)

    def _build(self, deployment_id: str, archive: Path, config: Config) -> Release:
        folder = self.folder(deployment_id)

        def log(lines: list[str]) -> None:
            self._store.logs.append(deployment_id, "build", lines)

        def run(argv: list[str], cwd: Path, variables: Mapping[str, str]) -> int:
            return self._children.run(
                argv, cwd=cwd, env=variables, purpose="installing packages", lines=log, timeout=_BUILD_TIMEOUT
            )

        log(["fairlead: unpacking the bundle"])
        unpack(archive, folder)
        plan = releases.read_plan(folder, config)
        self._store.change(deployment_id, digest=plan.digest)
        environment = self.environments.prepare(
            folder / releases.LOCK,
            run=run,
            variables=releases.make_build_variables(config.environ),
            report=lambda text: log([f"fairlead: {text}"]),
        )
        self._store.remember_environment(deployment_id, environment)
        return Release(deployment_id, folder, environment, plan)

    def _spawn(self, release: Release, config: Config, command: str, *, port: int, purpose: str) -> Child:
        variables = self.variables(
            config, deployment_id=release.deployment_id, environment=release.environment, port=port
        )

        def log(lines: list[str]) -> None:
            self._store.logs.append(release.deployment_id, "deploy", lines)

        try:
            return self._children.spawn(
                releases.make_shell_command(command), cwd=release.folder, env=variables, purpose=purpose, lines=log
            )
        except Error as error:
            raise self._failed(error) from error

    async def _gate(self, running: Running, config: Config) -> None:
        plan = running.release.plan
        gate: asyncio.Future[None] = asyncio.create_task(
            prove(running.port, plan, config, confirmations=config.deploy.confirmations)
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


class WrongAnswerError(PlatformError):
    """A release answers, and what it answers is wrong."""


async def prove(port: int, plan: Plan, config: Config, *, confirmations: int) -> None:
    """Wait until the release on `port` is healthy and gives the right digest `confirmations` times in a row.

    Raises `DeadlineError` when it does not get there in the plan's time, `WrongAnswerError` when it steadily gives
    another digest.
    """
    seen = "nothing"
    try:
        async with (
            asyncio.timeout(plan.health_timeout),
            httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=_LONGEST_ANSWER) as client,
        ):
            while True:
                seen = await _ask(client, plan.health_path)
                if seen == "200":
                    break
                await asyncio.sleep(_PAUSE)
            seen = f"200 from {plan.health_path}, but not the digest"
            await _confirm(lambda: _fetch_digest(client, config.version_path), plan, config, confirmations)
    except TimeoutError:
        raise DeadlineError(
            f"the release was not healthy within {plan.health_timeout:g} s: {plan.health_path} gave {seen}",
            hint="invoke platform.logs shows what it printed; a slow start needs a longer platform.health-timeout",
        ) from None


async def _confirm(fetch: Callable[[], Awaitable[str | None]], plan: Plan, config: Config, confirmations: int) -> None:
    if plan.digest is None:
        return
    right = wrong = 0
    while right < confirmations:
        digest = await fetch()
        right = right + 1 if digest == plan.digest else 0
        wrong = wrong + 1 if digest not in {plan.digest, None} else 0
        if wrong >= confirmations:
            raise WrongAnswerError(
                f"{config.version_path} gives the digest {digest!r} instead of {plan.digest}",
                hint="the release must read it from the build-info.json that lies in its folder",
            )
        if right < confirmations:
            await asyncio.sleep(_PAUSE)


async def _ask(client: httpx.AsyncClient, path: str) -> str:
    try:
        async with asyncio.timeout(_LONGEST_ANSWER):
            answer = await client.get(path)
    except TimeoutError:
        return f"no answer within {_LONGEST_ANSWER:g} s"
    except httpx.ConnectError:
        return "no connection"
    except httpx.HTTPError as error:
        return f"a broken answer ({type(error).__name__})"
    return str(answer.status_code)


async def _fetch_digest(client: httpx.AsyncClient, path: str) -> str | None:
    """Return what the version path says, an empty text when it gives no digest, None when that may yet change."""
    try:
        async with asyncio.timeout(_LONGEST_ANSWER):
            answer = await client.get(path)
    except (TimeoutError, httpx.HTTPError):
        return None
    if answer.status_code >= 500 or answer.status_code == 429:
        return None
    try:
        digest = answer.json()["digest"]
    except (ValueError, KeyError, TypeError):
        return ""
    return digest if isinstance(digest, str) else ""


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
