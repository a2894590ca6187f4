"""Keyed tokens in place of values: equal values get equal tokens, and nobody without the secret can tell which."""

from __future__ import annotations

import hashlib
import hmac

from serve_app.core.errors import SetupError

TOKEN_HEX_DIGITS = 12  # among a million values, two share a token with a chance of 0.2 %
MIN_SECRET_CHARACTERS = (
    16  # numbers of ID cards and phones are few enough to try out all of them under a guessed secret
)


class Tokens:
    """Makes tokens like `<CN_MOBILE:9f86d081884c>`."""

    def __init__(self, secret: str) -> None:
        """Raises SetupError for a secret that is too short to keep one."""
        if len(secret) < MIN_SECRET_CHARACTERS:
            raise SetupError(
                f"the secret for masking has {len(secret)} characters; tokens need at least {MIN_SECRET_CHARACTERS}. "
                "Make one with: openssl rand -hex 32"
            )
        self._key = secret.encode("utf-8")

    @property
    def key_id(self) -> str:
        """Tells secrets apart without telling them."""
        return self.digest("key id", "").hex()[:8]

    def digest(self, entity: str, canonical: str) -> bytes:
        """32 bytes that stand for one value of one entity."""
        message = f"{entity}\0{canonical}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).digest()

    def token(self, entity: str, canonical: str) -> str:
        return f"<{entity}:{self.digest(entity, canonical).hex()[:TOKEN_HEX_DIGITS]}>"
