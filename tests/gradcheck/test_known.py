"""What is declared of the equations is true: paths add up to the gradient, and there is no false alarm over many draws."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.cases import CASES, run_cases
from attnretrieval.gradcheck.paths import path_gradients, path_jacobians
from attnretrieval.gradcheck.run import start


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", [name for name, c in CASES.items() if c.paths])
def test_the_paths_add_up_to_the_gradient(name):
    c = CASES[name]
    for label, (inputs, options) in c.make(rng()).items():
        if label in c.ties:
            continue
        run = start(c.forward, c.backward, inputs, options, rng(4))
        shares = {input_: path_gradients(run, path_jacobians(run, c.paths, input_)) for input_ in run.floats}
        assert any(shares.values()), "no input is marked"
        for input_, by_path in shares.items():
            if not by_path:
                continue
            total = sum(share for path, share in by_path.items() if not path.startswith("("))
            scale = max(np.abs(d).max(initial=0) for _, d in run.present)
            np.testing.assert_allclose(total, run.grads[input_], rtol=1e-9, atol=1e-11 * scale, err_msg=f"{label}: {input_}")


@pytest.mark.parametrize("name", CASES)
def test_no_false_alarm_over_other_draws(name):
    for seed in range(4):
        for report in run_cases([name], rng(seed)):
            assert report.passed, str(report)


@pytest.mark.parametrize("name", [name for name, c in CASES.items() if c.algebra])
def test_every_declared_identity_names_inputs_of_the_equation(name):
    c = CASES[name]
    known = {key for inputs, _ in c.make(rng()).values() for key in inputs}
    for rule, *arguments in c.algebra:
        used = {a for a in arguments if isinstance(a, str)} | {key for a in arguments if isinstance(a, dict) for key in a}
        assert used and used <= known, rule


@pytest.mark.parametrize("name", [name for name, c in CASES.items() if c.ties])
def test_every_tie_is_a_variant_and_lies_on_a_tie(name):
    c = CASES[name]
    variants = c.make(rng())
    for label in c.ties:
        inputs, options = variants[label]
        assert np.abs(c.kinks(**inputs, **options)).min() == 0
