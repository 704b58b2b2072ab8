"""From Europarl-ST to a data folder as ESPnet's OWSM recipes have it: one line an utterance and task.

python local/data.py CORPUS SPLIT FOLDER [--languages de fr it] [--tasks asr st_eng]
"""

import argparse
from pathlib import Path

import soundfile

from skipwise.audio import load_audio
from skipwise.data.layouts import read_data

RATE = 16_000
UNKNOWN = "<na>"


def main(corpus: Path, split: str, folder: Path, languages: list[str], tasks: list[str]) -> None:
    """Write the folder; audio is cut into one flac an utterance, which both tasks share."""
    (folder / "flac").mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {name: [] for name in ("wav.scp", "text", "text.prev", "text.ctc", "speech_shape")}
    lines |= {"utt2spk": []}
    for utterance in read_data(corpus, split, languages=languages):
        samples = load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)
        place = folder / "flac" / f"{utterance.id.replace('/', '_')}.flac"
        soundfile.write(place, samples, RATE)
        for task in tasks:
            values = {
                "wav.scp": str(place.resolve()),
                "text": f"<{utterance.language}><{task}><notimestamps> {utterance.reference(task).lower()}",
                "text.prev": UNKNOWN,
                # CTC says what is spoken, whatever the task is
                "text.ctc": utterance.transcript.lower() if utterance.transcript else UNKNOWN,
                "speech_shape": str(len(samples)),
                "utt2spk": utterance.speaker or utterance.id,
            }
            for name, value in values.items():
                lines[name].append(f"{place.stem}_{task} {value}\n")
    for name, own in lines.items():
        (folder / name).write_text("".join(sorted(own)), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("split")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", nargs="+", default=["de", "fr", "it"])
    parser.add_argument("--tasks", nargs="+", default=["asr", "st_eng"])
    main(**vars(parser.parse_args()))
