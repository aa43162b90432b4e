"""Pairs of schemas, and which rules their difference breaks in each direction and each way round."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OPEN = {"type": "object"}
STRING, INTEGER, NUMBER, NULL = ({"type": name} for name in ("string", "integer", "number", "null"))
NAMED: dict[str, Callable[[Any], Any]] = {
    "not": lambda properties: {"properties": properties},
    "patternProperties": lambda properties: properties,
    "dependentSchemas": lambda properties: properties,
}
TREE = {
    "type": "object",
    "properties": {"name": STRING, "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    "required": ["name"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Case:
    """Two schemas. `request` and `response` are the rules that break from old to new, `back_*` those from new to old.

    Whatever narrows what is taken widens what is given when it is read backwards, so `back_response` is `request` and
    `back_request` is `response` unless a case says otherwise.
    """

    name: str
    old: Any
    new: Any
    request: str = ""
    response: str = ""
    back_request: str | None = None
    back_response: str | None = None
    components: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def expected(self) -> dict[tuple[str, bool], set[str]]:
        back_request = self.response if self.back_request is None else self.back_request
        back_response = self.request if self.back_response is None else self.back_response
        return {
            ("request", False): set(self.request.split()),
            ("response", False): set(self.response.split()),
            ("request", True): set(back_request.split()),
            ("response", True): set(back_response.split()),
        }


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    return {**opened(*required, **properties), "additionalProperties": False}


def opened(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def array(**keywords: Any) -> dict[str, Any]:
    return {"type": "array", "items": STRING, **keywords}


CASES = (
    # The same, written in another way: nothing breaks.
    Case("a title and a description", STRING, {"type": "string", "title": "T", "description": "D", "examples": ["x"]}),
    Case("null in two ways", {"anyOf": [STRING, NULL]}, {"type": ["null", "string"]}),
    Case("nullable as OpenAPI 3.0 has it", {"type": "string", "nullable": True}, {"type": ["string", "null"]}),
    Case("const and an enum of one", {"const": "a"}, {"enum": ["a"], "type": "string"}),
    Case("an enum split in two", {"enum": ["a", "b"]}, {"anyOf": [{"enum": ["a"]}, {"const": "b"}]}),
    Case("both booleans by name", {"type": "boolean"}, {"type": "boolean", "enum": [False, True]}),
    Case("allOf of parts", {"type": "string", "minLength": 1}, {"allOf": [STRING, {"minLength": 1}]}),
    Case("an exclusive bound of integers", {**INTEGER, "minimum": 1}, {**INTEGER, "exclusiveMinimum": 0}),
    Case(
        "a bound as OpenAPI 3.0 has it",
        {**NUMBER, "exclusiveMinimum": 0},
        {**NUMBER, "minimum": 0, "exclusiveMinimum": True},
    ),
    Case("a format that only says how to show it", STRING, {"type": "string", "format": "password"}),
    Case("an extension", STRING, {"type": "string", "x-order": 3}),
    Case(
        "a reference for what stood there",
        STRING,
        {"$ref": "#/components/schemas/Text"},
        components=({}, {"Text": STRING}),
    ),
    Case("anything in two ways", {}, True, components=({}, {})),
    # Types
    Case("another type", STRING, INTEGER, request="type", response="type"),
    Case("integer to number", INTEGER, NUMBER, response="type"),
    Case("null allowed", STRING, {"type": ["string", "null"]}, response="type"),
    Case("an alternative more", STRING, {"anyOf": [STRING, INTEGER]}, response="type"),
    Case("oneOf instead of anyOf", {"anyOf": [STRING, INTEGER]}, {"oneOf": [STRING, INTEGER]}),
    Case("a type for anything", {}, STRING, request="type"),
    Case("nothing at all", STRING, False, request="type"),
    Case("an array for one", STRING, array(), request="type", response="type"),
    # Listed values
    Case("a value more", {"enum": ["a"]}, {"enum": ["a", "b"]}, response="values"),
    Case(
        "a value more, and the list is open",
        {"enum": ["a"], "x-extensible-enum": True},
        {"enum": ["a", "b"], "x-extensible-enum": True},
        back_request="values",
    ),
    Case("a value replaced", {"enum": ["a"]}, {"enum": ["b"]}, request="values", response="values"),
    Case("a list for any text", STRING, {"enum": ["a"]}, request="values"),
    Case("a list for a range that holds it", {**INTEGER, "maximum": 9}, {"enum": [1, 2]}, request="values"),
    Case(
        "a list for a range that does not",
        {**INTEGER, "maximum": 1},
        {"enum": [1, 2]},
        request="values",
        response="values",
    ),
    Case("a list for a pattern", {"type": "string", "pattern": "^a"}, {"enum": ["ab"]}, request="values"),
    Case(
        "a list for a length of none",
        {"type": "string", "maxLength": 0},
        {"enum": ["a"]},
        request="values",
        response="values",
    ),
    Case("one boolean", {"type": "boolean"}, {"const": True}, request="values"),
    Case("a value by both keywords", {"enum": ["a", "b"]}, {"enum": ["a", "b"], "const": "a"}, request="values"),
    Case("a number written in another way", {"enum": [1]}, {"enum": [1.0]}),
    Case("a number without end", {"enum": [10**400]}, {"enum": [10**400, 1]}, response="values"),
    Case("a value of another type", {"enum": ["a"]}, {"enum": ["a", 1]}, response="type"),
    # Numbers
    Case("a higher minimum", {**INTEGER, "minimum": 1}, {**INTEGER, "minimum": 2}, request="minimum"),
    Case("a new minimum", NUMBER, {**NUMBER, "minimum": 0}, request="minimum"),
    Case(
        "a minimum that became exclusive",
        {**NUMBER, "minimum": 0},
        {**NUMBER, "exclusiveMinimum": 0},
        request="minimum",
    ),
    Case("a lower maximum", {**NUMBER, "maximum": 2.5}, {**NUMBER, "maximum": 2}, request="maximum"),
    Case(
        "a maximum that became exclusive",
        {**NUMBER, "maximum": 9},
        {**NUMBER, "exclusiveMaximum": 9},
        request="maximum",
    ),
    Case("coarser steps", {**NUMBER, "multipleOf": 0.01}, {**NUMBER, "multipleOf": 0.1}, request="multipleOf"),
    Case("steps of one for integers", INTEGER, {**INTEGER, "multipleOf": 1}),
    Case(
        "steps that do not fit each other",
        {**INTEGER, "multipleOf": 2},
        {**INTEGER, "multipleOf": 3},
        request="multipleOf",
        response="multipleOf",
    ),
    Case("a wider format", {**INTEGER, "format": "int32"}, {**INTEGER, "format": "int64"}, response="format"),
    # Texts
    Case(
        "a longer least length",
        {"type": "string", "minLength": 1},
        {"type": "string", "minLength": 2},
        request="minLength",
    ),
    Case(
        "a shorter most length",
        {"type": "string", "maxLength": 9},
        {"type": "string", "maxLength": 8},
        request="maxLength",
    ),
    Case("a new most length", STRING, {"type": "string", "maxLength": 8}, request="maxLength"),
    Case("a new pattern", STRING, {"type": "string", "pattern": "^a"}, request="pattern"),
    Case(
        "another pattern",
        {"type": "string", "pattern": "^a"},
        {"type": "string", "pattern": "^b"},
        request="pattern",
        response="pattern",
    ),
    Case("a new format", STRING, {"type": "string", "format": "uuid"}, request="format"),
    Case(
        "another format",
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        request="format",
        response="format",
    ),
    # Arrays
    Case("other items", array(), array(items=INTEGER), request="type", response="type"),
    Case("items of any kind", array(), {"type": "array"}, response="type"),
    Case("narrower items", array(), array(items={"type": "string", "maxLength": 3}), request="maxLength"),
    Case("more items at least", array(), array(minItems=1), request="minItems"),
    Case("fewer items at most", array(maxItems=5), array(maxItems=4), request="maxItems"),
    Case("items of which no two are equal", array(), array(uniqueItems=True), request="uniqueItems"),
    Case("no items at all", array(), array(maxItems=0), request="maxItems"),
    Case("items that are none in any case", array(maxItems=0), array(maxItems=0, items=INTEGER)),
    # Objects
    Case(
        "an optional property more",
        opened(a=STRING),
        opened(a=STRING, b=STRING),
        back_request="input-removed",
        back_response="output-removed",
    ),
    Case(
        "an optional property more, closed",
        closed(a=STRING),
        closed(a=STRING, b=STRING),
        response="closed",
        back_request="refused",
        back_response="output-removed",
    ),
    Case(
        "a required property more",
        opened(a=STRING),
        opened("b", a=STRING, b=STRING),
        request="required",
        back_request="input-removed",
        back_response="required",
    ),
    Case("a property that became required", opened(a=STRING), opened("a", a=STRING), request="required"),
    Case("a property of another type", opened(a=STRING), opened(a=INTEGER), request="type", response="type"),
    Case("a narrower property", opened(a=STRING), opened(a={"type": "string", "maxLength": 3}), request="maxLength"),
    Case(
        "a property that was renamed",
        opened(a=STRING),
        opened(b=STRING),
        request="input-removed",
        response="output-removed",
        back_request="input-removed",
        back_response="output-removed",
    ),
    Case("no further properties", opened(a=STRING), closed(a=STRING), request="closed"),
    Case("further properties of one type", OPEN, {"type": "object", "additionalProperties": INTEGER}, request="type"),
    Case(
        "further properties of another type",
        {"type": "object", "additionalProperties": INTEGER},
        {"type": "object", "additionalProperties": STRING},
        request="type",
        response="type",
    ),
    Case(
        "further properties where there were none",
        closed(),
        {"type": "object", "additionalProperties": STRING},
        response="closed",
    ),
    Case(
        "a declared property among typed ones",
        {"type": "object", "additionalProperties": INTEGER},
        {**opened(a=STRING), "additionalProperties": INTEGER},
        request="type",
        response="type",
    ),
    Case("more properties at least", OPEN, {"type": "object", "minProperties": 1}, request="minProperties"),
    Case("fewer properties at most", OPEN, {"type": "object", "maxProperties": 3}, request="maxProperties"),
    Case(
        "a property that only comes back",
        opened(),
        opened("a", a={"type": "string", "readOnly": True}),
        back_response="required",
    ),
    Case(
        "a property that is only sent",
        opened(),
        opened("a", a={"type": "string", "writeOnly": True}),
        request="required",
        back_request="input-removed",
        back_response="",
    ),
    Case(
        "a property that is not sent any longer",
        opened(a=STRING),
        opened(a={"type": "string", "readOnly": True}),
        request="input-removed",
        back_response="",
    ),
    Case(
        "a required property that is sent from now on",
        opened("a", a={"type": "string", "readOnly": True}),
        opened("a", a={"const": 1}),
        request="required",
        response="type",
        back_request="input-removed",
        back_response="type",
    ),
    Case(
        "a required property that does not come back any longer",
        opened("a", a=STRING),
        opened("a", a={"allOf": [{"$ref": "#/components/schemas/Sent"}]}),
        response="required",
        back_request="",
        components=({}, {"Sent": {"type": "string", "writeOnly": True}}),
    ),
    Case(
        "deep inside",
        opened(a=array(items=opened(b=STRING))),
        opened(a=array(items=opened(b=INTEGER))),
        request="type",
        response="type",
    ),
    # Defaults: only what is left out in a request meets one.
    Case(
        "another default",
        opened(a={**INTEGER, "default": 1}),
        opened(a={**INTEGER, "default": 2}),
        request="default",
        back_request="default",
        back_response="",
    ),
    Case(
        "another default, behind allOf",
        opened(a={"allOf": [{"$ref": "#/components/schemas/Size"}]}),
        opened(a={"allOf": [{"$ref": "#/components/schemas/Size"}]}),
        request="default",
        back_request="default",
        back_response="",
        components=({"Size": {**INTEGER, "default": 1}}, {"Size": {**INTEGER, "default": 2}}),
    ),
    Case("another default that nobody meets", opened("a", a={**INTEGER, "default": 1}), opened("a", a=INTEGER)),
    Case("a new default", opened(a=INTEGER), opened(a={**INTEGER, "default": 2}), back_request="default-removed"),
    # Alternatives
    Case(
        "one object of two",
        {"oneOf": [closed("a", a=STRING), closed("b", b=STRING)]},
        closed("a", a=STRING),
        request="required refused",
        back_response="required closed",
    ),
    Case(
        "alternatives in another order",
        {"anyOf": [closed("a", a=STRING), closed("b", b=STRING)]},
        {"anyOf": [closed("b", b=STRING), closed("a", a=STRING)]},
    ),
    Case(
        "a limit beside alternatives",
        {"anyOf": [STRING, NULL]},
        {"anyOf": [STRING, NULL], "maxLength": 5},
        request="maxLength",
    ),
    Case(
        "properties of allOf taken together",
        {"allOf": [opened(a=STRING), opened("b", b=STRING)]},
        opened("b", a=STRING, b=STRING),
    ),
    Case(
        "a limit that allOf adds",
        opened(a=STRING),
        {"allOf": [opened(a=STRING), opened(a={"maxLength": 2})]},
        request="maxLength",
    ),
    # References that lead back to where they came from
    Case(
        "a tree that stays as it is",
        {"$ref": "#/components/schemas/Tree"},
        {"$ref": "#/components/schemas/Tree"},
        components=({"Tree": TREE}, {"Tree": TREE}),
    ),
    Case(
        "a tree with a narrower leaf",
        {"$ref": "#/components/schemas/Tree"},
        {"$ref": "#/components/schemas/Tree"},
        request="maxLength",
        components=(
            {"Tree": TREE},
            {"Tree": {**TREE, "properties": {**TREE["properties"], "name": {"type": "string", "maxLength": 9}}}},
        ),
    ),
    # What is not understood counts as breaking where it restricts.
    Case("a keyword that cannot be compared", STRING, {"type": "string", "not": {"const": "a"}}, request="unjudged"),
    *(
        Case(
            f"a property of that name below {keyword}",
            {"type": "object", keyword: holding({"title": {"required": ["a"]}})},
            {"type": "object", keyword: holding({"title": {"required": ["b"]}})},
            request="unjudged",
            response="unjudged",
        )
        for keyword, holding in NAMED.items()
    ),
    Case(
        "a value that is no schema",
        {"not": {"const": {"title": "a"}}},
        {"not": {"const": {"title": "b"}}},
        request="unjudged",
        response="unjudged",
    ),
    Case(
        "a keyword beside a reference",
        {"not": {"$ref": "#/components/schemas/No", "maxLength": 1}},
        {"not": {"$ref": "#/components/schemas/No", "maxLength": 2}},
        request="unjudged",
        response="unjudged",
        components=({"No": STRING}, {"No": STRING}),
    ),
    Case(
        "what says nothing below a keyword that cannot be compared",
        {"not": {"properties": {"properties": {"title": "a"}}}},
        {"not": {"properties": {"properties": {"title": "b"}}}},
    ),
    Case(
        "the same keyword through a reference",
        {"type": "string", "not": {"$ref": "#/components/schemas/No"}},
        {"type": "string", "not": {"$ref": "#/components/schemas/No"}},
        request="unjudged",
        response="unjudged",
        components=({"No": {"const": "a"}}, {"No": {"const": "b"}}),
    ),
)
