"""`embedctl reveal`: what tokens of masking stand for, from the vault, for whoever holds its secret."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.options import ConfigOption
from cluster.config import load_config
from cluster.environment import secret_in
from serve_app.core.errors import SetupError

if TYPE_CHECKING:
    from ingest.mask.vault import Vault
    from ingest.settings import MaskSettings

MOST_TOLD = 5


def reveal(
    tokens: Annotated[
        list[str],
        typer.Argument(
            metavar="TOKEN", help="In quotes, as they stand in a text; `-` reads them from stdin, one a line."
        ),
    ],
    config: ConfigOption = None,
) -> None:
    """Turn tokens of masked texts back into what they stand for: one line each, the token, a tab, the original.

    The vault is the file that `ingest.mask.vault` names, its secret what the environment variable of
    `ingest.mask.key_env` holds. What is not to be found is said at the end, with exit code 1. Whoever may run this sees
    personal data, and so does every file that its output goes to.

    Example: `embedctl reveal --config cluster.yaml '<CN_MOBILE:1f0c93aa52de>'`
    """
    vault = opened(load_config(config).ingest.mask)
    problems = [problem for token in _given(tokens) if (problem := _print_original(vault, token))]
    if problems:
        more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
        raise SetupError("; ".join(problems[:MOST_TOLD]) + more)


def opened(mask: MaskSettings) -> Vault:
    """The configured vault. Raises SetupError if there is none, or not with this secret."""
    from ingest.mask.vault import open_vault

    if not mask.vault:
        raise SetupError(
            "The configuration names no vault, so no original was kept: give --config with the `ingest.mask.vault` "
            "that the ingestion had."
        )
    secret = secret_in(mask.key_env)
    if not secret:
        raise SetupError(f"The vault {mask.vault} needs the secret of the ingestion: set {mask.key_env} to it.")
    return open_vault(mask.vault, secret)


def _given(tokens: Iterable[str]) -> Iterator[str]:
    """With those of stdin. Bytes that are no text are spelled out, so that they are an unknown token like any other."""
    for given in tokens:
        if given != "-":
            yield given.encode("utf-8", "backslashreplace").decode()
            continue
        lines = (line.decode("utf-8", "backslashreplace").strip() for line in sys.stdin.buffer)
        yield from filter(None, lines)


def _print_original(vault: Vault, token: str) -> str:
    """Its line; or, given back, a sentence why it has none."""
    try:
        original = vault.original(token)
    except SetupError as error:
        return error.message
    sys.stdout.write(f"{token}\t{_in_one_line(original)}\n")
    return ""


def _in_one_line(text: str) -> str:
    """Line breaks, control characters and lone surrogates are spelled out: a value is what a stranger wrote."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
