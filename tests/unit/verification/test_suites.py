"""Which files are suites, and in which order they come."""

from pathlib import Path

import pytest

from fairlead.exceptions import ConfigurationError
from fairlead.verification import discover


def write(folder: Path, name: str, text: str = "") -> None:
    (folder / name).write_text(text, "utf-8")


def test_a_file_is_a_suite_by_its_name_alone(tmp_path: Path) -> None:
    for name in ("test_zebra.py", "test_ant.py", "conftest.py", "vendors.py", "test_notes.txt"):
        write(tmp_path, name)
    (tmp_path / "test_folder.py").mkdir()
    assert [suite.name for suite in discover(tmp_path)] == ["ant", "zebra"]


def test_a_folder_that_there_is_not_has_none(tmp_path: Path) -> None:
    assert discover(tmp_path / "nowhere") == ()


def test_declared_places_come_first_the_others_by_name(tmp_path: Path) -> None:
    write(tmp_path, "test_a.py")
    write(tmp_path, "test_b.py", "SUITE_ORDER = 2\n")
    write(tmp_path, "test_c.py", "SUITE_ORDER: int = 1\n")
    write(tmp_path, "test_d.py", "import nowhere\ndef f():\n    SUITE_ORDER = 1\n")
    write(tmp_path, "test_e.py", "not python at all\n")
    found = [(suite.name, suite.order) for suite in discover(tmp_path)]
    assert found == [("c", 1), ("b", 2), ("a", None), ("d", None), ("e", None)]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["SUITE_ORDER = 1", "SUITE_ORDER = 1"], "is taken by test_0.py"),
        (["SUITE_ORDER = 0"], "places count from 1"),
        (["SUITE_ORDER = 'first'"], "must be a whole number"),
        (["SUITE_ORDER = True"], "must be a whole number"),
        (["SUITE_ORDER = 1 + 1"], "must be a whole number"),
    ],
)
def test_a_place_that_cannot_be_is_refused(texts: list[str], says: str, tmp_path: Path) -> None:
    for number, text in enumerate(texts):
        write(tmp_path, f"test_{number}.py", text)
    with pytest.raises(ConfigurationError) as caught:
        discover(tmp_path)
    assert says in " ".join([caught.value.message, *caught.value.problems])


def test_the_suites_of_this_repository_have_the_places_that_the_exit_codes_promise() -> None:
    folder = Path(__file__).resolve().parents[3] / "backend" / "tests" / "e2e"
    assert [suite.name for suite in discover(folder)][:3] == ["settings", "calendar", "phone"]
    assert [suite.order for suite in discover(folder)][:3] == [1, 2, 3]
