"""The requests: OpenAI's embeddings request with the optional fields of this product, and its neighbours."""

from __future__ import annotations

from contextlib import nullcontext
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import TypeIs

from serve_app.core.errors import InvalidRequest
from serve_app.core.garbage import no_garbage_collection
from serve_app.core.types import InputType, Priority
from serve_app.model.tokenizer import Truncate

EncodingFormat = Literal["float", "base64"]
EmbedDtype = Literal["float32", "float16"]
PriorityName = Literal["interactive", "bulk"]
PRIORITIES: dict[PriorityName, Priority] = {"interactive": Priority.INTERACTIVE, "bulk": Priority.BULK}
LARGE_BODY_BYTES = 65_536
_NO_PAUSE = nullcontext()
LONGEST_NAME = 64  # of a field, as it is told and compared: looking for what is near takes time
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
# One wrong item is enough to refuse a list: an error for each would turn 2 MB of nulls into a gigabyte and seconds.
Texts = Annotated[list[str], Field(fail_fast=True)]
Ids = Annotated[list[TokenId], Field(fail_fast=True)]
IdLists = Annotated[list[Ids], Field(fail_fast=True)]


class _UnknownField(Exception):
    """Not of the tree: it passes through pydantic, which keeps ValueErrors, and is answered right behind it."""


def _refuse(name: str) -> str:
    raise _UnknownField(name[:LONGEST_NAME])


class TextRequest(BaseModel):
    """What every request about texts can say.

    The first unknown field ends the reading. Pydantic's own `forbid` makes an error of each: ten seconds and a gigabyte
    for the million of them that fit into a body.
    """

    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, json_schema_extra={"additionalProperties": False}
    )
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_refuse)], Any] = Field(init=False)

    model: str = Field(
        description="A served model or an alias of one, or `name@preset` for a named instruction; see GET /v1/models."
    )
    input_type: InputType | None = Field(
        None, description="`query` adds the model's instruction; default `document`, the text as it is."
    )
    instruction: str | None = Field(
        None, description="What the query is after, in one sentence, or `@preset`; implies `query`."
    )


class EmbeddingRequest(TextRequest):
    """Body of POST /v1/embeddings."""

    input: str | Texts | Ids | IdLists = Field(
        description="A text, a list of texts, a list of token ids, or a list of lists of token ids."
    )
    encoding_format: EncodingFormat = Field("float", description="base64 holds little-endian numbers.")
    embed_dtype: EmbedDtype = Field("float32", description="Numbers of a base64 answer; float16 halves it.")
    dimensions: int | None = Field(None, description="Size of the vectors, for Matryoshka models.")
    truncate: Truncate | None = Field(
        None, description="Cut an input that is too long at its `start` or `end`; otherwise it is an error."
    )
    priority: PriorityName = Field("interactive", description="`bulk` gives way to interactive requests.")
    user: str | None = Field(None, description="Accepted for compatibility and not used.")

    @property
    def texts(self) -> list[str] | list[list[int]]:
        """The inputs as a list, also when there is only one."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [self.input]
        return cast(list[str] | list[list[int]], self.input)


class TokenizeRequest(TextRequest):
    """Body of POST /v1/tokenize."""

    input: str | Texts = Field(description="A text, or a list of texts.")

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


def is_text(inputs: list[str] | list[list[int]]) -> TypeIs[list[str]]:
    """Whether the inputs are texts, not token ids; the schema has made them all alike. None at all may be either."""
    return not inputs or isinstance(inputs[0], str)


_MUST_BE = {
    "input": "a string, a list of strings, a list of token ids (whole numbers from 0), or a list of such lists",
    "model": "a string",
    "encoding_format": "`float` or `base64`",
    "dimensions": "a whole number",
    "embed_dtype": "`float32` or `float16`",
    "truncate": "`start` or `end`",
    "priority": "`interactive` or `bulk`",
    "input_type": "`document` or `query`",
    "instruction": "a string",
    "user": "a string",
}


Body = TypeVar("Body", bound=TextRequest)


def parse_request(body: bytes, kind: type[Body]) -> Body:
    """Raises InvalidRequest that names the first wrong field, what it must be, and never what it was."""
    try:
        # A body of five million empty lists would be searched again and again, for seconds.
        with _NO_PAUSE if len(body) < LARGE_BODY_BYTES else no_garbage_collection():
            return kind.model_validate_json(body)
    except _UnknownField as error:
        raise _unknown(error.args[0], list(kind.model_fields)) from None
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
    return InvalidRequest(f"`{field}` must be {_MUST_BE[field]}.", param=field)


def _unknown(name: str, known: list[str]) -> InvalidRequest:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known fields: {', '.join(known)}."
    return InvalidRequest(f"There is no such field; {hint}", param=name)
