"""The training loop: batches in, weights changed in place, a row of numbers an epoch.

    for every stage, epoch, batch:
        losses → gradient → clip → optimiser step, at the learning rate that the schedule says

After an epoch the model is validated (by a function that the caller passes), the row is logged and, given a run folder, a
checkpoint is written. A run that was stopped and resumed is the same run, bit for bit: a checkpoint holds the weights, the
optimiser's vectors and the state of the random generator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from attnretrieval.backend import to_device
from attnretrieval.model import Model
from attnretrieval.parameters import Parameters
from attnretrieval.training.checkpoint import Progress, read_checkpoint, write_checkpoint
from attnretrieval.training.config import Stage, TrainingConfig
from attnretrieval.training.data import TrainingData, check_data, draw_batches, steps_in_epoch
from attnretrieval.training.log import write_log
from attnretrieval.training.objective import Batch, objective_backward, objective_forward
from attnretrieval.training.optimisers import OPTIMISERS, Optimiser, clip_gradient
from attnretrieval.training.schedule import learning_rate

Validate = Callable[[Model, str], dict[str, Any]]


class TrainingError(RuntimeError):
    """Training cannot go on."""


def train(
    model: Model, data: TrainingData, config: TrainingConfig, validate: Validate, run: Path | None = None,
    resume: bool = False, show: bool = True,
) -> list[dict[str, Any]]:
    """Train `model` in place and return the log, one row an epoch.

    `validate(model, mode)` returns a dict with `rsum` and the recalls; `mode` is "index", or "rerank" in a stage with a paired
    loss. A stage ends with the weights of its best epoch by rsum. `run` is a folder for checkpoint and log; `resume` goes on
    from the checkpoint there. `show` draws a progress bar.
    """
    check_data(data)
    rng = np.random.default_rng(config.seed)
    progress = Progress(config)
    optimiser = make_optimiser(model.parameters, config)
    if resume and run is not None:
        progress = read_checkpoint(run, config, model.parameters, optimiser, rng)
    while progress.stage < len(config.stages):
        stage = config.stages[progress.stage]
        row = _epoch(model, data, config, stage, progress, optimiser, rng, show)
        row |= validate(model, "rerank" if stage.paired_weight else "index")
        progress.note(row, model.parameters.flat)
        if progress.stage_epoch == stage.epochs or (config.patience and progress.since_best >= config.patience):
            model.parameters.flat[...] = progress.best
            progress.next_stage()
            optimiser = make_optimiser(model.parameters, config)
        if run is not None:
            write_checkpoint(run, config, progress, model.parameters, optimiser, rng)
            write_log(run, progress.rows)
    return progress.rows


def make_optimiser(parameters: Parameters, config: TrainingConfig) -> Optimiser:
    """The optimiser by name, with weight decay on matrices only and a slower rate for the word table."""
    rate, decay = None, parameters.zeros_like()
    if "words.E" in parameters:
        rate = parameters.zeros_like()
        rate.flat[...] = 1
        rate["words.E"][...] = config.words_rate
    for name, shape in parameters.shapes.items():
        decay[name][...] = len(shape) == 2 and not name.endswith(".E")
    return OPTIMISERS[config.optimiser](parameters.flat, None if rate is None else rate.flat, decay.flat, config.weight_decay)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")      # the gradient's norm shows it, and ends the run in one line
def _epoch(
    model: Model, data: TrainingData, config: TrainingConfig, stage: Stage, progress: Progress, optimiser: Optimiser,
    rng: np.random.Generator, show: bool,
) -> dict[str, Any]:
    """One epoch of steps; its row of the log, without the validation."""
    per_epoch = steps_in_epoch(data, config.batch_images)
    if per_epoch == 0:
        raise TrainingError("an epoch has no batch: at least two images are needed")
    objective = config.objective(stage, progress.epoch)
    device = "gpu" if not isinstance(model.parameters.flat, np.ndarray) else "cpu"
    sums = np.zeros(3)
    started = time.perf_counter()
    lr = 0.0
    gradient = model.parameters.zeros_like()
    batches = draw_batches(data, rng, config.batch_images, config.captions_per_image, config.drop_words, config.drop_regions,
                           model.parameters.flat.dtype)
    bar = tqdm(batches, total=per_epoch, desc=f"epoch {progress.epoch + 1}/{progress.epochs}", disable=not show, leave=show)
    for step, batch in enumerate(bar):
        batch = Batch(*(x if x is None else to_device(x, device) for x in batch))
        losses, cache = objective_forward(model, batch, objective, rng)
        gradient.flat[...] = 0
        objective_backward(model, cache, objective, gradient)
        del cache                   # or it would live through the next forward, beside the next one
        norm = clip_gradient(gradient.flat, config.clip_norm)
        if not math.isfinite(norm):
            raise TrainingError(f"the gradient is {norm} in epoch {progress.epoch + 1}, step {step + 1}: the learning rate "
                                f"{stage.learning_rate} may be too high, or the features too large")
        lr = learning_rate(progress.stage_epoch * per_epoch + step, stage.epochs * per_epoch, stage.learning_rate,
                           stage.warmup_steps, stage.schedule)
        optimiser.step(model.parameters.flat, gradient.flat, lr)
        sums += [float(x) if x is not None else math.nan for x in losses]
        last = progress.rows[-1] if progress.rows else {}
        bar.set_postfix(loss=f"{sums[0] / (step + 1):.3f}", lr=f"{lr:.1e}", refresh=False,
                        **({"rsum": f"{last['rsum']:.1f}"} if "rsum" in last else {}))
    loss, alone, paired = sums / per_epoch
    return {"epoch": progress.epoch + 1, "stage": progress.stage + 1, "step": progress.step + per_epoch, "learning_rate": lr,
            "loss": loss, "loss_alone": alone, "loss_paired": None if math.isnan(paired) else paired,
            "seconds": round(time.perf_counter() - started, 2)}


