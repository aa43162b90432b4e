"""Two documents compared, operation by operation, each part in the direction in which its data flows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fairlead.gates.contract.changes import Change, Direction, Level, join, level_of
from fairlead.gates.contract.containment import Comparison, Flow, Gap, same
from fairlead.gates.contract.documents import Document, Node
from fairlead.gates.contract.equals import accepted, covering

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_STYLES: Final = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}
_LONGEST: Final = 160
_CALLED: Final = {"closed": "what else may be there", "values": "the list of values"}
_CONTENT: Final = "content of a media type"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `names` are those of the path's parameters, in their order."""

    title: str
    node: Node
    parent: Node
    names: tuple[str, ...]

    def parameters(self) -> dict[tuple[str, str], Node]:
        """Return the parameters by place and name; those of the path by their position, for nobody sees their names."""
        found: dict[tuple[str, str], Node] = {}
        for owner in (self.parent, self.node):
            listed = owner.child("parameters").value
            for at in range(len(listed) if isinstance(listed, list) else 0):
                node = owner.child("parameters", at).target
                place, name = str(node.value["in"]), str(node.value["name"])
                if place == "path" and name in self.names:
                    name = str(self.names.index(name))
                found[place, name.lower() if place == "header" else name] = node
        return found


def compare(old: Document, new: Document) -> tuple[Change, ...]:
    """Return every difference that matters to a client, breaking ones first."""
    return join(_Comparer().documents(old, new))


def operations_of(document: Document) -> dict[tuple[str, str], Operation]:
    """Return the operations by path and method; a path's parameters stand in it without their names."""
    found = {}
    for path in document.content["paths"]:
        parent = document.top.child("paths", path).target
        for method in METHODS:
            if isinstance(parent.value, Mapping) and method in parent.value:
                names = tuple(re.findall(r"\{([^}]*)\}", path))
                key = (re.sub(r"\{[^}]*\}", "{}", path), method)
                found[key] = Operation(f"{method.upper()} {path}", parent.child(method).target, parent, names)
    return found


class _Comparer:
    def __init__(self) -> None:
        self._flows = {flow: Comparison(flow) for flow in Flow}
        self._operation = ""

    def documents(self, old: Document, new: Document) -> Iterator[Change]:
        before, after = operations_of(old), operations_of(new)
        for key, operation in before.items():
            self._operation = operation.title
            if key in after:
                self._operation = after[key].title
                yield from self._compare(operation, after[key])
            else:
                deprecated = operation.node.value.get("deprecated") is True
                what = "removed, after it had been deprecated" if deprecated else "removed, and never deprecated"
                yield self._change("operation-removed", "operation", "operation", operation.node, what, gone=True)
        for key in [key for key in after if key not in before]:
            self._operation = after[key].title
            yield self._change(
                "operation-added", "operation", "operation", after[key].node, "added", level="compatible"
            )
        self._operation = "the document"
        if not same(old.top.child("webhooks"), new.top.child("webhooks")):
            yield self._change("not-compared", "operation", "webhooks", new.top.child("webhooks"), "changed")

    def _compare(self, old: Operation, new: Operation) -> Iterator[Change]:
        ids = old.node.value.get("operationId"), new.node.value.get("operationId")
        if ids[0] and ids[0] != ids[1]:
            what = f"operationId was {ids[0]}, is {ids[1] or 'none'}"
            yield self._change("operation-id", "operation", "operation", new.node, what)
        if new.node.value.get("deprecated") is True and old.node.value.get("deprecated") is not True:
            yield self._change("deprecated", "operation", "operation", new.node, "deprecated", level="compatible")
        if not same(old.node.child("callbacks"), new.node.child("callbacks")):
            yield self._change("not-compared", "operation", "callbacks", new.node.child("callbacks"), "changed")
        servers = _servers(old), _servers(new)
        if servers[0][1] != servers[1][1]:
            yield self._change("not-compared", "operation", "servers", servers[1][0], "changed")
        yield from self._security(old.node, new.node)
        yield from self._parameters(old, new)
        yield from self._body(old.node.child("requestBody").target, new.node.child("requestBody").target, new.node)
        yield from self._responses(old.node.child("responses"), new.node.child("responses"))

    # --- What clients send ---

    def _security(self, old: Node, new: Node) -> Iterator[Change]:
        before, after = accepted(old), accepted(new)
        lost = [one for one in before if not any(two.keys() <= one.keys() for two in after)]
        if lost:
            what = f"{_credentials(before)} sufficed, now {_credentials(after)}"
            yield self._change("security", "request", "security", new, what)

    def _parameters(self, old: Operation, new: Operation) -> Iterator[Change]:
        before, after = old.parameters(), new.parameters()
        for key, was in before.items():
            where = f"{key[0]} parameter {was.value['name']}"
            if (now := after.get(key)) is None:
                yield self._change("parameter-removed", "request", where, was, "removed", gone=True)
                continue
            if key[0] == "path" and was.value["name"] != now.value["name"]:
                rule = "parameter-moved" if was.value["name"] in new.names else "parameter-name"
                yield self._change(rule, "request", where, now, f"is called {now.value['name']} now")
            yield from self._parameter(where, was, now)
        for key in [key for key in after if key not in before]:
            node = after[key]
            where, required = f"{key[0]} parameter {node.value['name']}", node.value.get("required") is True
            rule, what = ("parameter-required", "new and required") if required else ("parameter-added", "added")
            yield self._change(rule, "request", where, node, what, level=None if required else "compatible")

    def _parameter(self, where: str, old: Node, new: Node) -> Iterator[Change]:
        if new.value.get("required") is True and old.value.get("required") is not True:
            yield self._change("parameter-required", "request", where, new, "was optional, is required")
        yield from self._written("request", where, old, new, optional=old.value.get("required") is not True)

    def _body(self, old: Node, new: Node, operation: Node) -> Iterator[Change]:
        if not old.value and not new.value:
            return
        if not new.value:
            yield self._change("body-removed", "request", "body", operation, "is not read any longer")
            return
        if new.value.get("required") is True and not (old.value and old.value.get("required") is True):
            what = "was optional, is required" if old.value else "new and required"
            yield self._change("body-required", "request", "body", new, what)
        elif not old.value:
            yield self._change("body-added", "request", "body", new, "added", level="compatible")
        if old.value:
            optional = old.value.get("required") is not True
            yield from self._contents("request", "body", old.child("content"), new.child("content"), optional)

    # --- What clients receive ---

    def _responses(self, old: Node, new: Node) -> Iterator[Change]:
        for status in dict.fromkeys((*old.names(), *new.names())):
            was, now = _response(old, status), _response(new, status)
            where = f"response {status}"
            if was is not None and now is not None:
                yield from self._headers(where, was.child("headers"), now.child("headers"))
                yield from self._contents("response", where, was.child("content"), now.child("content"))
            elif was is not None:
                level: Level | None = None if _succeeds(status, old) else "compatible"
                yield self._change("status-removed", "response", where, was, "removed", level=level, gone=True)
            else:
                level = None if _succeeds(status, new) else "compatible"
                yield self._change("status-added", "response", where, new.child(status), "added", level=level)

    def _headers(self, where: str, old: Node, new: Node) -> Iterator[Change]:
        names = {name.lower(): name for name in new.names()}
        for name in old.names():
            was = old.child(name).target
            part = f"{where} · header {name}"
            if name.lower() not in names:
                yield self._change("header-removed", "response", part, was, "removed", gone=True)
                continue
            now = new.child(names[name.lower()]).target
            if was.value.get("required") is True and now.value.get("required") is not True:
                yield self._change("header-optional", "response", part, now, "was always there, is optional")
            yield from self._written("response", part, was, now)

    # --- What both have ---

    def _written(
        self, direction: Direction, where: str, old: Node, new: Node, *, optional: bool = False
    ) -> Iterator[Change]:
        """Compare what a parameter or a header holds, and how it is written."""
        before, after = _style(old), _style(new)
        if before != after:
            rule = "parameter-style" if direction == "request" else "header-style"
            yield self._change(rule, direction, where, new, f"was written as {before}, is as {after}")
        if before == after == _CONTENT:
            yield from self._contents(direction, where, old.child("content"), new.child("content"), optional)
        elif _CONTENT not in {before, after}:
            yield from self._schemas(direction, where, old.child("schema"), new.child("schema"), optional)

    def _contents(
        self, direction: Direction, where: str, old: Node, new: Node, optional: bool = False
    ) -> Iterator[Change]:
        covered = {media: covering(media, old.names()) for media in new.names()}
        pairs = [(was, media) for media, was in covered.items() if was is not None]
        pairs += [(media, now) for media in old.names() if (now := covering(media, new.names())) is not None]
        for media, now in dict.fromkeys(pairs):
            before, after = old.child(media, "schema"), new.child(now, "schema")
            yield from self._schemas(direction, f"{where} · {media}", before, after, optional)
            written = old.child(media, "encoding"), new.child(now, "encoding")
            if not same(*written):
                yield self._change("not-compared", "operation", f"{where} · {media}", written[1], "encoding changed")
        # A range in an answer is not gone where something of it still comes; in a request all of it must be taken.
        kept = {media for media, now in pairs if direction == "response" or covering(media, (now,)) is not None}
        for media in [media for media in old.names() if media not in kept]:
            part = f"{where} · {media}"
            if new.value:
                yield self._change("media-type-removed", direction, part, old.child(media), "removed", gone=True)
            else:
                yield self._change("content-removed", direction, part, new, "there is no content any longer")
        for media in [media for media, was in covered.items() if was is None]:
            level: Level | None = "compatible" if direction == "request" or not old.value else None
            part = f"{where} · {media}"
            yield self._change("media-type-added", direction, part, new.child(media), "added", level=level)

    def _schemas(
        self, direction: Direction, where: str, old: Node, new: Node, optional: bool = False
    ) -> Iterator[Change]:
        forwards = Flow.REQUEST if direction == "request" else Flow.RESPONSE
        additions = Flow.REQUEST_ADDITIONS if direction == "request" else Flow.RESPONSE_ADDITIONS
        told: set[tuple[str, tuple[str, ...]]] = set()
        for flow in (forwards, additions):
            inner, outer = (old, new) if flow.new_contains else (new, old)
            found = self._flows[flow].gaps(inner, outer, optional=optional)
            gaps = [gap for gap in found if (gap.rule, gap.where) not in told]
            told |= {(gap.rule, gap.where) for gap in gaps}
            for gap in gaps:
                level: Level | None = None if flow is forwards else "compatible"
                yield self._of_gap(gap, flow, direction, where, level)

    def _of_gap(self, gap: Gap, flow: Flow, direction: Direction, where: str, level: Level | None) -> Change:
        at_old, at_new = (0, 1) if flow.new_contains else (1, 0)
        was, now = (_shortened(gap.texts[at]) for at in (at_old, at_new))
        what = {"not declared": "removed", "declared": "added"}.get(
            now, f"{_CALLED.get(gap.rule, gap.rule)} was {was}, is {now}"
        )
        if gap.rule == "required":
            what = "removed" if now == "not declared" else f"was {was}, is {now}"
        path = ".".join(gap.where).replace(".[]", "[]")
        place = f"{where} · {path}" if path else where
        return Change(
            level or level_of(gap.rule), gap.rule, direction, (self._operation,), place, gap.pointers[at_new], what
        )

    def _change(
        self,
        rule: str,
        direction: Direction,
        where: str,
        node: Node,
        what: str,
        *,
        level: Level | None = None,
        gone: bool = False,
    ) -> Change:
        return Change(level or level_of(rule), rule, direction, (self._operation,), where, node.pointer, what, gone)


def _response(responses: Node, status: str) -> Node | None:
    """Return what answers with a status: the one documented for it, for its class, or for whatever else there is."""
    for name in (status, f"{status[:1]}XX", "default"):
        # What stands for errors stands for no success.
        if name in responses.names() and (
            name != "default" or _succeeds(status, responses) <= _succeeds(name, responses)
        ):
            return responses.child(name).target
    return None


def _succeeds(status: str, responses: Node) -> bool:
    """Say whether a status is a success; `default` is one where no other is documented."""
    if status == "default":
        return not any(name.startswith(("2", "3")) for name in responses.names())
    return status.startswith(("1", "2", "3"))


def _servers(operation: Operation) -> tuple[Node, Any]:
    """Return where an operation's servers are named, and what they are: its own, its path's or the document's."""
    top = operation.node.document.top
    owner = next((one for one in (operation.node, operation.parent, top) if one.value.get("servers")), top)
    node = owner.child("servers")
    return node, [(one.get("url"), one.get("variables")) for one in node.value or [{"url": "/"}]]


def _credentials(accepted: list[dict[str, Any]]) -> str:
    return " or ".join(" and ".join(dict.fromkeys(map(str, one.values()))) or "nothing" for one in accepted)


def _style(parameter: Node) -> str:
    if "content" in parameter.value:
        return _CONTENT
    style = parameter.value.get("style", _STYLES.get(parameter.value.get("in", "header"), "form"))
    exploded = parameter.value.get("explode", style == "form")
    allowed = [name for name in ("allowReserved", "allowEmptyValue") if parameter.value.get(name) is True]
    return ", ".join([style, *(["exploded"] if exploded else []), *allowed])


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
