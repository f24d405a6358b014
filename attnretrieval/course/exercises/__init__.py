"""The exercises of the course: one file a lesson, each a list of `Exercise`. To add one, add it to its lesson's list."""

from __future__ import annotations

from attnretrieval.course.exercises import lesson_2
from attnretrieval.course.exercises.exercise import Exercise
from attnretrieval.shapes import check_choice

EXERCISES: dict[str, Exercise] = {exercise.name: exercise for lesson in (lesson_2,) for exercise in lesson.EXERCISES}


def find(name: str) -> Exercise:
    """The exercise of this name."""
    check_choice("exercise", name, EXERCISES)
    return EXERCISES[name]
