"""Folders by path or by a name on the Hugging Face Hub, from which only the files that are needed are fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skipwise.errors import SkipwiseError


def is_hub_name(source: str | Path) -> bool:
    """Return whether `source` can be a name on the Hub, `owner/name`, and is no folder; a `Path` never is one."""
    return (
        isinstance(source, str)
        and source.count("/") == 1
        and not source.startswith((".", "/", "~"))
        and not source.endswith("/")
        and not Path(source).exists()
    )


def local_folder(source: str | Path, *, what: str, needs: str, patterns: Sequence[str]) -> Path:
    """Return the folder at `source`, or the one in the Hub's cache with a repository's files that match `patterns`.

    `what` names in errors what is looked for (`model`), and `needs` what its folder holds.

    Raises:
        SkipwiseError: if it is neither a folder nor a name that the Hub, or its cache, can give.
    """
    if Path(source).is_dir():
        return Path(source)
    if not is_hub_name(source):
        raise SkipwiseError(
            f"no {what} at {source}: not a folder. Give a folder that holds {needs}, or a Hub name (owner/name)."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=list(patterns)))
    except Exception as error:  # the Hub's client raises many types: offline, missing, gated, ...
        reason = " ".join(str(error).split()).rstrip(".")
        raise SkipwiseError(
            f"no {what} at {source}: not a folder, and the Hub said: {reason}. Where the Hub can be reached, run "
            f"`hf download {source} --local-dir DIR`, bring DIR here and name it; or set HF_HUB_CACHE to a cache "
            "that has it."
        ) from error
