"""What the generated pages say, in both languages."""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = {"en": "English", "zh": "中文"}
SPHINX_LANGUAGE = {"en": "en", "zh": "zh_CN"}
ENGLISH_ONLY = {"en": "", "zh": "*此页只有英文。*"}


class Words(NamedTuple):
    equations: str
    equation: str
    formula: str
    about_equations: str
    code: str
    about_code: str             # {file}
    forward_backward: str
    rest: str
    check: str
    about_check: str            # {equation}
    case: str
    options: str
    shapes: str
    complex_step: str
    difference: str
    limit: str
    more: str
    lessons: str
    lesson: str
    exercises: str
    test: str
    source: str
    users: str
    no_lesson: str              # {files}
    no_exercise: str            # {name}
    colon: str
    comma: str
    course: str
    about_course: str
    api: str
    about_api: tuple[str, ...]


ENGLISH = Words(
    equations="Equations",
    equation="Equation",
    formula="Formula",
    about_equations="Each equation has a file in the package and a page here: what it is for, its formula, the derivation "
                    "of its gradient, an example by hand, the code of both passes and the check of the gradient.",
    code="Code",
    about_code="This is the file `{file}`, taken apart. Its first lines give the formula, with the numbers that the comments "
               "in the code refer to:",
    forward_backward="`{forward}`, forward and backward",
    rest="What else is in the file",
    check="Gradient check",
    about_check="""Each row is one case, checked while this page was built. The gradient of every input is compared with two
derivatives of the forward, by complex step and by central difference; the table shows the largest relative error. The limit of
the first is in the last column, that of the second is {difference}. Shapes are those of the inputs and of the output; a
gradient has the shape of its input. [How a gradient is checked](../gradient_check.md) says more. To repeat it:

```sh
attnretrieval gradcheck {equations} -v
```
""",
    case="case",
    options="options",
    shapes="inputs → output",
    complex_step="complex step",
    difference="central difference",
    limit="limit",
    more="In the course and in the tests",
    lessons="Lessons",
    lesson="Lesson",
    exercises="Exercises",
    test="Tests",
    source="Source",
    users="Used by",
    no_lesson="in no lesson; used by {files}",
    no_exercise="none in the course; to have a backward of your own graded: "
                "`attnretrieval gradcheck --mine my.py:{name}_backward`",
    colon=": ",
    comma=", ",
    course="The course",
    about_course="The notebooks with their outputs, to be read here. To run them and to do the exercises: "
                 "`pip install -e \".[course]\" && jupyter lab notebooks/en`.",
    api="API reference",
    about_api=("Every public module, class and function, from the docstrings. ``[source]`` shows the code.",),
)

CHINESE = Words(
    equations="公式",
    equation="公式",
    formula="内容",
    about_equations="每个公式在程序包里有一个文件，在这里有一页：用途、公式、梯度的推导、手算一例、前向与反向的代码，以及梯度检验。",
    code="代码",
    about_code="以下是文件 `{file}`，分成几段。开头几行是公式，代码注释里的编号就是这里的编号：",
    forward_backward="`{forward}`：前向与反向",
    rest="文件里的其余部分",
    check="梯度检验",
    about_check="""每行是一种情形，都在生成本页时检验过。每个输入的梯度与前向的两种数值导数比较：复数步法和中心差分；表中是最大的相对误差。
前者的上限在最后一列，后者的上限是 {difference}。形状依次是各输入与输出的形状；梯度与它的输入同形。
[梯度是怎样检验的](../gradient_check.md)（英文）有更多说明。自己重做一遍：

```sh
attnretrieval gradcheck {equations} -v
```
""",
    case="情形",
    options="选项",
    shapes="输入 → 输出",
    complex_step="复数步法",
    difference="中心差分",
    limit="上限",
    more="课程与测试",
    lessons="所在的课",
    lesson="课",
    exercises="练习",
    test="测试",
    source="源代码",
    users="用在",
    no_lesson="不在课里；用在 {files}",
    no_exercise="课里没有；可以自己写反向，让机器批改：`attnretrieval gradcheck --mine my.py:{name}_backward`",
    colon="：",
    comma="、",
    course="课程",
    about_course="这里是带有输出的笔记本，可以直接阅读。要运行它们、做练习："
                 "`pip install -e \".[course]\" && jupyter lab notebooks/zh`。",
    api="API 参考",
    about_api=("每个公开的模块、类和函数，内容取自代码里的文档字符串。文档字符串只有英文。``[源代码]`` 打开代码。",),
)


def words(language: str) -> Words:
    return {"en": ENGLISH, "zh": CHINESE}[language]
