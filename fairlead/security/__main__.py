"""The security gate's program: `python -m fairlead.security [--advisories PATH] [--osv-url URL]`."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from fairlead import _output, config
from fairlead._locks import LOCKS, parse, read_lock
from fairlead.exceptions import Error
from fairlead.security import advisories, audit, bandit, report


def main(arguments: Sequence[str]) -> int:
    """Run every tool, print what each found and what it could not look at, and return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s security --", description="Scan the code and audit the locks.")
    parser.add_argument("--advisories", type=Path, metavar="PATH", help="a file or folder to audit against, no network")
    parser.add_argument("--osv-url", default=audit.OSV_URL, metavar="URL", help=f"default: {audit.OSV_URL}")
    flags = parser.parse_args(arguments)
    try:
        loaded = config.load()
        backend = loaded.backend.relative_to(loaded.root).as_posix()
        with contextlib.ExitStack() as stack:
            url, unreadable = flags.osv_url, {}
            if flags.advisories is not None:
                database = advisories.load(flags.advisories)
                _output.status("note", f"auditing against the {len(database)} advisories in {flags.advisories}")
                url, unreadable = stack.enter_context(advisories.serve(database)), database.unreadable
            packages = locked(loaded.root, LOCKS)
            scans = [
                bandit.scan(loaded.root, ["fairlead", f"{backend}/app"]),
                audit.scan(loaded.root, LOCKS, expected=packages, url=url, unreadable=unreadable),
            ]
        return report.judge(scans)
    except Error as error:
        _output.error(f"security could not be checked: {error.message}", hint=error.hint)
        return error.exit_code


def locked(root: Path, locks: Sequence[str]) -> dict[str, str]:
    """Return name and version of every package in the locks, whatever its markers say."""
    pins = (pin for lock in locks for pin in parse(read_lock(root, lock))[0].values())
    return {pin.name: pin.version for pin in pins}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
