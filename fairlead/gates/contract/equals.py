"""What is the same, written in another way: credentials by what they are, media types by what they cover."""

import json
from typing import Any

from fairlead.gates.contract.documents import Node


def accepted(operation: Node) -> list[dict[str, Any]]:
    """Return the credentials that suffice: any of these mappings, whole, of what is asked for to a scheme's name."""
    required = operation.value.get("security", operation.document.content.get("security"))
    if not required:
        return [{}]
    schemes = operation.document.top.child("components", "securitySchemes")
    return [
        {f"{_identity(schemes.child(name).target.value)} {scope}": name for name in one for scope in ("", *one[name])}
        for one in required
    ]


def covering(media: str, offered: tuple[str, ...]) -> str | None:
    """Return which of the media types and ranges that are `offered` covers a media type, the narrowest of them."""
    kind, parameters = _parts(media)
    known = {_parts(name): name for name in offered}
    none = frozenset[str]()
    wanted = ((kind, parameters), (f"{kind.partition('/')[0]}/*", none), ("*/*", none))
    return next((known[one] for one in wanted if one in known), None)


def _parts(media: str) -> tuple[str, frozenset[str]]:
    kind, *parameters = (part.strip().lower().replace('"', "") for part in media.split(";"))
    return kind, frozenset(parameters) - {"charset=utf-8"}


def _identity(scheme: dict[str, Any]) -> str:
    """Return what a client has to know of a scheme: its type, where the credentials go, and who gives them out."""
    told = {key: scheme[key] for key in ("type", "in", "name", "scheme", "openIdConnectUrl") if key in scheme}
    for key in ("scheme", *(("name",) if told.get("in") == "header" else ())):
        if key in told:
            told[key] = told[key].lower()
    flows = {
        name: {key: flow[key] for key in flow if key.endswith("Url")} for name, flow in scheme.get("flows", {}).items()
    }
    return json.dumps([told, flows], sort_keys=True)
