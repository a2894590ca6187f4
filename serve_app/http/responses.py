"""The responses: vectors, token ids and model cards as bytes on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
from pybase64 import b64encode

from serve_app.core.errors import InvalidRequest
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds, Vectors
from serve_app.http.schemas import EmbeddingRequest, EmbedDtype, EncodingFormat


@dataclass(frozen=True, slots=True)
class Encoding:
    """How vectors are written."""

    format: EncodingFormat
    dtype: EmbedDtype

    @classmethod
    def of(cls, request: EmbeddingRequest) -> Encoding:
        """Raises InvalidRequest for float16 written as decimal numbers, where it would save nothing."""
        if request.embed_dtype == "float16" and request.encoding_format != "base64":
            raise InvalidRequest(
                "`embed_dtype` float16 needs `encoding_format` base64: decimal numbers have no width.",
                param="embed_dtype",
            )
        return cls(request.encoding_format, request.embed_dtype)


def encode_response(vectors: Vectors, model: str, encoding: Encoding, prompt_tokens: int) -> bytes:
    """The response body. The rows are written straight from the array: no Python float is ever made."""
    parts = [b'{"object":"list","data":[']
    quote = b'"' if encoding.format == "base64" else b""
    opening, comma = b"", b'%b},{"object":"embedding","index":%%d,"embedding":%b' % (quote, quote)
    for index, row in enumerate(_rows(vectors, encoding)):
        opening = comma % index if index else b'{"object":"embedding","index":0,"embedding":' + quote
        parts += (opening, row)
    parts.append(
        b'%b}],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}'
        % (quote, orjson.dumps(model), prompt_tokens, prompt_tokens)
    )
    return b"".join(parts)


def _rows(vectors: Vectors, encoding: Encoding) -> Iterator[bytes]:
    if encoding.format == "float":
        return (orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in vectors)
    numbers = np.ascontiguousarray(vectors, dtype="<f2" if encoding.dtype == "float16" else "<f4")
    return (b64encode(row) for row in numbers)


def encode_tokens(texts: list[TokenIds], profile: ModelProfile) -> bytes:
    """The response body of POST /v1/tokenize."""
    return orjson.dumps(
        {
            "object": "list",
            "model": profile.name,
            "max_tokens": profile.max_tokens,
            "total_tokens": sum(len(ids) for ids in texts),
            "data": [
                {"object": "tokens", "index": index, "count": len(ids), "tokens": ids}
                for index, ids in enumerate(texts)
            ],
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What GET /v1/models says of one model beside its profile."""

    profile: ModelProfile
    aliases: tuple[str, ...]
    presets: tuple[str, ...]

    def content(self) -> dict[str, object]:
        """OpenAI's fields and what a client needs to know beyond them."""
        profile = self.profile
        return {
            "id": profile.name,
            "object": "model",
            "created": 0,
            "owned_by": "embed-cluster",
            "aliases": self.aliases,
            "native_dimensions": profile.native_dimensions,
            "min_dimensions": profile.min_dimensions,
            "max_tokens": profile.max_tokens,
            "pooling": profile.pooling,
            "dtype": profile.dtype,
            "default_instruction": profile.default_instruction,
            "presets": self.presets if profile.takes_instruction else (),
            "fingerprint": profile.fingerprint or None,
        }
