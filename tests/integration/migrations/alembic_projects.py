"""Alembic projects with the kinds of env.py that there are."""

from pathlib import Path
from textwrap import dedent

METADATA = """
import sqlalchemy as sa
target_metadata = sa.MetaData()
sa.Table("rooms", target_metadata, sa.Column("id", sa.Integer, primary_key=True))
sa.Table("beds", target_metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
SYNC = """
with sa.create_engine(url).connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
ASYNC = """
import asyncio
from sqlalchemy.ext.asyncio import async_engine_from_config

def run(connection):
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = async_engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.")
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""
START = "import os\nfrom alembic import context\nconfig = context.config\n"
FROM_INI = 'url = config.get_main_option("sqlalchemy.url")\n'
KINDS = {
    "url-from-ini": START + METADATA + FROM_INI + SYNC,
    "url-from-settings": START + METADATA + 'url = os.environ["DATABASE_URL"]\n' + SYNC,
    "async": START + METADATA + ASYNC,
    "asserts-cmd-opts": START
    + "assert config.cmd_opts is not None and hasattr(config.cmd_opts, 'x')\nprint('noise')\n"
    + METADATA
    + FROM_INI
    + SYNC,
    "talks": START
    + "import sys\nassert sys.stdin.read() == ''\nprint('{\"ended\": 0}', flush=True)\nos.write(1, b'\\xff\\n')\n"
    + METADATA
    + FROM_INI
    + SYNC,
    "no-metadata": START + "import sqlalchemy as sa\ntarget_metadata = None\n" + FROM_INI + SYNC,
}


def revision_text(revision: str, below: str | None, up: str, down: str) -> str:
    return dedent(f'''\
        """make {revision}"""
        from alembic import op
        revision = {revision!r}
        down_revision = {below!r}
        branch_labels = depends_on = None

        def upgrade():
            op.execute({up!r})

        def downgrade():
            {down}
        ''')


def make_project(folder: Path, env: str = KINDS["url-from-ini"], *, location: str = "scripts") -> Path:
    """Write a project of two revisions, a1 and b2, with this env.py."""
    ini_url = "driver://user:pass%%40word@localhost/name"
    (folder / "alembic.ini").write_text(f"[alembic]\nscript_location = {location}\nsqlalchemy.url = {ini_url}\n")
    scripts = folder / location
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(env)
    (scripts / "script.py.mako").write_text(
        '"""${message}"""\nfrom alembic import op\nimport sqlalchemy as sa\nrevision = ${repr(up_revision)}\n'
        "down_revision = ${repr(down_revision)}\nbranch_labels = depends_on = None\n\n\ndef upgrade():\n"
        '    ${upgrades if upgrades else "pass"}\n\n\ndef downgrade():\n    ${downgrades if downgrades else "pass"}\n'
    )
    add(folder, location, "a1", None, "CREATE TABLE rooms (id serial PRIMARY KEY)", "op.drop_table('rooms')")
    add(folder, location, "b2", "a1", "CREATE TABLE beds (id serial PRIMARY KEY)", "op.drop_table('beds')")
    return folder


def add(folder: Path, location: str, revision: str, below: str | None, up: str, down: str = "pass") -> None:
    """Write a revision that executes `up`; `down` is the Python of its downgrade."""
    (folder / location / "versions" / f"{revision}.py").write_text(revision_text(revision, below, up, down))
