"""Run `ssg adapt` for each camera: with the package's own sharp photographs, no labels, and the minutes alone set."""

from benchmarks.adapt.places import add_cameras, model, photos
from benchmarks.evaluation_data import find_shared


def add_options(parser) -> None:
    add_cameras(parser)
    parser.add_argument("--minutes", type=float, default=10.0)


def run(options) -> None:
    from ssg_hub import adapt

    weights = find_shared() / "weights"
    for camera in options.cameras:
        found = adapt(
            photos(camera),
            model(camera),
            minutes=options.minutes,
            perceptual_weights=weights / "vgg16_features_fp16.safetensors",
            lpips=str(weights),
            tell=lambda line, camera=camera: print(f"{camera}: {line}", flush=True),
        )
        print(f"{camera}: better {found.better}, {found.points:.2f} points at {found.strength:.0%}", flush=True)
