"""The end-to-end suites at an environment's address: what speaks against running them, and the run itself.

`invoke verify` and a deploy run them in this one way. A deploy runs those that the environment asks for once the web
is confirmed. A suite that fails is a deploy that failed; one that could not be checked leaves the release serving and
unverified, as a watch does that cannot tell.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.account import find_account, name_missing_account
from fairlead.deploy.following import confirm
from fairlead.deploy.record import Record
from fairlead.deploy.reporting import Clock
from fairlead.deploy.target import Target
from fairlead.exceptions import ConfigurationError, DeployError, Error, InconclusiveError
from fairlead.verification import (
    Conclusion,
    Order,
    Outcome,
    Suite,
    SuiteResult,
    Verdict,
    conclude,
    discover,
    hold_turn,
    is_pytest_installed,
)
from fairlead.verification import run_suites as run_ordered

_RUNS_KEPT: Final = 10
_UNCHECKED: Final = 5


def find_suites(config: Config) -> tuple[Suite, ...]:
    """Return the repository's suites; raise `ConfigurationError` where a folder that was named is not there."""
    folder = config.verify.suites
    if config.sources["verify.suites"] != "default" and not folder.is_dir():
        raise ConfigurationError(f"tool.fairlead.verify.suites: there is no folder {folder}", hint="mend the path")
    return discover(folder)


def name_missing_for_suites(config: Config, environment: EnvironmentConfig) -> list[str]:
    """Name what it takes to run the suites that an environment's deploys ask for, and is not there."""
    if environment.suites == "off":
        return []
    wanted = f"tool.fairlead.environments.{environment.name}.suites is {environment.suites!r}"
    problems = []
    try:
        if not find_suites(config):
            problems.append(f"{config.verify.suites} holds no suite test_NAME.py, and {wanted}")
    except ConfigurationError as error:
        problems += [error.message, *error.problems]
    if not is_pytest_installed():
        problems.append(f"this Python has no pytest, which runs the suites, and {wanted}")
    missing = name_missing_account(config, environment)
    problems += [f"{name} is not set: the suites log in with that account, and {wanted}" for name in missing]
    return problems


def run_suites(
    config: Config,
    environment: EnvironmentConfig | None,
    url: str,
    suites: tuple[Suite, ...],
    *,
    smoke: bool,
    note: Callable[[str], None],
    on_result: Callable[[SuiteResult], None],
) -> tuple[SuiteResult, ...]:
    """Run suites at `url` and return their results; `note` is told what is worth knowing on the way.

    Raises `InconclusiveError` where pytest or the account is missing, and `LockedError` where it is another's turn.
    """
    if not is_pytest_installed():
        raise InconclusiveError(
            f"the suites of {url} could not be checked: this Python has no pytest, which runs them",
            hint="install pytest beside Fairlead, or pass --probes to leave the suites out",
        )
    with hold_turn(config, url) as turn:
        account = find_account(config, environment, url, note=note)
        order = Order(
            url=url,
            root=config.root,
            folder=_make_folder(config),
            login_path=config.verify.login_path,
            timeout=config.verify.timeout,
            environ=config.environ,
            account=account,
            smoke=smoke,
            without=environment.without if environment else (),
            secrets=_secret_names(config),
            turn=turn,
        )
        names = ", ".join(suite.name for suite in suites)
        note(f"checking {names} at {url}{' (smoke)' if smoke else ''}")
        return run_ordered(suites, order, on_result=on_result)


def check_release(
    config: Config, environment: EnvironmentConfig, target: Target, digest: str, *, clock: Clock, record: Record
) -> InconclusiveError | None:
    """Run the environment's suites on the release of that digest; return why it is open whether they pass, if so.

    Raises `DeployError` where one fails, with its phase and its log, or where that digest is not served any more.
    """
    if environment.suites == "off":
        return None
    with clock.step("suites") as detail:
        results, conclusion = _run(config, environment, target, clock)
        record.notes.append(_tell(environment, results, conclusion))
        failed = next((one for one in results if one.outcome is Outcome.FAILED), None)
        if failed is not None:
            raise DeployError(
                f"{target.public_url} serves the new release, and fails its suites: {conclusion.reason}; "
                f"log: {failed.log}",
                hint=f"read {failed.log}",
            )
        # What the suites looked at must have been that release to their end.
        confirm(config, target, digest)
        detail.append(f"{environment.suites}, {conclusion.verdict}: {conclusion.reason}")
    if conclusion.verdict is Verdict.HEALTHY:
        record.suites = environment.suites
        return None
    return InconclusiveError(
        f"the new release serves, and its suites could not be checked: {conclusion.reason}",
        hint=f"it goes on serving at {target.public_url}; give what was missing and deploy again, which sends nothing "
        f"and checks it; to go back: invoke rollback --env {environment.name}",
    )


def _run(
    config: Config, environment: EnvironmentConfig, target: Target, clock: Clock
) -> tuple[tuple[SuiteResult, ...], Conclusion]:
    """Run the suites; whatever keeps them from being run leaves open what they would have found."""
    note = clock.reporter.note

    def tell(result: SuiteResult) -> None:
        why = f": {result.reason}" if result.reason else ""
        note(f"suite {result.suite.name}: {result.outcome} after {result.seconds:.1f} s{why}")

    try:
        smoke = environment.suites == "smoke"
        suites = find_suites(config)
        results = run_suites(config, environment, target.public_url, suites, smoke=smoke, note=note, on_result=tell)
    except (Error, OSError) as error:
        reason = error.message if isinstance(error, Error) else f"{error.filename}: {error.strerror}"
        return (), Conclusion(Verdict.INCONCLUSIVE, _UNCHECKED, reason)
    return results, conclude(results)


def _tell(environment: EnvironmentConfig, results: tuple[SuiteResult, ...], conclusion: Conclusion) -> str:
    """Say for the history which suites ran, and what each came to."""
    ran = ", ".join(f"{one.suite.name} {one.outcome}" for one in results) or f"none ran: {conclusion.reason}"
    return f"suites ({environment.suites}): {ran}"


def _make_folder(config: Config) -> Path:
    """Make the folder of this run's logs, and remove those of runs long past."""
    import shutil
    from datetime import UTC, datetime

    base = config.state_dir / "verify"
    folder = base / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.getpid()}"
    folder.mkdir(parents=True, mode=0o700)
    runs = sorted(one for one in base.glob("*Z-*") if one.is_dir())
    for old in runs[:-_RUNS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _secret_names(config: Config) -> frozenset[str]:
    """Name the variables that no suite needs to see: what gives access to platforms and databases."""
    names = {one.token_env for one in config.environments.values()}
    names |= {one.database_url_env for one in config.environments.values()}
    return frozenset(name for name in names if name)
