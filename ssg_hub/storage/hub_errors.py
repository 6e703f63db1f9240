"""What `huggingface_hub` and the network raise, as one sentence that says what to do next."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import NoneType
from typing import NamedTuple

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import HubError, SSGError, check_type


class Request(NamedTuple):
    """What was asked of the Hub when it failed; see `hub_errors`."""

    repo_id: str
    revision: str | None
    token: str | bool | None
    writing: bool


@contextmanager
def hub_errors(
    repo_id: str, revision: str | None = None, token: str | bool | None = None, writing: bool = False
) -> Iterator[None]:
    """Turn what `huggingface_hub` and the network raise inside the block into a `HubError`.

    A file that the repository does not have stays a `RemoteEntryNotFoundError`: the caller decides what it means.

    Args:
        repo_id, revision, token: what is asked for, and by whom.
        writing: whether it is an upload.

    Raises:
        HubError: see above.
        ConfigError: revision or token are of another type.
    """
    check_type("revision", revision, (str, NoneType), "a branch, a tag or a commit, as a text,")
    check_type("token", token, (str, bool, NoneType), "a text")
    try:
        yield
    except (SSGError, RemoteEntryNotFoundError):
        raise
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise HubError(_describe(_root_cause(error), Request(repo_id, revision, token, writing))) from None


def _describe(error: BaseException, asked: Request) -> str:
    """One line: what happened, what is needed, what to do."""
    for kind, explain in EXPLANATIONS:
        if isinstance(error, kind):
            return explain(error, asked)
    detail = " ".join(str(error).split()) or type(error).__name__
    if (
        isinstance(error, OSError)
        and error.errno is not None
        and not isinstance(error, (ConnectionError, TimeoutError))
    ):
        return f"files of {asked.repo_id} could not be stored ({detail[:200]}). Make room, or choose another HF_HOME."
    what = "the upload to" if asked.writing else "the download from"
    state = "no commit was made" if asked.writing else "what was already downloaded is kept"
    return (
        f"{what} {asked.repo_id} at {constants.ENDPOINT} broke off ({detail[:200]}). "
        f"Check the connection and run it again; {state}."
    )


def _explain_invalid_id(error, asked: Request) -> str:
    return (
        f"{asked.repo_id!r} is neither a folder nor the id of a Hub repository. "
        "Give a folder that exists, or owner/name."
    )


def _explain_no_file(error, asked: Request) -> str:
    return f"{asked.repo_id} lacks a file that is needed ({error.server_message}). Check the id and the revision."


def _explain_gated(error, asked: Request) -> str:
    return (
        f"{asked.repo_id} is gated: its owner wants its terms accepted first. "
        f"Accept them at {constants.ENDPOINT}/{asked.repo_id}, then log in with `hf auth login` or pass token=."
    )


def _explain_no_repo(error, asked: Request) -> str:
    if _has_token(asked.token):
        return (
            f"there is no model repository {asked.repo_id} at {constants.ENDPOINT} that this token may read. "
            "Check the spelling, or use a token of an account with access to it."
        )
    return (
        f"there is no public model repository {asked.repo_id} at {constants.ENDPOINT}. "
        "Check the spelling; if it is private, log in with `hf auth login` or pass token=."
    )


def _explain_no_revision(error, asked: Request) -> str:
    return (
        f"{asked.repo_id} has no revision {asked.revision or constants.DEFAULT_REVISION!r}. "
        f"Give a branch, a tag or a commit that {constants.ENDPOINT}/{asked.repo_id}/tree/main lists."
    )


def _explain_no_token(error, asked: Request) -> str:
    return "token=True asks for the saved login, but there is none. Run `hf auth login` or pass token= itself."


def _explain_offline(error, asked: Request) -> str:
    return (
        f"{asked.repo_id} is needed, but HF_HUB_OFFLINE forbids the network. "
        "Unset it, or give a folder on this machine."
    )


def _explain_absent(error, asked: Request) -> str:
    """A file that is not cached and could not be asked for."""
    reason = error.__cause__
    if isinstance(reason, (HfHubHTTPError, OfflineModeIsEnabled)):
        return _describe(reason, asked)
    if isinstance(reason, FileMetadataError):
        return f"{constants.ENDPOINT} did not answer as a Hub does ({reason}). Check HF_ENDPOINT and proxy settings."
    if reason is None:
        return f"{asked.repo_id} is not in the cache. Load it once without local_files_only, or give a folder."
    return explain_out_of_reach(asked.repo_id)


def explain_out_of_reach(repo_id: str) -> str:
    """The sentence for a repository that would have to be asked for where nothing answers."""
    return (
        f"the Hub at {constants.ENDPOINT} is out of reach and {repo_id} is not in the cache. "
        "Check the connection (and HF_ENDPOINT), or give a folder on this machine."
    )


def _explain_status(error, asked: Request) -> str:
    status, said = error.response.status_code, error.server_message or error.response.reason_phrase
    do = f"{'write to' if asked.writing else 'read'} {asked.repo_id}"
    if status == 401 and not asked.writing and not _has_token(asked.token):
        return _explain_no_repo(error, asked)
    if status == 401 and not _has_token(asked.token):
        return f"the Hub asks for a login to {do}. Run `hf auth login` or pass token=."
    if status == 401:
        return f"the Hub does not accept the token ({said}). Run `hf auth login` again or pass a valid token=."
    if status == 403:
        return f"the Hub does not let this token {do} ({said}). Use a token with permission for it."
    if status == 429:
        return f"the Hub limits the rate of requests and would not {do} now. Wait a few minutes, or log in."
    if status >= 500:
        return f"the Hub at {constants.ENDPOINT} answered {status} when asked to {do} ({said}). Try again later."
    return f"the Hub at {constants.ENDPOINT} answered {status} when asked to {do} ({said})."


# The first kind that an error is of explains it: the special ones come before those that they are kinds of.
EXPLANATIONS: list[tuple[type, Callable[..., str]]] = [
    (HFValidationError, _explain_invalid_id),
    (RemoteEntryNotFoundError, _explain_no_file),
    (GatedRepoError, _explain_gated),
    (RepositoryNotFoundError, _explain_no_repo),
    (RevisionNotFoundError, _explain_no_revision),
    (LocalTokenNotFoundError, _explain_no_token),
    (OfflineModeIsEnabled, _explain_offline),
    (LocalEntryNotFoundError, _explain_absent),
    (HfHubHTTPError, _explain_status),
]


def _root_cause(error: BaseException) -> BaseException:
    """What happened, out of the plain errors in which the client and transformers wrap it."""
    while type(error) in (RuntimeError, OSError, ValueError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _has_token(token: str | bool | None) -> bool:
    return token is not False and bool(token or get_token())
