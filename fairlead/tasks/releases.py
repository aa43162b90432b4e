"""`build`, `releases` and `verify`: what would be sent, what was, and whether it serves."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act

if TYPE_CHECKING:
    from fairlead.config import Config, EnvironmentConfig
    from fairlead.deploy import Release, Target

_ENV = "the environment: local, staging, production …"
_JSON = "print JSON for a program to read"


@act(
    help={
        "output": "where to write the archive",
        "labels": "print the labels of an image made from it, an argument of `docker build` in each line",
        "json": _JSON,
    }
)
def build(output: str = "", labels: bool = False, json: bool = False) -> None:
    """Make the bundle: the archive of exactly what is deployed, its digest and its build info."""
    import dataclasses

    from fairlead import build as facts
    from fairlead import bundle, config

    loaded = config.load()
    info = facts.collect(loaded.root, name=loaded.name, version=loaded.version, environ=loaded.environ)
    made = bundle.make_bundle(loaded, info)
    target = Path(output) if output else loaded.state_dir / "build" / f"{loaded.name}.tar.gz"
    size = made.write(target)
    labelled = facts.image_labels(
        made.info, description=loaded.description, source=loaded.source, environ=loaded.environ
    )
    if json:
        told = {"archive": str(target), "bytes": size, "labels": labelled, "files": made.files()}
        _output.result_json({**dataclasses.asdict(made.info), **told})
        return
    _output.status("ok", f"{target} ({_output.size(size)}, {len(made.files())} files)")
    if labels:
        _output.result("\n".join(f"--label={name}={fact}" for name, fact in labelled.items()))
    else:
        _output.result(made.digest)


@act(help={"env": _ENV, "json": _JSON})
def releases(env: str = "local", json: bool = False) -> None:
    """List the releases of an environment, newest first."""
    import dataclasses

    from fairlead import config
    from fairlead import deploy as deploying

    loaded = config.load()
    environment = loaded.environment(env)
    with open_target(loaded, environment, start=False) as target:
        found = deploying.read_releases(target.deployments())
    if json:
        _output.result_json([dataclasses.asdict(release) for release in found])
        return
    if not found:
        _output.status("note", f"{env} has no release yet; make one: invoke deploy --env {env}")
        return
    headings = ("release", "status", "version", "revision", "digest", "created", "by", "")
    rows = [
        (
            str(one.number),
            one.status,
            one.version,
            one.revision[:10],
            one.digest[:19],
            one.created_at,
            one.by,
            _describe(one),
        )
        for one in found
    ]
    _output.table(headings, rows)


def _describe(release: "Release") -> str:
    """Say what is out of the ordinary about a release."""
    canary = f"canary, {release.canary:g} %" if release.canary is not None else ""
    told = (
        release.reason if release.reason != "deploy" else "",
        "uncommitted changes" if release.dirty else "",
        canary,
    )
    return ", ".join(one for one in told if one)


@act(
    help={
        "env": _ENV,
        "url": "check this address instead of an environment's",
        "digest": "ask for this digest",
        "json": _JSON,
    }
)
def verify(env: str = "local", url: str = "", digest: str = "", json: bool = False) -> None:
    """Check a live service: health and digest. Exits 4 when it is unhealthy, 5 when it cannot be checked."""
    from fairlead import config, verification
    from fairlead import deploy as deploying
    from fairlead.exceptions import InconclusiveError, VerificationError

    loaded = config.load()
    where = url.rstrip("/") or _public_url(loaded, loaded.environment(env))
    probes = (verification.Probe("health", loaded.health_path), verification.Probe("version", loaded.version_path))
    wanted = digest or (None if url else deploying.find_recorded_digest(loaded, loaded.environment(env)))
    report = verification.wait_for_release(
        where, probes, digest=wanted, confirmations=loaded.deploy.confirmations, timeout=30.0
    )
    if json:
        answers = {
            one.probe.name: {"problem": one.problem, "ms": round(one.seconds * 1000, 1)} for one in report.answers
        }
        _output.result_json(
            {
                "url": where,
                "verdict": report.verdict,
                "reason": report.reason,
                "digest": report.digest,
                "probes": answers,
            }
        )
    if report.verdict is verification.Verdict.UNHEALTHY:
        raise VerificationError(
            f"{where} is unhealthy: {report.reason}", hint="invoke platform.logs, or the platform's own log"
        )
    if report.verdict is verification.Verdict.INCONCLUSIVE:
        raise InconclusiveError(
            f"{where} could not be checked: {report.reason}", hint="is it running, and is that its address?"
        )
    _output.status("ok", f"{where} is healthy and serves {report.digest or 'no digest'}")
    if wanted is None:
        _output.status(
            "note",
            "no verdict on record here says which digest should serve, so any was accepted; --digest asks for one",
        )


def open_target(
    loaded: "Config", environment: "EnvironmentConfig", *, start: bool = True
) -> "contextlib.AbstractContextManager[Target]":
    """Open an environment on its platform; the local one is started unless `start` is off."""
    from fairlead import deploy as deploying

    if environment.platform == "local":
        return deploying.open_local(loaded, start=start)
    return deploying.open_railway(loaded, environment)


def _public_url(loaded: "Config", environment: "EnvironmentConfig") -> str:
    from fairlead import localplatform
    from fairlead.exceptions import ConfigurationError, InconclusiveError

    if environment.platform != "local":
        if environment.url:
            return environment.url
        where = f"tool.fairlead.environments.{environment.name}.url"
        raise ConfigurationError(f"{where} is missing", hint="declare it, or pass --url")
    endpoint = localplatform.find(loaded)
    if endpoint is None:
        raise InconclusiveError("the local platform is not running", hint="invoke deploy --env local, or pass --url")
    return endpoint.public_url
