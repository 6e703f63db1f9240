"""One process at a time in a folder: who comes second is refused, and whoever has died is in nobody's way."""

import errno
import multiprocessing
import os
import time

import pytest

from ssg_hub.errors import ConfigError
from ssg_hub.processes.locking import LOCK, alone_in, take_lock

fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")


def test_the_second_is_refused_until_the_first_has_ended(tmp_path):
    folder = tmp_path / "a/run"
    refused = pytest.raises(ConfigError, match=r"another process works in .*run\. Wait until it ends")
    with alone_in(folder), refused, alone_in(folder):
        pass
    assert not list(tmp_path.iterdir())  # what was made for the lock alone
    with alone_in(folder):
        (folder / "model").touch()
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_a_folder_that_was_there_stays(tmp_path):
    with alone_in(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert tmp_path.is_dir() and not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone_in(tmp_path / "run"), alone_in(tmp_path / "run"):
        (tmp_path / "run/model").touch()
    assert (tmp_path / "run/model").exists()


def test_over_smb_a_lock_of_another_is_no_permission(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ConfigError, match="another process works"), alone_in(tmp_path):
        pass


@pytest.mark.parametrize(("place", "said"), [("file", "file is a file"), ("file/below", "be written: Not a directory")])
def test_what_cannot_be_a_folder(place, said, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=said), alone_in(tmp_path / place):
        pass


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch):
    """Between opening the file and locking it: its holder ended, and removed it."""

    def flock(file, how):
        if removed:
            removed.pop().unlink()
        lock(file, how)

    lock, place, removed = fcntl.flock, tmp_path / LOCK, [tmp_path / LOCK]
    monkeypatch.setattr(fcntl, "flock", flock)
    with take_lock(place), pytest.raises(BlockingIOError):
        take_lock(place)


def test_processes_that_are_forked_do_not_keep_it(tmp_path):
    """As data workers are: they live on for a while when their process was killed."""
    with alone_in(tmp_path):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
    try:
        with alone_in(tmp_path):
            pass
    finally:
        child.kill()
        child.join()
