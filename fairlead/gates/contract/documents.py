"""The OpenAPI document: reading it, following references, and where a pointer stands in its text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead.exceptions import ConfigurationError

#: Below these stand names that somebody chose, whatever they are.
_NAMED: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "dependentRequired", "$defs", "definitions", "scopes"}
    | {"headers", "callbacks", "webhooks", "encoding"}
)
#: Below these stand values, not schemas.
_VALUES: Final = frozenset({"const", "enum"})
#: Says nothing about which values are allowed.
ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "externalDocs"}
    | {"$comment", "$id", "$anchor", "$defs", "$schema", "xml", "discriminator"}
)


@dataclass(frozen=True, slots=True)
class Document:
    """An OpenAPI document and what to call it in messages."""

    name: str
    content: Mapping[str, Any] = field(repr=False)

    @property
    def version(self) -> str:
        """The version that the document names."""
        return str(self.content["info"]["version"])

    @property
    def top(self) -> "Node":
        """The whole document as a node."""
        return Node(self, self.content, "")


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a document: the value that stands there and the JSON pointer that leads to it."""

    document: Document = field(repr=False)
    value: Any
    pointer: str

    def child(self, *keys: str | int) -> "Node":
        """Return what stands below, an empty object where there is nothing; references on the way are followed."""
        node = self
        for key in keys:
            node = node.target
            value = node.value[key] if _has(node.value, key) else {}
            node = Node(node.document, value, f"{node.pointer}/{_escape(str(key))}")
        return node

    @property
    def target(self) -> "Node":
        """What a reference leads to, through any number of them; the node itself when it is none."""
        node, passed = self, {self.pointer}
        while isinstance(node.value, Mapping) and isinstance(node.value.get("$ref"), str):
            node = node.follow(node.value["$ref"])
            if node.pointer in passed:
                raise unusable(self.document.name, f"{self.pointer} refers to itself")
            passed.add(node.pointer)
        return node

    def follow(self, reference: str) -> "Node":
        """Return what `reference` leads to; raise `ConfigurationError` when it leads nowhere or out of the document."""
        if not reference.startswith("#/"):
            raise unusable(self.document.name, f"{self.pointer} refers to {reference}, outside the document")
        node = self.document.top
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not _has(node.value, key):
                raise unusable(self.document.name, f"{self.pointer} refers to {reference}, which is not there")
            node = Node(self.document, node.value[key], f"{node.pointer}/{part}")
        return node

    def names(self) -> tuple[str, ...]:
        """Return the names of what stands below."""
        value = self.target.value
        return tuple(value) if isinstance(value, Mapping) else ()


def read_document(text: str, *, name: str) -> Document:
    """Read the text of an OpenAPI 3 document; raise `ConfigurationError` when it is none."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise unusable(name, f"it is not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("paths"), dict):
        raise unusable(name, "it has no `paths`")
    if not str(content.get("openapi", "")).startswith("3."):
        raise unusable(name, "it does not say that it is OpenAPI 3")
    info = content.get("info")
    if not isinstance(info, dict) or not isinstance(info.get("version"), str):
        raise unusable(name, "it has no `info.version`")
    return Document(name, content)


def unusable(name: str, why: str) -> ConfigurationError:
    """Make the error for a document that cannot be compared."""
    return ConfigurationError(f"{name} cannot be compared: {why}", hint="nox -s contract -- --write writes it anew")


def canonical(node: Node) -> str:
    """Return the text of a keyword's value to tell equals by: references followed, what says nothing left out."""
    keyword = node.pointer.rpartition("/")[2]
    return json.dumps(_expanded(node, keyword, frozenset()), sort_keys=True, ensure_ascii=False)


def line_of(text: str, pointer: str) -> int:
    """Return the line, counted from 1, on which a pointer's value begins in a document indented by two spaces.

    Where the pointer leads further than the text, the line of the last part that is there.
    """
    lines, line = text.splitlines(), 0
    for depth, part in enumerate(pointer.split("/")[1:], start=1):
        below = _lines_below(lines, line, 2 * depth)
        key = json.dumps(part.replace("~1", "/").replace("~0", "~"), ensure_ascii=False)
        if lines[line].endswith("["):
            found = below[int(part)] if part.isdigit() and int(part) < len(below) else None
        else:
            found = next((one for one in below if lines[one].lstrip().startswith(f"{key}: ")), None)
        if found is None:
            break
        line = found
    return line + 1


def _lines_below(lines: list[str], start: int, indent: int) -> list[int]:
    """Return the lines on which the members of what begins on line `start` begin."""
    found = []
    for number in range(start + 1, len(lines)):
        depth = len(lines[number]) - len(lines[number].lstrip())
        if depth < indent:
            break
        if depth == indent and lines[number].strip(" ,") not in {"}", "]"}:
            found.append(number)
    return found


def _expanded(node: Node, keyword: str, following: frozenset[str]) -> Any:
    """Return what stands at a keyword; at a name that somebody chose the keyword is empty."""
    value = node.value
    if isinstance(value, list) and keyword not in _VALUES:
        return [_expanded(Node(node.document, item, node.pointer), "", following) for item in value]
    if not isinstance(value, Mapping) or keyword in _VALUES:
        return value
    if keyword in _NAMED:
        return {name: _expanded(Node(node.document, value[name], node.pointer), "", following) for name in value}
    kept = {key: Node(node.document, value[key], node.pointer) for key in value if key not in ANNOTATIONS | {"$ref"}}
    found = {key: _expanded(below, key, following) for key, below in kept.items()}
    reference = value.get("$ref")
    if not isinstance(reference, str):
        return found
    target = node.follow(reference)
    if target.pointer in following:
        return {**found, "$ref": reference}
    whole = _expanded(target, "", following | {target.pointer})
    return {**found, "$ref": whole} if found else whole


def _has(value: Any, key: str | int) -> bool:
    if isinstance(value, Mapping):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value)


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
