"""Data of any layout that is read, as train, dev and test manifests that share no speaker."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from skipwise.data.layouts import has_splits, read_data
from skipwise.data.manifest import write_manifest
from skipwise.data.splits import SPLIT_NAMES, Split, split_utterances
from skipwise.errors import SkipwiseError


def import_corpus(
    source: str | Path,
    out: str | Path,
    *,
    languages: Collection[str] | None = None,
    dev_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 1,
    bad_lines: list[str] | None = None,
) -> Split:
    """Write `train.jsonl`, `dev.jsonl` and `test.jsonl` into a folder; the audio stays where it is.

    `languages` and `bad_lines` are those of `read_data`, the rest those of `split_utterances`.

    Raises:
        SkipwiseError: if the data cannot be read, have splits, or cannot be split, or the folder holds manifests of
            another import.
    """
    out = Path(out)
    there = [path for split in SPLIT_NAMES if (path := out / f"{split}.jsonl").exists()]
    if there:
        raise SkipwiseError(f"{there[0]} is there already. Choose another folder, or remove the manifests in it.")
    if has_splits(source):
        raise SkipwiseError(
            f"{source} has splits of its own, so there is nothing to import. Train on it as it is: "
            f"skipwise train prune data.root={source}"
        )
    utterances = read_data(source, "train", languages=languages, bad_lines=bad_lines)
    parts = split_utterances(utterances, dev_share=dev_share, test_share=test_share, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    for split, part in (("test", parts.test), ("dev", parts.dev), ("train", parts.train)):
        write_manifest(out / f"{split}.jsonl", part)
    return parts
