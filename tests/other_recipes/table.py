"""The scores as Markdown tables, and as JSON and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from tests.other_recipes.score import Key, Score


def who_rejects_what(scores: Sequence[Score]) -> str:
    first = scores[0]
    lines = [
        f"| recipe | wrong backwards rejected, of {first.mutants['backward']} | only where the right one is too | "
        f"wrong forwards rejected, of {first.mutants['forward']} | false alarms: cases, of {first.cases} | "
        f"false alarms: styles, of {first.styles} | seconds |",
        "|---|---|---|---|---|---|---|"]
    for score in scores:
        drowned = sum(n for (_, kind, _), n in score.drowned.items() if kind == "backward")
        numbers = (score.rejected("backward"), drowned, score.rejected("forward"), score.alarms.total(),
                   score.style_alarms.total())
        lines.append(f"| {score.recipe} | " + " | ".join(map(str, numbers)) + f" | {score.seconds:.0f} |")
    return "\n".join(lines)


def what_gets_through(scores: Sequence[Score]) -> str:
    lines = ["| recipe | wrong backwards let through, by fault | right equations rejected |", "|---|---|---|"]
    for score in scores:
        lines.append(f"| {score.recipe} | {_counted(score.faults('backward'))} | "
                     f"{_counted(dict((score.alarms + score.style_alarms).most_common()))} |")
    return "\n".join(lines)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {n}" for what, n in counts.items()) or "none"


def to_json(scores: Sequence[Score], seed: int) -> str:
    recipes = [{**vars(score), "missed": _by_text(score.missed), "drowned": _by_text(score.drowned),
                "seconds": round(score.seconds, 1)} for score in scores]
    return json.dumps({"seed": seed, "recipes": recipes}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> list[Score]:
    scores = []
    for entry in json.loads(text)["recipes"]:
        for name in ("missed", "drowned"):
            entry[name] = {tuple(key.split(", ")): n for key, n in entry[name].items()}
        scores.append(Score(**{name: Counter(value) if isinstance(value, dict) else value for name, value in entry.items()}))
    return scores


def _by_text(counts: Counter[Key]) -> dict[str, int]:
    return {", ".join(key): n for key, n in sorted(counts.items())}
