"""What is printed: no secret on either stream, colour on terminals only, JSON that stays JSON."""

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairlead import _output
from fairlead._output import MASK, Redactor


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def redact(monkeypatch: pytest.MonkeyPatch) -> Redactor:
    """Put a redactor in place that only this test registers secrets with."""
    redactor = Redactor()
    monkeypatch.setattr(_output, "redact", redactor)
    return redactor


def narrow_stream(encoding: str) -> tuple[io.BytesIO, io.TextIOWrapper]:
    raw = io.BytesIO()
    return raw, io.TextIOWrapper(raw, encoding=encoding, write_through=True)


# --- redaction ---


def test_registered_secret_is_masked_wherever_it_stands() -> None:
    redactor = Redactor()
    redactor.register("s3cret-token")
    assert redactor("as3cret-tokenb s3cret-token") == f"a{MASK}b {MASK}"


def test_longer_secret_is_masked_before_one_that_it_contains() -> None:
    redactor = Redactor()
    redactor.register("abcdef")
    redactor.register("abcdef-and-more")
    assert redactor("x abcdef-and-more y") == f"x {MASK} y"


@pytest.mark.parametrize("nothing", [None, "", "short"])
def test_text_too_short_for_a_secret_is_left_alone(nothing: str | None) -> None:
    redactor = Redactor()
    redactor.register(nothing)
    assert redactor("a short story") == "a short story"


def test_secret_is_taken_literally_not_as_a_pattern() -> None:
    redactor = Redactor()
    redactor.register("a.c+(d)[e]\\1")
    assert redactor("abc+(d)[e] a.c+(d)[e]\\1") == f"abc+(d)[e] {MASK}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://user:hunter2@db:5432/app", f"postgresql://user:{MASK}@db:5432/app"),
        ("postgresql+psycopg://user:hunter2@db/app", f"postgresql+psycopg://user:{MASK}@db/app"),
        ("redis://:hunter2@cache:6379/0", f"redis://:{MASK}@cache:6379/0"),
        ("POSTGRES://U:HUNTER2@DB/APP", f"POSTGRES://U:{MASK}@DB/APP"),
        ("postgres://u:p%40ss%2Fword@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:pa:ss:word@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:p@ss@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:pa/ss@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:pa#s?s@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:p[a]s&s$w*@db/app", f"postgres://u:{MASK}@db/app"),
        ("postgres://u:été@db/app", f"postgres://u:{MASK}@db/app"),
        ("(see 'postgres://u:hunter2@db/app')", f"(see 'postgres://u:{MASK}@db/app')"),
        ("postgres://u:one@a/x and postgres://u:two@b/y", f"postgres://u:{MASK}@a/x and postgres://u:{MASK}@b/y"),
        ("Authorization: Bearer eyJhbGciOi.J9_x-y~z+/=", f"Authorization: Bearer {MASK}"),
        ("authorization: bearer 0123456789", f"authorization: bearer {MASK}"),
        ("Project-Access-Token: 0a1b2c3d-4e5f-6789", f"Project-Access-Token: {MASK}"),
    ],
)
def test_password_or_token_is_masked_and_the_rest_is_kept(text: str, expected: str) -> None:
    assert Redactor()(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/api/health",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000/users/@me",
        "http://[::1]:8000/users/@me",
        '{"url":"http://h:1","mail":"a@b.example"}',
        "http://127.0.0.1:8000?mail=a@b.example",
        "http://localhost:8000 answers; write to team@example.com",
        "https://user@example.com/path",
        "waiting at 12:30 for team@example.com",
        '{"url": "http://h:1/x", "mail": "a@b.example"}',
        "the bearer of this letter",
        "sha256:0f343b0931126a20f133d67c2b018a3b",
    ],
)
def test_text_without_a_secret_is_kept_as_it_is(text: str) -> None:
    assert Redactor()(text) == text


# --- status lines and errors ---


@pytest.mark.parametrize(("kind", "mark"), [("ok", "✓"), ("fail", "✗"), ("warn", "!"), ("note", "·"), ("dim", " ")])
def test_status_goes_to_standard_error_with_its_mark(kind: str, mark: str, capsys: Any) -> None:
    _output.status(kind, "text")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{mark} text\n")


def test_error_prints_what_why_and_next_on_standard_error(capsys: Any) -> None:
    _output.error("it failed", problems=("one", "two"), hint="try again", output="line 1\nline 2\n")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it failed\n  - one\n  - two\n  | line 1\n  | line 2\n  next: try again\n"


def test_every_part_of_an_error_is_redacted(redact: Redactor, capsys: Any) -> None:
    redact.register("s3cret-token")
    redact.register("-----BEGIN KEY-----\nabc\n-----END KEY-----")
    leak = "s3cret-token"
    _output.error(leak, problems=(leak,), hint=leak, output=f"{leak}\n-----BEGIN KEY-----\nabc\n-----END KEY-----\n")
    printed = capsys.readouterr().err
    assert leak not in printed
    assert "abc" not in printed
    assert printed.count(MASK) == 5


def test_status_result_and_table_are_redacted(redact: Redactor, capsys: Any) -> None:
    redact.register("s3cret-token")
    _output.status("ok", "s3cret-token")
    _output.result("s3cret-token")
    _output.table(("token",), [("s3cret-token",)])
    captured = capsys.readouterr()
    assert "s3cret-token" not in captured.out + captured.err
    assert captured.out.count(MASK) == 2


@pytest.mark.parametrize(
    ("variables", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    variables: dict[str, str], terminal: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    _output.status("ok", "done", stream=stream)
    assert ("\x1b[" in stream.getvalue()) is coloured
    drawn = Terminal() if terminal else io.StringIO()
    _output.table(("heading",), [("cell",)], stream=drawn)
    assert ("\x1b[" in drawn.getvalue()) is coloured


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_stream_of_any_encoding_gets_its_line(encoding: str) -> None:
    raw, stream = narrow_stream(encoding)
    _output.status("ok", "Grüße 漢字 \udc80 done", stream=stream)
    _output.table(("name",), [("漢字 é \udc80 cell",)], stream=stream)
    assert b"done" in raw.getvalue()
    assert b"cell" in raw.getvalue()


# --- JSON ---

VALUE = {"url": "postgres://u:pa\"s's@db/x", "list": ['s3cret"\\token', 12345678, 1.5, None, True], "s3cret-key": {}}


def test_json_result_stays_json_whatever_is_masked(redact: Redactor, capsys: Any) -> None:
    for secret in ('s3cret"\\token', "12345678", "s3cret-key"):
        redact.register(secret)
    _output.result_json(VALUE)
    assert json.loads(capsys.readouterr().out) == {
        "url": f"postgres://u:{MASK}@db/x",
        "list": [MASK, MASK, 1.5, None, True],
        MASK: {},
    }


def test_json_result_keeps_the_types_of_what_is_no_secret(redact: Redactor, capsys: Any) -> None:
    value = {
        "text": "Grüße",
        "number": 3,
        "share": 0.5,
        "flag": False,
        "none": None,
        "rows": [{"a": 1}],
        "pair": [1, 2],
    }
    _output.result_json(value)
    assert json.loads(capsys.readouterr().out) == value


def test_json_result_renders_other_types_as_redacted_text(redact: Redactor, capsys: Any) -> None:
    class Address:
        def __str__(self) -> str:
            return "postgres://u:hunter2@db/x"

    _output.result_json({"address": Address(), "pair": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"address": f"postgres://u:{MASK}@db/x", "pair": [1, 2]}


def test_redacting_a_value_leaves_the_original_alone(redact: Redactor, capsys: Any) -> None:
    redact.register("s3cret-token")
    value = {"a": ["s3cret-token"]}
    _output.result_json(value)
    assert value == {"a": ["s3cret-token"]}


# --- tables ---


def test_table_shows_headings_and_cells_in_order() -> None:
    stream = io.StringIO()
    _output.table(("key", "value"), [("a", "1"), ("b", "2")], stream=stream)
    lines = [line.split() for line in stream.getvalue().splitlines()]
    assert lines[0] == ["key", "value"]
    assert lines[-2:] == [["a", "1"], ["b", "2"]]


def test_table_on_a_non_terminal_is_never_cut_or_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    cell = "sha256:" + "0123456789abcdef" * 60
    stream = io.StringIO()
    _output.table(("digest", "note"), [(cell, "kept")], stream=stream)
    assert any(cell in line and "kept" in line for line in stream.getvalue().splitlines())


@pytest.mark.parametrize("cell", ["[bold]x[/bold]", "a:100:b", ":warning:", "[/oops]"])
def test_table_shows_cells_literally(cell: str) -> None:
    stream = io.StringIO()
    _output.table(("cell",), [(cell,)], stream=stream)
    assert cell in stream.getvalue()


def test_table_without_rows_shows_its_headings(capsys: Any) -> None:
    _output.table(("release", "digest"), [])
    assert capsys.readouterr().out.split()[:2] == ["release", "digest"]


# --- figures ---


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (4.24, "4.2 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (119.7, "2 min 00 s"),
    ],
)
def test_duration_is_rendered_for_people(seconds: float, expected: str) -> None:
    assert _output.duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (14_200, "14.2 kB"),
        (3_100_000, "3.1 MB"),
        (5e9, "5.0 GB"),
    ],
)
def test_size_is_rendered_for_people(count: float, expected: str) -> None:
    assert _output.size(count) == expected


def test_importing_the_module_does_not_import_rich() -> None:
    import subprocess

    code = "import sys, fairlead._output; sys.exit(any(name.split('.')[0] == 'rich' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b[2Jgone\rover", "gone over"),
        ("\x9b2Jgone", "gone"),
        ("tab\tand \x00 nothing", "tab and   nothing"),
    ],
)
def test_foreign_text_obeys_no_terminal(text: str, shown: str) -> None:
    assert _output.printable(text) == shown


def test_what_nobody_reads_any_more_is_no_error(tmp_path: Path) -> None:
    program = (
        "import sys; from fairlead import _output\n"
        "for _ in range(20000): _output.result('a line that nobody reads')\n"
        "_output.status('ok', 'and on to the end')\n"
        f"open({str(tmp_path / 'end')!r}, 'w').write('reached')\n"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "a line that nobody reads\n"
    assert "✓ and on to the end" in done.stderr
    assert (tmp_path / "end").read_text() == "reached"
