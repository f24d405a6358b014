"""What is wrong with a split of captions into train and test: an image in both parts, captions lost, no random draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.exercise import Both, Draw, Finding, answer_of


def _split_cases(draw: Draw) -> Iterator[tuple[str, Array, int]]:
    images, test = draw.sizes(1, 8, 12)[0], draw.sizes(1, 4, 7)[0]       # many: an image drawn twice comes out
    yield "two captions an image", np.repeat(np.arange(images), 2), test
    uneven = np.r_[np.arange(images), draw.rng.integers(images, size=2 * images)]
    yield "uneven, in any order", draw.rng.permutation(uneven), test


def check_split(split: Callable, rng: np.random.Generator) -> Iterator[Finding]:
    for label, image_of, test_images in _split_cases(Draw(rng)):
        seeds = [int(seed) for seed in rng.integers(10**6, size=4)]
        answers = []
        for seed in [*seeds, seeds[0]]:
            answer, finding = answer_of(split, label, image_of, test_images, np.random.default_rng(seed))
            if finding is None:
                text, mistake = _wrong_split(answer, image_of, test_images)
                finding = Finding(label, not text, text, mistake)
            if not finding.passed:
                break
            answers.append(sorted(int(c) for c in answer[1]))
        if finding.passed and answers[0] != answers[-1]:
            finding = Finding(label, False, "two calls with generators of the same seed gave different splits", (
                "draw from the rng that is passed, from nothing else", "随机数只能取自传入的 rng"))
        elif finding.passed and len(set(map(str, answers))) == 1:
            finding = Finding(label, False, "four generators gave the same test images", (
                "the test images are not drawn at random with rng", "测试图像不是用 rng 随机抽取的"))
        yield finding


IMAGES = ("these are numbers of images; return numbers of captions", "返回的是图像编号，应返回描述编号")


def _no_numbers(part: Array) -> Both | None:
    if part.dtype.kind == "b":
        return "this is a mask; np.flatnonzero(mask) gives the numbers", "这是掩码，np.flatnonzero(mask) 才给出编号"
    if part.ndim == 2 and len(part) == 1:
        return ("np.where gives a tuple; its entry [0] holds the numbers, as does np.flatnonzero",
                "np.where 给出的是元组，编号在它的 [0] 里，也可以用 np.flatnonzero")
    return None


def _wrong_split(answer: object, image_of: Array, test_images: int) -> tuple[str, Both | None]:
    """What is wrong with one split, and the mistake by name."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return f"the function returned {type(answer).__name__}, expected the pair train, test", None
    parts = [np.asarray(part) for part in answer]
    for name, part in zip(("train", "test"), parts, strict=True):
        if part.ndim != 1 or (part.size and part.dtype.kind not in "iu"):
            return f"{name} has shape {part.shape} and dtype {part.dtype}, expected numbers of captions", _no_numbers(part)
        if part.size and not 0 <= part.min() <= part.max() < len(image_of):
            return f"{name} holds {part.min()} to {part.max()}, captions are numbered 0 to {len(image_of) - 1}", None
    train, test = parts
    everything = np.concatenate(parts)
    if np.array_equal(np.sort(everything), np.sort(image_of)):
        return "each number comes as often as the image has captions", IMAGES
    images = [set(image_of[part].tolist()) for part in parts]
    both = sorted(images[0] & images[1])
    if both:
        return f"image {both[0]} is in train and in test, as are {len(both) - 1} more", (
            "an image is in both parts: the test would ask what was learnt by heart; draw images, not captions",
            "同一图像出现在两部分：测试会考到背过的内容；应抽图像，而不是抽描述")
    counts = np.bincount(everything, minlength=len(image_of))
    if counts.max() > 1:
        return f"caption {counts.argmax()} is there {counts.max()} times", ("a caption is used twice", "有描述被用了两次")
    if not counts.all():
        if sorted(train.tolist() + test.tolist()) == list(range(len(images[0] | images[1]))):
            return f"the numbers go to {counts.nonzero()[0].max()}, there are {len(image_of)} captions", IMAGES
        return f"caption {counts.argmin()} is in neither part", ("captions are lost", "有描述丢失了")
    if len(images[1]) != test_images:
        if len(images[0]) == test_images:
            named = "train and test are exchanged", "train 与 test 颠倒了"
        elif len(images[1]) < test_images:
            named = ("an image was drawn twice: draw from np.unique(image_of), with replace=False",
                     "有图像抽到了两次：应从 np.unique(image_of) 里抽，并写 replace=False")
        else:
            named = "test_images counts images, not captions", "test_images 数的是图像，不是描述"
        return f"the test part holds {len(images[1])} images, expected {test_images}", named
    return "", None
