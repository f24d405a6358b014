"""The course: exercises that grade themselves, and the cases on which every equation is checked."""

from attnretrieval.course.check import check
from attnretrieval.course.session import hint, progress

__all__ = ["check", "hint", "progress"]
