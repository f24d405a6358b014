"""Our PyTorch and JAX recipes say what PyTorch and JAX themselves say; run where these are installed."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.course.mutants import Mutant, all_mutants, load
from tests.other_recipes.call import Call
from tests.other_recipes.score import accepts

SAMPLE = [mutant for mutant in all_mutants() if mutant.file in ("linear", "softmax", "pooling")][::6]
NOTHING = [Mutant(file, "backward", "rule", "nothing is wrong", ()) for file in ("linear", "softmax", "layer_norm", "pooling")]


def calls(mutant: Mutant):
    """One call for each case of the mutant's equations; made anew by every iteration."""
    for equation, c in load(mutant).items():
        true = CASES[equation]
        for label, (inputs, options) in c.make(np.random.default_rng(0), np.float64).items():
            empty = any(x is not None and not x.size for x in inputs.values())     # gradcheck takes none
            if label not in c.ties and not empty:
                inputs = {name: x if x is None else x.copy() for name, x in inputs.items()}
                yield label, Call(c.forward, c.backward, inputs, options, (true.forward, true.backward))


def by_torch(call: Call, fast_mode: bool) -> bool:
    """`torch.autograd.gradcheck` on a Function that holds the hand-written pair."""
    torch = pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')

    class Equation(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *floats):
            given = {**call.inputs, **{name: x.numpy() for name, x in zip(call.floats, floats, strict=True)}}
            out, ctx.kept = call.forward(**given, **call.options)
            return torch.from_numpy(np.array(out))

        @staticmethod
        def backward(ctx, d_out):
            grads = call.gradients(d_out.numpy(), ctx.kept)
            return tuple(None if grads[name] is None else torch.from_numpy(grads[name]) for name in call.floats)

    floats = tuple(torch.from_numpy(call.inputs[name].copy()).requires_grad_() for name in call.floats)
    try:
        with np.errstate(all="ignore"):
            return torch.autograd.gradcheck(Equation.apply, floats, fast_mode=fast_mode)
    except Exception:  # GradcheckError, or what the engine raises
        return False


def by_jax(call: Call) -> bool:
    """`jax.test_util.check_grads` in reverse mode on a `custom_vjp` that calls the hand-written pair."""
    jax = pytest.importorskip("jax")
    from jax.test_util import check_grads

    names, kept = call.floats, {}

    def run(*floats):
        given = {**call.inputs, **dict(zip(names, (np.array(x) for x in floats), strict=True))}
        out, cache = call.forward(**given, **call.options)
        return jax.numpy.asarray(np.array(out)), cache

    def forward(*floats):
        out, kept["cache"] = run(*floats)       # JAX keeps arrays alone
        return out, None

    def backward(_, d_out):
        grads = call.gradients(np.array(d_out), kept["cache"])
        return tuple(None if grads[name] is None else jax.numpy.asarray(grads[name]) for name in names)

    equation = jax.custom_vjp(lambda *floats: run(*floats)[0])
    equation.defvjp(forward, backward)
    with jax.enable_x64(True), np.errstate(all="ignore"):
        try:
            check_grads(equation, tuple(jax.numpy.asarray(call.inputs[name]) for name in names), 1, modes=["rev"])
        except Exception:  # an AssertionError, or what JAX raises for another shape
            return False
    return True


class TorchDraws:
    """The vectors that gradcheck draws, in the order in which it draws them."""

    def __init__(self) -> None:
        torch = pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')
        generator = torch.Generator()
        self.draw = lambda n: torch.rand(n, generator=generator).double().numpy()

    def random(self, shape):
        return self.draw(int(np.prod(shape))).reshape(shape)


class JaxDraws:
    """The same for check_grads."""

    def __init__(self) -> None:
        self.state = np.random.RandomState(0)

    def normal(self, size):
        return np.asarray(self.state.randn(*size))


@pytest.mark.parametrize("recipe, real, draws", [
    ("PyTorch `gradcheck`", lambda call: by_torch(call, False), TorchDraws),
    ("PyTorch `gradcheck`, `fast_mode`", lambda call: by_torch(call, True), TorchDraws),
    ("JAX `check_grads`", by_jax, JaxDraws),
], ids=["PyTorch", "PyTorch, fast", "JAX"])
@pytest.mark.parametrize("mutants", [SAMPLE, NOTHING], ids=["wrong", "right"])
def test_a_recipe_says_what_the_real_one_says(recipe, real, draws, mutants):
    for mutant in mutants:
        for (label, mine), (_, theirs) in zip(calls(mutant), calls(mutant), strict=True):
            assert accepts(recipe, mine, draws()) == real(theirs), f"{mutant}, {label}"
