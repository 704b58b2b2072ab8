import errno
import os
from pathlib import Path

import pytest

from skipwise.atomic import atomic_dir, atomic_write
from skipwise.errors import SkipwiseError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "a.txt") as file:
        file.write("Grüße")
        file.flush()
        assert not (tmp_path / "new" / "a.txt").exists()
        assert Path(file.name).parent == tmp_path / "new"
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "Grüße"
    assert names(tmp_path / "new") == ["a.txt"]


def test_bytes_replace_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with atomic_write(tmp_path / "a", "wb") as file:
        file.write(b"new")
        assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


def test_an_error_or_an_interrupt_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic_write(tmp_path / "a") as file:
            file.write("half")
            raise error
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    with atomic_write(tmp_path / "a") as file:
        file.write("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_write(tmp_path / "link") as file:
        file.write("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with atomic_dir(tmp_path / "model") as aside:
            (aside / content).write_text(content)
            assert not (tmp_path / "model" / content).exists()
        assert names(tmp_path / "model") == [content]
    assert names(tmp_path) == ["model"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "model") as aside:
        (aside / "good").write_text("")
    with pytest.raises(ValueError, match="broken"), atomic_dir(tmp_path / "model") as aside:
        (aside / "half").write_text("")
        raise ValueError("broken")
    assert names(tmp_path / "model") == ["good"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), RuntimeError("I/O error: full (os error 28)")])
def test_a_full_disk_names_the_path_and_the_free_space(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(SkipwiseError, match=r"no space left to write .*/a: [\d.]+ MB are free in .*Free some space"):
        with atomic_write(tmp_path / "a"):
            raise error
    with pytest.raises(SkipwiseError, match=r"no space left to write .*/d: "), atomic_dir(tmp_path / "d"):
        raise error
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_a_full_disk_at_closing_time_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipwise.atomic._aside", lambda target: tmp_path / "full")
    (tmp_path / "full").symlink_to("/dev/full")  # accepts writes into the buffer, refuses to flush it
    with pytest.raises(SkipwiseError, match="no space left"), atomic_write(tmp_path / "a") as file:
        file.write("x")
    assert names(tmp_path) == []


def test_other_system_errors_of_the_block_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SkipwiseError, match=r"/file must be a folder or free, got a file"),
        atomic_dir(tmp_path / "file"),
    ):
        pass
    with pytest.raises(SkipwiseError, match=r"/file/a cannot be written: got .* for .*/file"):
        with atomic_write(tmp_path / "file" / "a"):
            pass
    with pytest.raises(SkipwiseError, match="must be a file or free, got a folder"), atomic_write(tmp_path):
        pass


def test_appending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match='mode must be "w" or "wb", got \'a\''), atomic_write(tmp_path / "a", "a"):
        pass
