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


def test_a_baseline_that_cannot_be_written_whole_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / baseline.FILE).write_text(baseline.render([], [], {}))
    for name in ("detect_secrets.find", "kingfisher.find"):
        monkeypatch.setattr(f"fairlead.security.rebaseline.{name}", lambda _: Found("all"))
    monkeypatch.setattr(rebaseline.detect_secrets, "settings", lambda: {"version": "new"})

    def fill_the_disk(self: Path, text: str, encoding: str) -> None:
        self.write_bytes(text.encode(encoding)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(InconclusiveError, match="is as it was: No space left"):
        rebaseline.write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [baseline.FILE]
    assert baseline.load(tmp_path) == ()
