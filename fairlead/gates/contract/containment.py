"""Whether everything that one schema allows is allowed by another, and where not, what stands in the way.

What clients send flows from the old document to the new one: every request that was valid must stay valid. What
clients receive flows from the new document to the old one: every answer must be one that the old document allowed. So
one question serves both directions, and only what goes beyond sets of values (a property that nobody reads any more, or
that no longer comes) is asked of each direction by itself.

Sound rather than complete: what cannot be shown to be contained is reported, also where keywords cannot be compared.
"""

import dataclasses
import enum
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from fairlead.gates.contract.documents import Node, canonical
from fairlead.gates.contract.shapes import Shape, expand, member

#: Each number of the first format is one of the second.
_NARROWER_FORMATS: Final = {("int32", "int64"), ("float", "double")}
#: Gaps that are none between the sets of values.
_UNUSED: Final = {"input-removed", "output-removed", "default", "default-removed"}
_DEEPEST: Final = 100
_Pair = tuple[str, ...]


class Flow(enum.Enum):
    """Which way the data flows, and whether what breaks is asked for or what was added."""

    REQUEST = "request"
    RESPONSE = "response"
    REQUEST_ADDITIONS = "request additions"
    RESPONSE_ADDITIONS = "response additions"

    @property
    def new_contains(self) -> bool:
        """Whether it is the new schema that must contain the old one."""
        return self in {Flow.REQUEST, Flow.RESPONSE_ADDITIONS}

    @property
    def ignored(self) -> str:
        """The keyword of properties that do not take part in this direction."""
        return "readOnly" if self in {Flow.REQUEST, Flow.REQUEST_ADDITIONS} else "writeOnly"


@dataclass(frozen=True, slots=True)
class Gap:
    """One way in which a schema allows what its container does not.

    `where` is the path of the value, `pointers` lead to the inner and the outer schema, `texts` say what each has.
    """

    rule: str
    where: tuple[str, ...]
    pointers: tuple[str, str]
    texts: tuple[str, str]


class Comparison:
    """Compares schemas of two documents in one direction, and remembers what was compared before."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        #: What was found, and the pairs that were taken to fit on the way because they are still being compared.
        self._known: dict[_Pair, tuple[tuple[Gap, ...], frozenset[_Pair]]] = {}
        self._begun: set[_Pair] = set()
        self._taken: set[_Pair] = set()

    def gaps(self, inner: Node, outer: Node, *, depth: int = 0, optional: bool = False) -> tuple[Gap, ...]:
        """Return each way in which `inner` allows values that `outer` does not.

        With `optional` the value may be left out altogether, so that its default counts.
        """
        defaults = self._default(inner, outer) if optional else ()
        return (*defaults, *self._remembered(inner, outer, depth))

    def _remembered(self, inner: Node, outer: Node, depth: int) -> tuple[Gap, ...]:
        if depth > _DEEPEST:
            return (_gap("unjudged", inner, outer, "nested too deep", "nested too deep"),)
        key = (inner.pointer, json.dumps(inner.value), outer.pointer, json.dumps(outer.value))
        if key in self._begun:
            # A schema that holds itself is taken to fit while it is compared: if it does not, that shows elsewhere.
            self._taken.add(key)
            return ()
        if key not in self._known:
            before, self._taken = self._taken, set()
            self._begun.add(key)
            found = tuple(self._alternatives(inner, outer, depth))
            self._begun.remove(key)
            self._settle(key, found)
            self._taken |= before
        found, taken = self._known[key]
        self._taken |= taken
        return found

    def _settle(self, key: _Pair, found: tuple[Gap, ...]) -> None:
        """Remember what was found for a pair, and forget what was found by taking it to fit where it does not."""
        taken = frozenset(self._taken - {key})
        self._known[key] = (found, taken)
        if key in self._taken:
            for other, (gaps, its) in [*self._known.items()]:
                if key in its and found:
                    del self._known[other]
                elif key in its:
                    self._known[other] = (gaps, (its - {key}) | taken)
        self._taken = set(taken)

    def _default(self, inner: Node, outer: Node) -> Iterator[Gap]:
        if self._flow is Flow.REQUEST:
            old, new = _default_of(inner), _default_of(outer)
            if old is not None and old != new:
                yield _gap("default" if new is not None else "default-removed", inner, outer, old, new or "none")

    def _alternatives(self, inner: Node, outer: Node, depth: int) -> Iterator[Gap]:
        inners, outers = expand(inner), expand(outer)
        strangers = []
        for shape in inners:
            candidates = [one for one in outers if one.kind == shape.kind]
            candidates += [one for one in outers if (shape.kind, one.kind) == ("integer", "number")]
            if not candidates:
                strangers.append(shape)
                continue
            found = [tuple(self._compare(shape, candidate, depth)) for candidate in candidates]
            yield from min(found, key=_distance)
        if strangers:
            pointers = (strangers[0].pointer, outers[0].pointer if outers else outer.pointer)
            yield Gap("type", (), pointers, (_kinds(inners), _kinds(outers)))

    def _compare(self, inner: Shape, outer: Shape, depth: int) -> Iterator[Gap]:
        for keyword, text in outer.opaque.items():
            if inner.opaque.get(keyword) != text:
                yield _between("unjudged", inner, outer, f"{keyword}: {inner.opaque.get(keyword, 'none')}", text)
        if outer.values is not None or inner.values is not None:
            yield from self._compare_values(inner, outer)
            return
        yield from _compare_ranges(inner, outer)
        yield from _compare_texts(inner, outer)
        if outer.unique and not inner.unique:
            yield _between("uniqueItems", inner, outer, "false", "true")
        if outer.items is not None and inner.most != 0:
            within = inner.items or _anything(outer.items, inner.pointer)
            yield from _below("[]", self.gaps(within, outer.items, depth=depth + 1))
        if inner.kind == "object":
            yield from self._compare_properties(self._flowing(inner), self._flowing(outer), depth)

    def _compare_values(self, inner: Shape, outer: Shape) -> Iterator[Gap]:
        if inner.values is None:
            fits = False
        elif outer.values is None:
            fits = not outer.formats and all(_accepts(outer, json.loads(text)) for text in inner.values)
        elif outer.extensible and self._flow is Flow.RESPONSE:
            fits = True
        else:
            fits = inner.values <= {text for text in outer.values if _accepts(outer, json.loads(text))}
        if not fits:
            yield _between("values", inner, outer, _list(inner), _list(outer))

    def _flowing(self, shape: Shape) -> Shape:
        """Return an object without the properties that do not take part in this direction."""
        away = {name for name, node in shape.properties.items() if True in _said(node, self._flow.ignored)}
        kept = {name: node for name, node in shape.properties.items() if name not in away}
        return dataclasses.replace(shape, properties=kept, required=shape.required - away)

    def _compare_properties(self, inner: Shape, outer: Shape, depth: int) -> Iterator[Gap]:
        for name in sorted(outer.required - inner.required):
            stands = "optional" if name in inner.properties else "not declared"
            yield dataclasses.replace(_between("required", inner, outer, stands, "required"), where=(name,))
        for name in sorted({*inner.properties, *outer.properties}):
            yield from _below(name, self._compare_property(name, inner, outer, depth))
        if outer.closed and not inner.closed and inner.additional is None:
            yield _between("closed", inner, outer, "anything", "nothing")
        if outer.additional is not None and not inner.closed:
            within = inner.additional or _anything(outer.additional, inner.pointer)
            yield from _below("*", self.gaps(within, outer.additional, depth=depth + 1))
        elif outer.closed and inner.additional is not None:
            yield _between("closed", inner, outer, "something", "nothing")

    def _compare_property(self, name: str, inner: Shape, outer: Shape, depth: int) -> Iterator[Gap]:
        within, around = inner.properties.get(name), outer.properties.get(name)
        if within is not None and around is not None:
            yield from self.gaps(within, around, depth=depth + 1, optional=name not in inner.required)
        elif within is not None:
            yield from self._undeclared_outside(within, outer, depth)
        elif around is not None:
            yield from self._undeclared_inside(name, inner, outer, around, depth)

    def _undeclared_outside(self, within: Node, outer: Shape, depth: int) -> Iterator[Gap]:
        pointers, texts = (within.pointer, outer.pointer), ("declared", "not declared")
        if self._flow.value.endswith("additions"):
            if self._flow is Flow.REQUEST_ADDITIONS:
                yield Gap("input-added", (), pointers, texts)
        elif outer.closed:
            yield Gap("refused" if self._flow is Flow.REQUEST else "closed", (), pointers, texts)
        elif outer.additional is not None:
            yield from self.gaps(within, outer.additional, depth=depth + 1)
        elif self._flow is Flow.REQUEST:
            yield Gap("input-removed", (), pointers, texts)

    def _undeclared_inside(self, name: str, inner: Shape, outer: Shape, around: Node, depth: int) -> Iterator[Gap]:
        gap = Gap("output-removed", (), (inner.pointer, around.pointer), ("not declared", "declared"))
        if self._flow is Flow.RESPONSE_ADDITIONS:
            yield dataclasses.replace(gap, rule="output-added")
        elif inner.additional is not None:
            yield from self.gaps(inner.additional, around, depth=depth + 1)
        elif self._flow is Flow.RESPONSE and name not in outer.required:
            yield gap


def _distance(gaps: tuple[Gap, ...]) -> tuple[int, int]:
    """Rank the alternatives of a schema: what is not contained weighs more than what is only not used any longer."""
    return sum(gap.rule not in _UNUSED for gap in gaps), len(gaps)


def _compare_ranges(inner: Shape, outer: Shape) -> Iterator[Gap]:
    low, high = (inner.lower, outer.lower), (inner.upper, outer.upper)
    if low[1] and (low[0] is None or (low[0].value, low[0].exclusive) < (low[1].value, low[1].exclusive)):
        yield _between("minimum", inner, outer, str(low[0] or "none"), str(low[1]))
    if high[1] and (high[0] is None or (-high[0].value, high[0].exclusive) < (-high[1].value, high[1].exclusive)):
        yield _between("maximum", inner, outer, str(high[0] or "none"), str(high[1]))
    for step in sorted(outer.steps):
        own = [*inner.steps, *([1] if inner.kind == "integer" else [])]
        if not any((_exact(one) / _exact(step)).denominator == 1 for one in own):
            yield _between("multipleOf", inner, outer, _listed(inner.steps), str(step))
    unit = {"string": "Length", "array": "Items", "object": "Properties"}.get(inner.kind, "")
    if inner.least < outer.least:
        yield _between(f"min{unit}", inner, outer, str(inner.least), str(outer.least))
    if outer.most is not None and (inner.most is None or inner.most > outer.most):
        yield _between(f"max{unit}", inner, outer, str("none" if inner.most is None else inner.most), str(outer.most))


def _compare_texts(inner: Shape, outer: Shape) -> Iterator[Gap]:
    if outer.patterns - inner.patterns:
        yield _between("pattern", inner, outer, _listed(inner.patterns), _listed(outer.patterns))
    known = inner.formats | {wide for narrow, wide in _NARROWER_FORMATS if narrow in inner.formats}
    if outer.formats - known:
        yield _between("format", inner, outer, _listed(inner.formats), _listed(outer.formats))


def _accepts(shape: Shape, value: Any) -> bool:
    """Say whether a listed value meets the constraints of a shape; formats, and what is nested, are not looked into."""
    if isinstance(value, str):
        fits = all(_matches(pattern, value) for pattern in shape.patterns)
        return fits and shape.least <= len(value) and (shape.most is None or len(value) <= shape.most)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = shape.lower, shape.upper
        above = low is None or value > low.value or (value == low.value and not low.exclusive)
        below = high is None or value < high.value or (value == high.value and not high.exclusive)
        return above and below and all((_exact(value) / _exact(step)).denominator == 1 for step in shape.steps)
    return not isinstance(value, list | dict) or shape.values is not None


def _exact(number: float) -> Fraction:
    return Fraction(str(number))


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False  # written for another kind of engine: not shown to fit


def _default_of(node: Node) -> str | None:
    return next((json.dumps(one, sort_keys=True, ensure_ascii=False) for one in _said(node, "default")), None)


def _said(node: Node, keyword: str) -> list[Any]:
    """Return what a schema says with an annotation: itself, where its reference leads, and in what it is made of."""
    parts, passed = [node], set[str]()
    found = []
    for part in parts:  # which grows meanwhile
        if part.pointer in passed or not isinstance(part.value, Mapping):
            continue
        passed.add(part.pointer)
        found += [part.value[keyword]] if keyword in part.value else []
        parts += [part.follow(part.value["$ref"])] if isinstance(part.value.get("$ref"), str) else []
        parts += [member(part, "allOf", at) for at in range(len(part.value.get("allOf", ())))]
    return found


def _anything(near: Node, pointer: str) -> Node:
    return Node(near.document, {}, pointer)


def _below(name: str, gaps: "Iterator[Gap] | tuple[Gap, ...]") -> Iterator[Gap]:
    return (dataclasses.replace(gap, where=(name, *gap.where)) for gap in gaps)


def _between(rule: str, inner: Shape, outer: Shape, of_inner: str, of_outer: str) -> Gap:
    return Gap(rule, (), (inner.pointer, outer.pointer), (of_inner, of_outer))


def _gap(rule: str, inner: Node, outer: Node, of_inner: str, of_outer: str) -> Gap:
    return Gap(rule, (), (inner.pointer, outer.pointer), (of_inner, of_outer))


def _kinds(shapes: tuple[Shape, ...]) -> str:
    kinds = sorted({shape.kind for shape in shapes})
    return "anything" if {"null", "number", "object"} <= set(kinds) else " or ".join(kinds) or "nothing"


def _list(shape: Shape) -> str:
    return f"any {shape.kind}" if shape.values is None else _listed(shape.values)


def _listed(values: frozenset[Any]) -> str:
    return ", ".join(sorted(map(str, values))) or "none"


def same(one: Node, other: Node) -> bool:
    """Say whether two values are the same but for what says nothing, wherever their references lead."""
    return canonical(one) == canonical(other)
