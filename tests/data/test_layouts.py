import pytest

from skipwise.data.layouts import detect_layout, has_splits, read_data
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines


def _row(name: str, **changes: str) -> dict[str, str]:
    return {"id": name, "audio": f"{name}.wav", "language": "de"} | changes


def _ids(*arguments, **options) -> list[str]:
    return [utterance.id for utterance in read_data(*arguments, **options)]


def test_only_the_languages_asked_for_are_kept(tmp_path):
    path = write_lines(tmp_path / "data.jsonl", _row("a"), "", _row("b", language="fra"))
    assert _ids(path, "train") == ["a", "b"]
    assert _ids(path, "train", languages=["fr"]) == ["b"]
    with pytest.raises(SkipwiseError, match="has no utterance in ita"):
        read_data(path, "train", languages=["it"])


def test_a_file_is_one_split_whatever_is_asked_for(tmp_path):
    path = write_lines(tmp_path / "train.jsonl", _row("a"))
    assert not has_splits(path)
    assert _ids(path, "dev") == _ids(path, "train") == ["a"]


@pytest.mark.parametrize(
    ("train", "dev"),
    [
        ("train.jsonl", "dev.jsonl"),
        ("train/manifest.jsonl", "validation/manifest.jsonl"),
        ("my_train_v2.jsonl", "valid-00000-of-00001.jsonl"),
    ],
)
def test_a_folder_tells_splits_apart_by_the_names_of_folders_and_files(tmp_path, train, dev):
    write_lines(tmp_path / train, _row("a"))
    write_lines(tmp_path / dev, _row("b"))
    assert has_splits(tmp_path)
    assert _ids(tmp_path, "train") == ["a"]
    assert _ids(tmp_path, "dev") == ["b"]
    with pytest.raises(SkipwiseError, match=r"has no split 'test'; in it are: "):
        read_data(tmp_path, "test")


def test_the_file_called_exactly_after_the_split_is_the_split(tmp_path):
    write_lines(tmp_path / "test.jsonl", _row("a"))
    write_lines(tmp_path / "test_unseen.jsonl", _row("b"))
    assert _ids(tmp_path, "test") == ["a"]
    assert _ids(tmp_path, "test_unseen") == ["b"]


def test_all_files_of_a_split_are_read_and_ids_stay_unique(tmp_path):
    write_lines(tmp_path / "train-0.jsonl", _row("a"))
    write_lines(tmp_path / "train-1.jsonl", _row("b"))
    assert _ids(tmp_path, "train") == ["a", "b"]
    write_lines(tmp_path / "train-2.jsonl", _row("b", audio="c.wav"))
    with pytest.raises(SkipwiseError, match=r"train-2\.jsonl: the id 'b' is there twice"):
        read_data(tmp_path, "train")


def test_two_ids_of_a_manifest_may_share_their_audio(tmp_path):
    path = write_lines(tmp_path / "data.jsonl", _row("a"), _row("b", audio="a.wav", transcript="Ja."))
    assert _ids(path, "test") == ["a", "b"]


def test_a_folder_of_files_without_a_split_in_their_names_is_one_split(tmp_path):
    write_lines(tmp_path / "0000.jsonl", _row("a"))
    write_lines(tmp_path / "dataset_info.json", {"features": {}})
    assert not has_splits(tmp_path)
    assert _ids(tmp_path, "test") == ["a"]


def test_a_split_in_two_layouts_is_an_error(tmp_path):
    write_lines(tmp_path / "train.jsonl", _row("a"))
    write_lines(tmp_path / "train.json", {"audio_filepath": "a.wav", "text": "Ja."})
    with pytest.raises(SkipwiseError, match="train data in several layouts: NeMo, manifest"):
        read_data(tmp_path, "train")


@pytest.mark.parametrize("name", ["data.csv", "data.jsonl", "empty.jsonl", "folder", "files"])
def test_an_unknown_layout_names_the_known_ones(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "data.csv").touch()
    (tmp_path / "empty.jsonl").touch()
    write_lines(tmp_path / "data.jsonl", {"wav": "a.wav"})
    write_lines(tmp_path / "files" / "readme.md", "x")
    got = {
        "data.csv": "a file that ends in '.csv'",
        "data.jsonl": "lines with the fields wav",
        "empty.jsonl": "no line that is a JSON object",
        "folder": "a folder with nothing",
        "files": "a folder with readme.md",
    }[name]
    with pytest.raises(
        SkipwiseError, match=rf"{name} is not known: got {got}.*Europarl-ST.*manifest of skipwise.*NeMo"
    ):
        read_data(tmp_path / name, "train")


def test_data_that_are_not_there_are_named(tmp_path):
    for ask in (has_splits, lambda path: read_data(path, "train")):
        with pytest.raises(SkipwiseError, match=r"there is no data at .*none\.jsonl"):
            ask(tmp_path / "none.jsonl")


def test_a_layout_is_told_behind_bad_lines(tmp_path):
    path = write_lines(tmp_path / "data.jsonl", "{", "{}", _row("a"))
    assert detect_layout(path).name == "manifest"
    with pytest.raises(SkipwiseError, match=r"data\.jsonl, line 1: not JSON"):
        read_data(path, "test")


def test_bad_lines_are_left_out_and_listed(tmp_path):
    path = write_lines(tmp_path / "data.jsonl", _row("a"), "{", _row("b"), _row("c", language="qq"))
    path.write_bytes(path.read_bytes() + b'{"id": "\xff"}\n')
    bad_lines: list[str] = []
    assert _ids(path, "test", bad_lines=bad_lines) == ["a", "b"]
    places = [line.split(": ")[0] for line in bad_lines]
    assert places == [f"{path}, line 2", f"{path}, line 4", f"{path}, line 5"]
    assert "must be UTF-8, got b'\\xff'" in bad_lines[2]


def test_data_of_nothing_but_bad_lines_are_an_error(tmp_path):
    path = write_lines(tmp_path / "data.jsonl", {"audio": 3}, {"audio": 4})
    with pytest.raises(
        SkipwiseError, match=r"has no utterance; 2 bad lines were left out, the first: .*line 1: the field"
    ):
        read_data(path, "test", bad_lines=[])


def test_damaged_packing_is_an_error(tmp_path):
    (tmp_path / "data.jsonl.gz").write_bytes(b"\x1f\x8b\x08 broken")
    with pytest.raises(SkipwiseError, match=r"data\.jsonl\.gz is not a whole gzip file"):
        read_data(tmp_path / "data.jsonl.gz", "test")


def test_an_audio_folder_that_keeps_its_audio_in_audios_is_no_europarl_st(tmp_path):
    write_audio(tmp_path / "train" / "audios" / "a.wav")
    write_lines(tmp_path / "train" / "metadata.csv", "file_name,text,lang", "audios/a.wav,Ja.,de")
    assert _ids(tmp_path, "train") == ["audios/a"]
