"""Does the diagnosis name the true fault of a mutant?

A mutant fails several cases, and each report has a short name, a code, for what is wrong with each input. The verdict is the
code that is said most often; it names the fault if it is one of those listed here for the fault's kind. A code that fits any
mistake ("wrong on some elements", "another order changes d_Q") names nothing and stands in no list; no code at all is a miss.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# fault → patterns, each of a whole code
CODES = {
    "scale": (r"(.+ )?scaled", r"scaled and shifted", r"(mean|sum) for (sum|mean)", r"another (eps|margin|heads)"),
    "sign": (r"sign", r"sign of .+"),
    "factor": (r"factor (missing|there twice)", r"(.+ )?scaled", r"scaled by row", r"sum weighted", r".+ let in", r".+ for .+",
               r"row term of norm missing", r".+ in the place of .+"),
    "row term": (r"row term.*", r"(length|mean|deviation) (missing|scaled)", r"sign of the (length|deviation|row term.*)",
                 r"rows do not sum to 0", r"has a part along the input", r"only one of several paths"),
    "term": (r".+ (missing|added|left out)", r"only one of several paths", r"paths mixed", r"sign of the right pairs.*",
             r"gain added", r".+ in the place of .+"),
    "zero": (r"zero", r"missing", r".+ missing", r"only one of several paths", r".+ left out", r"zero on a block"),
    "sum": (r"(batch|row) sum missing", r"(mean|sum) for (sum|mean)", r"sum weighted", r".+ (missing|let in|not all used)",
            r"right on (one slice|a block)", r"batch sum for row sum"),
    "axis": (r"along another axis", r"permuted", r"transposed", r"upstream (summed|averaged|transposed)",
             r"batch sum for row sum"),
    "transpose": (r"(.+ )?(transposed|reshaped)", r"permuted"),
    "place": (r"(.+ )?permuted", r"swapped with .+", r".+ (exchanged|shifted|reshaped)", r".+ for .+", r"another heads",
              r"heads in one place", r"transposed", r".+ in the place of .+"),
    "mask": (r"mask .+", r".+ (let in|inverted|forgotten)", r"right only where the mask is (True|False)",
             r"right only where nothing is masked", r"not 0 where the mask is False", r"factor missing",
             r".+ in the place of .+"),
    "upstream": (r"upstream .+", r"not multiplied by the upstream gradient"),
    "range": (r"not finite", r"inaccurate in float32", r"only for extreme inputs", r"wrong only where nothing is left"),
    "rule": (r"wrong (dtype|shape)", r"shares memory", r"writes into its inputs", r"changes from call to call",
             r"accumulates over calls", r"missing", r"no such input", r"batch sum missing"),
}


def verdict(codes: Iterable[str]) -> str:
    """What is said most often; "" if nothing is."""
    said = Counter(code for code in codes if code and code != "unexplained")
    return said.most_common(1)[0][0] if said else ""


def names(fault: str, code: str) -> bool:
    """This code is a name for this fault."""
    return any(re.fullmatch(pattern, code) for pattern in CODES[fault])
