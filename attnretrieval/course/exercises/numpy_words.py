"""What an error of NumPy or Python says about shapes and types, in a sentence for someone who sees it for the first time."""

from __future__ import annotations

import re
import traceback

Both = tuple[str, str]

# pattern of the message → English, Chinese; {} are its groups
WORDS: tuple[tuple[str, str, str], ...] = (
    (r"matmul: Input operand 1 has a mismatch in its core dimension 0.*\(size (\d+) is different from (\d+)\)",
     "in A @ B the last axis of A, here {1}, and the last but one of B, here {0}, must be equal: is a transpose missing?",
     "A @ B 中，A 的最后一个轴（这里是 {1}）与 B 的倒数第二个轴（这里是 {0}）必须相等：是否少了转置？"),
    (r"operands could not be broadcast together with remapped shapes.*",
     "in A @ B the axes in front of the last two must be equal, or 1: .T turns all axes round, .swapaxes(-1, -2) the last two",
     "A @ B 中，最后两个轴之前的轴必须相等，或为 1：.T 颠倒所有轴，.swapaxes(-1, -2) 只对调最后两个"),
    (r"operands could not be broadcast together with shapes.*",
     "axes are matched from the last one: each pair must be equal, or one of them 1; [..., None] adds an axis of 1, and "
     "keepdims=True keeps one",
     "各轴从最后一个对起：每一对必须相等，或其中之一为 1；[..., None] 添一个大小为 1 的轴，keepdims=True 保留它"),
    (r"axis (-?\d+) is out of bounds for array of dimension (\d+)",
     "the array has no axis {0}, here its number of axes is {1}: count from the last, axis=-1, whatever stands in front",
     "这里数组只有 {1} 个轴：从最后一个数起（axis=-1），前面有几个轴都行"),
    (r"too many indices for array.*",
     "the array has fewer axes here: [..., None, :] works for any number of axes in front",
     "这里数组的轴少一些：[..., None, :] 对前面任意多个轴都适用"),
    (r"(?:not enough|too many) values to unpack.* in .*\.shape.*",
     "the number of axes differs from case to case: *leading, n, d = X.shape takes any number of them in front",
     "各种情形的轴数不同：*leading, n, d = X.shape 对前面任意多个轴都适用"),
    (r"(?:not enough|too many) values to unpack.*",
     "a, b = x takes as many values as there are names, and here x has another number of them: print x",
     "a, b = x 左边有几个名字，x 就得有几个值，这里的个数不对：把 x 打印出来看看"),
    (r"The truth value of an array with more than one element is ambiguous.*",
     "an array is neither true nor false: ask `mask is not None`, or use .any() or .all()",
     "数组既不是真也不是假：要问 `mask is not None`，或用 .any()、.all()"),
    (r"'float' object cannot be interpreted as an integer",
     "a size must be a whole number: / gives a float, // an integer", "大小必须是整数：/ 得到浮点数，// 得到整数"),
    (r"'NoneType' object is not subscriptable",
     "an argument with the default None may be None: ask for it first", "默认值为 None 的参数可能就是 None：先判断"),
)


def in_words(error: Exception | None) -> Both | None:
    """None where the error is another."""
    message = " ".join(str(error).split())
    if "values to unpack" in message:       # what was unpacked, a shape or something else, stands in the line alone
        frames = traceback.extract_tb(error.__traceback__)
        message += f" in {frames[-1].line if frames else ''}"
    for pattern, *both in WORDS:
        match = re.fullmatch(pattern, message)
        if match:
            english, chinese = (text.format(*match.groups()) for text in both)
            return english, chinese
    return None
