"""Railway's own schema, as far as this project has to do with it: kept here in `railway.graphql`, without its texts.

Where FAIRLEAD_RAILWAY_SCHEMA names a whole introspection of it, a test holds what is kept here to that.
"""

import copy
import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from graphql import GraphQLSchema, build_client_schema, build_schema, print_schema

KEPT = Path(__file__).with_name("railway.graphql")


@functools.cache
def official_schema() -> GraphQLSchema:
    return build_schema(KEPT.read_text("utf-8"), assume_valid=True)


def prune(introspection: Mapping[str, Any], names: Collection[str]) -> str:
    """Cut an introspected schema down to the types of these names, with the fields that lead nowhere else."""
    whole = copy.deepcopy(introspection["__schema"])
    basic = {"String", "Int", "Float", "Boolean", "ID"}
    kept = {kind["name"]: kind for kind in whole["types"] if kind["name"] in {*names, *basic}}
    for kind in kept.values():
        for part in ("fields", "inputFields"):
            found = [field for field in kind.get(part) or () if _named(field["type"]) in kept]
            kind[part] = [_plain(field, kept) for field in found] if kind.get(part) is not None else None
        for value in kind.get("enumValues") or ():
            value["description"] = None
        for part in ("interfaces", "possibleTypes"):
            if kind.get(part) is not None:
                kind[part] = [other for other in kind[part] if other["name"] in kept]
        kind["description"] = None
    pruned = {**whole, "types": list(kept.values()), "directives": [], "subscriptionType": None}
    return print_schema(build_client_schema({"__schema": pruned}, assume_valid=True)) + "\n"


def _plain(field: dict[str, Any], kept: Collection[str]) -> dict[str, Any]:
    arguments = [
        {**argument, "description": None} for argument in field.get("args") or () if _named(argument["type"]) in kept
    ]
    silent = {"description": None, "isDeprecated": False, "deprecationReason": None}
    return {**field, **silent, **({"args": arguments} if "args" in field else {})}


def _named(kind: Mapping[str, Any]) -> str:
    while kind.get("ofType"):
        kind = kind["ofType"]
    return str(kind["name"])
