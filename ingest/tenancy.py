"""One collection, many owners: the same file of two tenants is two sources, and their chunks have keys of their own."""

from __future__ import annotations

import re

from serve_app.core.errors import SetupError

_TENANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_MARK = "tenant:"


def check_tenant(tenant: str) -> None:
    """Raises SetupError for a name that could be mistaken for something else."""
    if tenant and not _TENANT.fullmatch(tenant):
        raise SetupError(
            "`--tenant` is up to 63 letters, digits, dots, dashes and underscores, and begins with none of . and -."
        )


def identity(tenant: str, uri: str) -> str:
    """What the ledger and the store call a source; without tenants, its URI."""
    return f"{_MARK}{tenant}/{uri}" if tenant else uri


def uri_of(tenant: str, source: str) -> str | None:
    """The URI behind an identity; None if it belongs to another tenant."""
    prefix = identity(tenant, "")
    if not source.startswith(prefix) or (not tenant and source.startswith(_MARK)):
        return None
    return source.removeprefix(prefix)
