"""The optimisers, step by step, against torch.optim on the same gradients."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.training.optimisers import OPTIMISERS, SGD, Adam, AdamW

torch = pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')

LR, STEPS = 0.01, 6
# ours, torch's, and the weight decay of the two. Torch's SGD puts the decay into the momentum, ours beside it as AdamW does:
# there they are compared without
PAIRS = {
    "sgd": (SGD, torch.optim.SGD, {"momentum": SGD.momentum}, 0.0),
    "adam": (Adam, torch.optim.Adam, {"betas": (Adam.beta_1, Adam.beta_2), "eps": Adam.eps}, 0.0),
    "adamw": (AdamW, torch.optim.AdamW, {"betas": (AdamW.beta_1, AdamW.beta_2), "eps": AdamW.eps}, 0.1),
}


def test_every_optimiser_has_a_counterpart():
    assert set(PAIRS) == set(OPTIMISERS)


@pytest.mark.parametrize("name", PAIRS)
def test_steps(name):
    """Two groups of parameters: one with its own learning rate, one that does not decay."""
    ours, theirs, settings, weight_decay = PAIRS[name]
    rng = np.random.default_rng(0)
    theta = rng.normal(size=7)
    parts = [torch.tensor(theta[:4], requires_grad=True), torch.tensor(theta[4:], requires_grad=True)]
    rate, decay = np.array([0.3] * 4 + [1.0] * 3), np.array([1.0] * 4 + [0.0] * 3)
    optimiser = ours(theta, rate, decay, weight_decay)
    expected = theirs([{"params": parts[:1], "lr": 0.3 * LR, "weight_decay": weight_decay},
                       {"params": parts[1:], "lr": LR, "weight_decay": 0.0}], **settings)
    for _ in range(STEPS):
        g = rng.normal(size=7)
        optimiser.step(theta, g, LR)
        parts[0].grad, parts[1].grad = torch.tensor(g[:4]), torch.tensor(g[4:])
        expected.step()
        np.testing.assert_allclose(theta, torch.cat(parts).detach().numpy(), rtol=1e-12, atol=1e-14)
