"""The model, alone and paired, for any options: what is padded, in which order items come and how they are cut into blocks
changes no score; and the gradient of the whole loss is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.all_pairs import score_matrix
from attnretrieval.config import ModelConfig, Side
from attnretrieval.equations.fusion import FUSIONS
from attnretrieval.equations.triplet import VIOLATIONS
from attnretrieval.model import Encoded, Model
from attnretrieval.parameters import Parameters
from attnretrieval.training.objective import LOSSES, Batch, Objective, objective_backward, objective_forward
from tests.properties.strategies import Draw

WORDS, D_T, D_V, D, PLACES = 9, 5, 7, 4, 10
STEP = 1e-30


class Setting(NamedTuple):
    """A model and a batch for it."""

    model: Model
    batch: Batch
    rng: np.random.Generator

    def encoded(self, batch: Batch | None = None) -> tuple[Encoded, Encoded]:
        batch = batch or self.batch
        return self.model.encode_text(batch.ids, batch.word_mask), self.model.encode_image(batch.regions, batch.region_mask)

    def scores(self, batch: Batch | None = None) -> np.ndarray:
        return score_matrix(self.model, *self.encoded(batch))


def _side(d: Draw, d_in: int, poolings: tuple[str, ...]) -> Side:
    flag = st.booleans()
    project = d.draw(flag)
    return Side(
        d_in, project=project, positions=PLACES if project and d.draw(flag) else 0,
        self_attention=not project or d.draw(flag), residual=project and d.draw(flag), layer_norm=d.draw(flag),
        feed_forward=d.one_of((0, 3)), pooling=d.one_of(poolings))


def _config(d: Draw) -> ModelConfig:
    paired_score = d.one_of(("fused", "token_cosine"))
    poolings = ("mean", "attention") if paired_score == "token_cosine" else ("mean", "attention", "max")
    return ModelConfig(
        _side(d, D_T, poolings), _side(d, D_V, poolings), words=WORDS, d=D, heads=d.one_of((1, 2)),
        trained_words=d.draw(st.booleans()), fusion=d.one_of(tuple(FUSIONS)), cross_heads=d.one_of((1, 2)),
        cross_projections=d.draw(st.booleans()), cross_logits=d.one_of(("dot", "cosine")), cross_scale=2.0,
        paired_score=paired_score, temperature=0.3, alone_weight=d.one_of((0.0, 0.5)))


@st.composite
def settings(draw) -> Setting:
    d = Draw(draw, dtypes=(np.float64,))
    config = _config(d)
    model = Model.create(config, d.rng, None if config.trained_words else d.rng.normal(size=(WORDS, D_T)), "float64")
    model.parameters.flat += 0.3 * d.rng.normal(size=model.parameters.flat.shape)      # none stays at 0 or 1
    positives = d.positives()
    (C, I), (n, m) = positives.shape, d.sizes(2)
    batch = Batch(d.rng.integers(0, WORDS, (C, n)), d.bools(C, n), d.floats(I, m, D_V), d.bools(I, m), positives)
    return Setting(model, batch, d.rng)


def more_padding(setting: Setting, words: int, regions: int) -> Batch:
    """Other words and regions in the padding, and more of it."""
    batch, rng = setting.batch, setting.rng
    ids = np.where(batch.word_mask, batch.ids, WORDS - 1 - batch.ids)
    V = np.where(batch.region_mask[..., None], batch.regions, 1e3)

    def wider(mask: np.ndarray, count: int) -> np.ndarray:
        return np.pad(mask, ((0, 0), (0, count)))

    return batch._replace(
        ids=np.concatenate([ids, rng.integers(0, WORDS, (len(ids), words))], axis=1), word_mask=wider(batch.word_mask, words),
        regions=np.concatenate([V, 1e3 * rng.normal(size=(len(V), regions, D_V))], axis=1),
        region_mask=wider(batch.region_mask, regions))


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


# --- scores ----------------------------------------------------------------------------------------------------------


@given(settings(), st.integers(0, 3), st.integers(0, 3))
def test_padding_changes_no_score(setting, words, regions):
    same(setting.scores(more_padding(setting, words, regions)), setting.scores())


@given(settings(), st.data())
def test_the_order_of_texts_and_images_does_not_matter(setting, data):
    batch = setting.batch
    texts, images = (data.draw(st.permutations(range(count))) for count in batch.positives.shape)
    moved = batch._replace(ids=batch.ids[texts], word_mask=batch.word_mask[texts], regions=batch.regions[images],
                           region_mask=batch.region_mask[images])
    same(setting.scores(moved), setting.scores()[np.ix_(texts, images)])


@given(settings(), st.integers(1, 7), st.integers(1, 7))
def test_the_blocks_do_not_matter(setting, rows, columns):
    texts, images = setting.encoded()
    same(score_matrix(setting.model, texts, images, (rows, columns)), score_matrix(setting.model, texts, images))


@given(settings(), st.data())
def test_a_list_of_pairs_has_the_scores_of_the_matrix(setting, data):
    C, I = setting.batch.positives.shape
    pairs = data.draw(st.lists(st.tuples(st.integers(0, C - 1), st.integers(0, I - 1)), min_size=1, max_size=12))
    t, v = np.array(pairs).T
    texts, images = setting.encoded()
    same(setting.model.score_pairs(texts, images, t, v), setting.scores()[t, v])


@given(settings())
def test_every_text_and_every_image_is_encoded_by_itself(setting):
    """An index built one item at a time holds what one built in batches holds."""
    texts, images = setting.encoded()
    model, batch = setting.model, setting.batch
    for c in range(len(batch.ids)):
        same(model.encode_text(batch.ids[c:c + 1], batch.word_mask[c:c + 1]).g[0], texts.g[c])
    for i in range(len(batch.regions)):
        same(model.encode_image(batch.regions[i:i + 1], batch.region_mask[i:i + 1]).g[0], images.g[i])


# --- the whole loss --------------------------------------------------------------------------------------------------

OBJECTIVES = st.builds(Objective, loss=st.sampled_from(LOSSES), margin=st.sampled_from([0.1, 0.5]),
                       violations=st.sampled_from(VIOLATIONS), paired_weight=st.sampled_from([0.0, 0.7]))


def gradient(setting: Setting, objective: Objective, batch: Batch) -> Parameters:
    _, cache = objective_forward(setting.model, batch, objective)
    found = setting.model.parameters.zeros_like()
    objective_backward(setting.model, cache, objective, found)
    return found


@given(settings(), OBJECTIVES)
def test_the_gradient_of_the_loss_along_a_random_direction(setting, objective):
    """<gradient, v> is the complex step along v: every parameter at once."""
    model, batch = setting.model, setting.batch
    v = setting.rng.normal(size=model.parameters.flat.shape)
    moved = Model(model.config, Parameters(model.parameters.shapes, model.parameters.flat + STEP * 1j * v), model.table)
    slope = objective_forward(moved, batch, objective)[0].total.imag / STEP
    found = gradient(setting, objective, batch).flat
    np.testing.assert_allclose(found @ v, slope, rtol=0, atol=1e-9 * max(1.0, np.linalg.norm(found) * np.linalg.norm(v)))


@given(settings(), OBJECTIVES, st.integers(0, 3), st.integers(0, 3))
def test_nothing_is_learnt_from_padding(setting, objective, words, regions):
    padded = gradient(setting, objective, more_padding(setting, words, regions))
    found = gradient(setting, objective, setting.batch)
    np.testing.assert_allclose(padded.flat, found.flat, rtol=0, atol=1e-9 * max(1.0, np.abs(found.flat).max()))
