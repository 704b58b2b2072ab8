import pytest

from skipwise.data.europarl_st import read_europarl_st
from skipwise.data.layouts import read_data
from skipwise.errors import SkipwiseError


def _write_pair(root, source, target, *, translations, split="train"):
    """Two speeches: the first with two segments, the second with one."""
    folder = root / "v1.1" / source / target / split
    folder.mkdir(parents=True)
    audios = root / "v1.1" / source / "audios"
    audios.mkdir(exist_ok=True)
    files = {
        "segments.lst": ["one 0.50 2.25", "one 2.50 4.00", "two 1.00 3.00"],
        f"segments.{source}": ["Erstens.", "Zweitens.", "Drittens."],
        f"segments.{target}": translations,
        "speeches.lst": ["one", "two"],
        "speakers.lst": ["Anna", "Bert"],
    }
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for speech in ("one", "two"):
        (audios / f"{speech}.m4a").touch()
    return folder


@pytest.fixture
def corpus(tmp_path):
    _write_pair(tmp_path, "de", "en", translations=["First.", "Second.", "Third."])
    return tmp_path


def test_segments_become_utterances(corpus):
    utterances = read_europarl_st(corpus, "train")
    assert [utterance.transcript for utterance in utterances] == ["Erstens.", "Zweitens.", "Drittens."]
    first, _, third = utterances
    assert (first.start_s, first.end_s, first.language, first.speaker) == (0.5, 2.25, "deu", "Anna")
    assert first.audio == str(corpus / "v1.1" / "de" / "audios" / "one.m4a")
    assert third.speaker == "Bert"
    assert third.translations == {"eng": "Third."}
    assert len({utterance.id for utterance in utterances}) == 3


def test_root_may_be_the_version_folder(corpus):
    assert read_europarl_st(corpus / "v1.1", "train") == read_europarl_st(corpus, "train") == read_data(corpus, "train")


def test_a_segment_in_two_targets_is_one_utterance(corpus):
    _write_pair(corpus, "de", "fr", translations=["Premier.", "Deuxième.", "Troisième."])
    both = read_europarl_st(corpus, "train", targets=("en", "fr"))
    assert len(both) == 3
    assert both[1].translations == {"eng": "Second.", "fra": "Deuxième."}
    assert read_europarl_st(corpus, "train", targets=("fr",))[1].translations == {"fra": "Deuxième."}


def test_sources_choose_the_languages(corpus):
    _write_pair(corpus, "it", "en", translations=["First.", "Second.", "Third."])
    assert {utterance.language for utterance in read_europarl_st(corpus, "train")} == {"deu", "ita"}
    assert {utterance.language for utterance in read_data(corpus, "train", languages=["ita"])} == {"ita"}
    with pytest.raises(SkipwiseError, match="no source language 'fr'; it has: de, it"):
        read_europarl_st(corpus, "train", sources=["fra"])


def test_an_unknown_split_names_those_there(corpus):
    with pytest.raises(SkipwiseError, match=r"no split 'dev' for de -> en; it has: train"):
        read_europarl_st(corpus, "dev")


def test_a_folder_that_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(SkipwiseError, match=r"not a corpus in the layout of Europarl-ST"):
        read_europarl_st(tmp_path, "train")


def test_line_counts_that_disagree_are_told(corpus):
    folder = corpus / "v1.1" / "de" / "en" / "train"
    (folder / "segments.en").write_text("First.\nSecond.\n", encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"segments\.lst and segments\.en must be line by line, got 3 and 2 lines"):
        read_europarl_st(corpus, "train")


def test_an_empty_line_at_the_end_still_counts(corpus):
    folder = corpus / "v1.1" / "de" / "en" / "train"
    (folder / "segments.en").write_text("First.\nSecond.\n\n", encoding="utf-8")
    assert [utterance.translations["eng"] for utterance in read_europarl_st(corpus, "train")] == [
        "First.",
        "Second.",
        "",
    ]


@pytest.mark.parametrize("name", ["segments.lst", "segments.de", "segments.en", "speeches.lst", "speakers.lst"])
def test_a_missing_file_is_named(corpus, name):
    (corpus / "v1.1" / "de" / "en" / "train" / name).unlink()
    with pytest.raises(SkipwiseError, match=rf"{name} is missing"):
        read_europarl_st(corpus, "train")


def test_missing_audio_is_counted_and_named(corpus):
    (corpus / "v1.1" / "de" / "audios" / "two.m4a").unlink()
    with pytest.raises(SkipwiseError, match=r"1 of 2 speeches .* have no audio, the first is .*two\.m4a"):
        read_europarl_st(corpus, "train")


@pytest.mark.parametrize("line", ["one", "one 1.0", "one a b", "one 2.0 1.0", "one 1.0 2.0 3.0"])
def test_a_bad_segment_is_named_with_its_line(corpus, line):
    folder = corpus / "v1.1" / "de" / "en" / "train"
    (folder / "segments.lst").write_text(f"one 0.50 2.25\n{line}\ntwo 1.00 3.00\n", encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"segments\.lst, line 2: must be `<id> <start> <end>`"):
        read_europarl_st(corpus, "train")


def test_a_segment_of_an_unlisted_speech_is_refused(corpus):
    folder = corpus / "v1.1" / "de" / "en" / "train"
    (folder / "speeches.lst").write_text("one\nthree\n", encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"line 3: the speech 'two' is not in speeches\.lst"):
        read_europarl_st(corpus, "train")


def test_targets_that_disagree_on_a_transcript_are_refused(corpus):
    folder = _write_pair(corpus, "de", "fr", translations=["Premier.", "Deuxième.", "Troisième."])
    (folder / "segments.de").write_text("Erstens.\nAnders.\nDrittens.\n", encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"two transcripts: 'Zweitens\.' before, 'Anders\.'"):
        read_europarl_st(corpus, "train", targets=("en", "fr"))


def test_bad_segments_may_be_left_out(corpus):
    folder = corpus / "v1.1" / "de" / "en" / "train"
    (folder / "segments.lst").write_text("one 0.50 2.25\none 2.0 1.0\ntwo 1.00 3.00\n", encoding="utf-8")
    (corpus / "v1.1" / "de" / "audios" / "two.m4a").unlink()
    bad_lines: list[str] = []
    [utterance] = read_data(corpus, "train", bad_lines=bad_lines)
    assert utterance.transcript == "Erstens."
    assert [line.split(".lst, ")[1][:40] for line in bad_lines] == [
        "line 2: must be `<id> <start> <end>` wit",
        "line 3: the speech 'two' has no audio.",
    ]
