"""Gives one environment the very bundle that another one has verified, byte for byte."""

from pathlib import Path

from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.following import look
from fairlead.deploy.parcel import Parcel, open_parcel
from fairlead.deploy.preflight import name_missing_database
from fairlead.deploy.record import GOOD, Record, covers, read_verdicts
from fairlead.deploy.reporting import Clock, Reporter
from fairlead.deploy.rollout import Options, Outcome
from fairlead.deploy.sending import Opener, send
from fairlead.deploy.suites import name_missing_for_suites
from fairlead.deploy.target import Target, name_missing_access
from fairlead.exceptions import PreflightError
from fairlead.history import History
from fairlead.verification import Verdict


def promote(
    config: Config,
    source: EnvironmentConfig,
    environment: EnvironmentConfig,
    *,
    open_source: Opener,
    open_target: Opener,
    reporter: Reporter,
    archive: Path | None = None,
    options: Options,
) -> Outcome:
    """Deploy to `environment` the very bundle that `source`'s last verdict found healthy, and verify it.

    What `source` serves now must be that bundle, and healthy still. `archive` is the bundle's file where it is not
    among those kept here; it is looked at file by file. Raises `PreflightError` where any of that is not so; else what
    `fairlead.deploy.deploy` raises.
    """
    clock = Clock(reporter)
    if environment.promote_from not in {None, source.name}:
        raise PreflightError(
            f"{environment.name} is promoted to from {environment.promote_from}, not from {source.name}",
            hint=f"promote-from in [tool.fairlead.environments.{environment.name}] says so",
        )
    with clock.step("preflight") as detail:
        digest = find_verified(config, source)
        parcel = open_parcel(config, digest, archive=archive)
        _check_bytes(config, source, parcel)
        with open_source() as there:
            _check_serving(config, source, there, digest)
        detail.append(f"{digest[:19]}…, healthy in {source.name}; {parcel.files} files, {parcel.info.title}")
    return send(
        config,
        environment,
        digest,
        pack_parcel=lambda: parcel,
        record=Record(config, environment, "promote", info=parcel.info),
        open_target=open_target,
        clock=clock,
        problems=(
            *name_missing_access(config, environment),
            *name_missing_for_suites(config, environment),
            *(name_missing_database(config, environment) if options.back_up is not None else ()),
        ),
        options=options,
    )


def find_verified(config: Config, source: EnvironmentConfig) -> str:
    """Return the digest that the environment's last verdict found healthy, by the suites that it asks for now.

    Raises `PreflightError` where it did not.
    """
    last = next(read_verdicts(config, source), None)
    if last is None:
        raise PreflightError(
            f"no deploy to {source.name} is on record here, so nothing vouches for what serves there",
            hint=f"deploy to {source.name} from here, or bring its record along: {config.state_dir}/history.jsonl",
        )
    if last.verdict not in GOOD or last.digest is None:
        raise PreflightError(
            f"the last verdict on {source.name} is {last.verdict} ({last.at}), and only a healthy release is promoted",
            hint=f"mend it and deploy to {source.name} again",
        )
    if not covers(last, source):
        raise PreflightError(
            f"the suites that {source.name} asks for are {source.suites!r}, and those on record of what it serves are "
            f"{last.suites or 'off'!r}",
            hint=f"deploy to {source.name} again, which sends nothing and runs them",
        )
    return last.digest


def _check_bytes(config: Config, source: EnvironmentConfig, parcel: Parcel) -> None:
    """Refuse an archive that holds the right files, and is not the one that was deployed."""
    events = History(config.state_dir).load()
    known = {one.archive for one in events if one.environment == source.name and one.digest == parcel.digest}
    known.discard(None)
    if known and parcel.sha256 not in known:
        raise PreflightError(
            f"{parcel.archive} holds the same files and is not the archive that {source.name} was given",
            hint="hand over that very archive, or deploy to the first environment again",
        )


def _check_serving(config: Config, source: EnvironmentConfig, there: Target, digest: str) -> None:
    found = look(config, there, digest=digest, confirmations=config.deploy.confirmations, timeout=10.0)
    if found.verdict is not Verdict.HEALTHY:
        raise PreflightError(
            f"{source.name} does not serve, healthy, what its last verdict covers: {found.reason}",
            hint=f"invoke verify --env {source.name}",
        )
