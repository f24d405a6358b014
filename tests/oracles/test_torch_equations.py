"""Every equation, in every case of the course, against its few lines of PyTorch: values, and the gradients of autograd."""

from __future__ import annotations

from inspect import getmembers, isfunction

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.equations.cosine import cosine_similarity, l2_normalise
from attnretrieval.equations.multi_head import multi_head_attention, multi_head_attention_backward
from attnretrieval.equations.token_cosine import token_cosine
from tests.oracles.compare import check_gradients, check_value

torch = pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')

from tests.oracles import torch_equations  # noqa: E402

THEIRS = dict(getmembers(torch_equations, isfunction))
SEEDS = range(3)


def test_every_equation_has_a_counterpart():
    assert sorted(set(CASES) - set(THEIRS)) == []


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    case = CASES[name]
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        for label, (inputs, options) in case.make(rng, np.float64).items():
            out, cache = case.forward(**inputs, **options)
            d_out = np.asarray(rng.normal(size=out.shape))
            tensors, settings = (to_torch(values) for values in (inputs, options))
            theirs = THEIRS[name](**tensors, **settings)
            check_value(out, theirs.detach().numpy(), label)
            if label in case.ties:
                continue        # at a tie the gradient is a choice, and ours and torch's may differ
            grads = {key.removeprefix("d_"): d for key, d in case.backward(d_out, cache)._asdict().items() if d is not None}
            check_gradients(grads, autograd(theirs, tensors, d_out), label)


def to_torch(values: dict) -> dict:
    """Arrays become tensors, those of floats with a gradient; everything else stays."""
    return {key: torch.tensor(x, requires_grad=x.dtype.kind == "f") if isinstance(x, np.ndarray) else x
            for key, x in values.items()}


def autograd(out: torch.Tensor, tensors: dict, d_out: np.ndarray) -> dict[str, np.ndarray]:
    wanted = {key: x for key, x in tensors.items() if isinstance(x, torch.Tensor) and x.requires_grad}
    grads = torch.autograd.grad(out, tuple(wanted.values()), torch.tensor(d_out))
    return {key: d.numpy() for key, d in zip(wanted, grads, strict=True)}


def test_multi_head_attention_is_the_module_of_torch():
    """nn.MultiheadAttention: the weights of Q, K and V packed in one, a mask that is True on padding."""
    rng = np.random.default_rng(0)
    X, d_H = rng.normal(size=(2, 2, 5, 4))
    mask = np.array([[True, True, False, True, True], [False, False, True, False, False]])
    p = {f"{kind}_{letter}": rng.normal(size=(4, 4) if kind == "W" else (4,)) for letter in "QKVO" for kind in "Wb"}
    module = torch.nn.MultiheadAttention(4, num_heads=2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.tensor(np.concatenate([p[f"W_{letter}"].T for letter in "QKV"])))
        module.in_proj_bias.copy_(torch.tensor(np.concatenate([p[f"b_{letter}"] for letter in "QKV"])))
        module.out_proj.weight.copy_(torch.tensor(p["W_O"].T))
        module.out_proj.bias.copy_(torch.tensor(p["b_O"]))
    X_theirs = torch.tensor(X, requires_grad=True)
    H_theirs, A_theirs = module(X_theirs, X_theirs, X_theirs, key_padding_mask=torch.tensor(~mask), average_attn_weights=False)
    H_theirs.backward(torch.tensor(d_H))

    H, cache = multi_head_attention(X, **p, mask=mask, heads=2)
    check_value(H, H_theirs.detach().numpy(), "H")
    check_value(cache.attended.A, A_theirs.detach().numpy(), "A")
    out = module.out_proj
    theirs = {"X": X_theirs.grad.numpy(), "W_O": out.weight.grad.T.numpy(), "b_O": out.bias.grad.numpy()}
    for letter, W, b in zip("QKV", module.in_proj_weight.grad.chunk(3), module.in_proj_bias.grad.chunk(3), strict=True):
        theirs |= {f"W_{letter}": W.T.numpy(), f"b_{letter}": b.numpy()}
    grads = multi_head_attention_backward(d_H, cache)._asdict()
    check_gradients({key.removeprefix("d_"): d for key, d in grads.items()}, theirs)


def test_cosines_are_those_of_torch():
    """Torch's own put ε elsewhere; for ordinary vectors none of the two is felt."""
    A, B = np.random.default_rng(0).normal(size=(2, 6, 5))
    a, b = torch.tensor(A), torch.tensor(B)
    check_value(l2_normalise(A)[0], torch.nn.functional.normalize(a, dim=-1).numpy())
    check_value(token_cosine(A, B)[0], torch.cosine_similarity(a, b, dim=-1).numpy())
    check_value(cosine_similarity(A, B)[0], torch.cosine_similarity(a[:, None], b, dim=-1).numpy())
