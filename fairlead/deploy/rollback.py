"""Going back to an earlier release on purpose: what there is to go back to, and the way, verified by its probes.

The end-to-end suites are left out, since it is done in haste. What is gone back to counts as good only where the last
deploy or promotion of it was, by the suites that the environment asks for now; else it is on record as inconclusive.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.aftermath import roll_back_to, take_up
from fairlead.deploy.following import confirm, look
from fairlead.deploy.lock import Lock, hold_lock
from fairlead.deploy.preflight import fetch_known
from fairlead.deploy.record import DELIVERING, GOOD, Record, read_verdicts
from fairlead.deploy.releases import Release, find_serving, read_releases
from fairlead.deploy.reporting import Clock, Reporter
from fairlead.deploy.rollout import Outcome
from fairlead.deploy.sending import Opener
from fairlead.deploy.target import Target
from fairlead.exceptions import DeployError, Error, PlatformError, PreflightError, UnsafeDeployError
from fairlead.railway import Deployment
from fairlead.verification import Verdict

_SHORTEST_DIGEST = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release that can be gone back to; `verdict` is the last that this checkout has on record of its digest.

    `numbers` are those of all the releases of that digest, since one bundle may have been released more than once.
    """

    release: Release
    verdict: str
    numbers: frozenset[int]


#: Given a release: a line for each migration that was applied since.
Applied = Callable[[Release], Sequence[str]]


def list_candidates(config: Config, environment: EnvironmentConfig, target: Target) -> tuple[Candidate, ...]:
    """List the releases that can be gone back to, newest first, each digest once; the one that serves is none."""
    deployments = target.deployments()
    serving = find_serving(deployments)
    verdicts = _read_verdicts(config, environment)
    releases = read_releases(deployments)
    newest: dict[str, Release] = {}
    for release in releases:
        if release.can_rollback and (serving is None or release.digest != serving.digest):
            newest.setdefault(release.digest, release)
    return tuple(
        Candidate(release, verdicts.get(digest, ""), frozenset(one.number for one in releases if one.digest == digest))
        for digest, release in newest.items()
    )


def find_candidate(candidates: Sequence[Candidate], wanted: str) -> Candidate:
    """Return the candidate that `wanted` means: a release number, a version such as v1.2.3, or a digest or its begin.

    Raises `PreflightError` where it means none or more than one.
    """
    digest = wanted.removeprefix("sha256:").lower()
    if wanted.isdecimal() and len(wanted) < _SHORTEST_DIGEST:
        found = [one for one in candidates if int(wanted) in one.numbers]
    elif re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_DIGEST},64}}", digest):
        found = [one for one in candidates if one.release.digest.removeprefix("sha256:").startswith(digest)]
    else:
        found = [one for one in candidates if one.release.version == wanted.removeprefix("v")]
    if len(found) == 1:
        return found[0]
    known = tuple(f"release {one.release.number}: {one.release.version}, {one.release.digest}" for one in candidates)
    what = "is none of the releases that can be gone back to" if not found else "means more than one release"
    raise PreflightError(
        f"{wanted!r} {what}",
        problems=known or ("there is no release to go back to: an earlier one must have served here",),
        hint="give a release number, a version such as v1.2.3, or six or more digits of a digest",
    )


def roll_back(
    config: Config,
    environment: EnvironmentConfig,
    wanted: str,
    *,
    open_target: Opener,
    reporter: Reporter,
    approve: Callable[[Candidate], None] | None = None,
    applied_since: Applied | None = None,
) -> Outcome:
    """Go back to the release that `wanted` means and see that it serves, healthy.

    `approve` is asked before anything is changed, and raises `ApprovalError` at a no. `applied_since` names the
    migrations that have gone out since, which stay. Raises `PreflightError` where there is no such release,
    `LockedError`, `PlatformError`, `DeployError` where what served before still does, and `UnsafeDeployError` where
    nothing vouches for that.
    """
    clock = Clock(reporter)
    record = Record(config, environment, "rollback")
    with hold_lock(config, environment, reason="rollback") as lock, open_target() as target:
        with clock.step("platform") as detail:
            record.notes += take_up(config, target, lock, clock)
            known = fetch_known(environment, target, lock)
            candidate = find_candidate(list_candidates(config, environment, target), wanted)
            detail.append(f"release {candidate.release.number}, {candidate.release.version}")
        for line in applied_since(candidate.release) if applied_since else ():
            reporter.note(line)
        if approve is not None:
            approve(candidate)
        record.release, record.digest = candidate.release.number, candidate.release.digest
        try:
            release = _go_back(config, target, candidate.release, known, lock, clock)
        except (Error, KeyboardInterrupt) as error:
            record.write_failure(error, clock)
            raise
        record.write(_vouch(record, release, reporter), clock)
        return Outcome(release, target.public_url, True, clock.steps, clock.seconds)


def _vouch(record: Record, release: Release, reporter: Reporter) -> str:
    """Return the verdict on a release that was gone back to: its probes passed now, its suites back then, if ever."""
    if record.recall(release.digest, acts=DELIVERING):
        return "healthy"
    where = record.environment.name
    reporter.note(
        f"no deploy on record here found release {release.number} good by all that {where} asks for now, so it is not "
        f"promoted from there; deploy its commit to {where} again, which sends nothing and looks at it in full"
    )
    return "inconclusive"


def _go_back(
    config: Config,
    target: Target,
    release: Release,
    known: dict[str, tuple[Deployment, ...]],
    lock: Lock,
    clock: Clock,
) -> Release:
    before = look(config, target, confirmations=1, timeout=2.0)
    try:
        status = ""
        for service in target.services:
            to = _find_deployment(known[service.kind], release)
            if to is None:
                clock.reporter.note(f"{service.name} has nothing of release {release.number} to go back to; it stays")
                continue
            with clock.step(service.step("rollback")) as detail:
                new = roll_back_to(config, target, service, to, lock=lock, clock=clock)
                status = str(new.status)
                detail.append(f"the platform says {status}")
            if service == target.web:
                with clock.step("verify") as detail:
                    confirm(config, target, release.digest)
                    detail.append(f"the digest was served {config.deploy.confirmations} times in a row")
    except (DeployError, PlatformError) as error:
        raise _explain(config, target, before.digest, error) from error
    return replace(release, status=status, reason="rollback")


def _find_deployment(deployments: tuple[Deployment, ...], release: Release) -> Deployment | None:
    ids = {one.deployment_id for one in read_releases(deployments) if one.digest == release.digest and one.can_rollback}
    return next((one for one in deployments if one.id in ids), None)


def _explain(config: Config, target: Target, digest: str | None, error: Error) -> Error:
    after = look(config, target, digest=digest, confirmations=config.deploy.confirmations, timeout=10.0)
    if digest is not None and after.verdict is Verdict.HEALTHY:
        return DeployError(f"{error.message}; what served before still does ({digest[:19]}…)", hint=error.hint)
    message = f"{error.message}; and {target.public_url} could not be verified: {after.reason}"
    return UnsafeDeployError(message, hint=f"look at {target.public_url} now; docs/runbooks/incident.md")


def _read_verdicts(config: Config, environment: EnvironmentConfig) -> dict[str, str]:
    """Return the last verdict that each digest got in this environment, as far as this checkout has it on record."""
    found: dict[str, str] = {}
    for event in read_verdicts(config, environment):
        if event.digest:
            found.setdefault(event.digest, GOOD[0] if event.verdict in GOOD else event.verdict)
    return found
