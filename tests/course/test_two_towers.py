"""The network of lesson 4: its gradient, its batches, that it learns, and that the hardest negatives make it collapse."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.two_towers import TwoTowers, by_info_nce, by_triplet, tell
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.regions import RegionProjection
from attnretrieval.inputs.scenes import captions_of, make_scenes
from attnretrieval.inputs.words import Vocabulary


@pytest.fixture(scope="module")
def told():
    rng = np.random.default_rng(0)
    scenes = make_scenes("train", 60, rng)
    texts = [caption.text for scene in scenes for language in ("en", "zh") for caption in captions_of(scene, language)]
    vocabulary = Vocabulary.build(texts, "characters")
    projection = RegionProjection.fit(np.stack([PatchExtractor()(scene.image) for scene in scenes]), 24)
    return tell(scenes, vocabulary, rng.standard_normal((len(vocabulary), 16), dtype=np.float32), projection)


def test_a_part_of_the_data_knows_its_right_pairs(told):
    assert told.image_of.tolist() == [i for i in range(60) for _ in range(4)]
    part, positives = told.take(np.array([7, 3]), np.array([12, 29, 13]))
    assert positives.tolist() == [[False, True], [True, False], [False, True]]
    assert part.image_of.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(part.V, told.V[[7, 3]])
    np.testing.assert_array_equal(part.T, told.T[[12, 29, 13]])


@pytest.mark.parametrize("loss", [by_info_nce, by_triplet("sum")], ids=["info_nce", "triplet"])
def test_the_gradient_is_that_of_the_loss(told, loss):
    net = TwoTowers(16, 24, np.random.default_rng(1), d=6, hidden=8)
    net.parameters = type(net.parameters)(net.parameters.shapes, net.parameters.flat.astype(np.float64))
    part, positives = told.take(np.arange(5), np.arange(20))
    part = part._replace(T=part.T.astype(float), V=part.V.astype(float))

    def value() -> float:
        return loss(net.forward(part)[0], net.parameters["log_temperature"], positives)[0]

    S, cache = net.forward(part)
    _, d_S, d_log_temperature = loss(S, net.parameters["log_temperature"], positives)
    gradient = net.backward(d_S, d_log_temperature, cache).flat
    along = np.random.default_rng(2).normal(size=gradient.shape)
    values = []
    for sign in (1, -1):
        net.parameters.flat += sign * 1e-6 * along
        values.append(value())
        net.parameters.flat -= sign * 1e-6 * along
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient @ along, rel=1e-5)


def trained(told, loss, steps):
    net = TwoTowers(16, 24, np.random.default_rng(1))
    return net, list(net.train(told, loss, steps, np.random.default_rng(2), images=16))


def test_it_learns(told):
    net, losses = trained(told, by_info_nce, 200)
    assert losses[0] > 2.5 and np.mean(losses[-10:]) < 0.6
    assert net.share_found(told) > 0.8


def test_the_hardest_negatives_collapse_it_and_the_mean_does_not(told):
    shares = {}
    for violations in ("hardest", "mean"):
        net, losses = trained(told, by_triplet(violations), 200)
        G, _ = net.vectors(told)
        unit = G / np.linalg.norm(G, axis=1, keepdims=True)
        shares[violations] = np.mean(losses[-10:]), (unit @ unit.T).mean()
    assert shares["hardest"] == (pytest.approx(0.4, abs=0.02), pytest.approx(1, abs=0.02))
    assert shares["mean"][0] < 0.1 and shares["mean"][1] < 0.2
