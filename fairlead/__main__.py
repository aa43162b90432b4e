"""`python -m fairlead …`: the acts as a program of its own, for where there is no tasks.py."""

import gc
import sys
from typing import NoReturn

#: How many objects more before the collector looks for cycles among them: what is imported, and stays, holds no waste.
_COLLECTED_AFTER = 100_000


def main() -> NoReturn:
    """Run the act that the command line names, and end with its exit code."""
    gc.set_threshold(_COLLECTED_AFTER)
    from fairlead._output import guard_tracebacks
    from fairlead.tasks import program

    guard_tracebacks()

    code = program.main()
    # The process ends, and with it all its memory: a last collection of every module takes longer than a short act.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
