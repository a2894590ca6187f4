"""`embedctl keys`: make, list and revoke API keys. The only writer of keys files."""

from __future__ import annotations

import fcntl
import os
import secrets
import string
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serve_app.core.errors import SetupError
from serve_app.http.keys import KeyRecord, Scope, digest_of, read_keys

ID_CHARACTERS = string.ascii_lowercase + string.digits
ID_LENGTH = 8
SECRET_BYTES = 32


class ScopeChoice(StrEnum):
    """Scope for Typer, which takes no list of literals."""

    embed = "embed"
    admin = "admin"


commands = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of a cluster.")
console = Console()
notes = Console(stderr=True)  # beside the key itself, which alone goes to standard output

FileOption = Annotated[Path, typer.Option("--file", "-f", help="The keys file; `auth.keys_file` in cluster.yaml.")]


@commands.command()
def create(
    name: Annotated[str, typer.Option(help="Whose key it is, for `keys list`.")],
    file: FileOption = Path("keys.yaml"),
    scope: Annotated[list[ScopeChoice] | None, typer.Option(help="What it may do; admin includes embed.")] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires.")] = None,
) -> None:
    """Make a key and print it, this once.

    Example: `embedctl keys create --file keys.yaml --name alice --expires-days 90`
    """
    expires = timedelta(days=expires_days) if expires_days is not None else None
    key = create_key(file, name, [choice.value for choice in scope or [ScopeChoice.embed]], expires)
    sys.stdout.write(f"{key}\n")
    sys.stdout.flush()
    notes.print(
        f"This is the only time the key is shown: {escape(str(file))} keeps its digest. Clients send it as "
        "`Authorization: Bearer KEY` (the OpenAI client: `api_key`). "
        f"The cluster asks for keys once cluster.yaml says `auth: {{keys_file: {escape(str(file))}}}`; "
        "a running one that does already takes the new key within a second.",
        soft_wrap=True,
        highlight=False,
    )


@commands.command("list")
def list_(file: FileOption = Path("keys.yaml")) -> None:
    """Show the keys of a file, without their digests."""
    now = datetime.now(UTC)
    table = Table("id", "name", "scopes", "created", "expires")
    for record in read_keys(file):
        until = "never" if record.expires is None else f"{record.expires:%Y-%m-%d %H:%M}"
        state = " (expired)" if record.is_expired(now.timestamp()) else ""
        table.add_row(
            record.id, escape(record.name), ", ".join(record.scopes), f"{record.created:%Y-%m-%d %H:%M}", until + state
        )
    console.print(table)


@commands.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The eight characters behind `ek_`.")],
    file: FileOption = Path("keys.yaml"),
) -> None:
    """Take a key out of a file; a running cluster refuses it within a second."""
    record = revoke_key(file, key_id)
    console.print(f"Revoked {record.id} ({escape(record.name)}).", highlight=False)


def create_key(path: Path, name: str, scopes: Sequence[Scope], expires: timedelta | None = None) -> str:
    """Add a new key to the file, which is made if it is missing. Returns the key. Raises SetupError."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise SetupError("--name must be 1 to 100 printable characters.")
    with _locked(path):
        records = read_keys(path) if path.exists() else ()
        taken = {record.id for record in records}
        key_id = _random_id()
        while key_id in taken:
            key_id = _random_id()
        key = f"ek_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        now = datetime.now(UTC).replace(microsecond=0)
        record = KeyRecord(
            id=key_id,
            name=name,
            digest=digest_of(key),
            scopes=tuple(dict.fromkeys(scopes)),
            created=now,
            expires=now + expires if expires is not None else None,
        )
        _write(path, (*records, record))
    return key


def revoke_key(path: Path, key_id: str) -> KeyRecord:
    """Take the key out of the file. Raises SetupError if the file has no such key."""
    with _locked(path):
        records = read_keys(path)
        found = next((record for record in records if record.id == key_id), None)
        if found is None:
            raise SetupError(f"{path} has no key of that id; `embedctl keys list --file {path}` shows the ids.")
        _write(path, [record for record in records if record.id != key_id])
    return found


def _random_id() -> str:
    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(ID_LENGTH))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time: two that read, add a key and write back would lose one of the keys."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as error:
        raise SetupError(f"The folder of the keys file {path} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _keep_owner(descriptor: int, target: Path) -> None:
    """Whoever could read the file before must be able to read its successor: the Routers may run as somebody else."""
    if target.exists():
        before = target.stat()
        os.fchmod(descriptor, before.st_mode & 0o777)
        if before.st_uid != os.geteuid():
            os.fchown(descriptor, before.st_uid, before.st_gid)


def _write(path: Path, records: Sequence[KeyRecord]) -> None:
    """Replace the file in one step: a Router that reads meanwhile sees old or new. A new one is its owner's alone."""
    content = {"keys": [record.model_dump(mode="json", exclude_none=True) for record in records]}
    target = path.resolve()  # a link goes on being one
    try:
        with tempfile.NamedTemporaryFile(  # made with mode 0600
            "w", dir=target.parent, prefix=f".{target.name}.", encoding="utf-8", delete=False
        ) as file:
            try:
                yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True)
                file.flush()
                _keep_owner(file.fileno(), target)
                os.fsync(file.fileno())
                os.replace(file.name, target)  # noqa: PTH105  # the name is a string already
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SetupError(f"The keys file {path} cannot be written: {error.strerror}.") from error
