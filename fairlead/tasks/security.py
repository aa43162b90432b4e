"""`security.*`: what the security gate came to, and what a release is made of."""

from pathlib import Path

from fairlead import _output
from fairlead.tasks._act import act


@act(help={"json": "print JSON for a program to read"})
def report(json: bool = False) -> None:
    """Show what the last run of the security gate came to: each tool, what it looked at, what it found."""
    from fairlead import build, config
    from fairlead.security import results

    loaded = config.load()
    found = results.load(loaded.state_dir / results.FOLDER)
    if json:
        _output.result_json(found)
        return
    results.show(found)
    changed = ", with uncommitted changes" if found["dirty"] else ""
    revision = found["revision"] or build.UNKNOWN
    _output.status("note", f"{found['verdict']}, {found['time']}, at {revision[:10]}{changed}")
    if found["only"]:
        _output.status("warn", f"nothing but {', '.join(found['only'])} was asked for: this says nothing of the rest")
    here = build.collect(loaded.root, name=loaded.name, version=loaded.version, environ=loaded.environ)
    if (here.revision, here.dirty) != (revision, False) or found["dirty"]:
        _output.status("warn", f"the tree may not be the same any more, it is at {here.title}: nox -s security")


@act(
    help={
        "output": "the folder to write into; default: sbom in the state directory",
        "licences": "list every licence as well, read from what is installed here",
    }
)
def sbom(output: str = "", licences: bool = False) -> None:
    """Write the bills of materials, CycloneDX 1.6: of what a release installs, and of what a person does."""
    from fairlead import config
    from fairlead.security import sbom as bills
    from fairlead.security.licences import SHIPPED

    loaded = config.load()
    folder = Path(output) if output else loaded.state_dir / "sbom"
    for file in bills.write(folder, loaded, SHIPPED, licensed=licences).values():
        _output.result(str(file))


ACTS = (report, sbom)
