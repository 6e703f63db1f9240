"""Upscale the evaluation's LR pictures with published generators, once: runs/peers/NAME/SET/STEM.png.

    ssg convert MODELS/realesrgan-x4plus.param -o weights/x4plus.safetensors       # MODELS: see docs/recipe.md
    python -m benchmarks.peers [--peers x4plus] [--sets camvid-dev-noisy …] [--minutes 4]

Existing pictures that are newer than their LR are skipped, so the same command continues an interrupted run. The
weights are read into our own networks, which benchmarks/ncnn_equality.py shows to be those of ncnn.
"""

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from benchmarks.document import ROOT
from benchmarks.evaluation_data import PictureSet, camvid_sets, find_shared, kodak_sets
from ssg_hub.evaluation.methods import index_pictures
from ssg_hub.loading import load_model

OUTPUT = ROOT / "runs/peers"
PEERS = {  # name -> weights: beside the repository, or in its own ignored folder
    "general-x4v3": "{shared}/weights/realesr_general_x4v3_fp16.safetensors",
    "general-wdn-x4v3": "{shared}/weights/realesr_general_wdn_x4v3_fp16.safetensors",
    "x4plus": "{root}/weights/x4plus.safetensors",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--sets", nargs="+", metavar="SET", help="default: all, the last to be measured last")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop then; exit code 3 if some are left")
    options, shared = parser.parse_args(), find_shared()
    sets = [*camvid_sets(shared, "dev"), *kodak_sets(shared), *camvid_sets(shared, "val")]
    chosen = [s for s in sets if options.sets is None or s.name in options.sets]
    until = time.monotonic() + 60 * options.minutes
    work = [(peer, *pair) for picture_set in chosen for peer in options.peers for pair in missing(peer, picture_set)]
    models: dict[str, object] = {}
    for done, (peer, lr, sr) in enumerate(tqdm(work, unit="picture", disable=None)):
        if time.monotonic() >= until:
            print(f"{len(work) - done} pictures are left. The same command continues.")
            return 3
        if peer not in models:
            models[peer] = load_model(str(weights_file(peer, shared)))
        sr.parent.mkdir(parents=True, exist_ok=True)
        models[peer].upscale(lr, outscale=models[peer].scale, segment=False, color_fix=False).save(sr, overwrite=True)
    print(f"all {len(work)} pictures are made.")
    return 0


def weights_file(peer: str, shared: Path) -> Path:
    """Where a peer's weights are, whether or not they are there."""
    return Path(PEERS[peer].format(shared=shared, root=ROOT))


def peer_folder(peer: str, set_name: str) -> Path:
    return OUTPUT / peer / set_name


def missing(peer: str, pictures: PictureSet) -> list[tuple[Path, Path]]:
    """(LR file, SR file) of what a peer has still to make of a set."""
    return unmade(peer_folder(peer, pictures.name), pictures)


def unmade(folder: Path, pictures: PictureSet) -> list[tuple[Path, Path]]:
    """(LR file, SR file) of a set's pictures whose SR is not in a folder, or older than its LR."""
    pairs = [(lr, folder / f"{stem}.png") for stem, lr in index_pictures(pictures.lr).items()]
    return [(lr, sr) for lr, sr in pairs if not sr.is_file() or sr.stat().st_mtime < lr.stat().st_mtime]


if __name__ == "__main__":
    sys.exit(main())
