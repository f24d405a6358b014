"""Lesson 6, the capstone: captions from a file, and a split in which no image is in both parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.exercise import Both, Draw, Exercise, Finding, Mistake, answer_of
from attnretrieval.course.exercises.loops import loop

# --- captions ----------------------------------------------------------------------------------------------------------


def _read(text: str, end: str = "\n", split_name: str = "#", keep: Callable[[str], str] = lambda line: line.rstrip("\r")):
    captions: dict[str, list[str]] = {}
    for line in text.split(end):
        line = keep(line)
        if line.strip():
            key, _, caption = line.partition("\t")
            captions.setdefault(key.rpartition(split_name)[0], []).append(caption)
    return captions


def _cut_at_spaces(text: str) -> dict[str, list[str]]:
    return {name: [caption.split()[0] for caption in found] for name, found in _read(text).items()}


def _name_cut_at_first_hash(text: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for name, found in _read(text).items():
        captions.setdefault(name.partition("#")[0], []).extend(found)
    return captions


def _numbers_kept(text: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line in _read(text, split_name="\t") and text.split("\n"):
        if line.strip():
            key, _, caption = line.rstrip("\r").partition("\t")
            captions.setdefault(key, []).append(caption)
    return captions


WORDS = {"en": "a black white cat dog chases sees under on red ball boat tree child jumps".split(),
         "zh": "一只 黑色 白色 的 猫 狗 在 追 看 红色 球 船 树 孩子 跳".split()}


def _files(draw: Draw) -> Iterator[tuple[str, str]]:
    def lines(language: str, names: list[str], captions: int) -> list[str]:
        gap = " " if language == "en" else ""
        return [f"{name}#{k}\t{gap.join(draw.rng.choice(WORDS[language], draw.rng.integers(3, 8)))}"
                for name in names for k in range(captions)]

    names = [f"{draw.rng.integers(10**6, 10**7)}.jpg" for _ in range(3)]
    yield "two captions an image", "\n".join(lines("en", names, 2))
    yield "Chinese, a line end after the last line", "\n".join(lines("zh", names, 2)) + "\n"
    yield "images in turn", "\n".join(sorted(lines("en", names, 2), key=lambda line: line.partition("\t")[0][-1]))
    yield "line ends of Windows, a blank line", "\r\n".join([*lines("en", names[:1], 2), "", *lines("en", names[1:], 1)])
    yield "# in a caption and in a name", f"{names[0]}#0\tdog #{draw.rng.integers(2, 9)} runs\nmy#{names[1]}#0\ta cat"


# --- split -------------------------------------------------------------------------------------------------------------


def _split_cases(draw: Draw) -> Iterator[tuple[str, Array, int]]:
    images, test = draw.sizes(1, 8, 12)[0], draw.sizes(1, 2, 4)[0]
    yield "two captions an image", np.repeat(np.arange(images), 2), test
    uneven = np.r_[np.arange(images), draw.rng.integers(images, size=2 * images)]
    yield "uneven, in any order", draw.rng.permutation(uneven), test


def _check_split(split: Callable, rng: np.random.Generator) -> Iterator[Finding]:
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
                "the test images are not drawn at random", "测试图像不是随机抽取的"))
        yield finding


def _wrong_split(answer: object, image_of: Array, test_images: int) -> tuple[str, Both | None]:
    """What is wrong with one split, and the mistake by name."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return f"the function returned {type(answer).__name__}, expected the pair train, test", None
    parts = [np.asarray(part) for part in answer]
    for name, part in zip(("train", "test"), parts, strict=True):
        if part.ndim != 1 or (part.size and part.dtype.kind not in "iu"):
            return f"{name} has shape {part.shape} and dtype {part.dtype}, expected numbers of captions", None
        if part.size and not 0 <= part.min() <= part.max() < len(image_of):
            return f"{name} holds {part.min()} to {part.max()}, captions are numbered 0 to {len(image_of) - 1}", None
    train, test = parts
    images = [set(image_of[part].tolist()) for part in parts]
    both = sorted(images[0] & images[1])
    if both:
        return f"image {both[0]} is in train and in test, as are {len(both) - 1} more", (
            "an image is in both parts: the test would ask what was learnt by heart; draw images, not captions",
            "同一图像出现在两部分:测试会考到背过的内容;应抽图像,而不是抽描述")
    counts = np.bincount(np.concatenate(parts), minlength=len(image_of))
    if counts.max() > 1:
        return f"caption {counts.argmax()} is there {counts.max()} times", ("a caption is used twice", "有描述被用了两次")
    if not counts.all():
        if sorted(train.tolist() + test.tolist()) == list(range(len(images[0] | images[1]))):
            return f"the numbers go to {counts.nonzero()[0].max()}, there are {len(image_of)} captions", (
                "these are numbers of images; return numbers of captions", "返回的是图像编号,应返回描述编号")
        return f"caption {counts.argmin()} is in neither part", ("captions are lost", "有描述丢失了")
    if len(images[1]) != test_images:
        named = ("train and test are exchanged", "train 与 test 颠倒了") if len(images[0]) == test_images else (
            "test_images counts images, not captions", "test_images 数的是图像,不是描述")
        return f"the test part holds {len(images[1])} images, expected {test_images}", named
    return "", None


EXERCISES = [
    Exercise(
        6, "data", "read_captions(text) -> captions",
        ("The text of a caption file of Flickr8k, a line each: NAME.jpg#k, a tab, the caption. A dict: image name → its "
         "captions in the order of the file. Lines may end in \\r\\n; blank lines are skipped; a # may stand in a name or a "
         "caption too.",
         "Flickr8k 描述文件的文本,每行:NAME.jpg#k、制表符、描述。返回字典:图像名 → 按文件顺序的描述列表。行尾可能是 \\r\\n;"
         "跳过空行;名字或描述里也可能有 #。"),
        loop(_read, _files, [
            Mistake("the caption is cut at its spaces; only the tab separates",
                    "描述在空格处被切断了,只有制表符是分隔符", _cut_at_spaces),
            Mistake("the number is still part of the name: NAME.jpg#0 is the image NAME.jpg",
                    "名字里还带着编号:NAME.jpg#0 是图像 NAME.jpg",
                    _numbers_kept),
            Mistake("the name is cut at its first #; the number stands after the last",
                    "名字在第一个 # 处被切断,编号在最后一个 # 之后",
                    _name_cut_at_first_hash),
            Mistake("a \\r is left at the end of captions: the file has line ends of Windows",
                    "描述末尾留有 \\r:文件用的是 Windows 行尾",
                    lambda text: _read(text, keep=lambda line: line)),
            Mistake("only the last caption of each image is kept; append to a list",
                    "每张图像只留下了最后一个描述,应追加到列表",
                    lambda text: {name: found[-1:] for name, found in _read(text).items()}),
            Mistake("each image has one caption as text; it needs a list of them", "每张图像只有一段文字,应是描述的列表",
                    lambda text: {name: found[-1] for name, found in _read(text).items()}),
        ]),
        (("Line by line: first cut at the tab, then cut the number off the name.",
          "逐行处理:先在制表符处切开,再去掉名字后的编号。"),
         ("line.partition(\"\\t\") cuts at the first tab; key.rpartition(\"#\") at the last #.",
          "line.partition(\"\\t\") 在第一个制表符处切开;key.rpartition(\"#\") 在最后一个 # 处切开。"),
         ("line.rstrip(\"\\r\") takes the end of Windows lines off; captions.setdefault(name, []).append(caption) collects.",
          "line.rstrip(\"\\r\") 去掉 Windows 行尾;captions.setdefault(name, []).append(caption) 收集描述。"))),
    Exercise(
        6, "data", "split_by_image(image_of, test_images, rng) -> train, test",
        ("Numbers of captions, train and test: all captions of `test_images` images drawn with the generator `rng` are the "
         "test, all others train. image_of (C,): the image of each caption. No image may be in both.",
         "返回描述的编号 train、test:用生成器 `rng` 抽取 `test_images` 张图像,它们的全部描述作测试,其余作训练。image_of (C,):"
         "每个描述的图像。任何图像都不得同时出现在两部分。"),
        _check_split,
        (("Draw images, not captions: then all captions of an image go the same way.",
          "抽图像而不是抽描述:这样一张图像的全部描述会去同一部分。"),
         ("rng.choice(np.unique(image_of), test_images, replace=False) draws the images.",
          "rng.choice(np.unique(image_of), test_images, replace=False) 抽出图像。"),
         ("in_test = np.isin(image_of, chosen); np.flatnonzero(in_test) are the captions of the test.",
          "in_test = np.isin(image_of, chosen);np.flatnonzero(in_test) 就是测试的描述。"))),
]
