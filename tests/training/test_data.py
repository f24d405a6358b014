"""Batches: every image once an epoch with captions of its own, drawn anew; dropping leaves something of everything."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.shapes import ShapeError
from attnretrieval.training.data import TrainingData, check_data, draw_batches, drop, steps_in_epoch

IMAGES, M = 12, 4
COUNTS = [1, 5, 3, 2, 5, 1, 4, 5, 2, 3, 5, 2]       # captions of each image


def make(dtype: str = "float32") -> TrainingData:
    """The first word of a caption is its number; the features of an image are its number."""
    rng = np.random.default_rng(0)
    image_of = rng.permutation(np.repeat(np.arange(IMAGES), COUNTS))
    C = len(image_of)
    ids = np.concatenate([np.arange(C)[:, None], rng.integers(0, 9, (C, 6))], axis=1)
    word_mask = np.arange(7) < rng.integers(1, 8, (C, 1))
    return TrainingData(ids, word_mask, image_of, np.tile(np.arange(IMAGES, dtype=dtype)[:, None, None], (1, M, 3)))


def epoch(data: TrainingData, batch_images: int = 5, captions: int = 3, seed: int = 0, **options):
    return list(draw_batches(data, np.random.default_rng(seed), batch_images, captions, **options))


@pytest.mark.parametrize(("batch_images", "sizes"), [
    (2, [2] * 6), (5, [5, 5, 2]), (6, [6, 6]), (11, [11]), (12, [12]), (100, [12]), (3, [3] * 4), (7, [7, 5]),
])
def test_every_image_once_and_no_batch_of_one(batch_images, sizes):
    data = make()
    batches = epoch(data, batch_images)
    assert [len(batch.regions) for batch in batches] == sizes and steps_in_epoch(data, batch_images) == len(sizes)
    shown = np.concatenate([batch.regions[:, 0, 0] for batch in batches]).astype(int)
    assert len(set(shown)) == len(shown) == sum(sizes)      # where one image is left over, it waits for another epoch


def test_an_image_that_was_left_over_comes_another_time():
    data = make()
    rng = np.random.default_rng(0)
    left = {min(set(range(IMAGES)) - set(batch.regions[:, 0, 0].astype(int)))
            for _ in range(30) for batch in draw_batches(data, rng, 11, 1)}
    assert len(left) > 6


@pytest.mark.parametrize("captions", [1, 3, 99])
def test_each_image_comes_with_captions_of_its_own(captions):
    data = make()
    for batch in epoch(data, captions=captions):
        images = batch.regions[:, 0, 0].astype(int)
        numbers = batch.ids[:, 0]
        assert len(set(numbers)) == len(numbers)
        np.testing.assert_array_equal(batch.positives, data.image_of[numbers][:, None] == images)
        assert batch.positives.sum(axis=0).tolist() == [min(captions, COUNTS[image]) for image in images]
        assert data.image_of[numbers[batch.paired]].tolist() == images.tolist()     # one caption an image


def test_captions_are_cut_to_the_longest_of_the_batch():
    data = make()
    for batch in epoch(data):
        n = data.word_mask[batch.ids[:, 0]].sum(axis=1).max()
        assert batch.ids.shape == batch.word_mask.shape == (len(batch.ids), n)
        np.testing.assert_array_equal(batch.word_mask, data.word_mask[batch.ids[:, 0]][:, :n])
        np.testing.assert_array_equal(batch.ids, data.ids[batch.ids[:, 0]][:, :n])


def test_a_seed_gives_one_epoch_and_epochs_differ():
    data = make()
    for a, b in zip(epoch(data, drop_words=0.3, drop_regions=0.3), epoch(data, drop_words=0.3, drop_regions=0.3), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    rng = np.random.default_rng(0)
    one, two = (list(draw_batches(data, rng, 12, 1))[0] for _ in range(2))
    assert not np.array_equal(one.regions, two.regions)                                     # another order
    assert set(one.ids[:, 0]) != set(two.ids[:, 0])                                         # other captions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regions_may_be_half_precision_on_disk(tmp_path, dtype):
    data = make("float16")
    np.save(tmp_path / "regions.npy", data.regions)
    mapped = data._replace(regions=np.load(tmp_path / "regions.npy", mmap_mode="r"))
    for batch, same in zip(epoch(mapped, dtype=dtype), epoch(make(), dtype=dtype), strict=True):
        assert batch.regions.dtype == dtype and not isinstance(batch.regions, np.memmap)
        np.testing.assert_array_equal(batch.regions, same.regions)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.99])
def test_dropping_hides_its_share_and_never_all(p):
    rng = np.random.default_rng(0)
    mask = rng.random((4000, 9)) < 0.7
    mask[:5] = False                                        # rows without anything stay so
    before = mask.copy()
    kept = drop(mask, p, rng)
    np.testing.assert_array_equal(mask, before)
    assert not (kept & ~mask).any()
    np.testing.assert_array_equal(kept.any(axis=1), mask.any(axis=1))
    if p < 0.9:                                             # else most rows would be empty, and stay whole
        assert 1 - kept.sum() / mask.sum() == pytest.approx(p, abs=0.04)
    np.testing.assert_array_equal(drop(mask, 0, rng), mask)


def test_dropped_words_and_regions_in_batches():
    data = make()
    regions = []
    for batch in (batch for seed in range(20) for batch in epoch(data, seed=seed, drop_words=0.4, drop_regions=0.4)):
        whole = data.word_mask[batch.ids[:, 0]][:, :batch.ids.shape[1]]
        assert batch.word_mask.any(axis=1).all() and batch.region_mask.any(axis=1).all()
        assert not (batch.word_mask & ~whole).any() and batch.word_mask.sum() < whole.sum()
        regions.append(batch.region_mask.mean())
    assert np.mean(regions) == pytest.approx(0.6, abs=0.05)
    assert all(batch.region_mask.all() for batch in epoch(data, drop_words=0.4))


@pytest.mark.parametrize(("change", "message"), [
    ({"ids": np.zeros((3, 2), int)}, "3 captions, 38 masks and 38 image numbers: one of each a caption"),
    ({"image_of": np.zeros(37, int)}, "38 captions, 38 masks and 37 image numbers"),
    ({"image_of": np.full(38, IMAGES)}, "image_of must name images 0 to 11"),
    ({"image_of": np.full(38, -1)}, "image_of must name images 0 to 11"),
    ({"image_of": np.arange(38) % 10}, "2 of 12 images have no caption; leave them out"),
])
def test_data_that_do_not_fit(change, message):
    check_data(make())
    with pytest.raises(ShapeError) as error:
        check_data(make()._replace(**change))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_no_data():
    with pytest.raises(ShapeError, match="image_of must name images"):
        check_data(TrainingData(np.zeros((0, 1), int), np.zeros((0, 1), bool), np.zeros(0, int), np.zeros((0, 4, 3))))
