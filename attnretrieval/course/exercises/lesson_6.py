"""Lesson 6, the capstone: captions from a file, an honest split, near-duplicates, rows put back, an interval for R@k."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises import capstone_loops as loops
from attnretrieval.course.exercises import caption_files as files
from attnretrieval.course.exercises.exercise import Draw, Exercise, Mistake, code
from attnretrieval.course.exercises.loops import loop
from attnretrieval.course.exercises.splits import check_split


def _collections(draw: Draw) -> Iterator[tuple[str, Array, Array, float]]:
    """Vectors of several lengths, some twice but for a little noise: across the parts, within train, within test."""
    def with_copies(G: Array, copies: list[tuple[int, int]]) -> Array:
        for i, j in copies:
            G[j] = draw.rng.uniform(0.3, 3) * (G[i] + draw(G.shape[1], scale=0.01))
        return G

    train, test = draw.sizes(2, 4, 8)
    d = int(draw.rng.integers(7, 10))
    copies = [(0, train), (0, train + 2), (1, 2), (train + 1, train + 3)]
    yield "train first, then test", with_copies(draw(train + test, d), copies), np.arange(train + test) >= train, 0.95
    in_test = np.array([True, False, False, True, False, True, False, True])
    yield "train and test mixed", with_copies(draw(8, d), [(0, 4), (2, 6), (1, 3), (1, 5), (5, 7)]), in_test, 0.95


def _taken(draw: Draw) -> Iterator[tuple[str, Array, Array, int]]:
    count, P, d = draw.sizes(3, 4, 9)
    yield "each row once", draw(min(P, count), d), draw.rng.permutation(count)[:P], count
    rows = draw.rng.integers(count - 1, size=P + 2)
    rows[-1] = rows[0]
    yield "rows that are taken twice", draw(P + 2, d), rows, count


def _draws(draw: Draw) -> Iterator[tuple[str, Array, Array, Array]]:
    def case(images: int, image_of: Array) -> tuple[Array, Array, Array]:
        hits = draw.rng.random(len(image_of)) < 0.6
        return hits, image_of, draw.rng.integers(images, size=(25, images))

    images = draw.sizes(1, 6, 10)[0]
    yield "two captions an image", *case(images, np.repeat(np.arange(images), 2))
    uneven = np.r_[np.arange(images), draw.rng.integers(images, size=images)]
    yield "uneven, in any order", *case(images, draw.rng.permutation(uneven))


EXERCISES = [
    Exercise(
        6, "data", "read_captions(text) -> captions",
        ("The text of a caption file of Flickr8k, a line each: NAME.jpg#k, a tab, the caption. A dict: image name → its "
         "captions in the order of the file. Lines may end in \\r\\n; blank lines are skipped; a # may stand in a name or a "
         "caption too.",
         "Flickr8k 描述文件的文本，每行：NAME.jpg#k、制表符、描述。返回字典：图像名 → 按文件顺序的描述列表。行尾可能是 \\r\\n；"
         "跳过空行；名字或描述里也可能有 #。"),
        loop(files.read, files.drawn_files, [
            Mistake("the caption is cut at its spaces; only the tab separates",
                    "描述在空格处被切断了，只有制表符是分隔符", files.cut_at_spaces),
            Mistake("the number is still part of the name: NAME.jpg#0 is the image NAME.jpg",
                    "名字里还带着编号：NAME.jpg#0 是图像 NAME.jpg",
                    files.numbers_kept),
            Mistake("the name is cut at its first #; the number stands after the last",
                    "名字在第一个 # 处被切断，编号在最后一个 # 之后",
                    files.name_cut_at_first_hash),
            Mistake("a \\r is left at the end of captions: the file has line ends of Windows",
                    "描述末尾留有 \\r：文件用的是 Windows 行尾",
                    lambda text: files.read(text, keep=lambda line: line)),
            Mistake("the list is begun anew where the name changes; captions of an image need not stand together",
                    "名字一变就重新开了列表；同一图像的描述不一定挨在一起", files.begun_anew),
            Mistake("only the last caption of each image is kept; append to a list",
                    "每幅图像只留下了最后一个描述，应追加到列表",
                    lambda text: {name: found[-1:] for name, found in files.read(text).items()}),
            Mistake("each image has one caption as text; it needs a list of them", "每幅图像只有一段文字，应是描述的列表",
                    lambda text: {name: found[-1] for name, found in files.read(text).items()}),
        ]),
        (("Line by line: first cut at the tab, then cut the number off the name.",
          "逐行处理：先在制表符处切开，再去掉名字后的编号。"),
         ("line.partition(\"\\t\") cuts at the first tab; key.rpartition(\"#\") at the last #.",
          "line.partition(\"\\t\") 在第一个制表符处切开；key.rpartition(\"#\") 在最后一个 # 处切开。"),
         ("line.rstrip(\"\\r\") takes the end of Windows lines off; captions.setdefault(name, []).append(caption) collects.",
          "line.rstrip(\"\\r\") 去掉 Windows 行尾；captions.setdefault(name, []).append(caption) 收集描述。"))),
    Exercise(
        6, "data", "split_by_image(image_of, test_images, rng) -> train, test",
        ("Numbers of captions, train and test: all captions of `test_images` images drawn with the generator `rng` are the "
         "test, all others train. image_of (C,): the image of each caption. No image may be in both.",
         "返回描述的编号 train、test：用生成器 `rng` 抽取 `test_images` 幅图像，"
         "它们的全部描述作测试，其余作训练。image_of (C,)："
         "每个描述的图像。任何图像都不得同时出现在两部分。"),
        check_split,
        (("Draw images, not captions: then all captions of an image go the same way.",
          "抽图像而不是抽描述：这样一幅图像的全部描述会去同一部分。"),
         ("rng.choice(np.unique(image_of), test_images, replace=False) draws the images.",
          "rng.choice(np.unique(image_of), test_images, replace=False) 抽出图像。"),
         ("in_test = np.isin(image_of, chosen); np.flatnonzero(in_test) are the captions of the test.",
          "in_test = np.isin(image_of, chosen)；np.flatnonzero(in_test) 就是测试的描述。"))),
    Exercise(
        6, "data", "near_duplicates(G, in_test, threshold) -> pairs",
        ("Images that stand in both parts under two names. G (I, d): a vector an image. in_test (I,): True where the image is "
         "in test. A list of all pairs (i, j), i in train and j in test, whose cosine is at least the threshold, sorted.",
         "以两个名字同时出现在两部分中的图像。G (I, d)：每幅图像一个向量。in_test (I,)：测试图像处为 True。"
         "返回余弦不低于阈值的所有 (i, j) 的列表，i 在训练部分，j 在测试部分，按次序排好。"),
        loop(loops.near_duplicates, _collections, [
            Mistake("the vectors are not brought to length 1: that is a product, not a cosine",
                    "向量没有化为长度 1：那是乘积，不是余弦",
                    lambda G, in_test, t: loops.near_duplicates(G, in_test, t, alike=lambda a, b: float(a @ b))),
            Mistake("pairs within train or within test are there too; they do no harm to the test",
                    "训练部分或测试部分内部的对也在其中，它们不影响测试",
                    lambda G, in_test, t: [(i, j) for i, j in loops.near_duplicates(G, in_test, t, apart=lambda i, j: True)
                                           if i < j]),
            Mistake("pairs within train or within test are there too, each twice",
                    "训练或测试部分内部的对也在其中，而且各出现两次",
                    lambda G, in_test, t: loops.near_duplicates(G, in_test, t, apart=lambda i, j: True)),
            Mistake("only pairs with i < j are asked for; a test image may stand before a train image",
                    "只看了 i < j 的对；测试图像也可能排在训练图像前面",
                    lambda G, in_test, t: [(i, j) for i, j in loops.near_duplicates(G, in_test, t) if i < j]),
            Mistake("only pairs with i < j are asked for; there the test image may come first",
                    "只看了 i < j 的对；这样测试图像有时会在前",
                    lambda G, in_test, t: [(i, j) for i, j in loops.near_duplicates(G, in_test, t, apart=lambda i, j: i != j)
                                           if i < j]),
            Mistake("each train image has its likest test image alone; all pairs count",
                    "每幅训练图像只留了最像的一幅，应留下所有的对",
                    loops.best_alone),
            Mistake("the pairs are sorted by the test image; the train image comes first", "先按测试图像排了，应先按训练图像排",
                    lambda G, in_test, t: sorted(loops.near_duplicates(G, in_test, t), key=lambda pair: pair[::-1])),
            Mistake("np.nonzero gives all i and then all j; np.argwhere gives pairs",
                    "np.nonzero 先给出全部 i，再给出全部 j；np.argwhere 才给出一对一对的",
                    lambda G, in_test, t: tuple(np.array(loops.near_duplicates(G, in_test, t)).T)),
            Mistake("every pair is there twice, or with the test image first; the train image comes first",
                    "每一对出现了两次，或测试图像在前；训练图像应在前",
                    lambda G, in_test, t: loops.near_duplicates(G, in_test, t, apart=lambda i, j: i != j)),
            Mistake("the test image comes first; the train image must", "测试图像在前了，应是训练图像在前",
                    lambda G, in_test, t: [(j, i) for i, j in loops.near_duplicates(G, in_test, t)]),
            Mistake("images are numbered within their part; return their numbers in G",
                    "图像是按各自部分编号的，应返回它们在 G 中的编号", loops.counted_within_parts),
            Mistake("train and test are exchanged: in_test is True for the test",
                    "train 与 test 颠倒了：in_test 为 True 的是测试",
                    lambda G, in_test, t: loops.near_duplicates(G, in_test, t, apart=lambda i, j: i and not j)),
        ]),
        (("Bring each row to length 1; then one product gives all cosines.", "先把每行化为长度 1，一次乘积就得到所有余弦。"),
         ("found = (U @ U.T >= threshold) & ~in_test[:, None] & in_test: rows are train, columns test.",
          "found = (U @ U.T >= threshold) & ~in_test[:, None] & in_test：行是训练，列是测试。"),
         code("return [(int(i), int(j)) for i, j in np.argwhere(found)]"))),
    Exercise(
        6, "backward", "take_rows_backward(d_T, rows, count) -> d_G",
        ("The forward took rows: T = G[rows], with G (count, d) and rows (P,), in which a row may come twice or not at all. "
         "From d_T (P, d) the gradient d_G (count, d).",
         "前向取了若干行：T = G[rows]，G (count, d)，rows (P,)，其中一行可能出现两次，也可能不出现。"
         "由 d_T (P, d) 求梯度 d_G (count, d)。"),
        loop(loops.take_rows_backward, _taken, [
            Mistake("of a row that was taken twice only one gradient is left: what is used twice gets the sum",
                    "取了两次的行只留下了一份梯度：用了两次就加两份", loops.last_one_kept),
            Mistake("the gradients of a row that was taken twice are averaged; they add up",
                    "取了两次的行的梯度被平均了，应当相加", loops.averaged),
            Mistake("it takes rows once more; the backward puts them back", "又取了一次行；反向应把它们放回去",
                    loops.taken_again),
            Mistake("rows that were not taken are missing; d_G has count rows, and theirs are 0",
                    "没有取的行不见了；d_G 有 count 行，它们的是 0", loops.taken_rows_only),
            Mistake("d_G ends with the last row that was taken; it has count rows",
                    "d_G 到取过的最后一行就结束了，它有 count 行",
                    loops.as_far_as_taken),
            Mistake("rows that were not taken got a gradient: theirs is 0", "没有取的行也有了梯度，它们的梯度是 0",
                    lambda d_T, rows, count: loops.take_rows_backward(d_T, rows, count) + (
                        np.bincount(rows, minlength=count) == 0)[:, None]),
        ]),
        (("Row r of G went wherever rows is r. From each such place its gradient comes back.",
          "G 的第 r 行去了 rows 等于 r 的每个位置。每个位置的梯度都要回来。"),
         ("Start with zeros (count, d); for each place p add d_T[p] to the row rows[p].",
          "从 (count, d) 的零开始；对每个位置 p，把 d_T[p] 加到第 rows[p] 行。"),
         ("d_G[rows] += d_T keeps one of two equal rows only; np.add.at(d_G, rows, d_T) adds all.",
          "d_G[rows] += d_T 在行号重复时只算一次；np.add.at(d_G, rows, d_T) 会全部加上。"))),
    Exercise(
        6, "metric", "bootstrap_interval(hits, image_of, draws) -> low, high",
        ("How far R@k may be off. hits (C,): True where the caption found its image; image_of (C,). Each row of draws (B, I) "
         "names I images, drawn with replacement; its recall is that of all captions of these images, an image drawn twice "
         "counted twice. The percentiles 2.5 and 97.5 of the B recalls, in percent.",
         "R@k 可能有多大偏差。hits (C,)：描述找到了自己的图像处为 True；image_of (C,)。draws (B, I) 的每一行是有放回抽出的 I 幅"
         "图像的编号；这一行的召回率取这些图像的全部描述来算，抽到两次的图像算两次。"
         "返回 B 个召回率（百分数）的 2.5 与 97.5 百分位数。"),
        loop(loops.bootstrap_interval, _draws, [
            Mistake("an image that is drawn twice counts once; it must count twice", "抽到两次的图像只算了一次，应算两次",
                    loops.drawn_twice_counts_once),
            Mistake("the draws are used as numbers of captions; they are numbers of images",
                    "draws 被当成了描述编号，它们是图像编号", loops.captions_drawn),
            Mistake("each image counts the same; each caption must: images have different numbers of them",
                    "每幅图像的份量相同了；应是每个描述相同，各图像的描述数并不一样", loops.mean_of_images),
            Mistake("it is a share from 0 to 1; recall is told in percent", "得到的是 0 到 1 的比例，召回率用百分数",
                    lambda *a: tuple(end / 100 for end in loops.bootstrap_interval(*a))),
            Mistake("these are the percentiles 5 and 95: a tenth lies outside, not a twentieth",
                    "这是 5 与 95 百分位数：落在外面的是十分之一，而不是二十分之一",
                    lambda *a: loops.bootstrap_interval(*a, 5, 95)),
            Mistake("np.percentile takes percent: 2.5, not 0.025", "np.percentile 用百分数：2.5，而不是 0.025",
                    lambda *a: loops.bootstrap_interval(*a, 0.025, 0.975)),
            Mistake("hits are divided by the number of all captions; a draw has the captions of its images",
                    "命中数除以了全部描述数；一次抽样只有抽到的图像的描述", loops.share_of_all),
            Mistake("an image counts as found with any of its captions; each caption counts",
                    "任一描述命中就算图像命中，应逐句计算",
                    loops.any_caption),
            Mistake("the ends are exchanged: low comes first", "两端颠倒了：小的在前",
                    lambda *a: loops.bootstrap_interval(*a)[::-1]),
            Mistake("these are the smallest and the largest recall, not percentiles", "这是最小与最大的召回率，不是百分位数",
                    lambda *a: loops.bootstrap_interval(*a, 0, 100)),
            Mistake("it is mean ± 1.96 deviations: percentiles need no normal distribution",
                    "这是均值 ± 1.96 倍标准差：百分位数不需要正态分布", loops.normal_interval),
        ]),
        (("First hits and captions of each image; then a draw is a sum over its images.",
          "先算每幅图像的命中数与描述数，一次抽样就是对其图像求和。"),
         ("found = np.bincount(image_of, weights=hits) and told = np.bincount(image_of) are sums over each image's captions.",
          "found = np.bincount(image_of, weights=hits) 与 told = np.bincount(image_of) 是对每幅图像的描述求的和。"),
         code("low, high = np.percentile(100 * found[draws].sum(axis=1) / told[draws].sum(axis=1), [2.5, 97.5])"))),
]
