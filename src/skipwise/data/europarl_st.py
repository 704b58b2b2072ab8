"""Reader of Europarl-ST v1.1, and of corpora in its layout.

v1.1/<src>/audios/<id>.m4a
v1.1/<src>/<tgt>/<split>/segments.lst       `<id> <start> <end>`, line by line with segments.<src> and segments.<tgt>
v1.1/<src>/<tgt>/<split>/speeches.lst       line by line with speakers.lst
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skipwise.data.languages import to_iso639_1, to_iso639_3
from skipwise.data.lines import named_or_left_out
from skipwise.data.manifest import Utterance
from skipwise.data.sidecar import utterance_id
from skipwise.errors import SkipwiseError

VERSION_FOLDER = "v1.1"


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One split of one language pair on disk."""

    root: Path
    source: str
    target: str
    split: str

    @property
    def folder(self) -> Path:
        return self.root / self.source / self.target / self.split

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        if not path.is_file():
            raise SkipwiseError(
                f"{path} is missing. A split of Europarl-ST v1.1 has segments.lst, speeches.lst, speakers.lst, texts."
            )
        text = path.read_text(encoding="utf-8")
        return text.removesuffix("\n").split("\n") if text else []

    def aligned(self, first: str, second: str) -> tuple[list[str], list[str]]:
        """The lines of two files that must have as many."""
        one, two = self.lines(first), self.lines(second)
        if len(one) != len(two):
            raise SkipwiseError(
                f"in {self.folder} the files {first} and {second} must be line by line, "
                f"got {len(one)} and {len(two)} lines. Unpack the corpus again."
            )
        return one, two


def is_europarl_st(root: str | Path) -> bool:
    """Whether a folder is one that `read_europarl_st` reads."""
    return _found_version_folder(Path(root)) is not None


def read_europarl_st(
    root: str | Path,
    split: str,
    *,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] = ("en",),
    bad_lines: list[str] | None = None,
) -> list[Utterance]:
    """The utterances of a split, in the order of the files.

    A segment that recurs across targets is one utterance with several translations. `root` is the folder that holds
    v1.1, or v1.1 itself. `sources` None: all that have one of `targets`. Given `bad_lines`, what is wrong with a
    segment goes there, and the segment is left out.

    Raises:
        SkipwiseError: no such folder, split or language; files that disagree; audio that is missing.
    """
    base = _version_folder(Path(root))
    target_codes = [to_iso639_1(code) for code in targets]
    found: dict[str, Utterance] = {}
    for pair in _pairs(base, split, sources, target_codes):
        for utterance in _read_pair(pair, bad_lines):
            known = found.get(utterance.id)
            found[utterance.id] = utterance if known is None else _merged(known, utterance, pair)
    return list(found.values())


def _version_folder(root: Path) -> Path:
    folder = _found_version_folder(root)
    if folder is None:
        raise SkipwiseError(
            f"{root} is not a corpus in the layout of Europarl-ST: it has no folder {VERSION_FOLDER} and no "
            f"<language>/audios. Give the folder that holds {VERSION_FOLDER}."
        )
    return folder


def _found_version_folder(root: Path) -> Path | None:
    for folder in (root / VERSION_FOLDER, root):
        if folder.is_dir() and (folder.name == VERSION_FOLDER or any(folder.glob("[a-z][a-z]/audios"))):
            return folder
    return None


def _pairs(base: Path, split: str, sources: Sequence[str] | None, targets: Sequence[str]) -> list[_Pair]:
    there = sorted(path.parent.name for path in base.glob("*/audios"))
    wanted = there if sources is None else [to_iso639_1(code) for code in sources]
    for source in wanted:
        if source not in there:
            raise SkipwiseError(f"{base} has no source language {source!r}; it has: {', '.join(there) or 'none'}.")
    all_pairs = [_Pair(root=base, source=source, target=target, split=split) for source in wanted for target in targets]
    pairs = [pair for pair in all_pairs if pair.folder.is_dir()]
    for source in wanted if sources is not None or not pairs else ():
        if not any(pair.source == source for pair in pairs):
            splits = sorted(
                {path.name for target in targets for path in (base / source / target).glob("*") if path.is_dir()}
            )
            raise SkipwiseError(
                f"{base} has no split {split!r} for {source} -> {', '.join(targets)}; "
                f"it has: {', '.join(splits) or 'none'}."
            )
    if not pairs:
        raise SkipwiseError(f"{base} has no source language at all: there is no <language>/audios in it.")
    return pairs


def _read_pair(pair: _Pair, bad_lines: list[str] | None) -> list[Utterance]:
    segments, transcripts = pair.aligned("segments.lst", f"segments.{pair.source}")
    _, translations = pair.aligned("segments.lst", f"segments.{pair.target}")
    speakers = dict(zip(*pair.aligned("speeches.lst", "speakers.lst"), strict=True))
    audio = _audio(pair, {line.split(" ")[0]: None for line in segments}, complete=bad_lines is None)
    utterances = []
    for number, (line, transcript, translation) in enumerate(
        zip(segments, transcripts, translations, strict=True), start=1
    ):
        with named_or_left_out(f"{pair.folder / 'segments.lst'}, line {number}", bad_lines):
            speech, start_s, end_s = _parse_segment(line)
            if speech not in speakers:
                raise SkipwiseError(f"the speech {speech!r} is not in speeches.lst.")
            if speech not in audio:
                raise SkipwiseError(f"the speech {speech!r} has no audio.")
            utterances.append(
                Utterance(
                    id=utterance_id(pair.source, speech, start_s, end_s),
                    audio=str(audio[speech]),
                    start_s=start_s,
                    end_s=end_s,
                    language=pair.source,
                    speaker=speakers[speech],
                    transcript=transcript.strip(),
                    translations={to_iso639_3(pair.target): translation.strip()},
                )
            )
    return utterances


def _parse_segment(line: str) -> tuple[str, float, float]:
    parts = line.split()
    try:
        speech, start_s, end_s = parts[0], float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise SkipwiseError(f"must be `<id> <start> <end>`, got {line!r}.") from None
    if len(parts) != 3 or not 0 <= start_s < end_s:
        raise SkipwiseError(f"must be `<id> <start> <end>` with 0 <= start < end, got {line!r}.")
    return speech, start_s, end_s


def _audio(pair: _Pair, speeches: Mapping[str, None], *, complete: bool) -> dict[str, Path]:
    """The audio files that there are; if it must be `complete`, a missing one is an error."""
    folder = pair.root / pair.source / "audios"
    paths = {speech: folder / f"{speech}.m4a" for speech in speeches}
    missing = {speech: path for speech, path in paths.items() if not path.is_file()}
    if missing and complete:
        raise SkipwiseError(
            f"{len(missing)} of {len(paths)} speeches of {pair.folder} have no audio, the first is "
            f"{next(iter(missing.values()))}. Unpack the audio, or complete the corpus."
        )
    return {speech: path for speech, path in paths.items() if speech not in missing}


def _merged(known: Utterance, again: Utterance, pair: _Pair) -> Utterance:
    if known.transcript != again.transcript:
        raise SkipwiseError(
            f"the segment {known.id!r} has two transcripts: {known.transcript!r} before, "
            f"{again.transcript!r} in {pair.folder}. Correct the texts of one target."
        )
    return replace(known, translations={**known.translations, **again.translations})
