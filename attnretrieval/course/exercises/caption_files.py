"""Caption files of Flickr8k: drawn, read as they should be, and read with the mistakes that are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attnretrieval.course.exercises.exercise import Draw


def read(text: str, keep: Callable[[str], str] = lambda line: line.rstrip("\r")) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line in map(keep, text.split("\n")):
        if line.strip():
            key, _, caption = line.partition("\t")
            captions.setdefault(key.rpartition("#")[0], []).append(caption)
    return captions


def cut_at_spaces(text: str) -> dict[str, list[str]]:
    return {name: [caption.split()[0] for caption in found] for name, found in read(text).items()}


def name_cut_at_first_hash(text: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for name, found in read(text).items():
        captions.setdefault(name.partition("#")[0], []).extend(found)
    return captions


def begun_anew(text: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    before = None
    for line in text.split("\n"):
        for name, found in read(line).items():
            captions[name] = [*captions[name], *found] if name == before else found
            before = name
    return captions


def numbers_kept(text: str) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if line.strip():
            key, _, caption = line.rstrip("\r").partition("\t")
            captions.setdefault(key, []).append(caption)
    return captions


WORDS = {"en": "a black white cat dog chases sees under on red ball boat tree child jumps".split(),
         "zh": "一只 黑色 白色 的 猫 狗 在 追 看 红色 球 船 树 孩子 跳".split()}


def drawn_files(draw: Draw) -> Iterator[tuple[str, str]]:
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
