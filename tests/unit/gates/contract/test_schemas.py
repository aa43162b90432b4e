"""Every way in which one schema of a request or of an answer can break a client, and many in which it does not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from fairlead.exceptions import ConfigurationError
from fairlead.gates.contract.changes import Change
from fairlead.gates.contract.documents import Document
from fairlead.gates.contract.operations import compare
from tests.unit.gates.contract.schema_cases import CASES, Case


def document(direction: str, schema: Any, components: dict[str, Any]) -> Document:
    content = {"content": {"application/json": {"schema": schema}}}
    operation: dict[str, Any] = {"responses": {"200": {"description": "Done."}}}
    if direction == "request":
        operation["requestBody"] = content
    else:
        operation["responses"]["200"].update(content)
    return Document(
        "a document",
        {
            "openapi": "3.1.0",
            "info": {"title": "T", "version": "1.0.0"},
            "paths": {"/things": {"post": operation}},
            "components": {"schemas": components},
        },
    )


def differences(direction: str, old: Any, new: Any, components: Any = ({}, {})) -> tuple[Change, ...]:
    return compare(document(direction, old, components[0]), document(direction, new, components[1]))


def broken(direction: str, old: Any, new: Any, components: Any = ({}, {})) -> set[str]:
    found = differences(direction, old, new, components)
    assert {change.direction for change in found} <= {direction}
    return {change.rule for change in found if change.level != "compatible"}


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_schema_breaks_who_it_breaks(case: Case, direction: str, backwards: bool) -> None:
    pair = (case.new, case.old) if backwards else (case.old, case.new)
    components = case.components[::-1] if backwards else case.components
    assert broken(direction, *pair, components) == case.expected()[direction, backwards]


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_schema_never_breaks_against_itself(case: Case, direction: str) -> None:
    assert differences(direction, case.new, case.new, (case.components[1], case.components[1])) == ()


PLAIN = some.one_of(
    some.sampled_from([{}, {"type": "null"}, {"type": "boolean"}]),
    some.builds(lambda low, high: {"type": "integer", "minimum": low, "maximum": high}, *[some.integers(0, 3)] * 2),
    some.builds(lambda most: {"type": "string", "maxLength": most}, some.integers(0, 3)),
    some.builds(lambda values: {"enum": sorted(values)}, some.sets(some.sampled_from("abc"), min_size=1)),
)


def deeper(inside: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    names = some.sampled_from(["a", "b"])
    return some.one_of(
        some.builds(lambda items: {"type": "array", "items": items}, inside),
        some.builds(lambda options: {"anyOf": options}, some.lists(inside, min_size=1, max_size=2)),
        some.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
            some.dictionaries(names, inside, max_size=2),
        ),
    )


SCHEMAS = some.recursive(PLAIN, deeper, max_leaves=6)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(old=SCHEMAS, new=SCHEMAS)
def test_what_breaks_a_request_forwards_breaks_an_answer_backwards(old: Any, new: Any) -> None:
    unused = {"input-removed", "output-removed"}  # no question of which values are allowed
    assert bool(broken("request", old, new) - unused) == bool(broken("response", new, old) - unused)
    assert broken("request", old, old) == broken("response", new, new) == set()


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#/components/schemas/Missing"}, "which is not there"),
        ({"$ref": "https://example.org/schema"}, "outside the document"),
        ({"$ref": "#/components/schemas/Itself"}, "refers to itself"),
        ({"allOf": [{"$ref": "#/components/schemas/Loop"}]}, "refers to itself"),
        ([], "is not a schema"),
        ({"allOf": [{"anyOf": [{"maxLength": size} for size in range(30)]}] * 2}, "alternatives"),
    ],
)
def test_a_schema_that_cannot_be_compared_is_an_error(schema: Any, said: str) -> None:
    looping = {"$ref": "#/components/schemas/Itself"}
    components = {"Itself": looping, "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}]}}
    with pytest.raises(ConfigurationError, match=said):
        differences("request", schema, schema, (components, components))


def test_a_change_of_a_component_is_told_once_and_names_all_that_it_reaches() -> None:
    def both(kind: str) -> Document:
        made = document("response", {"$ref": "#/components/schemas/Thing"}, {"Thing": {"type": kind}})
        paths = {f"/{name}": made.content["paths"]["/things"] for name in "abcd"}
        return Document("a document", {**made.content, "paths": paths})

    (change,) = compare(both("string"), both("integer"))
    assert change.pointer == "/components/schemas/Thing"
    assert change.operations == ("POST /a", "POST /b", "POST /c", "POST /d")
    assert str(change).startswith(
        "POST /a, POST /b, POST /c and 1 more: response 200 · application/json: type was string"
    )


def test_what_was_added_is_told_quietly() -> None:
    old = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}
    new = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    found = differences("request", old, new)
    assert {change.level for change in found} == {"compatible"}
    assert {(change.rule, change.where.rpartition(" · ")[2]) for change in found} == {
        ("maxLength", "a"),
        ("required", "a"),
        ("input-added", "b"),
    }
    assert all(change.why == "" for change in found)
