"""Files: written whole or not at all, and one clear line for each mistake."""

from __future__ import annotations

import os
import stat

import pytest

from attnretrieval.inputs.files import (
    InputError,
    MissingExtra,
    atomic_file,
    atomic_folder,
    need_file,
    need_folder,
    need_package,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_file_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.json"
    with atomic_file(target) as temporary:
        temporary.write_text("1")
        assert not target.exists() and temporary.suffix == ".json" and temporary.parent == target.parent
    assert target.read_text() == "1" and names(target.parent) == ["a.json"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_atomic_file_keeps_the_old_one_when_stopped(tmp_path, stop):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(stop), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise stop
    assert target.read_text() == "old" and names(tmp_path) == ["a.json"]


def test_atomic_file_has_the_usual_permissions(tmp_path):
    plain, target = tmp_path / "plain", tmp_path / "target"
    plain.write_text("")
    with atomic_file(target):
        pass
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_atomic_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "gallery"
    for name in ("old", "new"):
        with atomic_folder(target) as temporary:
            (temporary / name).write_text(name)
        assert names(target) == [name] and names(tmp_path) == ["gallery"]
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_atomic_folder_keeps_the_old_one_when_stopped(tmp_path, stop):
    target = tmp_path / "gallery"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(stop), atomic_folder(target) as temporary:
        (temporary / "half").write_text("")
        raise stop
    assert names(target) == ["old"] and names(tmp_path) == ["gallery"]


def test_atomic_folder_puts_the_old_one_back_when_the_new_one_cannot_move_in(tmp_path, monkeypatch):
    target = tmp_path / "gallery"
    target.mkdir()
    (target / "old").write_text("")
    replace, calls = os.replace, []

    def second_fails(a, b):
        calls.append(b)
        if len(calls) == 2:
            raise OSError("no")
        replace(a, b)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="no"), atomic_folder(target) as temporary:
        (temporary / "new").write_text("")
    assert names(target) == ["old"] and names(tmp_path) == ["gallery"]


def test_atomic_folder_does_not_replace_a_file(tmp_path):
    target = tmp_path / "notes.txt"
    target.write_text("mine")
    with pytest.raises(InputError, match="is a file, expected a folder"), atomic_folder(target):
        raise AssertionError("the work must not begin")
    assert target.read_text() == "mine" and names(tmp_path) == ["notes.txt"]


def test_need_file_and_need_folder(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("")
    assert need_file(str(file), "the captions") == file and need_folder(str(tmp_path), "the photos") == tmp_path
    for need, path, message in (
        (need_file, tmp_path, f"the captions {tmp_path} is a folder, expected a file"),
        (need_file, tmp_path / "b", f"the captions {tmp_path / 'b'} does not exist"),
        (need_folder, file, f"the captions {file} is a file, expected a folder"),
        (need_folder, tmp_path / "b", f"the captions {tmp_path / 'b'} does not exist"),
    ):
        with pytest.raises(InputError) as error:
            need(path, "the captions")
        assert str(error.value) == message


def test_need_file_takes_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(pipe)
    assert need_file(pipe, "the captions") == pipe      # as bash's <(...) gives one


def test_need_package():
    assert need_package("json", extra="none", purpose="reading") is __import__("json")
    with pytest.raises(MissingExtra) as error:
        need_package("no_such_package", extra="zh", purpose="cutting Chinese into words")
    assert str(error.value) == ('cutting Chinese into words needs the package no_such_package, which is not installed: '
                                'pip install "attnretrieval[zh]"')
