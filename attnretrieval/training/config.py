"""How to train, by name. A recipe file fills these in; the defaults are a plain run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from attnretrieval.shapes import check_choice, check_range
from attnretrieval.training.objective import Objective
from attnretrieval.training.optimisers import OPTIMISERS
from attnretrieval.training.schedule import SCHEDULES


@dataclass(frozen=True)
class Stage:
    """A stretch of training with a schedule and a λ of its own. It starts from the best weights of the stage before."""

    epochs: int
    learning_rate: float = 1e-3     # the peak
    schedule: str = "cosine"        # one of SCHEDULES
    warmup_steps: int = 100
    paired_weight: float = 0.0      # λ; where it is 0, validation is in mode "index", else in "rerank"

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        for name, least in (("epochs", 1), ("learning_rate", 0), ("warmup_steps", 0), ("paired_weight", 0)):
            check_range(name, getattr(self, name), least)


@dataclass(frozen=True)
class TrainingConfig:
    stages: tuple[Stage, ...] = field(default_factory=lambda: (Stage(10),))
    seed: int = 0
    batch_images: int = 100
    captions_per_image: int = 5
    optimiser: str = "adamw"        # one of OPTIMISERS
    weight_decay: float = 0.01      # of matrices; not of biases, gains, codes, word vectors, temperatures
    words_rate: float = 0.3         # learning rate of the word table, as a share of the others'
    clip_norm: float = 0.0          # gradients longer than this are shortened to it; 0 = never
    drop_words: float = 0.0         # share of a caption's words hidden in a batch
    drop_regions: float = 0.0       # share of an image's regions hidden in a batch
    loss: str = "info_nce"
    margin: float = 0.2             # of the triplet loss, as the next two
    violations: str = "sum"
    mean_epochs: int = 0            # first epochs with violations="mean"
    patience: int = 0               # epochs without a better validation rsum before a stage ends; 0 = never early

    def __post_init__(self) -> None:
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        for name, least in (("seed", 0), ("batch_images", 2), ("captions_per_image", 1), ("weight_decay", 0), ("words_rate", 0),
                            ("clip_norm", 0), ("mean_epochs", 0), ("patience", 0)):
            check_range(name, getattr(self, name), least)
        for name in ("drop_words", "drop_regions"):
            check_range(name, getattr(self, name), 0, 1)
        self.objective(self.stages[0], 0)
        OPTIMISERS[self.optimiser](np.zeros(0), weight_decay=self.weight_decay)     # its own checks

    def objective(self, stage: Stage, epoch: int) -> Objective:
        violations = "mean" if epoch < self.mean_epochs else self.violations
        return Objective(self.loss, self.margin, violations, stage.paired_weight)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
