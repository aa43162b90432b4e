"""Whatever the comparison lets pass holds for values too: a validator written by others is asked about each of them."""

from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as some

from fairlead.gates.contract.containment import Comparison, Flow
from fairlead.gates.contract.documents import Document, Node

ATOMS = (None, True, False, -1, 0, 1, 2, 2.5, 3, 1.0, "", "a", "b", "ab", "abc", "abcd")
VALUES: tuple[Any, ...] = (
    *ATOMS,
    *([], ["a"], ["a", "a"], [1], ["a", "b", "ab"], [["a"]], [{"a": 1}]),
    *({}, {"a": 1}, {"a": "a"}, {"a": None, "b": "b"}, {"b": 2}, {"c": True}, {"a": {"a": "a"}}, {"a": [1]}),
)
SIZES = some.integers(0, 3)


def keywords(kind: str, **choices: some.SearchStrategy[Any]) -> some.SearchStrategy[dict[str, Any]]:
    return some.fixed_dictionaries({"type": some.just(kind)}, optional=choices)


PLAIN = some.one_of(
    some.sampled_from([True, False, {}, {"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}]),
    keywords("integer", minimum=SIZES, exclusiveMaximum=SIZES, multipleOf=some.sampled_from([1, 2])),
    keywords("number", exclusiveMinimum=SIZES, maximum=SIZES, multipleOf=some.sampled_from([0.5, 1])),
    keywords("string", minLength=SIZES, maxLength=SIZES, pattern=some.sampled_from(["^a", "b$"])),
    some.fixed_dictionaries({"enum": some.lists(some.sampled_from(ATOMS), min_size=1, max_size=3)}),
    some.fixed_dictionaries({"const": some.sampled_from(ATOMS)}),
    some.fixed_dictionaries({"minLength": SIZES, "minimum": SIZES}),
)


def deeper(inside: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    lists = some.lists(inside, min_size=1, max_size=2)
    properties = some.dictionaries(some.sampled_from("ab"), inside, max_size=2)
    required = some.lists(some.sampled_from("ab"), unique=True, max_size=2)
    return some.one_of(
        keywords("array", items=inside, minItems=SIZES, maxItems=SIZES, uniqueItems=some.booleans()),
        some.builds(
            lambda common, further: {**common, "additionalProperties": further},
            keywords("object", properties=properties, required=required, maxProperties=SIZES),
            # Of an object that says nothing of further properties it is taken that clients send none.
            some.one_of(some.just(False), inside.filter(lambda schema: schema not in (True, {}))),
        ),
        some.fixed_dictionaries({"anyOf": lists}, optional={"maxLength": SIZES, "allOf": lists}),
        some.fixed_dictionaries({"not": inside}),
    )


SCHEMAS = some.recursive(PLAIN, deeper, max_leaves=5)
#: What a request of the old schema may hold and the new one refuses.
NO_QUESTION_OF_VALUES = {"input-removed", "default", "default-removed"}


def node(schema: Any) -> Node:
    return Node(Document("a document", {"schema": schema}), schema, "/schema")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(old=SCHEMAS, new=SCHEMAS, same=some.booleans())
def test_what_was_valid_stays_valid_where_nothing_is_found(old: Any, new: Any, same: bool) -> None:
    if same:
        new = {"anyOf": [new, old]}
    gaps = Comparison(Flow.REQUEST).gaps(node(old), node(new))
    if not [gap for gap in gaps if gap.rule not in NO_QUESTION_OF_VALUES]:
        before, after = jsonschema_rs.validator_for(old), jsonschema_rs.validator_for(new)
        assert [value for value in VALUES if before.is_valid(value) and not after.is_valid(value)] == []
