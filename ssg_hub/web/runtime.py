"""ONNX Runtime for browsers, from npm: one version, known by its hash."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError
from ..storage.user_cache import user_cache
from ..storage.whole_file import whole_file

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # npm's integrity
# For WebAssembly alone, and, larger, with WebGPU; a visitor loads one of them.
WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
PATIENCE = 600  # seconds for npm


def place_runtime(folder: Path, archive: Path | None = None) -> None:
    """Put the runtime's files into a folder.

    Args:
        folder: exists.
        archive: the package as `npm pack` writes it; None fetches it by npm, once, into the user's cache.

    Raises:
        ConfigError: it is not there, not that package, or npm cannot fetch it.
    """
    with tempfile.TemporaryDirectory(prefix="ssg-npm-") as scratch:
        if archive is None:
            archive = _cached(Path(scratch))
        else:
            check_archive(archive)
        with tarfile.open(archive) as package:
            for name in WASM + WEBGPU:
                with package.extractfile(f"package/dist/{name}") as source, open(folder / name, "wb") as target:
                    shutil.copyfileobj(source, target)


def check_archive(archive: Path) -> None:
    """Refuse anything but the one version.

    Raises:
        ConfigError: no such file, or another content.
    """
    if not archive.is_file():
        raise ConfigError(f"no file at {archive}. Give {ARCHIVE}, as `npm pack {PACKAGE}@{VERSION}` writes it.")
    if not _is_right(archive):
        raise ConfigError(
            f"{archive} is not {PACKAGE} {VERSION}: its hash differs. Fetch it again: npm pack {PACKAGE}@{VERSION}"
        )


def _is_right(archive: Path) -> bool:
    with open(archive, "rb") as file:
        found = hashlib.file_digest(file, "sha512").digest()
    return base64.b64encode(found).decode() == SHA512


def _cached(scratch: Path) -> Path:
    """The archive in the user's cache; fetched into `scratch`, and kept, if it is not there or damaged."""
    place = user_cache() / ARCHIVE
    if place.is_file() and _is_right(place):
        return place
    fetched = _fetch(scratch)
    check_archive(fetched)
    with suppress(OSError):  # a cache that cannot be written
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place, shared=True) as kept, open(fetched, "rb") as source:
            shutil.copyfileobj(source, kept)
    return fetched


def _fetch(folder: Path) -> Path:
    """Let npm fetch the archive from the registry that it is set up for."""
    instead = f"Or fetch it where npm works (npm pack {PACKAGE}@{VERSION}) and give the file: --runtime {ARCHIVE}"
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(f"a site needs {PACKAGE} {VERSION}, which npm fetches, and npm is not installed. {instead}")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder), "--silent"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=folder)
        said = done.stderr.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        done, said = None, [str(error)]
    if done is None or done.returncode or not (folder / ARCHIVE).is_file():
        reason = f" ({said[-1][:200]})" if said else ""
        raise ConfigError(f"npm cannot fetch {PACKAGE} {VERSION}{reason}. Check its registry and network. {instead}")
    return folder / ARCHIVE
