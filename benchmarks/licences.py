"""The licences of everything that ssg-hub installs, dependencies of dependencies included.

python -m benchmarks.licences                   # or `make licences`; --extras cpu,demo for a part

Reads what the installed packages say of themselves, prints a table, and ends with an error where one says nothing, or
names a licence whose terms would reach users of ssg-hub. What only tests and tools need is left out.
"""

import argparse
import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.document import ROOT, markdown_table

EXTRAS = "cpu,export,demo,mcp,video,train"
CUDA = "nvidia-"  # what torch's CUDA builds bring: NVIDIA's own terms
BUNDLED = {  # what wheels hold beside the package, under terms of its own
    "av": "FFmpeg with x264 and x265, GPL-2.0-or-later",
    "opencv-python-headless": "FFmpeg, LGPL-2.1-or-later",
}
REACHING = re.compile(r"\b(AGPL|GPL)(?!.*(exception|LGPL))|Affero|Proprietary", re.IGNORECASE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--extras", default=EXTRAS, help=f"default {EXTRAS}")
    extras = parser.parse_args().extras.split(",")
    found = {dist.name: (dist.version, read_licence(dist)) for dist in walk(first_requirements(extras))}
    rows = [["package", "version", "licence"]]
    rows += [[name, *found[name]] for name in sorted(found, key=str.lower)]
    print(markdown_table(rows))
    print(f"\n{len(found)} packages")
    print(*(f"{name}: its wheel also holds {what}" for name, what in BUNDLED.items() if name in found), sep="\n")
    own = {name: licence for name, (_, licence) in found.items() if not name.startswith(CUDA)}
    faults = [f"{name}: no licence is stated" for name, licence in own.items() if not licence]
    faults += [f"{name}: {licence}" for name, licence in own.items() if REACHING.search(licence)]
    if faults:
        raise SystemExit("\n".join(["look at these:", *faults]))


def first_requirements(extras: list[str]) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [Requirement(text) for text in [*project["dependencies"], *(t for extra in extras for t in optional[extra])]]


def walk(requirements: list[Requirement]) -> list[Distribution]:
    """The installed packages that meet these requirements, and in turn theirs."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another system, or not installed here
        for text in found[name].requires or []:
            inner = Requirement(text)
            if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                todo += [(inner, one) for one in ("", *inner.extras)]
    return list(found.values())


def read_licence(dist: Distribution) -> str:
    """In one line: the SPDX expression, the classifiers, or what is written in the field; empty where nothing is."""
    meta = dist.metadata
    if expression := meta.get("License-Expression"):
        return expression
    classifiers = [line.rpartition("::")[2].strip() for line in meta.get_all("Classifier", []) if "License ::" in line]
    written = (meta.get("License") or "").strip()
    if written and "\n" not in written and len(written) < 60 and written.upper() != "UNKNOWN":
        return written
    if classifiers:
        return ", ".join(classifiers)
    for file in dist.files or []:
        if re.match(r"(?i)(licen[cs]e|copying)", file.name):
            return next((line.strip() for line in file.read_text().splitlines() if line.strip()), "")
    return ""


if __name__ == "__main__":
    main()
