"""What importing the plugin costs, and how it is registered."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_importing_the_plugin_loads_no_driver_and_no_server() -> None:
    heavy = ("psycopg", "fairlead.postgres", "fairlead.migrations", "fairlead.config")
    code = f"import sys, fairlead.pytest_plugin; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_installed_plugin_and_named_one_are_the_same_to_pytest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"fairlead.pytest_plugin": "fairlead.pytest_plugin"}
