"""A schema as the alternatives that it allows, each of one type, with all that constrains it gathered.

References are followed, `allOf` is merged, `anyOf`, `oneOf` and lists of types become alternatives. Of `oneOf` it is
taken for granted that its alternatives exclude each other. Keywords that are not understood are kept as they are.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead.gates.contract.documents import ANNOTATIONS, Node, canonical, unusable

KINDS: Final = ("null", "boolean", "number", "string", "array", "object")
_MOST: Final = 512
_COMBINED: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_UNDERSTOOD: Final = _COMBINED | {
    *("type", "nullable", "enum", "const", "format", "pattern", "multipleOf", "uniqueItems", "items"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "properties", "required", "additionalProperties"),
}
#: Formats that say how to show a value, not which there are.
_SHOWN: Final = frozenset({"password"})
_COUNTS: Final = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a range of numbers."""

    value: float
    exclusive: bool = False

    def __str__(self) -> str:
        return f"{self.value}, exclusive" if self.exclusive else str(self.value)


@dataclass(frozen=True, slots=True)
class Shape:
    """One alternative of a schema: values of one type. `values` are JSON texts, None where any value will do."""

    kind: str
    pointer: str
    values: frozenset[str] | None = None
    extensible: bool = False
    lower: Bound | None = None
    upper: Bound | None = None
    steps: frozenset[float] = frozenset()
    least: int = 0
    most: int | None = None
    patterns: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    unique: bool = False
    items: Node | None = None
    properties: Mapping[str, Node] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    closed: bool = False
    additional: Node | None = None
    opaque: Mapping[str, str] = field(default_factory=dict)


def expand(node: Node) -> tuple[Shape, ...]:
    """Return the alternatives of a schema; none where it allows nothing."""
    shapes: list[Shape] = []
    for parts in _alternatives(node, ()):
        kinds = _intersect([_kinds(part.value) for part in parts])
        shapes += [_gather(kind, parts) for kind in kinds]
    return _join_values([shape for shape in shapes if shape.values is None or shape.values])


def _alternatives(node: Node, passed: tuple[str, ...]) -> list[tuple[Node, ...]]:
    """Return the alternatives of a schema, each as the schemas that all hold for it."""
    value = node.value
    if isinstance(value, bool):
        return [(Node(node.document, {}, node.pointer),)] if value else []
    if not isinstance(value, Mapping):
        raise unusable(node.document.name, f"{node.pointer} is not a schema")
    if node.pointer in passed and _COMBINED & set(value):
        raise unusable(node.document.name, f"{node.pointer} refers to itself")
    passed = (*passed, node.pointer)
    own = {key: item for key, item in value.items() if key not in _COMBINED}
    groups: list[list[tuple[Node, ...]]] = []
    if isinstance(value.get("$ref"), str):
        groups.append(_alternatives(node.follow(value["$ref"]), passed))
    groups += [_alternatives(member(node, "allOf", at), passed) for at in range(len(value.get("allOf", ())))]
    for key in ("anyOf", "oneOf"):
        if key in value:
            members = (_alternatives(member(node, key, at), passed) for at in range(len(value[key])))
            groups.append([one for member in members for one in member])
    if set(own) - ANNOTATIONS or not groups:
        groups.insert(0, [(Node(node.document, own, node.pointer),)])
    if math.prod(len(group) for group in groups) > _MOST:
        raise unusable(node.document.name, f"{node.pointer} has more than {_MOST} alternatives")
    found = [tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*groups)]
    # In OpenAPI 3.0 `nullable` stands beside a reference, and adds to what that allows.
    if value.get("nullable") is True and groups:
        found.append((Node(node.document, {"type": "null"}, node.pointer),))
    return found


def member(node: Node, key: str, at: int) -> Node:
    """Return one of the schemas that a schema is made of."""
    return Node(node.document, node.value[key][at], f"{node.pointer}/{key}/{at}")


def _kinds(value: Mapping[str, Any]) -> frozenset[str]:
    declared = value.get("type", KINDS)
    kinds = {declared} if isinstance(declared, str) else set(declared)
    given = _given(value)
    if given is not None:
        kinds = {_kinds_of(item)[-1] for item in given if kinds & set(_kinds_of(item))}
    return frozenset(kinds - {"integer"} if "number" in kinds else kinds)


def _kinds_of(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int | float):
        return ("number", "integer") if isinstance(value, int) or value.is_integer() else ("number",)
    names = {type(None): "null", str: "string", list: "array", dict: "object"}
    return (names[type(value)],)


def _intersect(sets: Iterable[frozenset[str]]) -> list[str]:
    found = frozenset({*KINDS, "integer"})
    for kinds in sets:
        found &= kinds | ({"integer"} if "number" in kinds else frozenset())
    return sorted(found - {"integer"} if "number" in found else found)


def _gather(kind: str, parts: tuple[Node, ...]) -> Shape:
    telling = [part for part in parts if set(part.value) - ANNOTATIONS] or list(parts)
    values = [part.value for part in parts]
    lowers, uppers = [_bound(value, "Minimum", kind) for value in values], [_bound(v, "Maximum", kind) for v in values]
    least, most = _counts(kind, values)
    numeric, text, array = kind in {"number", "integer"}, kind == "string", kind == "array"
    additional, closed = _additional(parts) if kind == "object" else (None, False)
    return Shape(
        kind=kind,
        pointer=telling[0].pointer,
        values=_values(kind, values),
        extensible=any(value.get("x-extensible-enum") for value in values),
        lower=max((one for one in lowers if one), key=lambda one: (one.value, one.exclusive), default=None),
        upper=min((one for one in uppers if one), key=lambda one: (one.value, not one.exclusive), default=None),
        steps=frozenset(value["multipleOf"] for value in values if numeric and "multipleOf" in value),
        least=least,
        most=most,
        patterns=frozenset(value["pattern"] for value in values if text and "pattern" in value),
        formats=frozenset(value["format"] for value in values if (text or numeric) and "format" in value) - _SHOWN,
        unique=array and any(value.get("uniqueItems") is True for value in values),
        items=_merged([part.child("items") for part in parts if "items" in part.value]) if array else None,
        properties=_properties(parts) if kind == "object" else {},
        required=frozenset(name for value in values if kind == "object" for name in value.get("required", ())),
        closed=closed,
        additional=additional,
        opaque=_opaque(parts),
    )


def _values(kind: str, values: list[Mapping[str, Any]]) -> frozenset[str] | None:
    found: frozenset[str] | None = frozenset({"false", "true"}) if kind == "boolean" else None
    for value in values:
        given = _given(value)
        if given is not None:
            texts = frozenset(_text(item) for item in given if kind in _kinds_of(item))
            found = texts if found is None else found & texts
    return found


def _given(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the values that a schema lists, None where it lists none."""
    if "const" not in value:
        return value.get("enum")
    return [item for item in value.get("enum", [value["const"]]) if _text(item) == _text(value["const"])]


def _text(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, sort_keys=True)


def _bound(value: Mapping[str, Any], end: str, kind: str) -> Bound | None:
    inclusive, exclusive = value.get(end.lower()), value.get(f"exclusive{end}")
    if exclusive is True and inclusive is not None:  # as OpenAPI 3.0 writes it
        inclusive, exclusive = None, inclusive
    found = []
    if inclusive is not None:
        found.append(Bound(inclusive))
    if isinstance(exclusive, int | float) and not isinstance(exclusive, bool):
        if kind == "integer":
            found.append(Bound(math.floor(exclusive) + 1 if end == "Minimum" else math.ceil(exclusive) - 1))
        else:
            found.append(Bound(exclusive, exclusive=True))
    if not found or kind not in {"number", "integer"}:
        return None
    if end == "Minimum":
        return max(found, key=lambda one: (one.value, one.exclusive))
    return min(found, key=lambda one: (one.value, not one.exclusive))


def _counts(kind: str, values: list[Mapping[str, Any]]) -> tuple[int, int | None]:
    least, most = _COUNTS.get(kind, ("", ""))
    lowest = max((value[least] for value in values if least in value), default=0)
    return lowest, min((value[most] for value in values if most in value), default=None)


def _properties(parts: tuple[Node, ...]) -> dict[str, Node]:
    found: dict[str, list[Node]] = {}
    for part in parts:
        for name in part.value.get("properties", {}):
            found.setdefault(name, []).append(part.child("properties", name))
    return {name: merged for name, nodes in found.items() if (merged := _merged(nodes)) is not None}


def _additional(parts: tuple[Node, ...]) -> tuple[Node | None, bool]:
    """Return the schema of undeclared properties, if there is one, and whether there may be none."""
    given = [part.value["additionalProperties"] for part in parts if "additionalProperties" in part.value]
    nodes = [
        part.child("additionalProperties")
        for part in parts
        if isinstance(part.value.get("additionalProperties"), Mapping) and part.value["additionalProperties"]
    ]
    return _merged(nodes), False in given


def _merged(nodes: list[Node]) -> Node | None:
    if len(nodes) < 2:
        return nodes[0] if nodes else None
    return Node(nodes[0].document, {"allOf": [node.value for node in nodes]}, nodes[0].pointer)


def _opaque(parts: tuple[Node, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        for key in set(part.value) - _UNDERSTOOD - ANNOTATIONS:
            if not key.startswith("x-"):
                found[key] = found.get(key, "") + canonical(part.child(key))
    return found


def _join_values(shapes: list[Shape]) -> tuple[Shape, ...]:
    """Make one alternative of all that list their values: what was split up in two is no change."""
    joined: dict[str, Shape] = {}
    others = []
    for shape in shapes:
        earlier = joined.get(shape.kind)
        if shape.values is None:
            others.append(shape)
        elif earlier is None or earlier.values is None:
            joined[shape.kind] = shape
        else:
            joined[shape.kind] = _with_values(earlier, earlier.values | shape.values, shape.extensible)
    return (*others, *joined.values())


def _with_values(shape: Shape, values: frozenset[str], extensible: bool) -> Shape:
    return dataclasses.replace(shape, values=values, extensible=shape.extensible or extensible)
