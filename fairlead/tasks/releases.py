"""`build` and `releases`: what would be sent, and what was."""

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


def open_target(
    loaded: "Config", environment: "EnvironmentConfig", *, start: bool = True
) -> "contextlib.AbstractContextManager[Target]":
    """Open an environment on its platform; the local one is started unless `start` is off."""
    from fairlead import deploy as deploying

    if environment.platform == "local":
        return deploying.open_local(loaded, start=start)
    return deploying.open_railway(loaded, environment)
