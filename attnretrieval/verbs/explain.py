"""Show which region of an image each word of a text looks at, and which words each region looks at."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from attnretrieval.inputs.extractors import read_image
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.inputs.words import UNKNOWN, display
from attnretrieval.retriever import Retriever
from attnretrieval.verbs.search import regions_of_file

EXAMPLE = """examples:
  attnretrieval explain run/model.npz dog.jpg "a black dog runs through snow" --out attention.png
  attnretrieval explain run/model.npz dog.jpg "a black dog runs through snow" --html attention.html
  attnretrieval explain run/model.npz dog.jpg "a black dog runs through snow" --html attention.html --language zh"""
PICTURE = "attention.png"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="model.npz of a run, or a gallery")
    parser.add_argument("image", help="an image file")
    parser.add_argument("text", help="a text about it")
    parser.add_argument("--out", metavar="FILE", help=f"the picture to write [{PICTURE}, unless there is --html]")
    parser.add_argument("--html", metavar="FILE", help="a page to explore: words and regions light up what they look at")
    parser.add_argument("--language", choices=("en", "zh"), help="language of the page itself [that of the text]")
    parser.add_argument("--head", type=int, metavar="I", help="one head of the cross-attention, from 0 [their mean]")


def run(arguments: Namespace) -> int:
    from attnretrieval.figures import explanation_page, save, word_region_maps

    if arguments.language and not arguments.html:
        raise ValueError("--language is that of the page: give --html FILE too")
    path = Path(arguments.model)
    retriever = Retriever.load(path / "model.npz" if path.is_dir() else path)
    text = retriever.encode_captions([arguments.text], strict=True)
    regions = regions_of_file(retriever, arguments.image)
    attention = retriever.model.attention(text, retriever.encode_regions(regions[None]))
    heads, n, m = attention.A_t2v.shape
    if arguments.head is not None and not 0 <= arguments.head < heads:
        raise ValueError(f"--head {arguments.head}: this model's cross-attention has heads 0 to {heads - 1}")
    words = words_of(retriever, arguments.text)
    picture, _ = read_image(arguments.image)
    shown = (picture, words, attention.A_t2v, attention.A_v2t, grid_boxes(*retriever.grid))
    written = []
    if arguments.html:
        own = retriever.self_attention(arguments.text, regions)
        page = explanation_page(*shown, A_t=own.A_t, A_v=own.A_v, head=arguments.head, score=attention.score,
                                title=arguments.text, language=arguments.language)
        page.save(arguments.html)
        written.append(arguments.html)
    if arguments.out or not arguments.html:
        written.insert(0, arguments.out or PICTURE)
        save(word_region_maps(*shown, head=arguments.head), written[0])
    A = attention.A_t2v.mean(axis=0) if arguments.head is None else attention.A_t2v[arguments.head]
    print(f"score {attention.score:.4f}")
    for word, weights in zip(words, A, strict=True):
        row, column = divmod(int(np.argmax(weights)), retriever.grid[1])
        print(f"  {word:<16} looks most at row {row + 1}, column {column + 1}: {m * weights.max():.1f} times uniform")
    print("\n".join(written))
    return 0


def words_of(retriever: Retriever, text: str) -> list[str]:
    """The tokens of a text as a reader expects them, as many as the model takes.

    Where a tokeniser gives `<unk>`, the reader sees the characters that it stands for.
    """
    vocabulary = retriever.vocabulary
    tokens = vocabulary.tokens_of(text)
    if UNKNOWN in tokens:
        tokens = [text[slice(*span)] if token == UNKNOWN else token
                  for token, span in zip(tokens, vocabulary.spans(text), strict=True)]
    return [display(token) for token in tokens][:retriever.max_words]
