"""Originals of tokens, encrypted, for whom may see them.

A SQLite file with one row a value: the token, a keyed digest that tells apart two values of one token, and the value
sealed with AES-256-GCM. The key comes from the secret by scrypt with the file's own salt. Neither the secret nor a
plain value is ever written.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.core.errors import SetupError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

WAIT_S = 30.0  # for other processes that write
LOCKED_PAUSE_S = 0.05
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**15, 8, 1  # 32 MiB and some tens of milliseconds, once a process
PROOF = b"embed-cluster vault"
SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS originals (
    token TEXT NOT NULL, digest BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (token, digest)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, repr=False)
class Original:
    """A value and its token; not shown by repr, so that no message can hold it."""

    token: str
    digest: bytes  # 32 bytes, keyed
    value: str


class Vault:
    """Any number of processes of one machine may have the same file open."""

    def __init__(self, path: str, secret: str) -> None:
        """Opens the file, or makes it, readable for its owner only.

        Raises SetupError for a path that cannot be written, a file that is no vault, and another secret than the one
        the file was made with.
        """
        self._path = Path(path)
        _create(self._path)
        with self._connection() as connection:
            _use_wal(connection)
            connection.executescript(SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            if _fact(connection, "salt") is None:
                _initialise(connection, secret)
            connection.commit()
            self._cipher = _checked_cipher(connection, self._path, secret)

    def store(self, originals: Iterable[Original]) -> None:
        """All of them or, with a SetupError, none; those already there are left as they are."""
        with self._connection() as connection:
            rows = ((one.token, one.digest, _seal(self._cipher, one)) for one in originals)
            connection.executemany("INSERT OR IGNORE INTO originals VALUES (?, ?, ?)", rows)
            connection.commit()

    def values(self, token: str) -> list[str]:
        """The originals of a token: none, one, or by rare chance several."""
        with self._connection() as connection:
            rows = connection.execute("SELECT digest, sealed FROM originals WHERE token = ?", (token,)).fetchall()
        opened = (_open(self._cipher, sealed, token.encode() + digest) for digest, sealed in rows)
        return [value.decode("utf-8", "surrogatepass") for value in opened]

    def original(self, token: str) -> str:
        """The one value that the token stands for. SetupError where the vault has none, or several."""
        values = self.values(token)
        if not values:
            raise SetupError(f"the vault does not know {token}: it was made with another secret or another vault")
        if len(values) > 1:
            raise SetupError(f"{len(values)} values share {token} by chance, so it does not tell which one was meant")
        return values[0]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise SetupError(
                f"the vault {self._path} cannot be used ({error}): check that it is a vault, the rights and the disk"
            ) from None


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for its lock here, whatever the timeout, when two processes open a new file at once."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(LOCKED_PAUSE_S)
        else:
            return


def open_vault(path: str, secret: str) -> Vault:
    """A vault that is there already: looking into one does not make it. Raises SetupError as `Vault` does."""
    if not Path(path).is_file():
        raise SetupError(f"there is no vault at {path}: give the path that mask.vault had when tokens were made")
    return Vault(path, secret)


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise SetupError(f"the vault {path} cannot be written: {error.strerror}") from None


def _initialise(connection: sqlite3.Connection, secret: str) -> None:
    salt = secrets.token_bytes(SALT_BYTES)
    proof = _sealed(_cipher(secret, salt), PROOF, b"")
    connection.executemany("INSERT INTO facts VALUES (?, ?)", [("salt", salt), ("proof", proof)])


def _fact(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def _checked_cipher(connection: sqlite3.Connection, path: Path, secret: str) -> AESGCM:
    salt, proof = _fact(connection, "salt"), _fact(connection, "proof")
    if salt is None or proof is None:
        raise SetupError(f"the vault {path} is damaged: its salt or its proof is missing")
    cipher = _cipher(secret, salt)
    try:
        _open(cipher, proof, b"")
    except SetupError:
        raise SetupError(f"the vault {path} was made with another secret: use that one, or another file") from None
    return cipher


def _cipher(secret: str, salt: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ImportError:
        raise SetupError("the vault needs cryptography: pip install 'embed-cluster[pii]'") from None
    key = Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(secret.encode("utf-8"))
    return AESGCM(key)


def _seal(cipher: AESGCM, original: Original) -> bytes:
    """Bound to its row: swapped for another row's, it does not open."""
    return _sealed(cipher, original.value.encode("utf-8", "surrogatepass"), original.token.encode() + original.digest)


def _sealed(cipher: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound_to)


def _open(cipher: AESGCM, sealed: bytes, bound_to: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise SetupError("the vault is damaged: a value in it does not open") from None
