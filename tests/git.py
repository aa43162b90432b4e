"""Runs git in the repositories of tests."""

import os
import subprocess
from pathlib import Path

_WHO = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")


def git(root: Path, *arguments: str, at: str = "") -> str:
    """Run git in a repository, whatever this machine and a surrounding hook have set, and return what it says.

    `at` is the time of what it commits, now unless given.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ = {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    if at:
        environ |= {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
    done = subprocess.run(["git", *_WHO, *arguments], cwd=root, env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()
