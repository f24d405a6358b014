"""The page of an explanation: one HTML file in which words light up their regions, and regions their words.

    page = explanation_page(image, words, attention.A_t2v, attention.A_v2t, boxes)
    page                            # in a notebook
    page.save("page.html")          # a file that needs nothing else, and loads nothing

page/ holds what a browser reads: page.html with gaps ({{title}}, {{style}}, …) that are filled here. What came from
a user goes in as JSON, whose `<` and `&` are escaped, and page.js writes it as text: no caption can become a tag or a script.
Every word of the page itself stands in page/words.json, under a key, in each language.

Weights are shown as *times uniform*, as in `word_region_maps` and with its colours: 1 is what attention that does not choose
would give. All heads of one map have one scale; their mean, which is paler than any of them, has its own.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_given, check_head
from attnretrieval.figures.style import WEIGHTS
from attnretrieval.inputs.files import InputError, atomic_file
from attnretrieval.inputs.words import has_han
from attnretrieval.shapes import ShapeError, check_array, check_choice, check_finite, check_shape

LANGUAGES = ("en", "zh")        # of the page itself
LARGEST = 2_000_000             # bytes of a page
IMAGE_SIDE = 1024               # pixels of the longer side that a page keeps
HEIGHT = 680                    # pixels in a notebook
DIGITS = 5                      # of a weight, after the point
COLOURS = 64                    # of the scale


@dataclass(frozen=True)
class ExplanationPage:
    """A page; a notebook shows it."""

    html: str
    title: str

    def save(self, path: str | Path) -> None:
        """Write the page, whole or not at all."""
        if Path(path).suffix.lower() not in (".html", ".htm"):
            raise InputError(f"the page {path}: its ending is not .html")
        with atomic_file(path) as temporary:
            temporary.write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        # allow-scripts and nothing else: the page reaches neither the notebook nor its cookies
        return (f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" title="{html.escape(self.title)}" '
                f'style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>')

    def __repr__(self) -> str:
        return f"<the page of an explanation: {self.title!r}; page.save('page.html') writes it>"


def explanation_page(
    image: Any,
    words: Sequence[str],
    A_t2v: Any,
    A_v2t: Any,
    boxes: Any,
    A_t: Any = None,
    A_v: Any = None,
    head: int | None = None,
    word_mask: Any = None,
    region_mask: Any = None,
    score: float | None = None,
    title: str = "",
    language: str | None = None,
) -> ExplanationPage:
    """The page of one text and one image.

    The first five arguments, `word_mask` and `region_mask` are those of `word_region_maps`. `A_t` (heads, n, n) and `A_v`
    (heads, m, m) are the self-attention of the words and of the regions (`Retriever.self_attention`): each adds a layer. The
    page opens with the cross-attention, at `head`, None at the mean of the heads. `score` is s(t, v), to be shown.
    `language` of the page itself is "en" or "zh"; None takes Chinese for a text with Chinese characters, else English.
    """
    if language is not None:
        check_choice("language", language, LANGUAGES)
    given = check_given(image, words, A_t2v, A_v2t, boxes, word_mask, region_mask)
    check_head(head, len(given.A_t2v))
    maps = {"A_t2v": given.A_t2v, "A_v2t": given.A_v2t}
    for name, A, tokens in (("A_t", A_t, given.real_words), ("A_v", A_v, given.real_regions)):
        if A is not None:
            maps[name] = _own(name, to_host(A), tokens, len(words) if name == "A_t" else len(boxes))
    chinese = has_han("".join(given.words))
    title = title or ("" if chinese else " ").join(given.words)
    say = words_of_page(language or ("zh" if chinese else "en"))
    data = {
        "title": title, "score": None if score is None else round(float(score), 4), "say": say,
        "text_language": "zh-CN" if chinese else "en",
        "head": 0 if head is None or len(given.A_t2v) == 1 else head + 1,
        "words": given.words, "regions": region_labels(given.boxes, say), "boxes": given.boxes.round(5).tolist(),
        "image": _data_url(given.image), "width": given.image.shape[1], "height": given.image.shape[0],
        "maps": {name: _map(A, say) for name, A in maps.items()},
        "colours": [to_hex(colour) for colour in WEIGHTS(np.linspace(0, 1, COLOURS))],
        "opacity": WEIGHTS(np.linspace(0, 1, COLOURS))[:, 3].round(3).tolist(),
    }
    page = _fill("page.html", {**{key: html.escape(words) for key, words in say.items()}, "title": html.escape(title),
                               "data": _script_safe(data), "style": _read("page.css"), "script": _read("page.js")})
    if len(page.encode()) > LARGEST:
        raise ShapeError(f"the page would have {len(page.encode()) / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}: leave out the "
                         "self-attention (A_t and A_v), or give fewer heads")
    return ExplanationPage(page, title)


def words_of_page(language: str) -> dict[str, str]:
    """Every word of the page itself in one language, by its key."""
    return {key: by_language[language] for key, by_language in json.loads(_read("words.json")).items()}


def region_labels(boxes: np.ndarray, say: dict[str, str]) -> list[str]:
    """ "row 2, column 3" where the boxes are the cells of a grid, else their numbers from 1."""
    left, top = (np.unique(boxes[:, axis].round(5), return_inverse=True) for axis in (0, 1))
    places = list(zip(top[1] + 1, left[1] + 1, strict=True))
    if len(set(places)) == len(boxes) == len(left[0]) * len(top[0]):
        return [say["cell"].format(row=row, column=column) for row, column in places]
    return [say["box"].format(number=i + 1) for i in range(len(boxes))]


def _own(name: str, A: np.ndarray, tokens: np.ndarray, count: int) -> np.ndarray:
    """Self-attention without its padding."""
    check_array(name, A, ndim=3)
    check_shape(name, A, (len(A), count, count), "the self-attention of one side: every token looks at every token")
    check_finite(name, A)
    return A[:, tokens][:, :, tokens]


def _map(A: np.ndarray, say: dict[str, str]) -> dict[str, Any]:
    """The mean of the heads, then each head; and the end of the scale of each, in times uniform."""
    heads = A if len(A) == 1 else [A.mean(axis=0), *A]
    limits = [max(2.0, float(part.max()) * A.shape[-1]) for part in (heads[0], A)]
    names = [say["only_head"]] if len(A) == 1 else [
        say["mean_head"].format(count=len(A)), *(say["one_head"].format(number=i) for i in range(len(A)))]
    return {"names": names, "heads": [np.round(head.astype(float), DIGITS).tolist() for head in heads],
            "limits": [round(limits[0 if i == 0 else 1], 3) for i in range(len(heads))]}


def _data_url(image: np.ndarray) -> str:
    """As PNG or as JPEG, whichever is smaller: a drawing stays sharp, a photograph small."""
    picture = Image.fromarray(image)
    picture.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    files = {}
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 88})):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files[kind] = file.getvalue()
    kind = min(files, key=lambda kind: len(files[kind]))
    return f"data:image/{kind};base64,{base64.b64encode(files[kind]).decode()}"


def _script_safe(data: Any) -> str:
    """JSON that ends no script tag and starts no comment, whatever the texts in it are."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda sign: f"\\u{ord(sign[0]):04x}", text)


def _read(name: str) -> str:
    return resources.files("attnretrieval.figures").joinpath("page", name).read_text(encoding="utf-8")


def _fill(name: str, parts: dict[str, str]) -> str:
    """The template with its gaps filled, in one go: what is filled in is not searched for gaps."""
    return re.sub(r"\{\{(\w+)\}\}", lambda gap: parts[gap[1]], _read(name))
