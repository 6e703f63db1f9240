"""Score the weights between the embedded model and what was trained, on frames that nothing was adapted to."""

from benchmarks.adapt.places import add_cameras, held_out, trained, true_pairs, truth
from benchmarks.adapt.score import format_row, thin
from benchmarks.document import describe_machine, markdown_table
from benchmarks.evaluation_data import SCALE, VOID, find_shared
from ssg_hub.adapting.strength import SHARES
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.figures import HEADINGS
from ssg_hub.evaluation.methods import FromModel
from ssg_hub.evaluation.scoring import Measures, evaluate_folder
from ssg_hub.loading import EMBEDDED, load_model
from ssg_hub.networks.blending import blend_weights

COLUMNS = ("psnr_y", "lpips", "dists")


def add_options(parser) -> None:
    add_cameras(parser)
    parser.add_argument("--every", type=int, default=8, metavar="N", help="only every Nth frame (default 8)")
    parser.add_argument("--true-pairs", action="store_true", help="of the models by `true_pairs`, not by `run`")
    parser.add_argument("--streets", action="store_true", help="of those by `true_pairs --streets`")


def run(options) -> None:
    rows = [["camera", "of the way", *(HEADINGS[figure] for figure in COLUMNS)]]
    measures = Measures(SCALE, None, find_distances(str(find_shared() / "weights")), None, [], VOID)
    for camera in options.cameras:
        pairs = options.true_pairs or options.streets
        end = true_pairs(camera, options.streets) / "training/model" if pairs else trained(camera)
        methods = {f"{share:.0%}": FromModel(between(end, share), segment=False) for share in (0.0, *SHARES)}
        lr, hr = thin(held_out(camera), options.every), truth(camera) / "images"
        scores = evaluate_folder(lr, methods, hr, None, measures).scores
        rows += [format_row(camera, share, scores[share], COLUMNS) for share in methods]
    print(f"On: {describe_machine()}.\n\n{markdown_table(rows)}")


def between(end, share: float):
    """The embedded model with weights that lie so far on the way to another's."""
    model, other = load_model(EMBEDDED), load_model(end)
    model.generator = blend_weights(model.generator, other.generator, share)
    return model
