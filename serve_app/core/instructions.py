"""Render the text a model sees: queries carry an instruction, documents go as they are."""

from __future__ import annotations

from serve_app.core.errors import InvalidRequest
from serve_app.core.profile import ModelProfile
from serve_app.core.types import InputType

MAX_INSTRUCTION_CHARACTERS = 2_000  # it is repeated before every input of the request


def prefix(profile: ModelProfile, input_type: InputType, instruction: str | None) -> str:
    """The text that stands before every input of a request.

    Qwen3-Embedding wants exactly `Instruct: {task}` + newline + `Query:` with no space after it (model card,
    QwenLM/Qwen3-Embedding README). Raises InvalidRequest if an instruction is given
    that the model cannot use, or a very long one.
    """
    if instruction is not None and not profile.takes_instruction:
        raise InvalidRequest(
            f"`instruction` cannot be used with {profile.name}: the model has no instruction format; leave it out.",
            param="instruction",
        )
    if instruction is not None and input_type == "document":
        raise InvalidRequest(
            "`instruction` belongs to queries: leave out `input_type` or set it to `query`.", param="instruction"
        )
    if instruction is not None and len(instruction) > MAX_INSTRUCTION_CHARACTERS:
        raise InvalidRequest(
            f"`instruction` has {len(instruction)} characters; the limit is {MAX_INSTRUCTION_CHARACTERS}: "
            "say in one sentence what the query is after.",
            param="instruction",
        )
    if input_type == "document" or profile.query_template is None:
        return ""
    task = instruction if instruction is not None else profile.default_instruction
    before_text = profile.query_template.partition("{text}")[0]
    return before_text.replace("{instruction}", task or "")
