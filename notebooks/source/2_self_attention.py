# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # 2 · Self-attention
#
# In lesson 1 every word had a vector of its own, and none knew of the others. In *a black cat is chasing a red ball* the vector of
# "cat" does not know that the cat is black. Self-attention lets every token look at every other, and take from it what it needs.
#
# **When you have worked through it, you can**
#
# 1. compute scores, weights and weighted sum of a small example by hand;
# 2. say why the scores are divided by $\sqrt{d_k}$, and what happens if they are not;
# 3. derive the softmax Jacobian, and with it the gradient of attention, line by line and with all shapes;
# 4. say what a head is, and why the gradient of the input is a sum of three;
# 5. train a layer of self-attention with the gradient that you derived, and read its maps with the right amount of doubt.
#
# You need lesson 1: `linear (1)`, the masked softmax, and the two habits (a gradient has the shape of its variable; what is used
# several times gets the sum).

# %% [markdown] lang="zh"
# # 2 · 自注意力
#
# 第 1 课里,每个词只有自己的向量,彼此不知道对方。“一只黑色的猫在追红色的球”中,“猫”的向量并不知道这只猫是黑的。自注意力让每个词元
# 去看其他所有词元,并从中取走自己需要的东西。
#
# **学完之后,你能够**
#
# 1. 用手算出一个小例子的分数、权重和加权和;
# 2. 说清分数为什么要除以 $\sqrt{d_k}$,不除会怎样;
# 3. 推出 softmax 的雅可比矩阵,再用它一行一行推出注意力的梯度,形状全部写明;
# 4. 说清什么是头,以及输入的梯度为什么是三项之和;
# 5. 用自己推出的梯度训练一层自注意力,并带着恰当的怀疑去读它的注意力图。
#
# 需要第 1 课的内容:`linear (1)`、带遮罩的 softmax,以及那两条习惯(梯度与变量同形;用了几次就加几份)。

# %%
from attnretrieval.threads import one_thread_by_default

one_thread_by_default()         # these products are small: a second thread would only wait for the first
# %matplotlib inline
# %config InlineBackend.figure_format = "retina"
import math

import matplotlib.pyplot as plt
import numpy as np

from attnretrieval.course.show import formula, show

np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown] lang="en"
# ## 2.1 Three steps
#
# Every token asks a question, its **query**; offers a label by which it can be found, its **key**; and has something to give, its
# **value**. The three are rows of $Q$, $K$ and $V$.
#
# $$S = Q K^\top / \sqrt{d_k} \tag{attention (1)}$$
# $$A = \mathrm{softmax}(S) \tag{attention (2)}$$
# $$Y = A V \tag{attention (3)}$$
#
# In words: how well does each key answer each query; what share of its attention does each query give to each key; the mean of
# the values with these shares.
#
# **With a pencil.** One query, three keys, $d_k = 4$, so $\sqrt{d_k} = 2$:
#
# | | | $q \cdot k_j$ | $S_j$ | $e^{S_j}$ | $A_j$ |
# |---|---|---|---|---|---|
# | $q = (2, 0, 1, 0)$ | | | | | |
# | $k_1 = (2, 0, 0, 1)$ | $v_1 = (1, 0)$ | 4 | 2 | 7.39 | 0.665 |
# | $k_2 = (1, 1, 0, 0)$ | $v_2 = (0, 1)$ | 2 | 1 | 2.72 | 0.245 |
# | $k_3 = (0, 1, 0, 2)$ | $v_3 = (1, 1)$ | 0 | 0 | 1.00 | 0.090 |
#
# **Predict before you run.** What is $y = \sum_j A_j v_j$? Two numbers, to two decimals.

# %% [markdown] lang="zh"
# ## 2.1 三步
#
# 每个词元提出一个问题,叫**查询**(query);挂出一块让别人找得到自己的牌子,叫**键**(key);还有可以给出去的东西,叫**值**(value)。
# 三者分别是 $Q$、$K$、$V$ 的一行。
#
# $$S = Q K^\top / \sqrt{d_k} \tag{attention (1)}$$
# $$A = \mathrm{softmax}(S) \tag{attention (2)}$$
# $$Y = A V \tag{attention (3)}$$
#
# 用话来说:每个键对每个查询答得有多好;每个查询把自己的注意力分给每个键多少;再按这些份额对值求平均。
#
# **拿起铅笔。** 一个查询,三个键,$d_k = 4$,所以 $\sqrt{d_k} = 2$:
#
# | | | $q \cdot k_j$ | $S_j$ | $e^{S_j}$ | $A_j$ |
# |---|---|---|---|---|---|
# | $q = (2, 0, 1, 0)$ | | | | | |
# | $k_1 = (2, 0, 0, 1)$ | $v_1 = (1, 0)$ | 4 | 2 | 7.39 | 0.665 |
# | $k_2 = (1, 1, 0, 0)$ | $v_2 = (0, 1)$ | 2 | 1 | 2.72 | 0.245 |
# | $k_3 = (0, 1, 0, 2)$ | $v_3 = (1, 1)$ | 0 | 0 | 1.00 | 0.090 |
#
# **先猜再运行。** $y = \sum_j A_j v_j$ 是多少?两个数,保留两位小数。

# %%
from attnretrieval.equations.attention import attention, attention_backward

Q = np.array([[2.0, 0, 1, 0]])
K = np.array([[2.0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 2]])
V = np.array([[1.0, 0], [0, 1], [1, 1]])
Y, cache = attention(Q, K, V)
print("A:", cache.A, "\nY:", Y)
show(attention)

# %% [markdown] lang="en"
# `key_mask` is lesson 1's mask: padding is a key that nobody may look at. The `None` in `key_mask[..., None, :]` says that the same
# keys are masked for every query.
#
# ## 2.2 Why divide by √d_k
#
# Let the entries of $q$ and $k$ be independent with mean 0 and variance 1. Then $q \cdot k$ is a sum of $d_k$ products, each with
# mean 0 and variance 1, so its variance is $d_k$. Divided by $\sqrt{d_k}$ it is 1 again, whatever $d_k$ is.
#
# **Predict before you run.** Sixteen keys, random. With $d_k = 4, 64, 1024$: how large is the largest weight, without the division
# and with it?

# %% [markdown] lang="zh"
# `key_mask` 就是第 1 课的遮罩:填充是谁也不许看的键。`key_mask[..., None, :]` 里的 `None` 表示:对每个查询,遮住的都是同样的键。
#
# ## 2.2 为什么除以 √d_k
#
# 设 $q$ 和 $k$ 的各元素独立,均值 0,方差 1。那么 $q \cdot k$ 是 $d_k$ 个乘积之和,每个乘积均值 0、方差 1,所以它的方差是 $d_k$。
# 除以 $\sqrt{d_k}$ 之后,不论 $d_k$ 多大,方差又是 1。
#
# **先猜再运行。** 十六个随机的键。$d_k = 4, 64, 1024$ 时,不除与除了之后,最大的权重各有多大?

# %%
from attnretrieval.equations.softmax import softmax, softmax_backward

rng = np.random.default_rng(0)
sizes, labels = (4, 64, 1024), ("not divided", "divided by √d_k")
figure, panels = plt.subplots(1, 2, figsize=(9, 2.9), sharey=True)
for panel, label, divide in zip(panels, labels, (False, True)):
    for d_k, style, marker, colour in zip(sizes, ("-", "--", ":"), "os^", ("#0072B2", "#009E73", "#D55E00")):
        scores = np.einsum("nd,nmd->nm", rng.normal(size=(300, d_k)), rng.normal(size=(300, 16, d_k)))
        weights = softmax(scores / np.sqrt(d_k) if divide else scores)
        weights = np.sort(weights, axis=1)[:, ::-1].mean(axis=0)
        panel.plot(range(1, 17), weights, style, marker=marker, markersize=4, color=colour,
                   label=f"d_k = {d_k}")
        print(f"{label:16} d_k = {d_k:4}: largest weight {weights[0]:.2f}, second {weights[1]:.2f}")
    panel.axhline(1 / 16, color="grey", linewidth=0.8)
    panel.text(16, 1 / 16 + 0.02, "uniform", ha="right", fontsize=8, color="grey")
    panel.set_title(label, fontsize=10), panel.set_xlabel("key, the most looked at first", fontsize=9)
    panel.spines[["top", "right"]].set_visible(False), panel.legend(fontsize=8)
panels[0].set_ylabel("weight, mean of 300 queries", fontsize=9)
figure.tight_layout()

# %% [markdown] lang="en"
# Undivided, a wide model starts by looking at one key only. That is bad for a reason that the next section shows: there the
# gradient of the softmax is nearly zero, and nothing can be learnt.
#
# ## 2.3 The softmax Jacobian
#
# One row: $A_j = e^{S_j} / Z$ with $Z = \sum_k e^{S_k}$. How does $A_j$ change with $S_k$? Quotient rule, twice:
#
# | | | |
# |---|---|---|
# | $j = k$ | $\dfrac{\partial A_j}{\partial S_j} = \dfrac{e^{S_j} Z - e^{S_j} e^{S_j}}{Z^2} = A_j - A_j A_j$ | its own score: up |
# | $j \ne k$ | $\dfrac{\partial A_j}{\partial S_k} = \dfrac{0 \cdot Z - e^{S_j} e^{S_k}}{Z^2} = - A_j A_k$ | another's score: down |
#
# In one line, with $\delta_{jk} = 1$ where $j = k$ and 0 elsewhere:
#
# $$\frac{\partial A_j}{\partial S_k} = A_j (\delta_{jk} - A_k)$$
#
# **Predict before you run.** What is the sum of each row of this matrix, and why must it be so? What is left of the matrix when one
# weight is nearly 1?

# %% [markdown] lang="zh"
# 不除的话,宽的模型一开始就只看一个键。这不好,原因下一节就会看到:在那里 softmax 的梯度几乎为零,什么也学不到。
#
# ## 2.3 softmax 的雅可比矩阵
#
# 只看一行:$A_j = e^{S_j} / Z$,其中 $Z = \sum_k e^{S_k}$。$S_k$ 变化时 $A_j$ 怎样变?用两次商的求导法则:
#
# | | | |
# |---|---|---|
# | $j = k$ | $\dfrac{\partial A_j}{\partial S_j} = \dfrac{e^{S_j} Z - e^{S_j} e^{S_j}}{Z^2} = A_j - A_j A_j$ | 自己的分数升高,权重升 |
# | $j \ne k$ | $\dfrac{\partial A_j}{\partial S_k} = \dfrac{0 \cdot Z - e^{S_j} e^{S_k}}{Z^2} = - A_j A_k$ | 别人的分数升高,权重降 |
#
# 合成一行($j = k$ 时 $\delta_{jk} = 1$,否则为 0):
#
# $$\frac{\partial A_j}{\partial S_k} = A_j (\delta_{jk} - A_k)$$
#
# **先猜再运行。** 这个矩阵每行之和是多少?为什么必然如此?当某个权重接近 1 时,矩阵还剩下什么?

# %%
figure, panels = plt.subplots(1, 2, figsize=(7.6, 3.1))
for panel, S in zip(panels, (np.array([2.0, 1, 0]), np.array([6.0, 1, 0]))):
    A = softmax(S)
    J = A[:, None] * (np.eye(3) - A)
    print("A =", A, "  row sums of its Jacobian:", np.abs(J.sum(axis=1).round(12)))
    panel.imshow(J, cmap="PuOr", vmin=-0.25, vmax=0.25)
    for (j, k), value in np.ndenumerate(J):
        panel.text(k, j, f"{value:+.3f}", ha="center", va="center", fontsize=10,
                   color="white" if value > 0.14 else "black")
    panel.set_xticks(range(3), [f"$S_{k}$" for k in (1, 2, 3)])
    panel.set_yticks(range(3), [f"$A_{j}$" for j in (1, 2, 3)])
    panel.set_title("A = (" + ", ".join(f"{a:.3f}" for a in A) + ")", fontsize=10)
figure.tight_layout()

# %% [markdown] lang="en"
# Rows sum to 0 since adding one number to all scores changes no weight. And where one weight is nearly 1, all entries are nearly 0:
# the saturated softmax of section 2.2 does not learn.
#
# ### From the Jacobian to the backward
#
# $L$ depends on $A$, and $dA$ is known. $S_k$ reaches every $A_j$ of its row, so we sum over $j$:
#
# $$dS_k = \sum_j dA_j\, A_j (\delta_{jk} - A_k) = A_k\, dA_k - A_k \sum_j dA_j A_j
# = A_k \Big( dA_k - \sum_j dA_j A_j \Big)$$
#
# The sum in the bracket is **one number a row**: the mean of $dA$ under the weights $A$. What is better than the mean gains score,
# what is worse loses. Whole matrices: $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$, and the $m \times m$ Jacobian is never made.

# %% [markdown] lang="zh"
# 每行之和为 0,因为所有分数同加一个数,权重不变。而当某个权重接近 1 时,所有元素都接近 0。这就是 2.2 节里饱和了的
# softmax:它学不动。
#
# ### 从雅可比矩阵到反向传播
#
# $L$ 取决于 $A$,$dA$ 已知。$S_k$ 影响本行的每个 $A_j$,所以对 $j$ 求和:
#
# $$dS_k = \sum_j dA_j\, A_j (\delta_{jk} - A_k) = A_k\, dA_k - A_k \sum_j dA_j A_j
# = A_k \Big( dA_k - \sum_j dA_j A_j \Big)$$
#
# 括号里的求和是**每行一个数**:以 $A$ 为权重的 $dA$ 的平均。比平均好的,分数升;比平均差的,分数降。写成矩阵:
# $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$,那个 $m \times m$ 的雅可比矩阵根本不必造出来。

# %%
show(softmax_backward)

# %% [markdown] lang="en"
# ## 2.4 The gradient of attention, line by line
#
# Write the forward going down, and undo it going up. Leading batch axes do not matter; one sequence is enough:
#
# $Q\,(n, d_k)$, $K\,(m, d_k)$, $V\,(m, d_v)$, and $dY\,(n, d_v)$ is given.
#
# | undo | why | gradient | shapes |
# |---|---|---|---|
# | (3) $Y = A V$ | a product, as in `linear (1)` | $dA = dY\, V^\top$ | $(n, d_v)(d_v, m) = (n, m)$ |
# | | | $dV = A^\top dY$ | $(m, n)(n, d_v) = (m, d_v)$ |
# | (2) $A = \mathrm{softmax}(S)$ | section 2.3, row by row | $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$ | $(n, m)$ |
# | (1) $S = Q K^\top / \sqrt{d_k}$ | a product with $K^\top$, and a factor | $dQ = dS\, K / \sqrt{d_k}$ | $(n, m)(m, d_k) = (n, d_k)$ |
# | | the same, transposed: $S^\top = K Q^\top / \sqrt{d_k}$ | $dK = dS^\top Q / \sqrt{d_k}$ | $(m, n)(n, d_k) = (m, d_k)$ |
#
# **With a pencil**, on the example of 2.1 and with $dy = (1, 0)$ (so $L$ is the first number of $y$):
#
# | | | |
# |---|---|---|
# | $dA_j = dy \cdot v_j$ | $(1, 0, 1)$ | $v_1$ and $v_3$ have a first number, $v_2$ has none |
# | $\sum_j dA_j A_j$ | $0.665 + 0.090 = 0.755$ | |
# | $dS_j = A_j (dA_j - 0.755)$ | $(0.163, -0.185, 0.022)$ | the sum is 0 |
# | $dq = \tfrac12 \sum_j dS_j k_j$ | ? | **yours** |
#
# **Predict before you run.** Compute $dq$, four numbers. And in which direction should $k_2$ move, so that $L$ grows?

# %% [markdown] lang="zh"
# ## 2.4 注意力的梯度,一行一行来
#
# 前向从上往下写,反向从下往上拆。前面的批次轴不影响什么,看一个序列就够:
#
# $Q\,(n, d_k)$,$K\,(m, d_k)$,$V\,(m, d_v)$,给定 $dY\,(n, d_v)$。
#
# | 拆 | 为什么 | 梯度 | 形状 |
# |---|---|---|---|
# | (3) $Y = A V$ | 乘积,同 `linear (1)` | $dA = dY\, V^\top$ | $(n, d_v)(d_v, m) = (n, m)$ |
# | | | $dV = A^\top dY$ | $(m, n)(n, d_v) = (m, d_v)$ |
# | (2) $A = \mathrm{softmax}(S)$ | 2.3 节,逐行 | $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$ | $(n, m)$ |
# | (1) $S = Q K^\top / \sqrt{d_k}$ | 与 $K^\top$ 的乘积,再带一个系数 | $dQ = dS\, K / \sqrt{d_k}$ | $(n, m)(m, d_k) = (n, d_k)$ |
# | | 转置过来是一样的:$S^\top = K Q^\top / \sqrt{d_k}$ | $dK = dS^\top Q / \sqrt{d_k}$ | $(m, n)(n, d_k) = (m, d_k)$ |
#
# **拿起铅笔**,仍用 2.1 的例子,取 $dy = (1, 0)$(也就是说 $L$ 是 $y$ 的第一个数):
#
# | | | |
# |---|---|---|
# | $dA_j = dy \cdot v_j$ | $(1, 0, 1)$ | $v_1$、$v_3$ 的第一个数是 1,$v_2$ 的是 0 |
# | $\sum_j dA_j A_j$ | $0.665 + 0.090 = 0.755$ | |
# | $dS_j = A_j (dA_j - 0.755)$ | $(0.163, -0.185, 0.022)$ | 和为 0 |
# | $dq = \tfrac12 \sum_j dS_j k_j$ | ? | **轮到你** |
#
# **先猜再运行。** 算出 $dq$ 的四个数。再想想:要让 $L$ 变大,$k_2$ 应该朝哪个方向移动?

# %%
Q, K, V, A = cache
d_Y = np.array([[1.0, 0.0]])
d_A = d_Y @ V.T
d_V = A.T @ d_Y
d_S = A * (d_A - (d_A * A).sum(axis=-1, keepdims=True))
d_Q = d_S @ K / math.sqrt(4)
d_K = d_S.T @ Q / math.sqrt(4)
print("d_S", d_S, " d_Q", d_Q, "\nd_K\n", d_K)
for mine, theirs in zip((d_Q, d_K, d_V), attention_backward(d_Y, cache)):
    assert np.allclose(mine, theirs)
show(attention_backward)

# %% [markdown] lang="en"
# $k_2$ moves against the query: whoever looks at key 2 gets a value without a first number, so key 2 should be found less.
#
# ### Check it by machine
#
# **Predict before you run.** Below, one backward lacks the factor $1/\sqrt{d_k}$, another the row sum. Which of $dQ$, $dK$, $dV$
# does each spoil?

# %% [markdown] lang="zh"
# $k_2$ 要朝远离查询的方向移动:谁看了第 2 个键,谁就得到一个第一个数为 0 的值,所以它应该少被找到。
#
# ### 让机器检验
#
# **先猜再运行。** 下面一个反向传播漏了系数 $1/\sqrt{d_k}$,另一个漏了行和。它们各弄错了 $dQ$、$dK$、$dV$ 中的哪些?

# %%
from attnretrieval.gradcheck import check_gradient


def without_scale(d_Y, cache):
    Q, K, V, A = cache
    d_S = softmax_backward(d_Y @ V.swapaxes(-1, -2), A)
    return d_S @ K, d_S.swapaxes(-1, -2) @ Q, A.swapaxes(-1, -2) @ d_Y


def without_row_sum(d_Y, cache):
    Q, K, V, A = cache
    d_S = A * (d_Y @ V.swapaxes(-1, -2)) / math.sqrt(Q.shape[-1])
    return d_S @ K, d_S.swapaxes(-1, -2) @ Q, A.swapaxes(-1, -2) @ d_Y


inputs = {"Q": rng.normal(size=(3, 4)), "K": rng.normal(size=(5, 4)), "V": rng.normal(size=(5, 2))}
for backward in (without_scale, without_row_sum, attention_backward):
    print(check_gradient(attention, backward, inputs, rng=rng, name=backward.__name__), end="\n\n")

# %% [markdown] lang="en"
# ## 2.5 Heads
#
# One softmax gives each token one way of sharing out its attention. To look in two ways at once, the $d$ features are cut into $h$
# groups of $d_k = d / h$, and each group, a **head**, does its own attention. Queries, keys and values come from the same tokens
# $X$ by three linear layers: that makes it *self*-attention.

# %% [markdown] lang="zh"
# ## 2.5 多头
#
# 一个 softmax 只给每个词元一种分配注意力的方式。要同时有两种看法,就把 $d$ 个特征切成 $h$ 组,每组 $d_k = d / h$ 个,各做各的注意力,
# 每组就是一个**头**(head)。查询、键、值都由同样的词元 $X$ 经三个线性层得到,所以叫*自*注意力。

# %%
from attnretrieval.equations.heads import split_heads
from attnretrieval.equations.multi_head import multi_head_attention, multi_head_attention_backward

formula(multi_head_attention)
X = np.arange(12).reshape(3, 4)
print("\nX, 3 tokens of 4 features\n", X, "\nsplit into 2 heads\n", split_heads(X, 2))

# %% [markdown] lang="en"
# **Predict before you run.** $X$ enters three linear layers. Given the gradients of $Q$, $K$ and $V$, what is $dX$? Answer with the
# second habit, before you read the last lines of the source.

# %% [markdown] lang="zh"
# **先猜再运行。** $X$ 进了三个线性层。已知 $Q$、$K$、$V$ 的梯度,$dX$ 是什么?先用第二条习惯回答,再读源码的最后几行。

# %%
show(multi_head_attention_backward)

d = 4
weights = {f"{W}_{letter}": rng.normal(size=(d, d) if W == "W" else d) for letter in "QKVO" for W in "Wb"}
X = rng.normal(size=(3, d))
print()
print(check_gradient(multi_head_attention, multi_head_attention_backward, {"X": X, **weights},
                     options={"heads": 2}, rng=rng))
grads = multi_head_attention_backward(np.eye(3, d), multi_head_attention(X, **weights, heads=2)[1])
for name in ("d_b_Q", "d_b_K", "d_b_V"):
    print(f"largest entry of {name}: {np.abs(getattr(grads, name)).max():.1e}")

# %% [markdown] lang="en"
# The gradient of $b_K$ is 0 but for rounding. A bias on all keys adds the same number to all scores of a row, and
# section 2.3 says what that does to the weights: nothing.
#
# ## 2.6 A set has no order
#
# **Predict before you run.** We shuffle the tokens of $X$ and run self-attention again. What happens to the output? What does that
# mean for *cat chases ball* and *ball chases cat*?

# %% [markdown] lang="zh"
# $b_K$ 的梯度除舍入误差外为 0。给所有键加一个偏置,就是给一行的所有分数同加一个数;2.3 节说了这对权重有什么影响:没有影响。
#
# ## 2.6 集合没有顺序
#
# **先猜再运行。** 把 $X$ 的词元打乱,再做一次自注意力。输出会怎样?这对“猫追球”和“球追猫”意味着什么?

# %%
X = rng.normal(size=(5, d))
order = rng.permutation(5)
H, _ = multi_head_attention(X, **weights, heads=2)
H_shuffled, _ = multi_head_attention(X[order], **weights, heads=2)
print("the shuffled output is the output, shuffled:", np.allclose(H_shuffled, H[order]))

# %% [markdown] lang="en"
# So the place has to be written into the token. A learnt vector for each place is added, before attention:
#
# $$Y_i = X_i + E_i \tag{positions (1)}$$
#
# ## 2.7 Does it learn to look?
#
# Now train one layer with exactly these gradients. The task can only be solved by looking: **each noun is asked for its colour, and
# each colour for its noun.** The vector of "cat" says nothing of black; the answer must come from another token.

# %% [markdown] lang="zh"
# 所以必须把位置写进词元里。做注意力之前,给每个位置加上一个学出来的向量:
#
# $$Y_i = X_i + E_i \tag{positions (1)}$$
#
# ## 2.7 它会学着去看吗?
#
# 现在就用这些梯度训练一层。任务只有靠“看”才能完成:**问每个名词它的颜色,问每个颜色词它的名词。** “猫”的向量里没有“黑”,答案只能来自
# 别的词元。

# %%
from attnretrieval.course import one_layer
from attnretrieval.course.one_layer import OneLayer, ask_regions, ask_words
from attnretrieval.inputs.scenes import captions_of, make_scenes
from attnretrieval.inputs.words import Vocabulary

formula(one_layer)
print()
show(OneLayer.forward, OneLayer.backward)

# %% [markdown] lang="en"
# The scenes of training and test are drawn from different combinations: no test sentence was ever seen. Both languages train the same
# layer.
#
# **Predict before you run.** There are 7 colours and 9 nouns. What share of right answers would a network reach that cannot look?

# %% [markdown] lang="zh"
# 训练和测试用的是不同的组合:测试句子一句也没见过。两种语言训练同一层。
#
# **先猜再运行。** 有 7 种颜色、9 个名词。一个不会“看”的网络能答对多少?

# %%
rng = np.random.default_rng(0)
train_scenes, test_scenes = make_scenes("train", 1500, rng), make_scenes("test", 200, rng)
texts = [caption.text for scene in train_scenes for language in ("en", "zh")
         for caption in captions_of(scene, language)]
vocabulary = Vocabulary.build(texts, "characters")
E = rng.standard_normal((len(vocabulary), 32), dtype=np.float32)

questions, test = ask_words(train_scenes, vocabulary, E), ask_words(test_scenes, vocabulary, E)
words = OneLayer(d_in=32, places=24, rng=rng, heads=1)
before = words.attention(test.X[:4], test.mask[:4])
print(f"share right before training: {words.share_right(test):.1f}")
losses = words.train(questions, 400, rng)
print(f"share right after training:  {words.share_right(test):.1f}")

figure, axis = plt.subplots(figsize=(7, 2.3))
axis.plot(losses, color="#0072B2", linewidth=1)
axis.axhline(np.log(16), color="grey", linewidth=0.8, linestyle="--")
axis.text(400, np.log(16) - 0.3, "log 16: knows nothing", ha="right", fontsize=8, color="grey")
axis.set_xlabel("step"), axis.set_ylabel("loss"), axis.spines[["top", "right"]].set_visible(False)
axis.set_ylim(bottom=0)
figure.tight_layout()

# %% [markdown] lang="en"
# ### The maps of a sentence
#
# (A network that cannot look guesses one colour in seven and one noun in nine: 0.13 of the answers.)
#
# A row is the token that looks, a column the token that is looked at. Before training first, then after, for the same sentence.
# Look at the rows of *black*, *cat*, *red* and *ball*: these are asked something. The other rows are not asked anything and look
# wherever chance has left them.

# %% [markdown] lang="zh"
# ### 一句话的注意力图
#
# (不会“看”的网络只能猜:颜色七猜一,名词九猜一,平均答对 0.13。)
#
# 一行是“看”的词元,一列是“被看”的词元。先是训练前,再是训练后,同一句话。请看 *black*、*cat*、*red*、*ball* 这几行:它们被问了问题。
# 其余各行没有被问,看哪里全凭偶然。

# %%
from attnretrieval.figures import attention_matrix, heads, region_weights

tokens = vocabulary.tokens_of(captions_of(test_scenes[0], "en")[0].text)
n = len(tokens)
after = words.attention(test.X[:4], test.mask[:4])
heads(np.stack([before[0, 0, :n, :n], after[0, 0, :n, :n]]), tokens, tokens,
      titles=["before training", "after training"])

# %%
tokens_zh = vocabulary.tokens_of(captions_of(test_scenes[0], "zh")[0].text)
attention_matrix(after[2, 0, :len(tokens_zh), :len(tokens_zh)], tokens_zh, tokens_zh,
                 title="一只黑色的猫在追红色的球, after training")

# %% [markdown] lang="en"
# *cat* looks at *black*, *black* at *cat*, *ball* at *red*; 猫 at 黑 and 球 at 红. Nobody told it which word belongs to which: it
# followed from the gradient.
#
# ### Two heads
#
# **Predict before you run.** The task needs one way of looking, and now the layer has two heads. Will both look at the partner, will
# they share the work, or will one of them idle?

# %% [markdown] lang="zh"
# *cat* 看 *black*,*black* 看 *cat*,*ball* 看 *red*;“猫”看“黑”,“球”看“红”。没有人告诉它哪个词属于哪个词,这是梯度带出来的。
#
# ### 两个头
#
# **先猜再运行。** 这个任务只需要一种看法,现在却有两个头。两个头都看自己的搭档,还是分工,还是有一个闲着?

# %%
two = OneLayer(d_in=32, places=24, rng=rng, heads=2)
two.train(questions, 400, rng)
print(f"share right: {two.share_right(test):.1f}")
heads(two.attention(test.X[:1], test.mask[:1])[0, :, :n, :n], tokens, tokens)

# %% [markdown] lang="en"
# They share the work, and not tidily. Head 1 finds the partner of *black*, *cat* and *ball*; for *red* it hesitates between the two
# nouns, and there head 0 helps. Another seed would share the work differently. Nothing in the loss asks for tidy heads, so do not
# give a head a name before you have tested it.
#
# ### The map of an image
#
# The same layer, with regions for tokens: **the region of one object is asked for the shape of the other.** Regions are lesson 1's
# cells, brought from 768 to 64 numbers by principal components.
#
# **Predict before you run.** Where will the cat's region look, and where the ball's?

# %% [markdown] lang="zh"
# 它们分工,但分得并不整齐。头 1 为 *black*、*cat*、*ball* 找到了搭档;对 *red* 它在两个名词之间犹豫,这时头 0 来帮忙。换一个随机
# 种子,分工又会不同。损失函数并不要求头各司其职,所以在检验之前,不要给一个头起名字。
#
# ### 图像的注意力图
#
# 同样的一层,词元换成区域:**问一个物体所在的区域,另一个物体是什么形状。** 区域就是第 1 课的格子,用主成分从 768 个数降到 64 个。
#
# **先猜再运行。** 猫的区域会看哪里?球的区域呢?

# %%
from attnretrieval.inputs.regions import RegionProjection

pixels = ask_regions(train_scenes)
projection = RegionProjection.fit(pixels.X, 64)
questions, test_regions = ask_regions(train_scenes, projection), ask_regions(test_scenes, projection)
regions = OneLayer(d_in=64, places=16, rng=rng, heads=1)
regions.train(questions, 400, rng)
print(f"share right: {regions.share_right(test_regions):.1f}")

scene = test_scenes[0]
A = regions.attention(test_regions.X[:1], test_regions.mask[:1])[0, 0]
cat, ball = scene.cells
region_weights(scene.image, A[[cat, ball]], (4, 4),
               ["the cat's region looks at", "the ball's region looks at"], [cat, ball])

# %% [markdown] lang="en"
# ### How much may we believe a map?
#
# A weight says where a token *took from*, not what it *used*: the value there may be nearly 0, or the answer may not depend on it. A
# deletion test asks the network itself: mask one key, and see whether the answer survives.
#
# **Predict before you run.** In 200 test sentences the first noun is asked for its colour, and one key is masked: the word of the
# relation, the colour of the *other* noun, its *own* colour. What share of the answers is still right, in each case?

# %% [markdown] lang="zh"
# ### 一张图可以信几分?
#
# 权重说的是词元*从哪里取*,而不是*用了什么*:那里的值可能几乎为 0,答案也可能与它无关。删除实验直接问网络自己:遮住一个键,看答案还
# 在不在。
#
# **先猜再运行。** 在 200 个测试句子里问第一个名词的颜色,同时遮住一个键:表示关系的词、*另一个*名词的颜色、它*自己*的颜色。三种情形
# 下各有多少答案仍然正确?

# %%
from attnretrieval.inputs.words import phrase_positions


def share_that_survives(which):
    right = []
    for i, scene in enumerate(test_scenes):
        caption, row = captions_of(scene, "en")[0], slice(4 * i, 4 * i + 1)
        places = {"nothing": []}
        for span, name in zip(caption.spans, ("its own colour", "the noun", "the relation",
                                              "the other colour", "the other noun")):
            places[name] = phrase_positions(vocabulary.spans(caption.text), span.start, span.end)
        mask = test.mask[row].copy()
        mask[0, places[which]] = False
        noun = places["the noun"][0]
        p, _ = words.forward(test.X[row], mask)
        right.append(p[0, noun].argmax() == test.target[row][0, noun])
    return np.mean(right)


hidden = ("nothing", "the relation", "the other colour", "its own colour")
shares = [share_that_survives(which) for which in hidden]
figure, axis = plt.subplots(figsize=(7, 2.2))
axis.barh(hidden, shares, color=["#6b6b6b", "#0072B2", "#0072B2", "#D55E00"])
axis.axvline(1 / 7, color="black", linewidth=0.8, linestyle="--")
axis.text(0.3, 3, "dashed: one of 7 colours", fontsize=8, va="center")
axis.invert_yaxis(), axis.set_xlim(0, 1.02), axis.spines[["top", "right"]].set_visible(False)
axis.set_xlabel("share of nouns that still name their colour")
axis.set_title("masked key", fontsize=10, loc="left")
figure.tight_layout()

# %% [markdown] lang="en"
# Here the map told the truth, on 200 sentences; one sentence would not do, since a guess is right in one of seven. (Why is the last
# bar nearly twice one in seven? Compare *a red cat* and *an orange cat*: the article gives one of the seven colours away.) And it
# need not be so: this network has one layer and no residual connection, so that its answer *must* come through $A$. In deeper networks the same picture proves less. Lesson 5 repeats the deletion test on a retriever.
#
# ## Summary
#
# | step | forward | backward |
# |---|---|---|
# | `attention (1)` | $S = Q K^\top / \sqrt{d_k}$ | $dQ = dS K / \sqrt{d_k}$, $dK = dS^\top Q / \sqrt{d_k}$ |
# | `attention (2)` | $A = \mathrm{softmax}(S)$ | $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$ |
# | `attention (3)` | $Y = A V$ | $dA = dY V^\top$, $dV = A^\top dY$ |
# | `multi_head (1)` | $Q, K, V$ from one $X$ | $dX$ is the sum of three |
# | `positions (1)` | a code for each place | the sum over all sequences |
#
# - Dividing by $\sqrt{d_k}$ keeps the softmax where its Jacobian is not zero.
# - The Jacobian is $A_j(\delta_{jk} - A_k)$; the backward needs one number a row of it, and no matrix.
# - Attention is a weighted mean over a set: it has no order until one is written in.
# - A map shows where a token took from. Whether that mattered, a deletion test tells.
#
# **Next**: write all of this yourself in [exercise 2](2_exercises.ipynb). In lesson 3 words look at regions.

# %% [markdown] lang="zh"
# 这一次,图说的是真话,而且是在 200 个句子上;只试一句不算数,因为瞎猜也有七分之一的机会。(最后一条为什么几乎是七分之一的两倍?
# 比一比 *a red cat* 和 *an orange cat*:冠词泄露了七种颜色中的一种。)但不一定总是如此:这个网络只有一层,没有残差连接,答案*只能*经过 $A$。在更深的网络里,同样的图能证明的就少了。
# 第 5 课会在检索模型上再做一次删除实验。
#
# ## 小结
#
# | 步骤 | 前向 | 反向 |
# |---|---|---|
# | `attention (1)` | $S = Q K^\top / \sqrt{d_k}$ | $dQ = dS K / \sqrt{d_k}$,$dK = dS^\top Q / \sqrt{d_k}$ |
# | `attention (2)` | $A = \mathrm{softmax}(S)$ | $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$ |
# | `attention (3)` | $Y = A V$ | $dA = dY V^\top$,$dV = A^\top dY$ |
# | `multi_head (1)` | $Q, K, V$ 来自同一个 $X$ | $dX$ 是三项之和 |
# | `positions (1)` | 每个位置一个编码 | 对所有序列求和 |
#
# - 除以 $\sqrt{d_k}$,让 softmax 停在雅可比矩阵不为零的地方。
# - 雅可比矩阵是 $A_j(\delta_{jk} - A_k)$;反向传播每行只需要一个数,不需要矩阵。
# - 注意力是对一个集合的加权平均:不写入顺序,它就没有顺序。
# - 图显示词元从哪里取;取来的是否要紧,由删除实验来回答。
#
# **接下来**:在[练习 2](2_exercises.ipynb)里亲手把这些都写出来。第 3 课里,词开始看区域。
