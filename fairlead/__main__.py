"""`python -m fairlead …`: the acts as a program of its own, for where there is no tasks.py."""

from invoke.program import Program

from fairlead import __version__
from fairlead.tasks import namespace


def main() -> None:
    """Run the act that the command line names."""
    Program(namespace=namespace, name="fairlead", binary="fairlead", version=__version__).run()


if __name__ == "__main__":
    main()
