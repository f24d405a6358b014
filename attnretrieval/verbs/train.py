"""Train a model by a recipe. The run folder holds model.npz, log.csv, log.json, curves.png and a checkpoint."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from attnretrieval.build import build_retriever, make_validate, training_data
from attnretrieval.fast.threads import set_threads
from attnretrieval.figures import save, training_curves
from attnretrieval.inputs.dataset import Dataset, load_dataset
from attnretrieval.inputs.files import InputError, make_parents
from attnretrieval.recipe import read_recipe
from attnretrieval.retrieval.search import evaluate
from attnretrieval.retriever import Retriever
from attnretrieval.training.checkpoint import NAME as CHECKPOINT
from attnretrieval.training.loop import train
from attnretrieval.verbs.common import add_machine, print_recalls

EXAMPLE = """example:
  attnretrieval train docs/recipes/glove.toml --features features/ --captions captions.txt \\
      --train train.txt --val val.txt --vectors glove.6B.100d.txt --out run/"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", help="a TOML file; docs/recipes/ has some")
    parser.add_argument("--features", required=True, metavar="DIR", help="made by the verb features, or {split}_ims.npy")
    parser.add_argument("--captions", metavar="FILE", help="captions (Flickr8k, CSV, Karpathy JSON or COCO JSON)")
    parser.add_argument("--train", required=True, metavar="SPLIT", help="file of image names, or the name of a split")
    parser.add_argument("--val", required=True, metavar="SPLIT", help="the same, for validation after every epoch")
    parser.add_argument("--vectors", metavar="FILE", help="word vectors: GloVe or fastText text, word2vec binary")
    parser.add_argument("--out", required=True, metavar="DIR", help="the run folder")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run folder")
    add_machine(parser)


def run(arguments: Namespace) -> int:
    set_threads(arguments.threads)
    out = Path(arguments.out)
    if out.is_file():
        raise InputError(f"{out} is a file, expected the run folder")
    if not arguments.resume and any((out / name).exists() for name in (CHECKPOINT, "model.npz")):
        raise InputError(f"{out} holds a run already; go on with --resume, or choose another folder")
    recipe = read_recipe(arguments.recipe)
    if arguments.resume and (out / "recipe.toml").exists() and read_recipe(out / "recipe.toml") != recipe:
        raise InputError(f"the run in {out} was begun by another recipe; go on with its own, {out / 'recipe.toml'}")
    data, val = (load_dataset(arguments.features, arguments.captions, split) for split in (arguments.train, arguments.val))
    check_disjoint(data, val)
    started = time.perf_counter()
    retriever = build_retriever(recipe, data, arguments.vectors, arguments.device)
    print(f"{len(data.captions.image_names)} images, {len(data.captions)} captions, {len(retriever.vocabulary)} words "
          f"({retriever.facts['vectors_found']} with a pretrained vector; Chinese is cut by "
          f"{'pieces' if recipe.text.tokeniser == 'pieces' else retriever.vocabulary.cutter}), "
          f"{retriever.model.parameters.flat.size:,} parameters")
    arrays = training_data(retriever, data)
    data = None                     # the features as extracted are no longer needed
    if not arguments.resume:            # to resume changes nothing until the checkpoint has been read
        copy = make_parents(out / "recipe.toml")
        copy.write_bytes(Path(arguments.recipe).read_bytes())       # this recipe may be that very file
    rows = train(retriever.model, arrays, recipe.training, make_validate(retriever, val), out, arguments.resume)
    retriever.facts["minutes"] = round((time.perf_counter() - started) / 60, 1)
    finish(retriever, val, rows, out)
    return 0


def check_disjoint(data: Dataset, val: Dataset) -> None:
    shared = set(data.captions.image_names) & set(val.captions.image_names)
    if shared:
        raise InputError(f"{len(shared)} images are in both splits, {min(shared)} for one: what is trained on cannot validate")


def finish(retriever: Retriever, val: Dataset, rows: list[dict], out: Path) -> None:
    """Write the model and the curves; say what was reached and where it is."""
    texts, images = retriever.encode_captions(val.captions.texts), retriever.encode_regions(val.regions)
    modes = ("index", "rerank") if retriever.facts["recipe"]["training"]["stages"][-1]["paired_weight"] else ("index",)
    for mode in modes:
        found = evaluate(retriever.model, texts, images, val.captions.image_of, mode)
        retriever.facts[f"val_rsum_{mode}"] = round(found.rsum, 2)
        print_recalls(found)
    retriever.save(out / "model.npz")
    save(training_curves(rows), out / "curves.png")
    print(f"{out / 'model.npz'}, {out / 'log.csv'}, {out / 'curves.png'}; {retriever.facts['minutes']} minutes")
