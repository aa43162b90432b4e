"""What `act` guarantees to every act, and what it refuses."""

import logging
import signal

import pytest
from invoke.context import Context
from invoke.exceptions import Exit, ParseError
from invoke.parser import Parser

from fairlead._output import MASK, redact
from fairlead.exceptions import ConfigurationError, Error, PreflightError
from fairlead.tasks import Act, act, load_acts
from fairlead.tasks._act import confirm
from fairlead.tasks.collection import as_task, namespace


def test_act_refuses_a_coroutine_function() -> None:
    async def deploy() -> None: ...

    with pytest.raises(TypeError, match="deploy is a coroutine function"):
        act()(deploy)  # type: ignore[arg-type]  # what mypy sees, a reader of Invoke's tasks may not


def test_act_refuses_an_int_without_a_default() -> None:
    def down(steps: int) -> None: ...

    with pytest.raises(TypeError, match="steps needs a default"):
        act(help={"steps": "how many"})(down)


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (Error("it broke", hint="mend it"), 1, ["error: it broke", "next: mend it"]),
        (ConfigurationError("bad file", problems=("a: no", "b: no")), 10, ["error: bad file", "- a: no", "- b: no"]),
        (PreflightError("refused", problems=("dirty",)), 17, ["error: refused", "- dirty"]),
    ],
)
def test_an_error_ends_with_its_exit_code_and_says_what_and_next(
    error: Error, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    @act()
    def failing() -> None:
        raise error

    assert failing.run({}) == code
    shown = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert shown == lines


def test_debug_shows_the_traceback_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    redact.register("canary-in-a-traceback")

    @act()
    def failing() -> None:
        raise ConfigurationError("bad file canary-in-a-traceback")

    assert failing.run({}, debug=True) == 10
    shown = capsys.readouterr().err
    assert "in failing" in shown
    assert f"error: bad file {MASK}" in shown
    assert "canary" not in shown


def test_invoke_shows_the_traceback_when_it_is_asked_to_debug(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    @act()
    def failing() -> None:
        raise ConfigurationError("bad file")

    with caplog.at_level(logging.DEBUG, logger="invoke"), pytest.raises(Exit):
        as_task(failing)(Context())
    assert "in failing" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    @act()
    def slow() -> None:
        raise KeyboardInterrupt

    assert slow.run({}) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_sigterm_ends_an_act_as_a_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned: list[str] = []

    @act()
    def slow() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append("up")

    before = signal.getsignal(signal.SIGTERM)
    code = slow.run({})
    assert (code, cleaned, capsys.readouterr().err) == (143, ["up"], "error: interrupted\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_pipe_that_breaks_within_an_act_does_not_pass_for_done() -> None:
    @act()
    def talking() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        talking.run({})


def test_confirmation_is_refused_where_nobody_can_be_asked() -> None:
    with pytest.raises(Error) as refused:
        confirm("Deploy?", auto_confirm=False)
    assert refused.value.exit_code == 16
    assert refused.value.hint == "pass --auto-confirm to say yes"


def test_auto_confirm_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    confirm("Deploy?", auto_confirm=True)
    assert capsys.readouterr().err == ""


def test_a_flag_in_a_positional_s_place_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    @act(positional=["slug"])
    def new(slug: str) -> None:
        raise AssertionError(slug)

    assert new.run({"slug": "--help"}) == 10
    assert "--help stands where the slug of new belongs" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "declared"), load_acts().items(), ids=list(load_acts()))
def test_every_act_explains_itself_and_each_of_its_options(name: str, declared: Act) -> None:
    assert declared.doc, f"{name} has no docstring"
    assert declared.doc.split("\n")[0].endswith((".", "?")), f"{name}: the first line is one sentence"
    undocumented = {option.flag for option in declared.options if not option.help}
    assert undocumented == set(), f"{name}: options without help"


@pytest.mark.parametrize("name", sorted(namespace.task_names))
def test_no_act_has_pre_or_post_tasks(name: str) -> None:
    assert list(namespace[name].pre) == []
    assert list(namespace[name].post) == []


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["rollback"], ""),
        (["rollback", "3"], "3"),
        (["rollback", "--env", "staging", "v1.2.3", "--json"], "v1.2.3"),
        (["rollback", "3", "releases"], "3"),
    ],
)
def test_a_positional_that_may_be_left_out_is_read_by_invoke(words: list[str], given: str) -> None:
    parsed = Parser(contexts=namespace.to_contexts()).parse_argv(words)
    release = parsed[0].args["release"].value
    assert (release or "") == given
    assert [context.name for context in parsed] == [word for word in words if word in {"rollback", "releases"}]


def test_a_positional_that_was_left_out_has_its_default() -> None:
    seen: list[str] = []

    @act(positional=["release"])
    def back(release: str = "the last") -> None:
        seen.append(release)

    as_task(back)(Context(), release=None)
    as_task(back)(Context(), release="3")
    assert seen == ["the last", "3"]


def test_a_number_that_is_none_is_told_by_invoke() -> None:
    with pytest.raises(ParseError, match="--lock-wait takes a number, not 'soon'"):
        Parser(contexts=namespace.to_contexts()).parse_argv(["migrate", "--lock-wait", "soon"])
    (parsed,) = Parser(contexts=namespace.to_contexts()).parse_argv(["migrate", "--lock-wait", "1.5"])
    assert parsed.args["lock-wait"].value == 1.5


def test_a_positional_that_must_be_given_is_asked_for_by_invoke() -> None:
    with pytest.raises(ParseError, match="required positional"):
        Parser(contexts=namespace.to_contexts()).parse_argv(["approve"])
