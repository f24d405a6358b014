"""From a recipe and training data to a retriever with fresh weights, and the arrays that `train` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from attnretrieval.inputs.dataset import Dataset
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.regions import BLOCK, RegionProjection
from attnretrieval.inputs.vectors import word_vectors
from attnretrieval.inputs.words import Vocabulary
from attnretrieval.model import Model
from attnretrieval.recipe import Recipe
from attnretrieval.retrieval.search import evaluate
from attnretrieval.retriever import Retriever
from attnretrieval.training.data import TrainingData


def build_retriever(recipe: Recipe, data: Dataset, vectors: str | Path | None = None, device: str = "cpu") -> Retriever:
    """A retriever for this training data: vocabulary from its captions, projection from its images, weights by the seed.

    `vectors` is the file of word vectors that a recipe with vectors = "file" needs.
    """
    if (recipe.text.vectors == "file") != (vectors is not None):
        raise InputError('a file of word vectors (--vectors) is given exactly when the recipe says vectors = "file"')
    rng = np.random.default_rng(recipe.training.seed)
    vocabulary = Vocabulary.build(data.captions.texts, recipe.text.tokeniser, recipe.text.min_count)
    source = vectors if recipe.text.vectors == "file" else recipe.text.vectors
    table, found = word_vectors(source, vocabulary.tokens, rng, recipe.text.d_vectors)
    m, d_v = data.regions.shape[1:]
    text_places, image_places = (side.get("positions", 0) for side in (recipe.text_side, recipe.image_side))
    if image_places not in (0, m):
        raise InputError(f"the recipe says positions={image_places} for images, but they have {m} regions; set it to {m}")
    projection = RegionProjection.fit(data.regions, recipe.image.pca) if recipe.image.pca else None
    config = recipe.model_config(table.shape[1], recipe.image.pca or d_v, len(vocabulary))
    model = Model.create(config, rng, table).to(device)
    facts = {"recipe": recipe.to_json(), "images": len(data.captions.image_names), "captions": len(data.captions),
             "vectors_found": int(found.sum())}
    max_words = min(recipe.text.max_words, text_places or recipe.text.max_words)
    return Retriever(model, vocabulary, data.extractor, data.grid, d_v, max_words, projection, facts)


def training_data(retriever: Retriever, data: Dataset) -> TrainingData:
    """Captions as ids and projected regions, in float16 to halve the memory: batches are float32 again."""
    ids, word_mask = retriever.vocabulary.encode(data.captions.texts, retriever.max_words, strict=False)
    count, m = data.regions.shape[:2]
    regions = np.empty((count, m, retriever.model.config.image.d_in), np.float16)
    for start in range(0, count, BLOCK):
        regions[start:start + BLOCK] = retriever.project(data.regions[start:start + BLOCK])
    return TrainingData(ids, word_mask, data.captions.image_of, regions)


def make_validate(retriever: Retriever, data: Dataset, rerank_k: int = 50) -> Callable[[Model, str], dict[str, Any]]:
    """What `train` calls after an epoch: recalls of the retriever's model on this data, as one row of the log."""
    def validate(model: Model, mode: str) -> dict[str, Any]:
        texts, images = retriever.encode_captions(data.captions.texts), retriever.encode_regions(data.regions)
        found = evaluate(model, texts, images, data.captions.image_of, mode, rerank_k)
        row = {f"{way}_{name}": getattr(getattr(found, way), name) for way in ("i2t", "t2i") for name in ("r1", "r5", "r10")}
        return {"mode": mode, **row, "rsum": found.rsum}
    return validate
