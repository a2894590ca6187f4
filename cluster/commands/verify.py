"""`embedctl verify`: are the served vectors those of the model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cluster.commands.options import ConfigOption, EndpointOption, KeyOption, ServedOption
from cluster.config import load_config
from cluster.environment import secret_in
from serve_app.core.errors import SetupError

console = Console()


def verify(
    config: ConfigOption = None,
    model: ServedOption = "",
    endpoint: EndpointOption = "",
    checkpoint: Annotated[
        Path | None, typer.Option(help="The model's directory; default: as the configuration says.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the reference for `models[].golden`, if all vectors agree.")
    ] = None,
    key_env: KeyOption = "EMBED_API_KEY",
) -> None:
    """Compare the cluster's vectors with those of transformers in float32 on this machine.

    Exit code 1 if one of them differs. Takes four bytes of memory for each parameter of the model.
    """
    from cluster.commands import verification as verifying

    settings = load_config(config)
    where = verifying.Endpoint(endpoint or settings.http.endpoint, secret_in(key_env))
    served = where.served_model(model)
    model_settings, directory = verifying.checkpoint_of(settings, served, checkpoint)
    reference, values = verifying.verify(where, served, model_settings, directory)
    verifying.show(console, reference, values)
    if not verifying.agree(values):
        raise SetupError(
            f"The vectors of {served} differ from the reference: a cosine is below {verifying.MIN_COSINE}. "
            "Are the checkpoints the same?"
        )
    if save is not None:
        from serve_app.model.golden import write_golden

        try:
            write_golden(save, served, reference.ids, reference.vectors)
        except OSError as error:
            raise SetupError(f"The reference cannot be written to {save}: {error.strerror}.") from error
        console.print(f"Wrote {escape(str(save))}: set it as the model's `golden` to check every replica at its start.")
