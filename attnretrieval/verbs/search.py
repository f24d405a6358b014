"""Find images by text, or texts by image, in a gallery."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from attnretrieval.inputs.files import InputError
from attnretrieval.retrieval.gallery import Gallery, open_gallery
from attnretrieval.retrieval.search import MODES, Hits, search_images, search_texts
from attnretrieval.retriever import Retriever

EXAMPLE = """examples:
  attnretrieval search gallery/ "a black dog runs through snow" -k 5
  attnretrieval search gallery/ --image dog.jpg --mode rerank
  attnretrieval search gallery/ "a black dog runs through snow" --images photos/ --sheet found.png"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("gallery", help="folder made by the verb index")
    parser.add_argument("text", nargs="?", help="what to look for")
    parser.add_argument("--image", metavar="FILE", help="look for texts that describe this image")
    parser.add_argument("-k", type=int, default=10, help="results [%(default)s]")
    parser.add_argument("--mode", choices=MODES, default="index")
    parser.add_argument("--rerank-k", type=int, default=50, metavar="K", help="how many rerank orders anew [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sheet", metavar="FILE", help="draw query and results into this picture")
    parser.add_argument("--images", metavar="DIR", help="where the gallery's images are, for --sheet")


def run(arguments: Namespace) -> int:
    if (arguments.text is None) == (arguments.image is None):
        raise InputError('give a text or --image FILE, one of the two: attnretrieval search GALLERY "a black dog"')
    if arguments.sheet and arguments.text is not None and not arguments.images:
        raise InputError("--sheet draws the images that were found: say where they are with --images DIR")
    gallery = open_gallery(arguments.gallery)
    retriever = Retriever.load(gallery.model_file)
    options = arguments.mode, arguments.k, arguments.rerank_k
    if arguments.text is not None:
        hits = search_images(gallery, retriever.model, retriever.encode_captions([arguments.text], strict=True), *options)
        results = _images(gallery, hits)
    else:
        hits = search_texts(gallery, retriever.model, encode_image_file(retriever, arguments.image), *options)
        results = _texts(gallery, hits)
    if arguments.json:
        query = {"text": arguments.text} if arguments.text is not None else {"image": arguments.image}
        print(json.dumps({**query, "mode": arguments.mode, "results": results}, ensure_ascii=False, indent=1))
    else:
        for rank, result in enumerate(results, start=1):
            words = "  ".join(result[key] for key in ("image", "caption") if result[key])
            print(f"{rank:3}  {result['score']:7.4f}  {words}")
    if arguments.sheet:
        _draw(arguments, results)
    return 0


def encode_image_file(retriever: Retriever, path: str):
    """One image file as the model sees it."""
    return retriever.encode_regions(regions_of_file(retriever, path)[None])


def regions_of_file(retriever: Retriever, path: str) -> np.ndarray:
    """The region features (m, d_v) of an image file, by the extractor that the model was trained with."""
    from attnretrieval.inputs.extractors import make_extractor, read_image  # a text query does not wait for these

    if retriever.extractor == "precomputed":
        raise InputError("this model was trained on features that others computed, and cannot take an image file")
    extractor = make_extractor(retriever.extractor)
    image, _ = read_image(path, extractor.size)
    # through float16, as features on disk go, so that an image finds itself
    return extractor(image).astype(np.float16)


def _images(gallery: Gallery, hits: Hits) -> list[dict]:
    first = {}                      # the first caption of each image, where the gallery has captions
    if gallery.image_of is not None:
        numbers, at = np.unique(gallery.image_of, return_index=True)
        first = dict(zip(numbers.tolist(), at.tolist(), strict=True))
    return [{"image": gallery.image_names[i], "score": float(s), "caption": gallery.captions[first[i]] if i in first else None}
            for i, s in zip(hits.ids[0].tolist(), hits.scores[0], strict=True)]


def _texts(gallery: Gallery, hits: Hits) -> list[dict]:
    image_of = gallery.image_of
    return [{"caption": gallery.captions[i], "score": float(s),
             "image": gallery.image_names[image_of[i]] if image_of is not None and gallery.image_names else None}
            for i, s in zip(hits.ids[0].tolist(), hits.scores[0], strict=True)]


def _draw(arguments: Namespace, results: list[dict]) -> None:
    from attnretrieval.figures import retrieval_sheet, save
    from attnretrieval.inputs.extractors import read_image

    if arguments.text is not None:
        found = [(read_image(Path(arguments.images) / r["image"])[0], r["score"], None) for r in results]
        figure = retrieval_sheet(arguments.text, found)
    else:
        figure = retrieval_sheet(read_image(arguments.image)[0], [(r["caption"], r["score"], None) for r in results])
    save(figure, arguments.sheet)
