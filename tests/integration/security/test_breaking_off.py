"""The gate, broken off while a tool runs: nothing of it goes on, and nothing that it left says otherwise."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead._locks import LOCKS
from fairlead.security import results

ROOT = Path(__file__).resolve().parents[3]
LOCK = f"six==1.16.0 --hash=sha256:{'0' * 64}\n"
#: Says over a named pipe which process it is, and stays, whatever it is asked.
STAND_IN = "#!/bin/sh\ntrap '' TERM INT\necho $$ > '{pipe}'\nexec sleep 600\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "shop"\n')
    for lock in LOCKS:
        (tmp_path / lock).parent.mkdir(exist_ok=True)
        (tmp_path / lock).write_text(LOCK)
    (tmp_path / "tools").mkdir()
    os.mkfifo(tmp_path / "pipe")
    program = tmp_path / "tools" / "trivy"
    program.write_text(STAND_IN.format(pipe=tmp_path / "pipe"))
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_it_has_started_ends_with_it_and_no_report_is_left(project: Path, number: signal.Signals) -> None:
    folder = project / ".fairlead" / results.FOLDER
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    (folder / "bandit.sarif").write_text("{}")
    variables = {**os.environ, "PATH": f"{project / 'tools'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "fairlead.security", "--only", "trivy"]
    with subprocess.Popen(arguments, cwd=project, env=variables, stderr=subprocess.PIPE, text=True) as gate:
        tool = int((project / "pipe").read_text())
        gate.send_signal(number)
        _, told = gate.communicate(timeout=60)
    assert gate.returncode == 130, told
    with pytest.raises(ProcessLookupError):
        os.kill(tool, 0)
    assert list(folder.iterdir()) == []
