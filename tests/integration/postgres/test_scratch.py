"""Templates on a server that several runs use."""

import uuid

from fairlead.postgres import Databases, ExternalServer, keep_template, scratch_database


def test_runs_that_know_a_server_by_different_databases_may_make_a_template_at_once(
    postgres_server: Databases,
) -> None:
    key = uuid.uuid4().hex[:16]
    made: list[str] = []

    def be_overtaken(_address: str) -> None:
        # An advisory lock is its database's own: this run, on another one, is not kept waiting by ours.
        made.append(keep_template(ExternalServer(postgres_server.url(other)), key, lambda _address: None))

    with scratch_database(postgres_server) as one, scratch_database(postgres_server) as other:
        name = keep_template(ExternalServer(postgres_server.url(one)), key, be_overtaken)
    try:
        assert made == [name]
        assert postgres_server.database_exists(name)
    finally:
        postgres_server.drop_database(name)
