from pathlib import Path

import pytest

from fairlead.exceptions import InconclusiveError
from fairlead.security import baseline, rebaseline
from fairlead.security.baseline import Found, Secret


@pytest.mark.parametrize("blind", ["detect_secrets.find", "kingfisher.find", "kingfisher.find_in_history"])
def test_no_baseline_is_written_when_not_everything_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: str
) -> None:
    for name in ("detect_secrets.find", "kingfisher.find", "kingfisher.find_in_history"):
        found = Found("half", gaps=("b.py: was not scanned",)) if name == blind else Found("all")
        monkeypatch.setattr(f"fairlead.security.rebaseline.{name}", lambda _, found=found: found)
    with pytest.raises(InconclusiveError, match=r"b\.py: was not scanned"):
        rebaseline.write(tmp_path, history=True)
    assert not (tmp_path / baseline.FILE).exists()


def test_entries_about_the_history_stay_when_only_the_tree_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Secret("kingfisher betterleaks.jwt", "gone.py", 0, "d1", past="p" * 40)
    new = Secret("JSON Web Token", "a.py", 4, "d2")
    (tmp_path / baseline.FILE).write_text(baseline.render([old], [], {}))
    monkeypatch.setattr(rebaseline.detect_secrets, "settings", dict)
    monkeypatch.setattr(rebaseline.detect_secrets, "find", lambda _: Found("all", (new,)))
    monkeypatch.setattr(rebaseline.kingfisher, "find", lambda _: Found("all"))
    assert rebaseline.write(tmp_path) == 2
    assert {(entry.path, entry.past) for entry in baseline.load(tmp_path)} == {("gone.py", True), ("a.py", False)}
