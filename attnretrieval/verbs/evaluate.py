"""Recall in both directions on any images and captions; with phrase boxes, where the attention points."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from attnretrieval.fast.threads import set_threads
from attnretrieval.inputs.dataset import load_dataset
from attnretrieval.retrieval.search import MODES, evaluate
from attnretrieval.retriever import Retriever
from attnretrieval.verbs.common import add_machine, phrase_tokens, point, print_recalls, write_json

EXAMPLE = """example:
  attnretrieval evaluate run/model.npz --features features/ --captions captions.txt --split val.txt \\
      --mode rerank --phrases phrases.json --json result.json"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="model.npz of a run")
    parser.add_argument("--features", required=True, metavar="DIR", help="made by the verb features, or {split}_ims.npy")
    parser.add_argument("--captions", metavar="FILE", help="captions of these images")
    parser.add_argument("--split", help="file of image names, or the name of a split [all]")
    parser.add_argument("--mode", choices=MODES, default="index")
    parser.add_argument("--rerank-k", type=int, default=50, metavar="K", help="how many rerank orders anew [%(default)s]")
    parser.add_argument("--phrases", metavar="FILE", help="phrases and their boxes, for the pointing game")
    parser.add_argument("--smooth", type=int, default=1, metavar="S", help="point with S×S means of attention [%(default)s]")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    add_machine(parser)


def run(arguments: Namespace) -> int:
    set_threads(arguments.threads)
    retriever = Retriever.load(arguments.model, arguments.device)
    data = load_dataset(arguments.features, arguments.captions, arguments.split)
    retriever.check_extractor(data.extractor)
    phrases, summary = phrase_tokens(retriever, arguments.phrases, data.captions) if arguments.phrases else (None, "")
    texts, images = retriever.encode_captions(data.captions.texts), retriever.encode_regions(data.regions)
    found = evaluate(retriever.model, texts, images, data.captions.image_of, arguments.mode, arguments.rerank_k)
    print_recalls(found)
    result = found.to_json()
    if phrases is not None:
        pointed = point(retriever, texts, images, data.captions.image_of, phrases, data.boxes, arguments.smooth)
        print(f"pointing, {pointed.phrases} phrases: {100 * pointed.accuracy:.1f} %   "
              f"(a random cell {100 * pointed.random:.1f} %, the centre cell {100 * pointed.centre:.1f} %)")
        for kind, score in pointed.by_type.items():
            print(f"  {kind:<16} {100 * score.accuracy:5.1f} %   of {score.phrases}")
        print(f"  {summary}")
        result |= {"pointing_accuracy": pointed.accuracy, "pointing": pointed.to_json()}
    if arguments.json:
        write_json(arguments.json, result)
    return 0
