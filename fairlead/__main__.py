"""`python -m fairlead …`: the acts as a program of its own, for where there is no tasks.py."""

import sys

from fairlead.tasks.program import main

if __name__ == "__main__":
    sys.exit(main())
