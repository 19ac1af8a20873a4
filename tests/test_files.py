"""A file has its old content or its new one, never a part, and nothing is left beside it."""

from pathlib import Path

import pytest

from robustnb.files import whole, write_whole


def test_text_arrives_in_a_folder_that_was_missing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "note.txt"
    for text in ("ε", "μ"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert list(path.parent.iterdir()) == [path]


def test_nothing_shows_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    with whole(path) as part:
        part.write_text("new")
        assert part.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def fail() -> None:
        with whole(path) as part:
            part.write_text("ne")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
