"""`python -m fairlead ACT`: reads an act's arguments and runs it, without Invoke, which takes long to start.

What a release runs before it takes traffic starts this way, with nothing but the database's driver installed.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead import __version__, _output
from fairlead.exceptions import ConfigurationError
from fairlead.tasks import find_act, load_acts
from fairlead.tasks._act import Act

_USAGE = """\
usage: python -m fairlead ACT [options]

  --list         every act, in a line each
  ACT --help     what an act does, and its options
  --debug        before ACT: show the traceback of an error
  --version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the act that the command line names; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = arguments[:1] in (["--debug"], ["-d"])
    name, *rest = arguments[debug:] or ["--help"]
    match name:
        case "--version" | "-V":
            _output.result(f"fairlead {__version__}")
        case "--list" | "-l":
            _list()
        case "--help" | "-h" if not rest:
            _output.result(_USAGE.rstrip())
        case "--help" | "-h":
            return _run(rest[0], ["--help"], debug=debug)
        case _:
            return _run(name, rest, debug=debug)
    return 0


def _run(name: str, arguments: Sequence[str], *, debug: bool) -> int:
    try:
        found = _find(name)
        values = _read(name, found, arguments)
    except ConfigurationError as error:
        _output.report(error)
        return error.exit_code
    except SystemExit as shown:  # the help was asked for
        return int(shown.code or 0)
    return found.run(values, debug=debug)


def _read(name: str, declared: Act, arguments: Sequence[str]) -> Mapping[str, Any]:
    """Return the values of an act's options; where nothing was given there is nothing to parse, and no parser made."""
    if not arguments and all(option.default is not None for option in declared.options):
        return {option.name: option.default for option in declared.options}
    from fairlead.tasks.arguments import parser_of

    return vars(parser_of(name, declared).parse_args(arguments))


def _find(name: str) -> Act:
    found = find_act(name)
    if found is not None:
        return found
    import difflib

    near = difflib.get_close_matches(name, load_acts(), 1)
    raise ConfigurationError(
        f"there is no act {name!r}", hint=f"did you mean {near[0]}?" if near else "python -m fairlead --list"
    )


def _list() -> None:
    acts = load_acts()
    width = max(len(name) for name in acts)
    for name, declared in acts.items():
        _output.result(f"{name:{width}}  {declared.doc.splitlines()[0]}")
