"""Runs Trivy over the locks or over an image, where it is on the machine, and reads its report.

Three of its releases were made by thieves, and steal what they find: they are refused. Its version is asked, and
everything else too, with an environment that holds no secret.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._locks import LOCKS, normalise
from fairlead._process import Completed, run
from fairlead.exceptions import CommandError
from fairlead.security import dependencies, tools
from fairlead.security.locked import Locked
from fairlead.security.report import Finding, Level, Scan

NAME: Final = "trivy"
#: What its scan of an image is called, whose exceptions say nothing of the locks.
IMAGE: Final = "trivy-image"
#: Published in March 2026 with stolen keys: they send away what secrets they find.
COMPROMISED: Final = frozenset({"0.69.4", "0.69.5", "0.69.6"})

_ABSENT: Final = "it is not on this machine (https://trivy.dev; never the versions 0.69.4 to 0.69.6)"
_SECONDS: Final = 600.0
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+\S*")
#: What it needs to find its database, and to reach it through a proxy.
_INHERITED: Final = frozenset(
    {"HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {"TRIVY_CACHE_DIR", "TRIVY_DB_REPOSITORY", "TRIVY_SKIP_DB_UPDATE"}
)
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_LEVELS: Final[dict[str, Level]] = {"CRITICAL": "error", "HIGH": "error", "MEDIUM": "warning"}
_SCHEMA: Final = 2


def find() -> str | None:
    """Return where Trivy is; None where it is not on this machine."""
    return tools.find(NAME)


def version_command(program: str) -> list[str]:
    """Build the command that prints the version."""
    return [program, "version", "--format", "json"]


def locks_command(program: str, folder: Path, *, report: Path) -> list[str]:
    """Build the command that scans the locks in `folder` for packages that are known to be vulnerable."""
    patterns = ["--file-patterns", r"pip:requirements[^/]*\.txt$"]
    return [program, "fs", "--scanners", "vuln", *patterns, *_output(report), str(folder)]


def image_command(program: str, archive: Path, *, report: Path) -> list[str]:
    """Build the command that scans an image in an archive.

    What no release of the distribution mends yet is left out, and so is what weighs less than high: a base always has
    some of either, and a list that nobody can shorten is one that nobody reads.
    """
    choice = ["--scanners", "vuln,secret", "--ignore-unfixed", "--severity", "HIGH,CRITICAL"]
    return [program, "image", "--input", str(archive), *choice, *_output(report)]


def _output(report: Path) -> list[str]:
    return ["--quiet", "--format", "json", "--list-all-pkgs", "--exit-code", "0", "--output", str(report)]


def read_locks(text: str, *, expected: Mapping[str, Locked], control: Locked | None = None) -> Scan:
    """Read the report on the locks. A locked package that it does not list at its version is a gap.

    So is a `control`, scanned with them, in which nothing was found: its database is none.
    """
    try:
        results = _results(text)
        listed = {
            (normalise(one["Name"]), str(one["Version"])) for result in results for one in result.get("Packages") or ()
        }
        findings = _findings(results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return _unusable(error)
    findings, gaps = dependencies.take_out_control(findings, control)
    gaps += [f"{pin}: is not in its report" for pin in expected.values() if (pin.name, pin.version) not in listed]
    if not expected:
        gaps.append("the locks hold no package")
    count = sum((pin.name, pin.version) in listed for pin in expected.values())
    return Scan(NAME, f"{count} of {len(expected)} locked packages scanned", findings, tuple(gaps))


def read_image(text: str, *, name: str) -> Scan:
    """Read the report on an image. Without the packages of its system and those of Python it looked at nothing."""
    try:
        results = _results(text)
        packages = dict.fromkeys(("os-pkgs", "lang-pkgs"), 0)
        for result in results:
            if result.get("Class") in packages:
                packages[result["Class"]] += len(result.get("Packages") or ())
        findings = _findings(results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return _unusable(error, IMAGE)
    gaps = [f"{name}: it lists no package of the class {kind}" for kind, count in packages.items() if not count]
    looked_at = f"{packages['os-pkgs']} packages of the system and {packages['lang-pkgs']} of Python in {name}"
    return Scan(IMAGE, looked_at, findings, tuple(gaps))


def scan(root: Path, *, expected: Mapping[str, Locked], program: str | None = None) -> Scan:
    """Scan the locks below `root`; where Trivy is not on the machine, say so and that it did not run."""
    control = dependencies.choose_control(expected)

    def prepare(found: str, scratch: Path, report: Path) -> list[str]:
        # Only the locks: a repository holds environments, caches and planted defects besides.
        folder = scratch / "locks"
        for lock in LOCKS:
            target = folder / lock
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((root / lock).read_bytes())
        if control is not None:
            (folder / "control").mkdir()
            (folder / "control" / "requirements.txt").write_text(f"{control.name}=={control.version}\n", "utf-8")
        return locks_command(found, folder, report=report)

    return _scan(prepare, lambda text: read_locks(text, expected=expected, control=control), program)


def scan_image(archive: Path, *, name: str, program: str | None = None) -> Scan:
    """Scan the image called `name` in an archive of docker's format; without Trivy as `scan` does."""
    return _scan(
        lambda found, _scratch, report: image_command(found, archive.resolve(), report=report),
        lambda text: read_image(text, name=name),
        program,
        tool=IMAGE,
    )


def _scan(
    prepare: Callable[[str, Path, Path], Sequence[str]],
    judge: Callable[[str], Scan],
    program: str | None,
    *,
    tool: str = NAME,
) -> Scan:
    found = program or find()
    if found is None:
        return Scan(tool, "nothing", not_run=_ABSENT)
    with tempfile.TemporaryDirectory(prefix="fairlead-trivy-") as scratch:
        folder = Path(scratch)
        report = folder / "report.json"
        try:
            refusal = _refuse(found, folder)
            if refusal is None:
                done = _run(prepare(found, folder, report), folder, _SECONDS)
                why = (done.output.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                refusal = None if done.returncode == 0 and report.is_file() else f"it wrote no report: {why}"
            return judge(report.read_text("utf-8")) if refusal is None else Scan(tool, "nothing", gaps=(refusal,))
        except CommandError as error:
            return Scan(tool, "nothing", gaps=(error.message,))
        except (OSError, UnicodeDecodeError) as error:
            return Scan(tool, "nothing", gaps=(f"a file cannot be read: {error}",))


def _refuse(program: str, folder: Path) -> str | None:
    """Say why this Trivy must not be used; None where it may."""
    done = _run(version_command(program), folder, 60.0)
    try:
        version = str(json.loads(done.stdout)["Version"]).removeprefix("v")
    except (ValueError, KeyError, TypeError):
        version = ""
    if not _VERSION.fullmatch(version):
        return "its version cannot be told, and three versions of it are malicious"
    if version.partition("-")[0].partition("+")[0] in COMPROMISED:
        return (
            f"its version {version} was made by thieves (March 2026) and is not used: remove it, take another, "
            "and replace every secret that this machine holds"
        )
    return None


def _run(argv: Sequence[str], folder: Path, seconds: float) -> Completed:
    # In a folder without settings of Trivy's, and without a secret in the environment.
    names = [name for name in os.environ if name in _INHERITED or name.upper() in _PROXIES]
    return run(argv, cwd=folder, env={name: os.environ[name] for name in names}, check=False, timeout=seconds)


def _results(text: str) -> list[dict[str, Any]]:
    report: dict[str, Any] = json.loads(text)
    if report["SchemaVersion"] != _SCHEMA:
        raise ValueError(f"the report's schema is {report['SchemaVersion']!r}, not {_SCHEMA}")
    return list(report.get("Results") or ())


def _findings(results: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    found = []
    for result in results:
        place = str(result["Target"])
        for one in result.get("Vulnerabilities") or ():
            fixed = one.get("FixedVersion")
            advice = f"(fixed in {fixed})" if fixed else "(no version fixes it)"
            about = f"{one['PkgName']} {one['InstalledVersion']}"
            message = f"{one.get('Title') or 'is known to be vulnerable'} {advice}"
            found.append(Finding(one["VulnerabilityID"], message, place, subject=about, level=_level(one)))
        # Never what was matched: that is the secret.
        found += [
            Finding(one["RuleID"], str(one["Title"]), place, int(one["StartLine"]), level=_level(one))
            for one in result.get("Secrets") or ()
        ]
    return tuple(found)


def _level(entry: Mapping[str, Any]) -> Level:
    return _LEVELS.get(str(entry.get("Severity")), "note")


def _unusable(error: Exception, tool: str = NAME) -> Scan:
    return Scan(tool, "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
