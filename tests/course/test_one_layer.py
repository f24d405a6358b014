"""The network of lesson 2: its gradient, what is asked, and that it learns to look."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.one_layer import CLASSES, NOT_ASKED, OneLayer, ask_regions, ask_words
from attnretrieval.inputs.scenes import LANGUAGES, captions_of, make_scenes
from attnretrieval.inputs.words import Vocabulary


@pytest.fixture(scope="module")
def asked():
    rng = np.random.default_rng(0)
    scenes = make_scenes("test", 30, rng)
    texts = [caption.text for scene in scenes for language in LANGUAGES for caption in captions_of(scene, language)]
    vocabulary = Vocabulary.build(texts, "characters")
    return scenes, vocabulary, ask_words(scenes, vocabulary, rng.normal(size=(len(vocabulary), 16)))


def test_nouns_are_asked_for_their_colour_and_colours_for_their_noun(asked):
    _, vocabulary, questions = asked
    # a black cat is chasing a red ball, 一只黑色的猫在追红色的球
    answers = [[CLASSES[i] if i != NOT_ASKED else "" for i in row] for row in questions.target[[0, 2]]]
    assert answers[0][:8] == ["", "cat", "black", "", "", "", "ball", "red"]
    assert answers[1][:12] == ["", "", "cat", "cat", "", "black", "", "", "ball", "ball", "", "red"]
    assert not (questions.target[~questions.mask] != NOT_ASKED).any()


def test_regions_are_asked_for_the_other_shape(asked):
    scenes, _, _ = asked
    for row, scene in zip(ask_regions(scenes).target, scenes, strict=True):
        assert CLASSES[row[scene.cells[0]]] == scene.meaning.other_shape
        assert CLASSES[row[scene.cells[1]]] == scene.meaning.shape
        assert (row != NOT_ASKED).sum() == 2


def test_the_gradient_is_that_of_the_loss(asked):
    _, _, (X, mask, target) = asked
    X, mask, target = X[:4], mask[:4], target[:4]
    net = OneLayer(16, X.shape[1], np.random.default_rng(1), d=8, heads=2)
    net.parameters = type(net.parameters)(net.parameters.shapes, net.parameters.flat.astype(np.float64))
    rows = target != NOT_ASKED

    def loss() -> float:
        return -np.log(net.forward(X, mask)[0][rows, target[rows]]).mean()

    gradient = net.backward(*(p := net.forward(X, mask))[:1], target, p[1]).flat
    along = np.random.default_rng(2).normal(size=gradient.shape)
    values = []
    for sign in (1, -1):
        net.parameters.flat += sign * 1e-6 * along
        values.append(loss())
        net.parameters.flat -= sign * 1e-6 * along
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient @ along, rel=1e-6)


def test_it_learns(asked):
    questions = asked[2]
    net = OneLayer(16, questions.X.shape[1], np.random.default_rng(3))
    losses = net.train(questions._replace(X=questions.X.astype(np.float32)), 300, np.random.default_rng(4))
    assert losses[0] == pytest.approx(np.log(len(CLASSES)), rel=0.05)
    assert np.mean(losses[-10:]) < 0.3
    A = net.attention(questions.X, questions.mask)
    assert A.shape == (120, 2, *questions.mask.shape[1:] * 2)
    np.testing.assert_allclose(A.sum(axis=-1), 1, rtol=1e-5)
