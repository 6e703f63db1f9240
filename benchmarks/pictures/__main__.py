"""Make the pictures that the documents and the demo show, one subject a file, from photographs that are free to show.

python -m benchmarks.pictures readme                         # docs/images/readme.png
python -m benchmarks.pictures examples [--blender FOLDER]    # the demo's examples
python -m benchmarks.pictures opening                        # ssg_hub/demo/opening, what the page opens with
python -m benchmarks.pictures experiment                     # docs/images/experiment_phone_1200.png, …_guided.png
python -m benchmarks.pictures crops                          # docs/images/crops.webp and failures.webp
"""

from benchmarks.subjects import parse_subject

SUBJECTS = ("readme", "examples", "opening", "experiment", "crops")

if __name__ == "__main__":
    options = parse_subject("benchmarks.pictures", __doc__, SUBJECTS)
    options.run(options)
