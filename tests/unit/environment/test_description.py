"""Only a whole description is taken; anything else is one clear message, which repeats nothing of what was printed."""

import json
from typing import Any

import pytest

from fairlead.environment.description import FORMAT, Problem, read_description, read_problems
from fairlead.exceptions import CommandError
from tests.unit.environment.described import description, document, variable


def test_a_description_is_read_with_its_defaults() -> None:
    found = description()
    assert [one.name for one in found.variables if one.required != "never"] == ["DATABASE_URL", "SIGNING_KEY"]
    level = found.find("log_level")
    assert level is not None
    assert (level.default, level.secret, level.required, level.read_by) == ("INFO", False, "never", None)
    assert found.find("LOG") is None
    assert found.groups == {"core": "The core", "pay": "Payments"}
    assert found.together == (("PAY_KEY", "PAY_SECRET"),)
    assert [section.title for section in found.closing] == ["Make a key"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "fairlead-settings/2"}, 'its "format" is not "fairlead-settings/1"'),
        ({"format": None}, 'its "format" is not'),
        ({"title": 5}, "title is not a text"),
        ({"title": " "}, "title is not a text"),
        ({"introduction": ["canary"]}, "introduction is not a text"),
        ({"groups": "canary"}, "groups is not a list of objects"),
        ({"groups": [{"name": "core"}]}, "groups[0].title is not a text"),
        ({"variables": {"canary": 1}}, "variables is not a list of objects"),
        ({"variables": ["canary"]}, "variables is not a list of objects"),
        ({"variables": [variable("canary")]}, "variables[0].name is not the name of a variable in capitals"),
        ({"variables": [variable("A-B")]}, "variables[0].name is not the name"),
        ({"variables": [variable("A"), variable("A")]}, "A is described twice"),
        ({"variables": [variable("A", group="canary")]}, "variables[0].group is none of the groups"),
        ({"variables": [variable("A", required="canary")]}, "variables[0].required is none of never, deployed, always"),
        ({"variables": [variable("A", secret="canary")]}, "variables[0].secret is neither true nor false"),
        ({"variables": [variable("A", default=5)]}, "variables[0].default is not a text"),
        ({"variables": [variable("A", expected=None)]}, "variables[0].expected is not a text"),
        ({"variables": [variable("A", purpose="can\nary")]}, "variables[0].purpose is not one line of text"),
        ({"variables": [variable("A", expected="\x1b[31mcanary")]}, "variables[0].expected is not one line of text"),
        ({"together": ["canary"]}, "together is not a list of lists of names"),
        ({"together": [[1]]}, "together is not a list of lists of names"),
        ({"together": [["STRANGER"]]}, "together names STRANGER, which is not described"),
        ({"closing": [{"title": "T"}]}, "closing[0].text is not a text"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CommandError) as caught:
        read_description(json.dumps(document(**changes)))
    assert says in caught.value.message
    assert "canary" not in f"{caught.value.message}{caught.value.output}"
    assert "[tool.fairlead.env] describe" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "canary", "[]", '"canary"', "{", "null", "[" * 100_000, '{"format": 1}'])
def test_garbage_is_one_clear_message(text: str) -> None:
    with pytest.raises(CommandError, match=r"what env\.describe printed cannot be understood: ") as caught:
        read_description(text)
    assert "canary" not in caught.value.message


def test_problems_are_read() -> None:
    problem = {"variable": "LOG_LEVEL", "kind": "malformed", "reason": "is malformed"}
    text = json.dumps({"format": FORMAT, "problems": [problem]})
    assert read_problems(text, known=description()) == (Problem("LOG_LEVEL", "malformed", "is malformed"),)
    assert read_problems(json.dumps({"format": FORMAT, "problems": []}), known=description()) == ()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({}, "problems is not a list"),
        ({"problems": None}, "problems is not a list"),
        ({"problems": [{"variable": "STRANGER", "kind": "missing", "reason": "x"}]}, "variable is not described"),
        ({"problems": [{"variable": "LOG_LEVEL", "kind": "canary", "reason": "x"}]}, "kind is none of"),
        ({"problems": [{"variable": "LOG_LEVEL", "kind": "missing"}]}, "reason is not a text"),
    ],
)
def test_an_answer_without_its_problems_is_no_answer(answer: dict[str, Any], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        read_problems(json.dumps({"format": FORMAT, **answer}), known=description())
