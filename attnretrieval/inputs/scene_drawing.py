"""Drawings of the objects of a scene: small, in one colour, looking to the right.

Each shape is a function from a pen and a colour to strokes on a square of 14 units; `sprite` draws it eight times too large and
shrinks it, so that edges are smooth. To add a shape, write a function and a line in SHAPES (and its words in scenes.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

UNITS = 14                  # a sprite is as many pixels wide and high; a cell of 16 leaves room to move it by two
TRAIL = 2                   # pixels of speed lines behind who runs: with them a sprite is as wide as its cell
ENLARGE = 8
COLOURS = {
    "black": (25, 25, 30), "red": (214, 30, 40), "blue": (30, 80, 220), "yellow": (240, 195, 10), "green": (25, 145, 60),
    "purple": (135, 45, 165), "orange": (245, 120, 10),
}
Colour = tuple[int, int, int]
WHITE, DARK, WOOD = (255, 255, 255), (60, 60, 70), (120, 80, 45)


class Pen:
    """Draws in units of the sprite."""

    def __init__(self, image: Image.Image):
        self.draw = ImageDraw.Draw(image)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.draw.ellipse([v * ENLARGE for v in (x0, y0, x1, y1)], fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.draw.rectangle([v * ENLARGE for v in (x0, y0, x1, y1)], fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([(x * ENLARGE, y * ENLARGE) for x, y in points], fill=colour)

    def line(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        self.draw.line([(x * ENLARGE, y * ENLARGE) for x, y in points], fill=colour, width=int(width * ENLARGE), joint="curve")


def _shade(colour: Colour, by: float) -> Colour:
    """Towards white by a share, or towards black where it is negative."""
    target = 255 if by > 0 else 0
    return tuple(round(c + (target - c) * abs(by)) for c in colour)


def _cat(pen: Pen, colour: Colour) -> None:
    pen.line([(2.5, 9), (1.2, 6.5), (1.8, 3.5)], 1.2, colour)                          # tail up
    pen.ellipse(2, 6.5, 10.5, 11.5, colour)
    for x in (3, 5, 7.5, 9):
        pen.box(x, 10, x + 1.1, 13.6, colour)
    pen.ellipse(7.7, 2.6, 13.4, 8, colour)
    pen.polygon([(8.2, 4.5), (8.3, 0.4), (10.5, 3)], colour)                           # pointed ears
    pen.polygon([(13, 4.5), (12.9, 0.4), (10.8, 3)], colour)
    pen.ellipse(11.3, 4.4, 12.6, 5.8, WHITE)


def _dog(pen: Pen, colour: Colour) -> None:
    pen.line([(2.2, 6.5), (0.8, 5.2)], 1.2, colour)
    pen.box(2, 5.6, 9.5, 9.8, colour)
    for x in (2, 3.8, 7, 8.6):
        pen.box(x, 9, x + 1.2, 13.6, colour)
    pen.box(7.6, 2.2, 11.6, 7, colour)
    pen.box(10, 4.4, 13.8, 7, colour)                                                  # snout
    pen.ellipse(6.7, 2, 8.8, 7.6, _shade(colour, 0.35))                                # hanging ear
    pen.ellipse(9.7, 3, 10.9, 4.3, WHITE)
    pen.box(12.9, 4.4, 13.8, 5.3, DARK)


def _bird(pen: Pen, colour: Colour) -> None:
    pen.polygon([(3.5, 7.5), (0, 5), (0.6, 9.4)], colour)                              # tail
    pen.ellipse(2, 5, 11, 11.2, colour)
    pen.ellipse(8, 2.4, 12.6, 7.4, colour)
    pen.polygon([(12.1, 4), (14, 5.2), (12.1, 6.2)], (230, 150, 20) if colour != COLOURS["orange"] else DARK)
    pen.polygon([(4, 7), (8.6, 7), (4.2, 1.4)], _shade(colour, 0.35))                  # wing
    pen.ellipse(10, 3.7, 11.2, 5, WHITE)
    pen.line([(6, 11), (6, 13.6)], 0.6, DARK)
    pen.line([(7.8, 11), (7.8, 13.6)], 0.6, DARK)


def _fish(pen: Pen, colour: Colour) -> None:
    pen.polygon([(4, 7), (0.2, 3), (0.2, 11)], colour)
    pen.ellipse(2.6, 3.2, 13.8, 10.8, colour)
    pen.polygon([(6, 3.8), (9.5, 3.6), (6.4, 1)], _shade(colour, 0.3))
    pen.ellipse(10.4, 5, 12, 6.6, WHITE)
    pen.line([(8.8, 4.6), (8.2, 7), (8.8, 9.4)], 0.6, _shade(colour, 0.5))


def _ball(pen: Pen, colour: Colour) -> None:
    pen.ellipse(1.6, 1.6, 12.4, 12.4, colour)
    pen.ellipse(3.6, 3.2, 6.4, 5.8, _shade(colour, 0.6))


def _car(pen: Pen, colour: Colour) -> None:
    pen.polygon([(3, 6.5), (4.6, 3), (9.6, 3), (11.6, 6.5)], colour)
    pen.polygon([(4.6, 6.2), (5.5, 4), (7, 4), (7, 6.2)], WHITE)
    pen.polygon([(7.8, 6.2), (7.8, 4), (9.2, 4), (10.4, 6.2)], WHITE)
    pen.box(0.4, 6.2, 13.6, 10.2, colour)
    for x in (2, 8.8):
        pen.ellipse(x, 8.6, x + 3.4, 12, DARK)
        pen.ellipse(x + 1.1, 9.7, x + 2.3, 10.9, WHITE)


def _star(pen: Pen, colour: Colour) -> None:
    angles = [math.pi * (k / 5 - 0.5) for k in range(10)]
    pen.polygon([(7 + (6.9 if k % 2 == 0 else 2.8) * math.cos(a), 7.4 + (6.9 if k % 2 == 0 else 2.8) * math.sin(a))
                 for k, a in enumerate(angles)], colour)


def _tree(pen: Pen, colour: Colour) -> None:
    pen.box(6, 10, 8, 13.8, WOOD)
    pen.polygon([(1.2, 11), (12.8, 11), (7, 4.6)], colour)
    pen.polygon([(2.4, 7), (11.6, 7), (7, 0.4)], colour)


def _house(pen: Pen, colour: Colour) -> None:
    pen.box(2, 6.4, 12, 13.6, colour)
    pen.polygon([(0.4, 7), (13.6, 7), (7, 0.8)], _shade(colour, -0.3) if colour != COLOURS["black"] else DARK)
    pen.box(5.8, 9.4, 8.2, 13.6, WHITE)


SHAPES: dict[str, Callable[[Pen, Colour], None]] = {
    "cat": _cat, "dog": _dog, "bird": _bird, "fish": _fish, "ball": _ball, "car": _car, "star": _star, "tree": _tree,
    "house": _house,
}


@cache
def sprite(shape: str, colour: str, running: bool = False) -> np.ndarray:
    """(14, 14, 4) float32: colour and, from 0 to 1, how much of the background it covers.

    `running` puts speed lines on its left: (14, 16, 4), the same drawing 2 pixels further to the right.
    """
    rgb = COLOURS[colour]
    large = Image.new("RGBA", (UNITS * ENLARGE, UNITS * ENLARGE), (*rgb, 0))    # its own colour around it: no dark fringes
    SHAPES[shape](Pen(large), rgb)
    if running:
        still = large
        large = Image.new("RGBA", ((TRAIL + UNITS) * ENLARGE, UNITS * ENLARGE), (*rgb, 0))
        large.paste(still, (TRAIL * ENLARGE, 0))
        pen = Pen(large)
        for y in (3, 7, 11):
            pen.box(0, y, TRAIL - 0.4, y + 0.9, (130, 130, 140))
    small = np.asarray(large.resize((large.width // ENLARGE, UNITS), Image.Resampling.BOX), np.float32)
    return np.concatenate([small[..., :3], small[..., 3:] / 255], axis=-1)
