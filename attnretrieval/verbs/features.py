"""Turn a folder of images into region features, on all cores. A run that was stopped goes on where it was."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from attnretrieval.inputs.captions import read_names
from attnretrieval.inputs.extract import extract_folder
from attnretrieval.inputs.extractors import EXTRACTORS

EXAMPLE = "example:  attnretrieval features photos/ features/"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("images", help="folder of images")
    parser.add_argument("out", help="folder of features to write")
    parser.add_argument("--extractor", default="efficientnet-lite0", help=f"{', '.join(EXTRACTORS)} or onnx:FILE [%(default)s]")
    parser.add_argument("--names", metavar="FILE", help="only these images, one name a line [all]")
    parser.add_argument("--processes", type=int, metavar="N", help="[one a core]")


def run(arguments: Namespace) -> int:
    names = read_names(arguments.names) if arguments.names else None
    store = extract_folder(arguments.images, arguments.out, arguments.extractor, names, arguments.processes)
    rows, columns = store.grid
    print(f"{store.path}: {len(store.names)} images, {rows}×{columns} regions of {store.regions.shape[2]} features "
          f"({store.extractor})")
    return 0
