"""Transport to and from the Hub: fetch files into the cache and check them, push a folder.

Every network or Hub error becomes a `HubError` that says what to do next. Nothing here knows what a model is.
"""

import hashlib
import os
import re
import socket
from pathlib import Path
from types import NoneType
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import (
    _CACHED_NO_EXIST,
    CommitInfo,
    HfApi,
    constants,
    hf_hub_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError
from huggingface_hub.utils import validate_repo_id

from ..errors import ConfigError, HubError, check_type
from .endpoint import PORTS, explain_endpoint
from .hub_errors import explain_out_of_reach, hub_errors

REACH_TIMEOUT = 3  # seconds, for a connection to be made
REACH_OPTIONS = {"revision", "cache_dir", "force_download", "local_files_only"}
HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")  # SHA-256 or SHA-1


def fetch_file(
    repo_id: str, name: str, *, revision: str | None = None, token: str | bool | None = None, **options
) -> Path:
    """Bring one file of a model repository into the cache, or find it there, and check its content.

    Args:
        repo_id: "owner/name".
        name: path of the file in the repository.
        revision: branch, tag or commit; default main.
        token: access token; True or None for the saved one.
        options: `cache_dir`, `force_download`, `local_files_only`, as `hf_hub_download` takes them.

    Returns:
        Its path in the cache's snapshot folder of the commit.

    Raises:
        HubError: it is not available, or is not what the Hub announced.
        RemoteEntryNotFoundError: the repository has no such file at this revision (huggingface_hub's own error).
    """
    path = _download(repo_id, name, revision, token, options)
    _check_hash(path, repo_id)
    return path


def fetch_extra(repo_id: str, name: str, *, revision: str, token: str | bool | None = None, **options) -> None:
    """Bring a file into the cache that a repository may have and that can be done without, or leave it.

    That a revision lacks it is asked once and remembered. Where the Hub cannot be asked it is left, too.

    Args:
        repo_id, name, token, options: as for `fetch_file`.
        revision: a commit.

    Raises:
        HubError: it came with another content than the Hub announced.
    """
    known = try_to_load_from_cache(repo_id, name, cache_dir=options.get("cache_dir"), revision=revision)
    if known is _CACHED_NO_EXIST:
        return
    try:
        path = _download(repo_id, name, revision, token, options)
    except (RemoteEntryNotFoundError, HubError):
        return
    _check_hash(path, repo_id)


def check_cached(repo_id: str, name: str, *, revision: str | None = None, cache_dir: str | Path | None = None) -> None:
    """Check all files of a revision that others brought into the cache, as `fetch_file` does for one.

    Args:
        repo_id, revision, cache_dir: as for `fetch_file`.
        name: a file that must be among them; without it nothing is checked.

    Raises:
        HubError: one does not have the content that the Hub announced; it was removed.
    """
    here = try_to_load_from_cache(repo_id, name, cache_dir=cache_dir, revision=revision)
    if isinstance(here, str):
        for path in sorted(Path(here).parent.iterdir()):
            _check_hash(path, repo_id)


def check_reach(
    repo_id: str,
    name: str,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> None:
    """Fail at once if nothing answers at the Hub's address; the client would retry for half a minute.

    Raises:
        HubError: the file would have to be downloaded, and the Hub is out of reach or HF_ENDPOINT is no address.
        HFValidationError: `repo_id` is no id of a repository (huggingface_hub's own error).
        ConfigError: `cache_dir` is no path.
    """
    check_type("cache_dir", cache_dir, (str, os.PathLike, NoneType), "a folder")
    validate_repo_id(repo_id)
    here = try_to_load_from_cache(repo_id, name, cache_dir=cache_dir, revision=revision)
    if local_files_only or constants.is_offline_mode() or (isinstance(here, str) and not force_download):
        return  # the client asks nobody, or does not mind
    check_endpoint()
    hub = urlsplit(constants.ENDPOINT)
    if hub.scheme in getproxies() and not proxy_bypass(hub.netloc):
        return  # the proxy is asked, and knows better
    try:
        socket.create_connection((hub.hostname or "", hub.port or PORTS[hub.scheme]), REACH_TIMEOUT).close()
    except OSError:
        raise HubError(explain_out_of_reach(repo_id)) from None


def check_endpoint() -> None:
    """Raises HubError where the Hub would be asked, but HF_ENDPOINT is no address."""
    reason = explain_endpoint(constants.ENDPOINT)
    if reason and not constants.is_offline_mode():
        raise HubError(reason)


def check_id(repo_id: str) -> None:
    """Refuse, before there is anything to push, what cannot be the id of a repository. Raises ConfigError."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise ConfigError(f"{repo_id!r} cannot be the id of a Hub repository. Give owner/name, no address.") from None


def list_files(repo_id: str, revision: str | None, token: str | bool | None) -> list[str]:
    """The paths of all files of a model repository. Raises HubError."""
    check_endpoint()
    with hub_errors(repo_id, revision, token):
        return HfApi().list_repo_files(repo_id, revision=revision, token=token)


def open_repo(repo_id: str, *, private: bool | None, revision: str | None, token: str | bool | None) -> str:
    """Make the model repository and the branch where they are missing; returns the full id. Raises HubError."""
    check_endpoint()
    api = HfApi(token=token)
    with hub_errors(repo_id, revision, token, writing=True):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision not in (None, constants.DEFAULT_REVISION):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return repo_id


def push_folder(folder: Path, repo_id: str, *, token: str | bool | None = None, **options) -> CommitInfo:
    """Upload a folder as one commit.

    Args:
        folder: what to upload.
        repo_id: "owner/name" of an existing repository.
        token: access token with write permission; None for the saved one.
        options: `revision`, `commit_message`, `create_pr`, `delete_patterns`, as `HfApi.upload_folder` takes them.

    Raises:
        HubError: the Hub refused or was out of reach; the repository then has no part of the commit.
    """
    with hub_errors(repo_id, options.get("revision"), token, writing=True):
        return HfApi(token=token).upload_folder(repo_id=repo_id, folder_path=folder, **options)


def _download(repo_id: str, name: str, revision: str | None, token: str | bool | None, options: dict) -> Path:
    """A file's path in the cache, its content not checked yet; arguments and errors as for `fetch_file`."""
    with hub_errors(repo_id, revision, token):
        check_reach(repo_id, name, revision, **options)
        return Path(hf_hub_download(repo_id, name, revision=revision, token=token, **options))


def _check_hash(path: Path, repo_id: str) -> None:
    """Compare a cached file with the hash by which the Hub announced it; a wrong one leaves the cache.

    The client compares sizes only. The cache names a file's blob by its hash, to which the snapshot's link points: the
    SHA-256 of a large file, git's SHA-1 of a small one (some mirrors: its own SHA-1). Where the file system has no
    links there is nothing to compare with. Reads at about 1 GB/s.
    """
    if not path.is_symlink():
        return
    expected = Path(os.readlink(path)).name
    if not HASH.fullmatch(expected):
        return
    with path.open("rb") as file:
        if len(expected) == 64:
            found = {hashlib.file_digest(file, "sha256").hexdigest()}
        else:
            content = file.read()
            found = {hashlib.sha1(head + content).hexdigest() for head in (b"blob %d\0" % len(content), b"")}
    if expected not in found:
        path.resolve().unlink(missing_ok=True)
        path.unlink()
        raise HubError(
            f"{path.name} of {repo_id} does not have the content that the Hub announced (its hash is not "
            f"{expected[:12]}…). The damaged copy was removed; run it again to download a new copy."
        )
