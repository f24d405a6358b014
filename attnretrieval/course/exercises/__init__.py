"""The exercises of the course: one file a lesson, each a list of `Exercise`. To add one, add it to its lesson's list."""

from __future__ import annotations

from attnretrieval.course.exercises import lesson_1, lesson_2, lesson_3, lesson_4, lesson_5, lesson_6
from attnretrieval.course.exercises.exercise import Exercise
from attnretrieval.shapes import check_choice

LESSONS = (lesson_1, lesson_2, lesson_3, lesson_4, lesson_5, lesson_6)
EXERCISES: dict[str, Exercise] = {exercise.name: exercise for lesson in LESSONS for exercise in lesson.EXERCISES}


def find(name: str) -> Exercise:
    """The exercise of this name."""
    check_choice("exercise", name, EXERCISES)
    return EXERCISES[name]
