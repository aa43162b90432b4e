"""Every document that the client sends is valid against the official schema and against the local platform's."""

import json
import os
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    parse,
    validate,
)

from fairlead.localplatform.answers import schema as local_schema
from fairlead.railway import DeploymentStatus
from fairlead.railway.queries import DOCUMENTS
from tests.unit.railway.official import KEPT, official_schema, prune

WHOLE = os.environ.get("FAIRLEAD_RAILWAY_SCHEMA")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_valid_locally(name: str) -> None:
    assert [error.message for error in validate(local_schema(), parse(DOCUMENTS[name]))] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_valid_officially(name: str) -> None:
    assert [error.message for error in validate(official_schema(), parse(DOCUMENTS[name]))] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_operation_bears_the_name_of_its_document(name: str) -> None:
    assert any(f"{kind} {name}" in DOCUMENTS[name] for kind in ("query", "mutation"))


def test_a_wrong_document_would_be_seen() -> None:
    assert validate(local_schema(), parse("query deployment { deployment(id: 5) { statsu } }"))


def own_types() -> list[str]:
    return [name for name in local_schema().type_map if not name.startswith("__")]


@pytest.mark.parametrize("name", own_types())
def test_local_type_is_part_of_the_official_one(name: str) -> None:
    local, official = local_schema().type_map[name], official_schema().type_map[name]
    assert type(local) is type(official)
    if isinstance(local, GraphQLObjectType | GraphQLInterfaceType):
        assert isinstance(official, GraphQLObjectType | GraphQLInterfaceType)
        assert {interface.name for interface in local.interfaces} <= {each.name for each in official.interfaces}
        for key, field in local.fields.items():
            assert str(field.type) == str(official.fields[key].type), key
            arguments = {argument: str(each.type) for argument, each in field.args.items()}
            assert arguments == {argument: str(each.type) for argument, each in official.fields[key].args.items()}, key
    elif isinstance(local, GraphQLInputObjectType):
        assert isinstance(official, GraphQLInputObjectType)
        assert {key: str(field.type) for key, field in local.fields.items()} == {
            key: str(field.type) for key, field in official.fields.items()
        }
    elif isinstance(local, GraphQLEnumType):
        assert isinstance(official, GraphQLEnumType)
        assert set(local.values) == set(official.values)
    else:
        assert isinstance(local, GraphQLScalarType)


@pytest.mark.skipif(WHOLE is None, reason="FAIRLEAD_RAILWAY_SCHEMA names no introspection of the whole schema")
def test_what_is_kept_of_the_official_schema_is_what_it_says() -> None:
    data = json.loads(Path(WHOLE or "").read_text("utf-8"))
    assert prune(data.get("data", data), own_types()) == KEPT.read_text("utf-8"), "write it anew: it has changed"


def test_status_has_the_values_of_the_schema() -> None:
    statuses = local_schema().type_map["DeploymentStatus"]
    assert isinstance(statuses, GraphQLEnumType)
    assert set(statuses.values) == set(DeploymentStatus.__members__)
