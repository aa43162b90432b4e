"""The page and the example say what was described, are written whole, and are found stale by their text."""

import re
from pathlib import Path

import pytest

from fairlead.environment import documents
from fairlead.environment.file import load_variables
from fairlead.exceptions import ConfigurationError, Error
from tests.unit.environment.described import description


def test_the_page_has_every_variable_once_under_its_heading() -> None:
    page = documents.render_page(description())
    found = dict(re.findall(r"^\| `(\w+)`.*?\| (.*?) \|", page, re.MULTILINE))
    assert found == {
        "DATABASE_URL": "everywhere",
        "SIGNING_KEY": "wherever it is deployed",
        "LOG_LEVEL": "`INFO`",
        "PAY_KEY": "",
        "PAY_SECRET": "",
        "PORT": "the start command",
    }
    assert re.findall(r"^#+ (.+)$", page, re.MULTILINE) == [
        "Variables of the shop",
        "Required",
        "The core",
        "Payments",
        "Make a key",
    ]
    assert page.endswith("Roll dice.\n")
    assert "`PAY_KEY` (secret)" in page


def test_a_bar_in_a_text_does_not_end_its_cell() -> None:
    assert r"| DEBUG \| INFO |" in documents.render_page(description())


def test_a_page_without_anything_required_has_no_such_heading() -> None:
    page = documents.render_page(description(variables=[], together=[], closing=[], introduction=""))
    assert page.startswith("# Variables of the shop\n\n<!-- Written by")
    assert page.count("\n\n") == 1


def test_the_example_is_an_env_file_that_sets_what_is_required_everywhere(tmp_path: Path) -> None:
    text = documents.render_example(description())
    (tmp_path / ".env").write_text(text, "utf-8")
    assert load_variables(tmp_path / ".env") == {"DATABASE_URL": "postgresql://me@localhost/shop"}
    (tmp_path / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", text, flags=re.MULTILINE), "utf-8")
    assert load_variables(tmp_path / ".env").keys() == {
        "DATABASE_URL",
        "SIGNING_KEY",
        "LOG_LEVEL",
        "PAY_KEY",
        "PAY_SECRET",
    }


def test_only_what_is_stale_is_written_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    page, example = tmp_path / "page.md", tmp_path / "example"
    texts = {page: "one\n", example: "zwei … ö\n"}
    assert documents.write(texts) == (page, example)
    assert documents.find_stale(texts) == ()
    page.write_text("another\n", "utf-8")
    assert documents.write(texts) == (page,)
    assert documents.write(texts) == ()
    assert sorted(tmp_path.iterdir()) == [example, page]
    assert page.stat().st_mode & 0o777 == 0o644
    assert example.read_bytes() == "zwei … ö\n".encode()


def test_a_stale_document_is_shown_as_a_diff(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("one\ntwo", "utf-8", newline="")
    (diff,) = documents.find_stale({file: "one\nthree\n"})
    assert [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))] == [
        " one",
        "-two",
        r"\ No newline at end of file",
        "+three",
    ]
    assert documents.find_stale({tmp_path / "none": "one\n"})[0].endswith("+one\n")


def test_what_cannot_be_written_or_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot be written: No such file or directory"):
        documents.write({tmp_path / "none" / "page.md": "one\n"})
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        documents.write({tmp_path / "latin": "one\n"})
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        documents.find_stale({tmp_path / "folder": "one\n"})
