"""What a synthetic corpus knows beyond Europarl-ST's lists, joined to the reader's utterances."""

from dataclasses import replace
from pathlib import Path

import pytest

from skipwise.data.manifest import Utterance
from skipwise.data.sidecar import SegmentFacts, by_sentence, join_facts, read_sidecar, sidecar_path, write_sidecar
from skipwise.errors import SkipwiseError

FACTS = SegmentFacts(
    speech="de.1",
    index=0,
    split="train",
    start_s=1.0,
    end_s=6.5,
    speaker="anna",
    voice="de+f2",
    noise="hum",
    snr_db=12.5,
    room="office",
    rt60_s=0.3,
    distance_m=1.0,
    held_out=(),
    sentences_s=((1.0, 3.2), (3.6, 6.5)),
    transcripts=("Guten Tag.", "Danke."),
    translations=("Good day.", "Thank you."),
    templates=("greet", "thank"),
    meanings=({"slots": {}, "opening": None}, {"slots": {}, "opening": None}),
)
SEGMENT = Utterance(
    id=FACTS.id,
    audio="de.1.m4a",
    start_s=1.0,
    end_s=6.5,
    language="deu",
    speaker="anna",
    transcript="Guten Tag. Danke.",
    translations={"eng": "Good day. Thank you."},
)
FRENCH = replace(SEGMENT, id="fr.1_0000100_0000650", language="fra")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus with a sidecar for German, and none for French."""
    write_sidecar(sidecar_path(tmp_path, "deu"), [FACTS])
    return tmp_path


def test_facts_come_back_as_they_were_written_and_join_by_id(root: Path) -> None:
    read = read_sidecar(sidecar_path(root, "deu"))
    assert read == [FACTS] and join_facts([SEGMENT], read) == [FACTS]
    with pytest.raises(
        SkipwiseError, match=r"1 of 1 utterances have no row in the sidecar, the first is 'fr.1_0000100"
    ):
        join_facts([FRENCH], read)


def test_segments_become_sentences_where_a_sidecar_tells_them_apart(root: Path) -> None:
    first, second, french = by_sentence(root, [SEGMENT, FRENCH])
    assert (first.start_s, first.end_s, first.transcript) == (1.0, 3.2, "Guten Tag.")
    assert (second.start_s, second.end_s, second.reference("st_eng")) == (3.6, 6.5, "Thank you.")
    assert first.id != second.id and first.speaker == "anna" and french == FRENCH


def test_a_row_that_is_no_fact_is_named(root: Path) -> None:
    path = sidecar_path(root, "deu")
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(SkipwiseError, match=r"segments.de.jsonl, line 2: is not JSON"):
        read_sidecar(path)
    with pytest.raises(SkipwiseError, match=r"there is no sidecar .*segments.it.jsonl"):
        read_sidecar(sidecar_path(root, "ita"))
