"""`image.*`: images of the bundle, made, run and scanned by docker, podman or buildah."""

from pathlib import Path
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fairlead.build import BuildInfo
    from fairlead.config import Config
    from fairlead.security.judge import Judgement

_ENGINE = "docker, podman or buildah (default: the first that works)"
_IMAGE = "the image (default: that of the tree as it is, by its digest)"
_JSON = "print JSON for a program to read"
#: A variable of such a name holds a secret; passwords in addresses are masked wherever they are.
_SECRET_WORDS = ("KEY", "PASSWORD", "SECRET", "TOKEN")


@act(
    help={
        "tag": "what to call it (default: the project's name and the digest's first 12 digits)",
        "base": "an image to build on instead of the Dockerfile's own, by its digest",
        "engine": _ENGINE,
        "json": _JSON,
    }
)
def build(tag: str = "", base: str = "", engine: str = "", json: bool = False) -> None:
    """Build an image from the bundle and nothing else."""
    from fairlead import build as facts
    from fairlead import bundle, config
    from fairlead.image import engines, images

    loaded = config.load()
    chosen = engines.find_engine(engine)
    made = bundle.make_bundle(loaded, _collect_facts(loaded))
    archive = loaded.state_dir / "build" / f"{loaded.name}.tar.gz"
    made.write(archive)
    labels = facts.image_labels(made.info, description=loaded.description, source=loaded.source, environ=loaded.environ)
    name = tag or _name(loaded, made.digest)
    file = loaded.railway.dockerfile_path or "Dockerfile"
    _output.status("note", f"building {name} of {made.info.title} by {chosen.name}")
    known = images.build_image(chosen, archive, tag=name, file=file, base=base, labels=labels)
    if json:
        told = {"image": name, "id": known, "engine": chosen.name, "digest": made.digest, "labels": labels}
        _output.result_json(told)
        return
    _output.status("ok", f"{name} ({known[:19]})")
    _output.result(name)


@act(
    help={
        "image": _IMAGE,
        "port": "where it listens, on loopback",
        "env-file": "a file of variables, such as .env",
        "engine": _ENGINE,
    }
)
def run(image: str = "", port: int = 8000, env_file: str = "", engine: str = "") -> None:
    """Run an image as it would run anywhere: not as root, its root read-only; Ctrl-C ends and removes it.

    It has this machine's network, and of its variables only those of the file and those that a deploy requires.
    """
    from fairlead import config
    from fairlead.exceptions import CommandError
    from fairlead.image import engines, images

    loaded = config.load()
    variables = _collect_variables(loaded, env_file, port)
    chosen = engines.find_engine(engine)
    name = image or _name(loaded, _find_digest(loaded))
    _output.status("note", f"running {name} by {chosen.name} on http://127.0.0.1:{port}")
    code = images.run_image(chosen, name, variables=variables)
    if code != 0:
        raise CommandError(f"{name} ended with exit code {code}", hint="its output is above")


@act(help={"image": _IMAGE, "engine": _ENGINE, "json": _JSON})
def scan(image: str = "", engine: str = "", json: bool = False) -> None:
    """Scan an image and the Dockerfiles: what is known to be vulnerable in it, and how it is made.

    It is not well unless everything was looked at: without Trivy on the machine, it could not be checked. What came of
    it is in `image` of the state directory, for a program to read: SARIF of each tool, and report.json.
    """
    import tempfile
    from datetime import UTC, datetime

    from fairlead import config
    from fairlead.image import engines, images
    from fairlead.security import hadolint, results, trivy
    from fairlead.security.judge import judge

    loaded = config.load()
    folder = loaded.state_dir / "image"
    results.clear(folder)
    chosen = engines.find_engine(engine)
    info = _collect_facts(loaded)
    name = image or _name(loaded, _find_digest(loaded))
    scans = [hadolint.scan(loaded.root)]
    with tempfile.TemporaryDirectory(prefix="fairlead-scan-") as scratch:
        archive = Path(scratch) / "image.tar"
        images.describe(chosen, name)
        if trivy.find():
            images.export(chosen, name, archive)
        scans.append(trivy.scan_image(archive, name=name))
    judgement = judge(
        scans,
        exceptions=loaded.security.ignore,
        today=datetime.now(UTC).date(),
        required={one.tool for one in scans},
        partial=True,
    )
    report = results.write(folder, judgement, revision=info.revision, dirty=info.dirty)
    if json:
        _output.result_json({"image": name, **report})
    _conclude(name, judgement)


def _conclude(name: str, judgement: "Judgement") -> None:
    from fairlead.exceptions import InconclusiveError
    from fairlead.image.verdict import FindingsError
    from fairlead.security import results

    for one in judgement.scans:
        if one.passed:
            _output.status("ok", f"{one.tool}: {one.looked_at}, nothing found")
    results.tell(judgement)
    if judgement.verdict == "vulnerable":
        raise FindingsError(f"{name} is not well", hint="mend what is named above, or except it with a reason")
    if judgement.verdict == "not checked":
        raise InconclusiveError(f"{name} could not be checked", hint="mend what is named above, and scan it again")


def _collect_variables(loaded: "Config", env_file: str, port: int) -> "Mapping[str, str]":
    from fairlead.environment.file import load_variables
    from fairlead.exceptions import ConfigurationError

    given = dict(load_variables(Path(env_file))) if env_file else {}
    required = loaded.deploy.required_variables
    inherited = {name: loaded.environ[name] for name in required if loaded.environ.get(name)}
    variables = {**inherited, **given, "HOST": "127.0.0.1", "PORT": str(port)}
    if missing := tuple(f"{name} is not set" for name in required if not variables.get(name)):
        raise ConfigurationError(
            "the image would not start", problems=missing, hint="set them, or name a file that does: --env-file .env"
        )
    for name, value in variables.items():
        if any(word in name for word in _SECRET_WORDS):
            _output.redact.register(value)
    return variables


def _find_digest(loaded: "Config") -> str:
    from fairlead import bundle

    return bundle.make_bundle(loaded, _collect_facts(loaded)).digest


def _collect_facts(loaded: "Config") -> "BuildInfo":
    from fairlead import build as facts

    return facts.collect(loaded.root, name=loaded.name, version=loaded.version, environ=loaded.environ)


def _name(loaded: "Config", digest: str) -> str:
    return f"localhost/{loaded.name}:{digest.removeprefix('sha256:')[:12]}"


ACTS = (build, run, scan)
