"""The wire format: OpenAI's embeddings request and response, plus the optional fields of this product."""

from __future__ import annotations

from binascii import b2a_base64
from difflib import get_close_matches
from typing import Annotated, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import TypeIs

from serve_app.core.errors import InvalidRequest
from serve_app.core.profile import ModelProfile
from serve_app.core.types import InputType, Vectors

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
# One wrong item is enough to refuse a list: an error for each would turn 2 MB of nulls into a gigabyte and seconds.
Texts = Annotated[list[str], Field(fail_fast=True)]
Ids = Annotated[list[TokenId], Field(fail_fast=True)]
IdLists = Annotated[list[Ids], Field(fail_fast=True)]


class EmbeddingRequest(BaseModel):
    """Body of POST /v1/embeddings."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    input: str | Texts | Ids | IdLists = Field(
        description="A text, a list of texts, a list of token ids, or a list of lists of token ids."
    )
    model: str = Field(description="A served model; GET /v1/models lists them.")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64 holds little-endian float32.")
    dimensions: int | None = Field(None, description="Size of the vectors, for Matryoshka models.")
    input_type: InputType | None = Field(
        None, description="`query` adds the model's instruction; default `document`, the text as it is."
    )
    instruction: str | None = Field(None, description="What the query is after, in one sentence; implies `query`.")
    user: str | None = Field(None, description="Accepted for compatibility and not used.")

    @property
    def texts(self) -> list[str] | list[list[int]]:
        """The inputs as a list, also when there is only one."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [self.input]
        return cast(list[str] | list[list[int]], self.input)

    @property
    def effective_input_type(self) -> InputType:
        return self.input_type or ("document" if self.instruction is None else "query")


def is_text(inputs: list[str] | list[list[int]]) -> TypeIs[list[str]]:
    """Whether the inputs (at least one) are texts, not token ids; the schema has made them all alike."""
    return isinstance(inputs[0], str)


_MUST_BE = {
    "input": "a string, a list of strings, a list of token ids (whole numbers from 0), or a list of such lists",
    "model": "a string",
    "encoding_format": "`float` or `base64`",
    "dimensions": "a whole number",
    "input_type": "`document` or `query`",
    "instruction": "a string",
    "user": "a string",
}


def parse_request(body: bytes) -> EmbeddingRequest:
    """Raises InvalidRequest that names the first wrong field, what it must be, and never what it was."""
    try:
        return EmbeddingRequest.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _invalid(details) from None


def _invalid(details: ErrorDetails) -> InvalidRequest:
    if details["type"] == "json_invalid":
        return InvalidRequest("The body is not valid JSON in UTF-8.")
    if not details["loc"]:
        return InvalidRequest("The body must be a JSON object.")
    field = str(details["loc"][0])
    if details["type"] == "missing":
        return InvalidRequest(f"`{field}` is missing: it must be {_MUST_BE[field]}.", param=field)
    if field in _MUST_BE:
        return InvalidRequest(f"`{field}` must be {_MUST_BE[field]}.", param=field)
    near = get_close_matches(field, _MUST_BE, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known fields: {', '.join(_MUST_BE)}."
    return InvalidRequest(f"There is no such field; {hint}", param=field[:64])


def encode_response(vectors: Vectors, model: str, encoding_format: str, prompt_tokens: int) -> bytes:
    """The response body. The rows are written straight from the array: no Python float is ever made."""
    if encoding_format == "base64":
        rows = [b'"' + b2a_base64(row.tobytes(), newline=False) + b'"' for row in vectors]
    else:
        rows = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in vectors]
    items = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, row) for index, row in enumerate(rows)
    )
    return b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        items,
        orjson.dumps(model),
        prompt_tokens,
        prompt_tokens,
    )


def model_card(profile: ModelProfile) -> dict[str, object]:
    """One entry of GET /v1/models: OpenAI's fields and what a client needs to know beyond them."""
    return {
        "id": profile.name,
        "object": "model",
        "created": 0,
        "owned_by": "embed-cluster",
        "native_dimensions": profile.native_dimensions,
        "min_dimensions": profile.min_dimensions,
        "max_tokens": profile.max_tokens,
        "pooling": profile.pooling,
        "dtype": profile.dtype,
        "default_instruction": profile.default_instruction,
    }
