"""Where a run stands, and the file that holds it.

`checkpoint.npz` in the run folder is written whole after every epoch: weights, best weights, the optimiser's vectors and, as
JSON, everything else. It belongs to one configuration and refuses another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnretrieval.backend import Array, module_of, to_host
from attnretrieval.inputs.files import InputError, atomic_file, need_file, read_arrays
from attnretrieval.parameters import Parameters
from attnretrieval.training.config import TrainingConfig
from attnretrieval.training.optimisers import Optimiser

NAME = "checkpoint.npz"


@dataclass
class Progress:
    """How far a run has come."""

    config: TrainingConfig
    stage: int = 0                  # stages done
    stage_epoch: int = 0            # epochs done in this stage
    since_best: int = 0             # epochs since the best of this stage
    best_rsum: float = float("-inf")  # of this stage
    best: Array | None = None       # the weights of that epoch
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        return len(self.rows)

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.config.stages)

    @property
    def step(self) -> int:
        return self.rows[-1]["step"] if self.rows else 0

    def note(self, row: dict[str, Any], flat: Array) -> None:
        """An epoch is over."""
        self.rows.append(row)
        self.stage_epoch += 1
        self.since_best += 1
        if row["rsum"] > self.best_rsum:
            self.best_rsum, self.best, self.since_best = row["rsum"], flat.copy(), 0

    def next_stage(self) -> None:
        self.stage += 1
        self.stage_epoch = self.since_best = 0
        self.best_rsum = float("-inf")


def write_checkpoint(
    run: Path, config: TrainingConfig, progress: Progress, parameters: Parameters, optimiser: Optimiser,
    rng: np.random.Generator,
) -> None:
    facts = {
        "config": config.to_json(), "shapes": parameters.shapes, "rng": rng.bit_generator.state, "steps": optimiser.steps,
        **{name: getattr(progress, name) for name in ("stage", "stage_epoch", "since_best", "best_rsum", "rows")},
    }
    vectors = {"flat": parameters.flat, "best": progress.best} | {f"optimiser_{n}": x for n, x in optimiser.vectors.items()}
    arrays = {name: to_host(parameters.like(vector).listed()) for name, vector in vectors.items()}
    with atomic_file(run / NAME) as path:
        np.savez(path, facts=json.dumps(facts), **arrays)


def read_checkpoint(
    run: Path, config: TrainingConfig, parameters: Parameters, optimiser: Optimiser, rng: np.random.Generator
) -> Progress:
    """Put weights, optimiser and generator back to where the run stood."""
    path = need_file(run / NAME, "the checkpoint")
    try:
        arrays = read_arrays(path)
        facts = json.loads(str(arrays.pop("facts")))
        owner, shapes = facts["config"], facts["shapes"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the checkpoint {path} is damaged ({error}); start the run again without --resume") from error
    if owner != json.loads(json.dumps(config.to_json())):
        raise InputError(f"the checkpoint {path} belongs to another configuration; use its own recipe, or another run folder")
    if shapes != json.loads(json.dumps(parameters.shapes)):
        raise InputError(f"the checkpoint {path} belongs to a model with other parameters; use its own recipe and data")
    missing = [name for name in optimiser.vectors if f"optimiser_{name}" not in arrays]
    if missing:
        raise InputError(f"the checkpoint {path} was written by another version: it holds no {' and no '.join(missing)} of the "
                         "optimiser; start a new run folder")

    def vector(name: str) -> Array:
        return Parameters.from_listed(parameters.shapes, module_of(parameters.flat).asarray(arrays[name])).flat

    parameters.flat[...] = vector("flat")
    for name, kept in optimiser.vectors.items():
        kept[...] = vector(f"optimiser_{name}")
    optimiser.steps = facts["steps"]
    rng.bit_generator.state = facts["rng"]
    fields = {name: facts[name] for name in ("stage", "stage_epoch", "since_best", "best_rsum", "rows")}
    return Progress(config, best=vector("best"), **fields)
