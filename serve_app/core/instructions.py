"""Render the text a model sees: queries carry an instruction, documents go as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from serve_app.core.errors import InvalidRequest, ModelNotFound
from serve_app.core.profile import ModelProfile
from serve_app.core.types import InputType

MAX_INSTRUCTION_CHARACTERS = 2_000  # it is repeated before every input of the request
PRESET_MARK = "@"


class Wish(NamedTuple):
    """How a request's texts are to be read."""

    input_type: InputType
    instruction: str | None


def resolve(
    presets: Mapping[str, str], model_preset: str | None, input_type: InputType | None, instruction: str | None
) -> Wish:
    """What a request asks for, with names of presets replaced by their texts.

    `model_preset` stands behind the `@` of the model's name: the choice of a client that can set nothing else, so an
    instruction of its own and an explicit `document` come before it. Raises ModelNotFound or InvalidRequest for a
    preset there is not.
    """
    if model_preset is not None and model_preset not in presets:
        raise ModelNotFound(f"`model` names a preset that is not configured; {_known(presets)}", param="model")
    if instruction is not None and instruction.startswith(PRESET_MARK):
        if instruction.removeprefix(PRESET_MARK) not in presets:
            raise InvalidRequest(
                f"`instruction` names a preset that is not configured; {_known(presets)}", param="instruction"
            )
        instruction = presets[instruction.removeprefix(PRESET_MARK)]
    elif instruction is None and model_preset is not None and input_type != "document":
        instruction = presets[model_preset]
    return Wish(input_type or ("document" if instruction is None else "query"), instruction)


def _known(presets: Mapping[str, str]) -> str:
    return f"presets: {', '.join(sorted(presets))}." if presets else "there are none."


def prefix(profile: ModelProfile, input_type: InputType, instruction: str | None) -> str:
    """The text that stands before every input of a request.

    Qwen3-Embedding wants exactly `Instruct: {task}` + newline + `Query:` with no space after it (model card,
    QwenLM/Qwen3-Embedding README). Raises InvalidRequest if an instruction is given
    that the model cannot use, or a very long one.
    """
    if instruction is not None and not profile.takes_instruction:
        raise InvalidRequest(
            f"`instruction`, also that of a preset, cannot be used with {profile.name}, which has no format for one: "
            "leave it out.",
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
