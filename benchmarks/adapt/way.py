"""Score the weights between the embedded model and what was trained, on frames that nothing was adapted to."""

from benchmarks.adapt.cameras import KNOWN
from benchmarks.adapt.places import add_cameras, held_out, trained, true_pairs
from benchmarks.adapt.score import thin
from benchmarks.document import describe_machine, markdown_table
from benchmarks.evaluation_data import SCALE, VOID, find_shared
from ssg_hub.adapting.strength import SHARES
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.figures import HEADINGS, format_figure
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
    camvid, rows = find_shared() / "data/camvid", [["camera", "of the way", *(HEADINGS[figure] for figure in COLUMNS)]]
    measures = Measures(SCALE, None, find_distances(str(find_shared() / "weights")), None, [], VOID)
    for camera in options.cameras:
        pairs = options.true_pairs or options.streets
        end = true_pairs(camera, options.streets) / "training/model" if pairs else trained(camera)
        truth = camvid / ("train" if camera == KNOWN else "val") / "images"
        methods = {f"{share:.0%}": FromModel(between(end, share), segment=False) for share in (0.0, *SHARES)}
        scores = evaluate_folder(thin(held_out(camera), options.every), methods, truth, None, measures).scores
        for share in methods:
            rows.append([camera, share, *(format_figure(figure, scores[share].get(figure), 3) for figure in COLUMNS)])
    print(f"On: {describe_machine()}.\n\n{markdown_table(rows)}")


def between(end, share: float):
    """The embedded model with weights that lie so far on the way to another's."""
    model, other = load_model(EMBEDDED), load_model(end)
    model.generator = blend_weights(model.generator, other.generator, share)
    return model
