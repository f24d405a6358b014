"""The sum over the uses of an input: one use is missing, has the wrong sign or factor. Needs declared paths, see paths.py."""

from __future__ import annotations

import itertools

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.diagnosis.scale import what_factor
from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong, combination, known_arrays, nearly, spread_to, variants
from attnretrieval.gradcheck.run import relative


def path(wrong: Wrong) -> Diagnosis | None:
    """The declared paths with a wrong number in front: 0 (missing), -1, 2, or 1 before one that must not exist."""
    shares = {name: share for name, share in wrong.shares.items() if relative(share, 0 * share, wrong.floor) > 1e-9}
    if not shares or (len(shares) < 2 and not forbidden(*shares)):
        return None
    found = combination(wrong.actual, list(shares.values()), wrong)
    c = _simple_combination(wrong, shares) if found is None else found
    if c is None:
        return None
    factor = dict(zip(shares, c, strict=True))
    odd = [name for name in shares if not abs(factor[name] - (not forbidden(name))) < 1e-6]
    name = _common_name(odd, list(shares))
    values = [factor[path] for path in odd]
    if not odd or name is None or not np.allclose(values, values[0], rtol=1e-6, atol=1e-6):
        return _mixed(wrong, factor, odd)
    if forbidden(*odd):
        return Diagnosis(f"{name} let in", f"{wrong.d} holds a part that must not be there: {name}")
    if abs(values[0]) < 1e-6:
        return Diagnosis(f"{name} missing", f"{wrong.d} misses the part through the {name}")
    if nearly(values[0], -1):
        return Diagnosis(f"sign of the {name}", f"in {wrong.d} the part through the {name} has the wrong sign")
    guesses = what_factor(values[0], wrong)
    return Diagnosis(f"{name} scaled", f"in {wrong.d} the part through the {name} is {values[0]:.4g} times the right one"
                                       + (": " + ", or ".join(guesses[:3]) + "?" if guesses else ""))


def forbidden(*paths: str) -> bool:
    """Paths that must not exist are declared in parentheses."""
    return bool(paths) and all(path.startswith("(") for path in paths)


def tags(path: str) -> list[str]:
    return path.strip("()").split(", ")


def _common_name(odd: list[str], paths: list[str]) -> str | None:
    """The tag that these paths have and no other; the path itself where it is one alone."""
    alike = [path for path in paths if odd and forbidden(path) == forbidden(odd[0])]
    for tag in dict.fromkeys(tag for path in odd for tag in tags(path)):
        if {path for path in alike if tag in tags(path)} == set(odd):
            return tag
    return " of ".join(tags(odd[0])[::-1]) if len(odd) == 1 else None


def _mixed(wrong: Wrong, factor: dict[str, float], odd: list[str]) -> Diagnosis | None:
    """Several paths are wrong, and no one name covers them."""
    if not odd:
        return None
    if forbidden(*odd):
        names = " and ".join(path.strip("()") for path in odd)
        return Diagnosis(f"{names} let in", f"{wrong.d} holds parts that must not be there: {names}")
    missing = [path for path in odd if abs(factor[path]) < 1e-6]
    added = [path for path in odd if forbidden(path)]
    if missing and added and len(missing) + len(added) == len(odd):
        there, gone = (" and ".join(path.strip("()") for path in some) for some in (added, missing))
        return Diagnosis(f"{there} in the place of {gone}",
                         f"{wrong.d} holds the part through {there}, which must not be there, and misses {gone}: "
                         "is a condition the wrong way round?")
    left = [path for path in factor if path not in odd and not forbidden(path)]
    if missing == odd and len(left) == 1:
        return Diagnosis("only one of several paths", f"{wrong.d} holds only the part through the {left[0]}; missing: "
                                                      + "; ".join(missing))
    told = "; ".join(f"{factor[path] if path not in missing else 0:.4g} times the {path}" for path in odd)
    return Diagnosis("paths missing" if missing == odd else "paths mixed", f"{wrong.d} holds {told}")


def _simple_combination(wrong: Wrong, shares: dict[str, Array]) -> Array | None:
    """For a gradient of too few numbers to solve for the factors: each path there, missing, negative or doubled, one at a time
    or several missing."""
    right = np.array([0.0 if forbidden(path) else 1.0 for path in shares])
    terms = np.stack([share for share in shares.values()])
    trials = [np.where(chosen, 1 - right, right) for chosen in itertools.product((False, True), repeat=min(len(right), 8))
              if len(right) <= 8 and any(chosen)]
    trials += [np.where(np.arange(len(right)) == k, value, right) for k in range(len(right)) for value in (-1.0, 2.0, 0.5)]
    trials.sort(key=lambda c: int((c != right).sum()))
    return next((c for c in trials if wrong.explains(np.tensordot(c, terms, axes=1))), None)


def path_factor(wrong: Wrong) -> Diagnosis | None:
    """As inner_factor, in the part through one path alone: σ' without its 1 - G, a gate forgotten in the direct part."""
    if len(wrong.by_path) < 1 or len(wrong.run.out) > 1:
        return None
    u = wrong.run.d_out[0]
    groups = _groups(wrong.by_path)
    for name, F in known_arrays(wrong):
        F = spread_to(F, u.shape)
        if F is None or np.all(F == 1):
            continue
        for label, factor in variants(name, F):
            for path, J in groups.items():
                rest = wrong.expected - np.tensordot(u.ravel(), J, axes=1)
                if np.all(factor != 0) and wrong.explains(rest + np.tensordot((u / factor).ravel(), J, axes=1)):
                    return Diagnosis("factor missing", f"in {wrong.d} the part through the {path} misses the factor {label}")
                if wrong.explains(rest + np.tensordot((u * factor).ravel(), J, axes=1)):
                    return Diagnosis("factor there twice", f"in {wrong.d} the part through the {path} has {label} too often")
    return None


def _groups(by_path: dict[str, Array]) -> dict[str, Array]:
    """Each path by itself, and all paths with a tag together."""
    groups = {path: J for path, J in by_path.items() if not forbidden(path)}
    for tag in dict.fromkeys(tag for path in groups for tag in tags(path)):
        same = [J for path, J in by_path.items() if tag in tags(path) and not forbidden(path)]
        groups.setdefault(tag, np.sum(same, axis=0))
    return groups
