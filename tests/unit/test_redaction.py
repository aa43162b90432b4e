"""What is masked: every form that a secret is written in, what is known to be one, and nothing else.

What looks like a secret is put together when the tests run, so that no scanner finds one in this file.
"""

import ast
import base64
import contextlib
import html
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest

from fairlead import _output, config
from fairlead._process import run
from fairlead._redaction import MASK, Redactor, write_forms
from fairlead.exceptions import CommandError

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fairlead"
CANARY = "kanarienvogel-7c1f4be2d9"
SECRETS = {
    "plain": CANARY,
    "with signs": "p@ss/w+rd=?&#%é'\"\\ 1",
    "in several lines": "first line of it\nsecond-line/of+it\r\nthe last line",
    "with quotes": 'it\'s "quoted" <here> & there',
    "of letters that no UTF-8 has": "half-a-pair-\udc80-of-it",
    "ending in a newline": "read-from-a-file-3f\n",
}
#: How programs write down what they are given.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "quoted for a URL": lambda secret: quote(secret, safe="", errors="replace"),
    "quoted for a path": lambda secret: quote(secret, errors="replace"),
    "quoted in small letters": lambda secret: re.sub(
        "%..", lambda found: found[0].lower(), quote(secret, safe="", errors="replace")
    ),
    "quoted for a form": lambda secret: quote_plus(secret, errors="replace"),
    "in a query": lambda secret: urlencode({"x": secret}, errors="replace"),
    "in JSON": lambda secret: json.dumps({"x": [secret]}),
    "in JSON with all letters": lambda secret: json.dumps(secret, ensure_ascii=False),
    "as Python writes it": repr,
    "as Python writes its bytes": lambda secret: repr(secret.encode("utf-8", "replace")),
    "in XML": lambda secret: html.escape(secret, quote=False),
    "in HTML": html.escape,
    "in base64": lambda secret: base64.b64encode(secret.encode("utf-8", "replace")).decode(),
    "in base64 for a URL": lambda secret: base64.urlsafe_b64encode(secret.encode("utf-8", "replace")).decode(),
}


def joined(*parts: str) -> str:
    return "".join(parts)


# --- secrets that were registered ---


@pytest.mark.parametrize("how", ENCODINGS)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secret_is_masked_however_it_is_written(secret: str, how: str) -> None:
    redactor = Redactor()
    redactor.register(secret)
    written = ENCODINGS[how](secret)
    shown = redactor(f"before {written} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert MASK in shown
    for part in (written, secret, *secret.split()):
        assert part not in shown or len(part) < 6


@pytest.mark.parametrize("user", ["", "u", "me", "bob", "user", "somebody@example.com"])
@pytest.mark.parametrize("secret", [SECRETS["plain"], SECRETS["with signs"], "sixsix", "seven77", "eight888"])
def test_password_is_masked_within_the_base64_of_user_and_password(user: str, secret: str) -> None:
    redactor = Redactor()
    redactor.register(secret)
    written = base64.b64encode(f"{user}:{secret}:and more".encode()).decode()
    shown = redactor(f"x={written}")
    assert MASK in shown
    kept = shown.removeprefix("x=").partition(MASK)[0]
    decoded = base64.b64decode(kept[: len(kept) // 4 * 4])
    assert secret.encode()[:3] not in decoded


def test_secret_is_masked_where_a_table_breaks_it() -> None:
    from rich.console import Console
    from rich.table import Table

    secret = CANARY + "-of-many-letters"
    drawn = Table()
    drawn.add_column("name")
    drawn.add_column("value", max_width=9, overflow="fold")
    drawn.add_row("first", f"it is {secret}, and on")
    stream = io.StringIO()
    Console(file=stream, width=60).print(drawn)
    redactor = Redactor()
    redactor.register(secret)
    assert secret not in stream.getvalue()
    shown = redactor(stream.getvalue())
    assert MASK in shown
    assert "first" in shown
    assert not [part for part in ("kan", "vogel", "7c1", "4be", "any-let", "ters") if part in shown]


def test_secret_of_several_lines_is_masked_where_each_is_indented() -> None:
    redactor = Redactor()
    redactor.register(SECRETS["in several lines"])
    assert redactor("  | first line of it\n  | second-line/of+it\n  | the last line") == f"  | {MASK}"


@pytest.mark.parametrize("line", ["first line of it", "second-line/of+it", "the last line"])
def test_each_line_of_a_secret_is_masked_by_itself(line: str) -> None:
    redactor = Redactor()
    redactor.register(SECRETS["in several lines"])
    assert redactor(f"2026 {line}") == f"2026 {MASK}"


def test_secrets_that_overlap_leave_nothing_between_them() -> None:
    redactor = Redactor()
    for secret in ("abcdefgh", "efghijkl", "defghi"):
        redactor.register(secret)
    assert redactor("1 abcdefghijkl 2") == f"1 {MASK} 2"


def test_secret_that_is_registered_later_is_masked_from_then_on() -> None:
    redactor = Redactor()
    redactor.register("the first one")
    assert redactor("the second one") == "the second one"
    redactor.register("the second one")
    assert redactor("the first one, the second one") == f"{MASK}, {MASK}"


def test_secrets_are_registered_while_others_are_masked() -> None:
    redactor = Redactor()
    failed: list[str] = []

    def work(number: int) -> None:
        for turn in range(10):
            secret = f"secret-of-{number}-and-{turn}!"
            redactor.register(secret)
            if secret in redactor(f"it is {secret}"):
                failed.append(secret)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_no_form_of_a_secret_is_so_short_that_it_stands_by_chance() -> None:
    assert min(len(form) for form in write_forms("sixsix")) == 6
    assert len({form for form in write_forms("sixsix") if form != "sixsix"}) <= 4


# --- what is known to be a secret ---

LETTERS = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA"
KEY = joined("-----BEGIN RSA PRIVATE", " KEY-----\nMIIEow/+\n", "IBAAKC==\n-----END RSA PRIVATE", " KEY-----")
KNOWN = {
    "Anthropic": joined("sk-", "ant-", "api03-", LETTERS),
    "OpenAI": joined("sk-", "proj-", LETTERS),
    "Stripe live": joined("sk_", "live_", LETTERS),
    "Stripe restricted": joined("rk_", "test_", LETTERS),
    "Stripe webhook": joined("wh", "sec_", LETTERS),
    "GitHub": joined("gh", "p_", LETTERS),
    "GitHub Actions": joined("gh", "s_", LETTERS),
    "GitHub fine-grained": joined("github", "_pat_", LETTERS),
    "GitLab": joined("gl", "pat-", LETTERS),
    "Slack": joined("xo", "xb-", "123456789012-", LETTERS),
    "AWS": joined("AK", "IA", "IOSFODNN7ABCDEFG"),
    "Google API": joined("AI", "za", LETTERS, "abc"),
    "Google access": joined("ya", "29.", LETTERS),
    "Google refresh": joined("1/", "/", LETTERS),
    "SendGrid": joined("SG", ".", LETTERS, ".", LETTERS),
    "Twilio": joined("S", "K", "0123456789abcdef" * 2),
    "npm": joined("np", "m_", LETTERS),
    "PyPI": joined("pypi-", "AgE", LETTERS),
    "JSON web token": joined("ey", "JhbGciOiJIUzI1NiJ9", ".ey", "JzdWIiOiIxIn0", ".", LETTERS),
    "private key": KEY,
    "private key in JSON": json.dumps(KEY)[1:-1],
}


@pytest.mark.parametrize("form", ["{}", "it is {}.", '{{"x": "{}"}}', "x={}", "({})", "/path?x={}&y=1"])
@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
def test_known_kind_of_secret_is_masked_unregistered(known: str, form: str) -> None:
    shown = Redactor()(form.format(known))
    assert MASK in shown
    assert known[12:20] not in shown
    assert shown.replace(MASK, "")[:1] == form.format("")[:1]


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ("Authorization: Basic ", joined("dXNlcjpo", "dW50ZXIy"), ""),
        ("authorization: token ", "0123456789", ""),
        ('"Authorization": "', "0123456789abcdef", '"'),
        ("basic ", joined("dXNlcjpo", "dW50ZXIy"), " again"),
        ("Set-Cookie: session=", "0123456789abc", "; HttpOnly"),
        ("DATABASE_PASSWORD=", "hunter2", " next"),
        ("host=db password='", "two words", "' dbname=x"),
        ("JWT_SECRET_KEY=", "a-b-c", "\nNEXT=1"),
        ("STRIPE_KEY=", "a-b-c", ""),
        ("export STRIPE_API_KEY='", "abc", "'"),
        ("https://example.com/?access_token=", "abcdef", "&page=2"),
        ('{"password": "', 'ab\\"cd', '", "name": "x"}'),
        ('{\\"client_secret\\": \\"', "abcd", '\\"}'),
        ("{'token': '", "abc", "', 'kind': 'x'}"),
        ("X-Api-Key: ", "0a1b2c3d4e", ""),
        ("token: ", "0a1b2c3d-4e5f-6789-aaaa-bbbbbbbbbbbb", ", and so on"),
        ("RAILWAY_TOKEN=", "0a1b2c3d-4e5f-6789-aaaa-bbbbbbbbbbbb", ""),
        ("CREATE ROLE app PASSWORD '", "hunter2", "';"),
        ("Possible hardcoded password: '", "hunter2", "'"),
        ("İ password = '", "hunter2", "' İ"),
        ("https://hooks.slack.com/services/", "T000/B000/XXXXXXXX", " is told"),
    ],
)
def test_value_behind_a_telling_name_is_masked_and_the_rest_is_kept(before: str, secret: str, after: str) -> None:
    assert Redactor()(f"{before}{secret}{after}") == f"{before}{MASK}{after}"


@pytest.mark.parametrize(
    "text",
    [
        "sha256:0f343b0931126a20f133d67c2b018a3b0f343b0931126a20f133d67c2b018a3b",
        "token: sha256:0f343b0931126a20f133d67c2b018a3b",
        "--hash=sha256:0f343b0931126a20f133d67c2b018a3b",
        "revision 4d9003200c4be2d97c1f4be2d97c1f4be2d97c1f",
        "deployment 0a1b2c3d-4e5f-6789-aaaa-bbbbbbbbbbbb is SUCCESS",
        '"integrity": "sha512-' + LETTERS * 2 + '=="',
        "approval fairlead-approval.v1.eyJhcHByb3ZlciI6Im1lIn0.0123456789abcdef0123456789abcdef0123456789a",
        "tool.fairlead.environments.staging.token: unknown key; did you mean token-env?",
        'token-env = "SHOP_TOKEN"',
        '{"token": "SHOP_TOKEN"}',
        "pass GITHUB_TOKEN: ${{ github.token }}",
        "export RAILWAY_TOKEN=$OTHER",
        "JWT_SECRET_KEY: is too short",
        "SECRET_KEY: 32 characters or more",
        "RAILWAY_TOKEN is not set",
        "basic authentication is on, as are basic settings",
        "Authorization: required",
        "def login(token: str, password=None, secret=True):",
        "if token == other: pass",
        "postgresql://user@host:5432/database",
        "Hardcoded secret: backend/app/auth1.py:12",
        "max_tokens=1024 passwords: 3 keys: 12",
        "PWD=/home/me",
        "sort_key=name cache_key='abc' primary key: 12ab34cd56",
        "secret=<the secret> password=… token=",
        "risk-ant-hill, task-force, scikit",
        "2026-11-21T16:47:41Z the token: 2026-11-21 it was made",
    ],
)
def test_what_only_looks_like_a_secret_is_kept(text: str) -> None:
    assert Redactor()(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *KNOWN.values(),
        'password="abc"',
        "token=abc&x",
        joined("https://u", ":pass@h/x"),
        "bearer abcdefgh1",
        "a secret: é",
    ],
)
def test_what_was_masked_is_not_changed_by_masking_it_again(text: str) -> None:
    redactor = Redactor()
    redactor.register("abcdefgh1")
    once = redactor(text)
    assert redactor(once) == once


@pytest.mark.parametrize("password", ["plain-one", 'with "quotes"', "back\\slash", "a,b}c]d"])
def test_masked_json_is_json_still(password: str) -> None:
    text = json.dumps({"password": password, "nested": json.dumps({"token": password}), "kept": [1, "two"]})
    found = json.loads(Redactor()(text))
    assert (found["password"], found["kept"]) == (MASK, [1, "two"])
    assert json.loads(found["nested"]) == {"token": MASK}


@pytest.mark.parametrize(
    "part",
    [
        "token:",
        "password=\\",
        'secret="',
        joined("-----BEGIN PRIVATE", " KEY-----"),
        "://a:",
        "eyJaaaaaaaa.",
        " | ",
        "bearer ",
        "xoxb-",
    ],
)
def test_text_made_to_be_slow_takes_no_more_steps_than_its_length_says(part: str) -> None:
    """A form that looks again at what it has seen would take hours here, and the test's own deadline would end it."""
    text = part * (300_000 // len(part))
    program = "import sys; from fairlead._redaction import redact; print(len(redact(sys.stdin.read())))"
    done = run([sys.executable, "-c", program], cwd=ROOT, stdin=text, timeout=60)
    assert int(done.stdout) > 0


# --- places ---


def test_output_of_a_command_is_masked_before_it_is_cut(tmp_path: Path) -> None:
    _output.redact.register(CANARY)
    program = f"print({CANARY!r} + 'x' * 3990); raise SystemExit(1)"
    with pytest.raises(CommandError) as caught:
        run([sys.executable, "-c", program])
    assert len(caught.value.output) >= 3990
    assert "7c1f4be2d9" not in caught.value.output


def test_heading_annotation_and_progress_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    _output.redact.register("kanarienvogel")
    _output.table(("kanarienvogel",), [("x",)])
    _output.live("kanarienvogel\r")
    _output.result("kanarienvogel", end="")
    assert "kanarienvogel" not in _output.annotation("error", "it is\nkanarienvogel", path="kanarienvogel.py", line=1)
    assert "kanarienvogel" not in "".join(capsys.readouterr())


def test_what_is_asked_for_by_name_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    _output.redact.register("kanarienvogel")
    _output.reveal("kanarienvogel")
    assert capsys.readouterr().out == "kanarienvogel\n"


@pytest.mark.parametrize("where", ["raise_it()", "t = threading.Thread(target=raise_it); t.start(); t.join()"])
def test_error_that_nobody_expected_shows_no_secret(where: str) -> None:
    program = (
        "import threading; from fairlead import _output; _output.guard_tracebacks()\n"
        "secret = '-'.join(('kanarien', 'vogel')); _output.redact.register(secret)\n"
        f"def raise_it(): raise RuntimeError('it is ' + secret)\n{where}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"RuntimeError: it is {MASK}" in done.stderr
    assert "raise_it" in done.stderr
    assert "kanarien-vogel" not in done.stderr
    assert (done.returncode != 0) is (where == "raise_it()")


def test_secrets_are_known_by_the_names_of_their_variables(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "shop"\n', "utf-8")
    guessed = dict.fromkeys(("SOME_API_KEY", "jwt_secret", "RAILWAY_TOKEN"), CANARY)
    address = {"OTHER_DATABASE": joined("postgres://u", ":kanarien%2Fdatabase@h/x")}
    known = {"PGPASSWORD": "postgres", "KEYBOARD": "not-a-secret-at-all", "PLACE": "https://example.com/not-a-secret"}
    environ = {**guessed, **address, **known}
    config.load(tmp_path, environ=environ)
    shown = _output.redact(" ".join([*environ.values(), "kanarien/database"]))
    assert "kanarien" not in shown
    assert shown.count("not-a-secret") == 2
    assert "postgres" in shown


#: Who prints or logs without going through `_output`, and why it may.
OWNERS = {
    "_output.py": "owns what is printed",
    "tasks/collection.py": "asks Invoke's logger whether --debug was given",
    "gates/performance/generator.py": "hands its figures to the process that started it",
    "migrations/_alembic_program.py": "runs in a process of its own, whose output is read and masked",
    "localplatform/daemon.py": "owns the platform's log, whose every line is masked",
    **{
        f"localplatform/{name}.py": "logs through the handler that the daemon sets up"
        for name in ("answers", "api", "processes", "proxy", "server", "serving", "supervisor", "tunnels")
    },
}
_LOUD = {"print", "breakpoint", "pprint"}
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
#: A module with none of these has nothing to print with, and need not be read closely.
_WORDS = re.compile(r"\bsys\b|\blogging\b|\btraceback\b|print|breakpoint")


def _find_loud(tree: ast.AST) -> set[str]:
    """Return what a module prints or logs with."""
    found: set[str] = set()
    # Whether somebody looks at a stream may be asked of it.
    asked = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "isatty"}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _LOUD:
                found.add(name)
            case ast.Attribute(value=ast.Name(id="sys"), attr=stream) if stream in _STREAMS and id(node) not in asked:
                found.add(f"sys.{stream}")
            case ast.Attribute(value=ast.Name(id="traceback"), attr=attribute) if attribute.startswith("print"):
                found.add(f"traceback.{attribute}")
            case ast.Import(names=names):
                found |= {one.name for one in names if one.name.partition(".")[0] in {"logging", "pprint"}}
            case ast.ImportFrom(module="logging" | "sys", names=names):
                found |= {one.name for one in names if one.name in _STREAMS or node.module == "logging"}
    return found


def test_nothing_is_printed_past_the_redactor() -> None:
    loud = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text("utf-8")
        if _WORDS.search(text) and (found := _find_loud(ast.parse(text))):
            loud[file.relative_to(PACKAGE).as_posix()] = found
    assert {name: found for name, found in loud.items() if name not in OWNERS} == {}
    assert set(OWNERS) - set(loud) == set(), "no longer needed"


@pytest.mark.parametrize(
    "code",
    [
        "print('x')",
        "import sys\nsys.stdout.write('x')",
        "import sys\nsys.stderr.buffer.write(b'x')",
        "import sys\nstream = sys.stdout",
        "import sys\nprinter(file=sys.stderr)",
        "from sys import stderr",
        "import logging",
        "from logging import getLogger",
        "import traceback\ntraceback.print_exc()",
        "def f():\n    import logging.config",
        "from pprint import pprint\npprint(1)",
    ],
)
def test_whatever_prints_is_seen(code: str) -> None:
    assert _WORDS.search(code)
    assert _find_loud(ast.parse(code))


def test_a_stream_may_be_asked_whether_it_is_a_terminal() -> None:
    assert _find_loud(ast.parse("import sys\nlive = sys.stderr.isatty()")) == set()


def test_masking_needs_little_to_start() -> None:
    code = (
        "import sys, fairlead._redaction as r; r.redact('a line of a log');"
        "sys.exit(any(name in sys.modules for name in ('json', 'base64', 'urllib.parse', 'logging')))"
    )
    with contextlib.chdir(ROOT):
        assert subprocess.run([sys.executable, "-S", "-c", code], check=False).returncode == 0
