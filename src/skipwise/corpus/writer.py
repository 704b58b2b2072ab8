"""The corpus on disk: the audio by several processes, then the lists in the layout of Europarl-ST v1.1.

    OUT/v1.1/<src>/audios/<id>.m4a
    OUT/v1.1/<src>/en/<split>/{segments.lst,segments.<src>,segments.en,speeches.lst,speeches.<src>,speeches.en,speakers.lst,url.lst}
    OUT/corpus.json, OUT/speakers.jsonl, OUT/segments.<src>.jsonl     what Europarl-ST has no place for

While a corpus is being made, OUT/.parts holds its settings and one file per finished speech: a build that was stopped
goes on there.
"""

import ctypes
import json
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from skipwise.atomic import atomic_write
from skipwise.corpus.listing import write_lists
from skipwise.corpus.recording import encode_m4a, mix
from skipwise.corpus.script import Speech, write_script
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.speech import check_voice, espeak_version
from skipwise.data.languages import to_iso639_1
from skipwise.errors import SkipwiseError

GRAMMAR_VERSION = 4
"""Raised whenever equal settings would no longer give equal bytes."""

_PR_SET_PDEATHSIG = 1

Progress = Callable[[int, int], None]


def _no_progress(done: int, total: int) -> None:
    return None


def build_corpus(
    out: str | Path, settings: CorpusSettings, *, jobs: int = 1, progress: Progress = _no_progress
) -> dict[str, Any]:
    """Make the corpus in the folder `out` and return what `corpus.json` says of it.

    `progress(done, total)` is called after each speech. A folder with a stopped build of the same settings is
    completed, a complete one is left as it is. Same settings, same bytes, whatever `jobs` is.

    Raises:
        SkipwiseError: `out` holds something else, espeak-ng is missing, or the disk is full.
    """
    if jobs < 1:
        raise SkipwiseError(f"jobs must be 1 or more, got {jobs}.")
    folder = Path(out)
    # the versions first: another grammar has other settings too
    identity = {"versions": _versions(), "settings": settings.as_dict()}
    finished = folder / "corpus.json"
    if finished.exists():
        summary = json.loads(finished.read_text(encoding="utf-8"))
        _demand_equal(identity, {key: summary.get(key) for key in identity}, folder)
        return summary
    _open_folder(folder, identity)
    speeches = write_script(settings.resolved())
    for voice in sorted({speech.speaker.voice for speech in speeches}):
        check_voice(voice)
    _record_all(folder, speeches, jobs, progress)
    summary = {**identity, "splits": write_lists(folder, speeches, _parts(folder))}
    with atomic_write(finished) as file:
        file.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(_parts(folder))
    return summary


def audio_path(folder: Path, speech: Speech) -> Path:
    """Where the audio of a speech lies."""
    return folder / "v1.1" / to_iso639_1(speech.language) / "audios" / f"{speech.id}.m4a"


def _parts(folder: Path) -> Path:
    return folder / ".parts"


def _versions() -> dict[str, Any]:
    packages = {name: version(name) for name in ("numpy", "av", "soxr")}
    return {"grammar": GRAMMAR_VERSION, "espeak-ng": espeak_version(), **packages}


def _open_folder(folder: Path, identity: dict[str, Any]) -> None:
    """Make the folders, or check that a stopped build in them had the same settings."""
    described = _parts(folder) / "settings.json"
    if described.exists():
        _demand_equal(identity, json.loads(described.read_text(encoding="utf-8")), folder)
        return
    if (folder / "v1.1").exists():
        raise SkipwiseError(
            f"{folder} already holds a v1.1 that is not a corpus of this program. Choose another folder."
        )
    with atomic_write(described) as file:
        file.write(json.dumps(identity))


def _demand_equal(wanted: dict[str, Any], found: dict[str, Any], folder: Path) -> None:
    for part, values in wanted.items():
        there = found.get(part) or {}
        for key in values:
            if values[key] != there.get(key):
                raise SkipwiseError(
                    f"{folder} holds a corpus made with other {part}: {key} is {there.get(key)!r} there, "
                    f"{values[key]!r} now. Give the same {part}, or choose another folder."
                )


def _record_all(folder: Path, speeches: Sequence[Speech], jobs: int, progress: Progress) -> None:
    """Record what is missing; after an error or Ctrl-C, what was begun is finished and nothing else is."""
    for unfinished in folder.glob("v1.1/*/audios/.*.part"):
        unfinished.unlink()
    missing = [
        speech for speech in speeches if not (_part(folder, speech).exists() and audio_path(folder, speech).exists())
    ]
    done = count(len(speeches) - len(missing))
    progress(next(done), len(speeches))
    # Spawned, not forked: this process may hold torch and threads, and the workers fork themselves for every speech.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_prepare_worker)
    try:
        futures = [pool.submit(_record_one, folder, speech) for speech in missing]
        for future in as_completed(futures):
            future.result()
            progress(next(done), len(speeches))
    except BrokenProcessPool as error:
        raise SkipwiseError(
            "a process that speaks has died. Run the same command again, with fewer jobs if memory is short: "
            "it goes on where it stopped. A script that calls build_corpus needs "
            '`if __name__ == "__main__":` around the call.'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """Leave Ctrl-C to the main process, which lets the workers finish their speech, and end when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # A worker that waits for work does not notice that nobody will send any. A thread that watches the parent
        # would do on any system, but espeak-ng crashes in forks of a process with threads.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _part(folder: Path, speech: Speech) -> Path:
    return _parts(folder) / f"{speech.id}.json"


def _record_one(folder: Path, speech: Speech) -> None:
    mixed = mix(speech)
    with atomic_write(audio_path(folder, speech), "wb") as file:
        file.write(encode_m4a(mixed.samples))
    # Last: a speech with a part is a finished one.
    with atomic_write(_part(folder, speech)) as file:
        file.write(json.dumps({name: getattr(mixed, name) for name in ("duration_s", "segments_s", "sentences_s")}))
