"""`skipwise convert`: an ESPnet model into transformers' layout, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    import torch

    from skipwise.models.owsm.convert import Conversion, Layout

LAYOUTS = ("transformers", "espnet")
DTYPES = ("float32", "float16", "bfloat16")


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="An ESPnet model: folder, .pth file, packed zip or tar, or Hub name. With --to espnet: "
            "a folder in transformers' layout, or a Hub name.",
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to make.")],
    to: Annotated[str, typer.Option("--to", help="Layout to write: transformers or espnet.")] = "transformers",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="float32, float16 or bfloat16: type of the stored weights [default: as they are]."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier conversion in DST.")] = False,
) -> None:
    """Convert a published or own OWSM between ESPnet's layout and transformers'."""
    layout, stored_dtype = _layout(to), _dtype(dtype)
    conversion = _convert_with_bar(source, target, layout, stored_dtype, overwrite=overwrite)
    _print_summary(conversion)


def _convert_with_bar(
    source: str, target: Path, layout: Layout, dtype: torch.dtype | None, *, overwrite: bool
) -> Conversion:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from skipwise.models.owsm.convert import convert_owsm

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("weights", total=None)
        return convert_owsm(
            source,
            target,
            to=layout,
            dtype=dtype,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _print_summary(conversion: Conversion) -> None:
    from skipwise.models.owsm.convert import EXPORTED_CONFIG, EXPORTED_WEIGHTS

    sizes, folder = conversion.architecture, conversion.folder
    typer.echo(
        f"{folder}: {conversion.num_parameters / 1e6:.1f} M parameters, {conversion.num_bytes / 1e6:.1f} MB; "
        f"{sizes.encoder_layers} + {sizes.decoder_layers} layers of width {sizes.hidden_size}, "
        f"{sizes.vocab_size} tokens, {len(sizes.languages)} languages, {len(sizes.tasks)} tasks."
    )
    if conversion.layout == "espnet":
        typer.echo(
            f"In {folder}, as the working directory, ESPnet reads it: Speech2Text(s2t_train_config="
            f"{EXPORTED_CONFIG!r}, s2t_model_file={EXPORTED_WEIGHTS!r})."
        )
    else:
        typer.echo(f"Next: skipwise transcribe FILE --language LANGUAGE --model {folder}")


def _layout(name: str) -> Layout:
    for layout in LAYOUTS:
        if name == layout:
            return layout
    raise SkipwiseError(f"--to must be one of {', '.join(LAYOUTS)}; got {name!r}.")


def _dtype(name: str | None) -> torch.dtype | None:
    if name is None:
        return None
    if name not in DTYPES:
        raise SkipwiseError(f"--dtype must be one of {', '.join(DTYPES)}; got {name!r}.")
    import torch

    return getattr(torch, name)
