"""What the tests' own surroundings tell the programs that tests start."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEST = """
import os
def test_it():
    assert not {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "FORCE_COLOR"} & set(os.environ)
"""


def test_a_hook_of_gits_and_a_wish_for_colours_do_not_reach_what_tests_start(tmp_path: Path) -> None:
    # In a second work tree git names the repository to its hooks: tests that make one would commit to that.
    (tmp_path / "test_it.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GIT_DIR": str(tmp_path),
            "GIT_INDEX_FILE": "index",
            "GIT_WORK_TREE": str(tmp_path),
            "FORCE_COLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
