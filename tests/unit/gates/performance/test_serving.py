"""How an application is started."""

from pathlib import Path

from fairlead.gates.performance.serving import Application, shell_command, variables_of

APPLICATION = Application(
    "ours",
    "uvicorn app.main:app --port ${PORT:-8000}",
    Path("/backend"),
    {"PATH": "/usr/bin", "A": "b"},
    Path("/e/bin/python"),
)


def test_the_shell_gives_way_to_the_server() -> None:
    assert shell_command(APPLICATION) == ["/bin/sh", "-c", "exec uvicorn app.main:app --port ${PORT:-8000}"]


def test_it_listens_on_a_free_port_of_loopback_with_the_programs_of_its_interpreter() -> None:
    assert variables_of(APPLICATION) == {"PATH": "/e/bin:/usr/bin", "A": "b", "HOST": "127.0.0.1", "PORT": "0"}
