"""Draw which region of an image each word of a text looks at, and which words each region looks at."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from attnretrieval.inputs.extractors import read_image
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.inputs.words import display
from attnretrieval.retriever import Retriever
from attnretrieval.verbs.search import encode_image_file

EXAMPLE = """example:
  attnretrieval explain run/model.npz dog.jpg "a black dog runs through snow" --out attention.png"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="model.npz of a run, or a gallery")
    parser.add_argument("image", help="an image file")
    parser.add_argument("text", help="a text about it")
    parser.add_argument("--out", default="attention.png", metavar="FILE", help="the picture to write [%(default)s]")
    parser.add_argument("--head", type=int, metavar="I", help="one head of the cross-attention, from 0 [their mean]")


def run(arguments: Namespace) -> int:
    from attnretrieval.figures import save, word_region_maps

    path = Path(arguments.model)
    retriever = Retriever.load(path / "model.npz" if path.is_dir() else path)
    texts = retriever.encode_captions([arguments.text], strict=True)
    images = encode_image_file(retriever, arguments.image)
    attention = retriever.model.attention(texts, images)
    heads, n, m = attention.A_t2v.shape
    if arguments.head is not None and not 0 <= arguments.head < heads:
        raise ValueError(f"--head {arguments.head}: this model's cross-attention has heads 0 to {heads - 1}")
    words = words_of(retriever, arguments.text)
    columns = retriever.grid[1]
    picture, _ = read_image(arguments.image)
    figure = word_region_maps(picture, words, attention.A_t2v, attention.A_v2t, grid_boxes(*retriever.grid),
                              head=arguments.head)
    save(figure, arguments.out)
    A = attention.A_t2v.mean(axis=0) if arguments.head is None else attention.A_t2v[arguments.head]
    print(f"score {attention.score:.4f}")
    for word, weights in zip(words, A, strict=True):
        row, column = divmod(int(np.argmax(weights)), columns)
        print(f"  {word:<16} looks most at row {row + 1}, column {column + 1}: {m * weights.max():.1f} times uniform")
    print(arguments.out)
    return 0


def words_of(retriever: Retriever, text: str) -> list[str]:
    """The tokens of a text as a reader expects them, as many as the model takes."""
    return [display(token) for token in retriever.vocabulary.tokens_of(text)][:retriever.max_words]
