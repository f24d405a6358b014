"""Encode images, and captions if there are any, into a gallery on disk, ready to be searched."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from attnretrieval.fast.threads import set_threads
from attnretrieval.inputs.captions import read_names
from attnretrieval.inputs.dataset import load_dataset
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.precomputed import is_precomputed
from attnretrieval.inputs.regions import open_regions
from attnretrieval.retrieval.gallery import write_gallery
from attnretrieval.retriever import Retriever
from attnretrieval.verbs.common import add_machine

EXAMPLE = """example:
  attnretrieval index run/model.npz --features features/ --captions captions.txt --split val.txt --out gallery/"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="model.npz of a run")
    parser.add_argument("--features", required=True, metavar="DIR", help="made by the verb features, or {split}_ims.npy")
    parser.add_argument("--captions", metavar="FILE", help="captions of these images, to be found by image [none]")
    parser.add_argument("--split", help="file of image names, or the name of a split [all]")
    parser.add_argument("--no-tokens", action="store_true", help="a small gallery, for mode index only")
    parser.add_argument("--out", required=True, metavar="DIR", help="the gallery to write")
    add_machine(parser)


def run(arguments: Namespace) -> int:
    set_threads(arguments.threads)
    retriever = Retriever.load(arguments.model, arguments.device)
    options = {"store_tokens": not arguments.no_tokens, "token_dtype": "float16"}
    if arguments.captions is None and not is_precomputed(arguments.features, arguments.split):
        store = open_regions(arguments.features)
        retriever.check_extractor(store.extractor)
        names = read_names(arguments.split) if arguments.split else store.names
        if not names:
            raise InputError(f"{arguments.features} holds no image")
        regions, captions = store.take(names, "float16"), []
    else:
        data = load_dataset(arguments.features, arguments.captions, arguments.split)
        retriever.check_extractor(data.extractor)
        names, regions, captions = data.captions.image_names, data.regions, data.captions.texts
        options |= {"texts": retriever.encode_captions(captions), "captions": captions, "image_of": data.captions.image_of}
    write_gallery(arguments.out, arguments.model, retriever.encode_regions_in_batches(regions), names, **options)
    print(f"{arguments.out}: {len(names)} images, {len(captions)} captions")
    return 0
