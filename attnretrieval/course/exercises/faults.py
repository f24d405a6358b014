"""The short names of faults that the gradient checker gives, in Chinese, for the first line of an answer.

The sentence below that line says more; it is in English, as the checker is.
"""

from __future__ import annotations

import re

from attnretrieval.course.exercises.exercise import Both

OUTPUT = "the output"
CHINESE = "[\u4e00-\u9fff]"
ZH = {
    "zero": "全为 0",
    "sign": "符号反了",
    "scaled": "差一个常数倍",
    "scaled by row": "每一行差一个倍数",
    "scaled and shifted": "差一个倍数和一个常数",
    "sum for mean": "该取均值处取了和",
    "mean for sum": "该求和处取了均值",
    "transposed": "转置了",
    "permuted": "次序乱了",
    "along another axis": "沿错了轴",
    "batch sum missing": "没有对批次求和",
    "batch sum for row sum": "该对每行求和处对整批求和了",
    "row term of softmax missing": "少了 softmax 每行的那一项 Σ d_A A",
    "row term of norm missing": "没有减去沿向量方向的分量",
    "row mean missing": "没有减去每行的均值",
    "factor missing": "少乘了一个因子",
    "factor there twice": "某个因子乘了两次",
    "paths missing": "少了某条路径传来的梯度",
    "only one of several paths": "几条路径只算了一条",
    "upstream ignored": "没有用到上游梯度",
    "upstream times output": "上游梯度多乘了输出",
    "mask forgotten": "忘了遮罩",
    "mask inverted": "遮罩反了",
    "mask in the wrong place": "遮罩用错了位置",
    "mask after the softmax": "遮罩用在了 softmax 之后",
    "right only where the mask is True": "只在遮罩为 True 处正确",
    "right only where the mask is False": "只在遮罩为 False 处正确",
    "wrong only where nothing is left": "只在一个也不剩的行出错",
    "wrong on some elements": "部分元素不对",
    "wrong shape": "形状不对",
    "missing": "没有返回",
    "writes into its inputs": "改动了传入的数组",
    "changes from call to call": "每次调用的结果不一样",
    "accumulates over calls": "结果随调用次数累加",
    "image to text missing": "少了由图找文的方向",
    "text to image missing": "少了由文找图的方向",
    "not finite": "有的值不是有限数",
    "paths mixed": "几条路径的份量不对",
    "has a part along the input": "还留有沿向量方向的分量",
    "rows do not sum to 0": "各行之和不为 0",
    "not linear in the upstream gradient": "与上游梯度不成线性关系",
    "not multiplied by the upstream gradient": "没有乘上游梯度",
    "not 0 where the mask is False": "被遮处的梯度不为 0",
    "rounded to float32": "变成了 float32，丢了位数",
    "row term missing": "每行少了把各元素联系起来的那一项",
    "direct use missing": "少了直接的那一条路径",
    "mask of the positive let in": "把正确的一对也算作错误的了",
    "mask of the positives let in": "把同一图像的其他描述也算作错误的了",
    "margin left out": "漏了间隔 margin",
    "hinge forgotten": "漏了 max(0, ·)",
    "sign of the gate": "门反了",
    "gate missing": "少了经过门的那条路径",
    "context missing": "少了上下文 C 那一项",
    "tanh for σ": "用了 tanh，应为 σ",
}
PATTERNS = {
    r"swapped with (.+)": "与 {} 对调了",
    r"sign of (.+)": "{} 的符号反了",
    r"(.+) and (.+) exchanged": "{} 与 {} 对调了",
    r"(.+) added": "多加了 {}",
    r"(.+) scaled": "{} 差一个倍数",
    r"(.+) transposed": "{} 转置了",
    r"(.+) permuted": "{} 的次序乱了",
    r"(.+) left out": "漏了 {}",
    r"(.+) for (.+)": "该用 {1} 处用了 {0}",
    r"(.+) let in": "混进了不该有的部分：{}",
    r"(.+) missing": "少了一项：{}",
}
# what the patterns above are of
PARTS = {
    "row term of softmax": "softmax 每行的那一项",
    "row term": "每行的那一项",
    "numerator": "分子",
    "values": "值",
    "length": "长度",
    "direct use": "直接的路径",
    "gate": "门",
    "context": "上下文 C",
    "masked tokens": "被遮的词元",
    "real tokens": "真实的词元",
    "text to image": "由文找图",
    "image to text": "由图找文",
    "right pairs": "正确的对",
    "negatives": "错误的对",
}


def in_chinese(code: str) -> str:
    """The code itself where there is no translation."""
    if code in ZH:
        return ZH[code]
    for pattern, text in PATTERNS.items():
        match = re.fullmatch(pattern, code)
        if match:
            return re.sub(f"(?<={CHINESE}) (?={CHINESE})", "", text.format(*map(_part, match.groups())))
    return code


def _part(words: str) -> str:
    """"the right pairs of text to image" → 由文找图的正确的对; what has no translation stays."""
    words = words.removeprefix("the ")
    names = [words] if words in PARTS else words.split(" of ")
    return "的".join(PARTS.get(name, name) for name in reversed(names))


def headline(faults: dict[str, str]) -> Both | None:
    """What is wrong with which: {"d_Q": "scaled", "d_K": "scaled"} → "d_Q, d_K: scaled"."""
    named: dict[str, list[str]] = {}
    for what, code in faults.items():
        if code and code != "unexplained":
            named.setdefault(code, []).append(what)
    if not named:
        return None
    return ("; ".join(f"{', '.join(names)}: {code}" for code, names in named.items()),
            "；".join(f"{'、'.join(names)}：{in_chinese(code)}" for code, names in named.items()).replace(OUTPUT, "输出"))
