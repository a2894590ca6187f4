"""API keys: who may call. Knows the keys file and the `Authorization` header, and no route.

A key is `ek_<id>_<secret>`. The file holds sha256 digests only: the secret is 32 random bytes, so there is nothing to
guess that a slow hash would have to protect.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app.core.errors import Forbidden, SetupError, Unauthorized

Scope = Literal["embed", "admin"]  # admin may do what embed may

log = logging.getLogger("ray.serve")
LOOK_EVERY_S = 1.0
HOW_TO = "send `Authorization: Bearer KEY` with a key made by `embedctl keys create`."
NO_KEY = f"This endpoint needs an API key: {HOW_TO}"
UNKNOWN_KEY = f"The API key is not a valid one: {HOW_TO}"  # the same whether its id or its secret is wrong


class KeyRecord(BaseModel):
    """What the file knows of one key; never the key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str = Field(pattern=r"^[a-z0-9]{8}$")
    name: str = Field(min_length=1, max_length=100)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires.timestamp() <= now


class KeysFile(BaseModel):
    """The whole file; an empty list is a file whose keys have all been revoked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keys: tuple[KeyRecord, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if len({record.id for record in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same id")
        return self


EPOCH = datetime.fromtimestamp(0, UTC)
# Stands in for a key that is not there, so that an unknown id costs what a wrong secret costs. No text has this digest.
NOBODY = KeyRecord(id="0" * 8, name="nobody", digest="0" * 64, scopes=("embed",), created=EPOCH)

Stamp = tuple[int, int, int] | None  # (mtime in ns, inode, size); None: there is no file


def digest_of(key: str) -> str:
    """Hexadecimal sha256 of a whole key."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path) -> tuple[KeyRecord, ...]:
    """The keys of a file. Raises SetupError, without any content of the file, if it cannot be read or is not right."""
    try:
        content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)  # a safe loader, six times faster
        return KeysFile.model_validate(content).keys
    except FileNotFoundError as error:
        raise SetupError(
            f"There is no keys file {path}: make it with `embedctl keys create --file {path} --name NAME`."
        ) from error
    except OSError as error:
        raise SetupError(f"The keys file {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in details["loc"])
        raise SetupError(f"The keys file {path} is not right: {where or 'the file'}: {details['msg']}.") from None
    except (yaml.YAMLError, ValueError):  # ValueError: an impossible date
        raise SetupError(f"The keys file {path} is not valid YAML: restore it, or make new keys.") from None


class KeyRing:
    """The keys that are valid now. It follows its file: a new or revoked key counts within about a second.

    Not for several threads at once; `clock` gives seconds since the epoch. Raises SetupError if there is no good file
    to begin with.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        self._looked_at = clock()
        self._stamp = _stamp(self._path)
        self._unreadable: Stamp | Literal["none yet"] = "none yet"
        self._records = {record.id: record for record in read_keys(self._path)}

    def authorize(self, header: str | None, scope: Scope) -> str:
        """The id of the key in an `Authorization` header. Raises Unauthorized, or Forbidden if it lacks the scope."""
        now = self._clock()
        self._follow_file(now)
        key = _bearer(header)
        record = self._records.get(_id_of(key), NOBODY)
        if not hmac.compare_digest(digest_of(key), record.digest):
            raise Unauthorized(UNKNOWN_KEY)
        if record.is_expired(now):  # only the key's holder gets here
            raise Unauthorized(f"The API key {record.id} has expired: ask for a new one.")
        if scope not in record.scopes and "admin" not in record.scopes:
            raise Forbidden(f"The API key {record.id} lacks the scope `{scope}`: use a key that has it.")
        return record.id

    def _follow_file(self, now: float) -> None:
        if 0 <= now - self._looked_at < LOOK_EVERY_S:  # a clock that was set back must not stop the looking
            return
        self._looked_at = now
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            records = read_keys(self._path)
        except SetupError as error:  # tried again at every look: it may be readable then without having changed
            if stamp != self._unreadable:
                log.warning("the keys in use stay as they are: %s", error.message)
            self._unreadable = stamp
            return
        self._stamp = stamp  # taken before reading: a change meanwhile is seen at the next look
        self._records = {record.id: record for record in records}
        log.info("read the keys file again: %d keys", len(records))


def _bearer(header: str | None) -> str:
    scheme, _, key = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorized(NO_KEY)
    return key.strip()


def _id_of(key: str) -> str:
    return key[3:11]


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
