"""What the tree says against a deploy."""

from pathlib import Path

from fairlead import config
from fairlead.deploy import plan


def test_procfile_that_cannot_be_read_is_told_and_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "shop"\n', "utf-8")
    (tmp_path / "backend" / "Procfile").mkdir(parents=True)
    loaded = config.load(tmp_path, environ={})
    _, problems = plan(loaded, loaded.environment("local"))
    assert [one for one in problems if "Procfile cannot be read" in one], problems
