"""The contract gate's program: `python -m fairlead.gates.contract [PART …] [--write] [--base REV] [--seeds N]`."""

import argparse
import difflib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fairlead import _output, _program, config
from fairlead._process import run
from fairlead.config import Config
from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.gates.contract.base import find_base
from fairlead.gates.contract.documents import read_document
from fairlead.gates.contract.exercise import exercise
from fairlead.gates.contract.operations import compare, operations_of
from fairlead.gates.contract.report import Comparison, render_annotations, tell

PARTS: Final = ("document", "changes", "requests")
_FILE: Final = "openapi.json"
_SHOWN: Final = 40


def check(arguments: Sequence[str]) -> int:
    """Check the parts that `arguments` name, all without any; 0 when all is well, else 1."""
    options = _parse(arguments)
    loaded = config.load()
    file = loaded.backend / _FILE
    text = export(loaded)
    if options.write:
        file.write_text(text, "utf-8")
        _output.status("ok", f"wrote {file.relative_to(loaded.root)}, version {loaded.version}")
    parts = options.parts or (PARTS[:2] if options.write else PARTS)
    outcome: dict[str, Any] = {}
    if "document" in parts:
        outcome["document"] = {"passed": check_document(loaded, file, text)}
    if "changes" in parts:
        outcome["changes"] = check_changes(loaded, file, text, options)
    if "requests" in parts:
        seeds = (options.seed,) if options.seed is not None else tuple(range(1, options.seeds + 1))
        outcome["requests"] = {"passed": check_requests(loaded, seeds, quietly=options.json), "seeds": list(seeds)}
    passed = all(part["passed"] for part in outcome.values())
    if options.json:
        _output.result_json({"passed": passed, **outcome})
    return 0 if passed else 1


def export(loaded: Config) -> str:
    """Return the document of the application as it is in the tree, with the version that the configuration names."""
    package = loaded.app.partition(":")[0].partition(".")[0]
    command = [sys.executable, "-m", f"{package}.export_openapi", "--version", loaded.version]
    return run(command, cwd=loaded.backend, timeout=120).stdout


def check_document(loaded: Config, file: Path, text: str) -> bool:
    """Say whether the committed document is the application's own."""
    name = file.relative_to(loaded.root).as_posix()
    committed = file.read_text("utf-8") if file.is_file() else ""
    if committed != text:
        lines = difflib.unified_diff(
            committed.splitlines(), text.splitlines(), name, "the application", n=1, lineterm=""
        )
        shown = [*itertools.islice(lines, _SHOWN + 1)]
        _output.error(
            f"{name} is stale: the application is not what it says" if committed else f"{name} is missing",
            output="\n".join([*shown[:_SHOWN], *(["…"] if len(shown) > _SHOWN else [])]) if committed else "",
            hint="nox -s contract -- --write, look at what it changed, and commit it",
        )
        return False
    count = len(operations_of(read_document(text, name=name)))
    _output.status("ok", f"{name} is the application's own: {count} operations, version {loaded.version}")
    return True


def check_changes(loaded: Config, file: Path, text: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compare with the base and tell what was found; return it as a program reads it."""
    new = read_document(text, name="the application's document")
    try:
        base = find_base(loaded, file, given=options.base)
    except InconclusiveError as error:
        _output.error(error.message, hint=error.hint)
        return {"passed": False, "base": None, "reason": error.message}
    if base.document is None:
        _output.status("note", f"nothing to compare with: {base.name} has no {file.name}, this one is the first")
        return {"passed": True, "base": base.name, "first": True, "changes": []}
    found = Comparison(base.name, base.document.version, new.version, compare(base.document, new))
    if (
        options.annotations
        and not options.json
        and (lines := render_annotations(found, text=text, path=_place(loaded, file)))
    ):
        _output.result(lines)
    tell(found)
    return found.as_dict()


def check_requests(loaded: Config, seeds: tuple[int, ...], *, quietly: bool) -> bool:
    """Send requests to every operation, and say whether each answer was one that the document allows."""
    told = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    _output.status("note", f"trying every operation, {told}")
    if exercise(loaded, seeds, quietly=quietly):
        _output.status("ok", f"every operation answers as the document says ({told})")
        return True
    _output.error(
        "an operation does not answer as the document says",
        hint=f"mend the route, or what it documents; once more: nox -s contract -- requests --seed {seeds[0]}",
    )
    return False


def _place(loaded: Config, file: Path) -> str:
    return file.relative_to(loaded.root).as_posix()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nox -s contract --", description="Check that openapi.json is true, and breaks no client unannounced."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--write", action="store_true", help=f"write {_FILE} anew, then compare it with the base")
    parser.add_argument("--base", metavar="REV", help="the revision, or the file, to compare with")
    parser.add_argument("--seed", type=int, metavar="N", help="send the requests of this seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="send the requests of the seeds 1 to N")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--annotations", action="store_true", help="print what breaks as annotations of GitHub's")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        raise ConfigurationError(f"there is no part {', '.join(sorted(unknown))}", hint=f"known: {', '.join(PARTS)}")
    if options.seeds < 1:
        raise ConfigurationError(f"--seeds {options.seeds} would send nothing", hint="nox -s contract -- --seeds 20")
    return options


if __name__ == "__main__":
    sys.exit(_program.run(check, sys.argv[1:]))
