"""An .env file is read as python-dotenv reads it for uvicorn, and what is not understood is refused by its line."""

from pathlib import Path

import dotenv
import pytest

from fairlead.environment.file import load_variables
from fairlead.exceptions import ConfigurationError

LINES = (
    "A=1",
    "  A = 1  ",
    "export A=1",
    "export\tA=1",
    "A=",
    "A",
    "A # no value",
    "A= # a comment",
    "A=#none",
    "A=x#y",
    "A=x #y",
    "A=x\t# y # z",
    "A='x # y' # z",
    'A="x # y"# z',
    r"A='it\'s \\ \n'",
    r'A="a\tb\"c\\d\ne\q"',
    "A=x'y",
    'A=x"y"',
    "A==x",
    "A=x=y",
    "A=$HOME",
    "# A=1",
    "   # A=1",
    "A=\u00a0x\u00a0",
    "A=x\u2028y",
    "A=f\x0cg",
    "\ufeffA=1",
    "A=1\rB=2",
    "A=1\r\nB=2\r\n",
    "A=1\nA=2",
    "A=1\n\n\nB='2'\n#\n C=3",
    "A=postgresql://u:p%40#w@h/d?x=1&y",
)
REFUSED = ("A='it''s'", 'A="', "A='x", 'A="x" y', "=1", "A B=1", "A-B", "A='x\ny'")


@pytest.mark.parametrize("text", LINES)
def test_it_is_read_as_the_server_reads_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(text, "utf-8", newline="")
    expected = {name: value for name, value in dotenv.dotenv_values(file).items() if value is not None}
    assert load_variables(file) == expected


@pytest.mark.parametrize("text", REFUSED)
def test_a_line_that_is_not_understood_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_variables(tmp_path / ".env")
    assert caught.value.problems[0] == "line 1: is not NAME=value on one line"


@pytest.mark.parametrize("line", ["A=canary ${HOME}", "A='${canary}'", 'A="${HOME:-canary}"'])
def test_what_would_be_filled_in_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"B=1\n{line}\n", "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_variables(tmp_path / ".env")
    assert caught.value.problems == ("line 2: holds ${…}, which is not filled in here; write the value itself",)


def test_every_line_that_is_not_understood_is_named_and_none_repeated(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('canary 1\nA=2\nB="canary\ncanary"\n', "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_variables(tmp_path / ".env")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["line 1", "line 3", "line 4"]
    assert "canary" not in "".join(caught.value.problems)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"A=\xe9canary")
    for name, says in (("none", "there is no file"), (".", "cannot be read"), ("latin", "it is not UTF-8")):
        with pytest.raises(ConfigurationError, match=says):
            load_variables(tmp_path / name)
