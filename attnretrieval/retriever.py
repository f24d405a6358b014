"""A retriever: a model together with what turns captions and images into its inputs. One file holds all of it.

    captions → vocabulary → ids → model.encode_text
    region features → projection (PCA, optional) → model.encode_image

`save` writes an .npz of plain arrays and one JSON text; `load` reads it back without unpickling anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import module_of, to_device, to_host
from attnretrieval.config import ModelConfig
from attnretrieval.inputs.files import InputError, atomic_file, need_file, read_arrays
from attnretrieval.inputs.regions import RegionProjection
from attnretrieval.inputs.vectors import piece_vectors
from attnretrieval.inputs.words import Vocabulary
from attnretrieval.model import Encoded, Model
from attnretrieval.parameters import Parameters
from attnretrieval.shapes import ShapeError, check_array
from attnretrieval.steps import attention_weights

FORMAT = "attnretrieval-model"
VERSION = 1
BATCH_TEXTS, BATCH_IMAGES = 256, 64     # encoded at once; results do not depend on them


class SelfAttention(NamedTuple):
    """The weights within each side; None where its chain has no self-attention."""

    A_t: np.ndarray | None          # (heads, n, n)
    A_v: np.ndarray | None          # (heads, m, m)


@dataclass
class Retriever:
    model: Model
    vocabulary: Vocabulary
    extractor: str                          # what made the region features, by name
    grid: tuple[int, int]                   # rows and columns of the regions
    d_v: int                                # size of a region's features before the projection
    max_words: int
    projection: RegionProjection | None = None
    facts: dict[str, Any] = field(default_factory=dict)     # the recipe, what it was trained on and reached

    @property
    def device(self) -> str:
        return "cpu" if isinstance(self.model.parameters.flat, np.ndarray) else "gpu"

    def check_extractor(self, extractor: str) -> None:
        """Refuse features that another extractor made."""
        if extractor != self.extractor:
            raise InputError(f"the features come from {extractor!r}, but the model was trained on those of {self.extractor!r}")

    def encode_captions(self, texts: Sequence[str], strict: bool = False) -> Encoded:
        """Texts, each by itself, as arrays on the host; `strict` refuses one without a known word, as a query should."""
        model, ids, mask = self._ids(texts, strict)
        order = np.argsort(mask.sum(axis=1), kind="stable")     # like lengths together: little padding
        parts = []
        for start in range(0, len(order), BATCH_TEXTS):
            rows = order[start:start + BATCH_TEXTS]
            n = int(mask[rows].sum(axis=1).max())
            parts.append(self._host(model.encode_text(*self._device(ids[rows, :n], mask[rows, :n]))))
        return _join(parts, mask.shape[1]).take(np.argsort(order))

    def _ids(self, texts: Sequence[str], strict: bool) -> tuple[Model, np.ndarray, np.ndarray]:
        """The ids and the mask of these texts, and the model whose word table they point into."""
        ids, mask = self.vocabulary.encode(texts, self.max_words, strict)
        if not self._has_every_piece or ids[mask].all():
            return self.model, ids, mask
        vocabulary, model = self._with_unseen_pieces(texts)
        return model, *vocabulary.encode(texts, self.max_words, strict=False)

    @property
    def _has_every_piece(self) -> bool:
        """Whether the word vectors are those of the piece table as they came: then a piece that no training caption holds has
        a vector too, and need not be `<unk>`."""
        vectors = self.facts.get("recipe", {}).get("text", {}).get("vectors")
        return vectors == "pieces" and not self.model.config.trained_words

    def _with_unseen_pieces(self, texts: Sequence[str]) -> tuple[Vocabulary, Model]:
        """The vocabulary and the model with rows for the pieces of these texts that training has not seen."""
        vocabulary, model = self.vocabulary.extended(texts), self.model
        new = piece_vectors(vocabulary.tokens[len(self.vocabulary):]).table.astype(model.table.dtype)
        table = module_of(model.table).concatenate([model.table, *self._device(new)])
        return vocabulary, Model(replace(model.config, words=len(vocabulary)), model.parameters, table)

    def encode_regions(self, regions: np.ndarray) -> Encoded:
        """Images (N, m, d_v) of features as the extractor gave them, each by itself, as arrays on the host."""
        return _join(list(self.encode_regions_in_batches(regions)), regions.shape[1])

    def encode_regions_in_batches(self, regions: np.ndarray) -> Iterator[Encoded]:
        """As `encode_regions`, a batch at a time: `regions` may be a memory map larger than memory."""
        if regions.ndim != 3 or regions.shape[-1] != self.d_v:
            raise ShapeError(f"the features have shape {regions.shape}, but the model was trained on (N, m, {self.d_v}) from "
                             f"{self.extractor!r}; extract them with that")
        places = self.model.config.image.positions
        if places and regions.shape[1] != places:
            raise ShapeError(f"an image has {regions.shape[1]} regions, but the model was trained on {places}")
        for start in range(0, len(regions), BATCH_IMAGES):
            V = self.project(regions[start:start + BATCH_IMAGES])
            yield self._host(self.model.encode_image(*self._device(V)))

    def self_attention(self, text: str, regions: np.ndarray) -> SelfAttention:
        """How the words of one text look at each other, and the regions (m, d_v) of one image, as arrays on the host."""
        model, ids, mask = self._ids([text], strict=True)
        _, (of_text, *_) = model.forward_text(*self._device(ids, mask))
        _, (of_image, *_) = self.model.forward_image(*self._device(self.project(regions[None])))
        weights = attention_weights(of_text), attention_weights(of_image)
        return SelfAttention(*(None if A is None else to_host(A)[0] for A in weights))

    def project(self, regions: np.ndarray) -> np.ndarray:
        """Features as the model takes them: float32, reduced where there is a projection."""
        V = np.asarray(regions, np.float32)
        return V if self.projection is None else self.projection.apply(V)

    def on_device(self, encoded: Encoded) -> Encoded:
        """The same, where the model is."""
        return Encoded(*self._device(*encoded))

    def _device(self, *arrays: np.ndarray):
        return tuple(to_device(x, self.device) for x in arrays)

    def _host(self, encoded: Encoded) -> Encoded:
        return Encoded(*(to_host(x) for x in encoded))

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all."""
        facts = {
            "format": FORMAT, "version": VERSION, "model": self.model.config.to_json(), "shapes": self.model.parameters.shapes,
            "vocabulary": self.vocabulary.to_json(), "extractor": self.extractor, "grid": self.grid, "d_v": self.d_v,
            "max_words": self.max_words, "facts": self.facts,
        }
        arrays = {"parameters": to_host(self.model.parameters.listed())}
        if self.model.table is not None:
            arrays["table"] = to_host(self.model.table)
        if self.projection is not None:
            arrays |= {f"projection_{name}": x for name, x in self.projection.to_arrays().items()}
        with atomic_file(path) as temporary:
            np.savez(temporary, json=json.dumps(facts, ensure_ascii=False), **arrays)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Retriever:
        """Read a model file; raises `InputError` for anything else."""
        path = need_file(path, "the model file")
        try:
            arrays = read_arrays(path)
            facts = json.loads(str(arrays.pop("json")))
            if facts["format"] != FORMAT:
                raise InputError(f"{path} is not a model file of attnretrieval")
            if facts["version"] != VERSION:
                raise InputError(f"{path} has version {facts['version']}, this program reads version {VERSION}; "
                                 "use the one that wrote it, or train again")
            shapes = {name: tuple(shape) for name, shape in facts["shapes"].items()}
            for name, x in arrays.items():
                check_array(name, x)
            table = arrays.get("table")
            model = Model(
                ModelConfig.from_json(facts["model"]), Parameters.from_listed(shapes, to_device(arrays["parameters"], device)),
                None if table is None else to_device(table, device))
            start = "projection_"
            projection = {name[len(start):]: x for name, x in arrays.items() if name.startswith(start)}
            return cls(model, Vocabulary.from_json(facts["vocabulary"]), facts["extractor"], tuple(facts["grid"]), facts["d_v"],
                       facts["max_words"], RegionProjection.from_arrays(projection) if projection else None, facts["facts"])
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a model file of attnretrieval, or is damaged ({error})") from error


def _join(parts: list[Encoded], width: int) -> Encoded:
    """Batches of one width after another; the tokens beyond a batch's own width are padding."""
    if not parts:
        raise ShapeError("there is nothing to encode: no caption or no image came")
    count = sum(len(part.g) for part in parts)
    d = parts[0].g.shape[-1]
    H = np.zeros((count, width, d), parts[0].H.dtype)
    mask = np.zeros((count, width), bool)
    start = 0
    for part in parts:
        rows, n = slice(start, start + len(part.g)), part.H.shape[1]
        H[rows, :n], mask[rows, :n] = part.H, part.mask
        start = rows.stop
    return Encoded(H, mask, np.concatenate([part.g for part in parts]))
