# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # Exercises 2 · Self-attention
#
# Six functions. When all are right you have written attention, forward and backward, and every line of it is yours. They build on
# each other: later ones may call earlier ones.
#
# Write yours in place of `raise NotImplementedError`, run the cell, and run the `check` below it. It draws new shapes and numbers each
# time. `hint("softmax")` gives a hint, and the next one is a little clearer. A function must not change the arrays that it is given:
# `S = S - …` makes a new one, `S -= …` does not.
#
# Useful in NumPy here: `A @ B` multiplies the last two axes, whatever stands in front; `X.swapaxes(-1, -2)` transposes them;
# `keepdims=True` keeps a summed axis, with size 1; `math.sqrt` gives a plain number.

# %% [markdown] lang="zh"
# # 练习 2 · 自注意力
#
# 六个函数。全部做对,你就写出了完整的注意力,前向和反向,每一行都是你自己的。后面的可以调用前面的。
#
# 把 `raise NotImplementedError` 换成你的代码,运行这一格,再运行下面的 `check`,它每次都换新的形状和数字。`hint("softmax")` 给一个
# 提示,再要一次会更明白一点。函数不许改动传入的数组:`S = S - …` 得到新数组,`S -= …` 则改动原来的。
#
# 这里用得上的 NumPy:`A @ B` 对最后两个轴做乘积,前面有什么轴都行;`X.swapaxes(-1, -2)` 转置这两个轴;`keepdims=True` 求和后保留
# 那个轴,大小为 1;`math.sqrt` 给出一个普通的数。

# %%
import math

import numpy as np

from attnretrieval.course import check, hint, progress

# %% [markdown] lang="en"
# ## 1 · `attention_scores(Q, K) -> S`
#
# $$S = Q K^\top / \sqrt{d} \tag{attention (1)}$$
#
# `Q` has shape $(\ldots, n, d)$, `K` $(\ldots, m, d)$ with the same axes in front, `S` $(\ldots, n, m)$. Note that `K.T` reverses *all* axes: of a
# batch it would exchange sentences with features.

# %% [markdown] lang="zh"
# ## 1 · `attention_scores(Q, K) -> S`
#
# $$S = Q K^\top / \sqrt{d} \tag{attention (1)}$$
#
# `Q` 的形状是 $(\ldots, n, d)$,`K` 是 $(\ldots, m, d)$,前面的轴相同,`S` 是 $(\ldots, n, m)$。注意 `K.T` 会颠倒*所有*轴:对一个批次,它会把
# 句子和特征也对调。

# %%
def attention_scores(Q, K):
    ### BEGIN SOLUTION
    return Q @ K.swapaxes(-1, -2) / math.sqrt(Q.shape[-1])
    ### END SOLUTION

# %%
check("attention_scores", attention_scores)

# %% [markdown] lang="en"
# ## 2 · `softmax(S, mask=None) -> A`
#
# $$A_j = \frac{e^{S_j}}{\sum_k e^{S_k}} \qquad \text{along the last axis} \tag{softmax (2)}$$
#
# Get the plain case right first; `check` goes from easy to hard. Then three things that every real softmax must do:
#
# - **No overflow.** $e^{1000}$ is infinite in a computer. Subtract the row's maximum before `np.exp`: that divides numerator and
#   denominator by the same number, and changes nothing.
# - **A mask.** `mask` is `None`, or booleans of a shape that broadcasts to that of `S`. Where it is `False` the weight is 0, and the others
#   sum to 1 without it: put `-np.inf` in place of these scores.
# - **A row with nothing left.** If all of a row is masked, its weights are all 0. Watch two steps: the maximum of such a row is $-\infty$,
#   and $-\infty - (-\infty)$ is not a number; its sum is 0, and $0/0$ is not a number. Use other numbers in these two places.

# %% [markdown] lang="zh"
# ## 2 · `softmax(S, mask=None) -> A`
#
# $$A_j = \frac{e^{S_j}}{\sum_k e^{S_k}} \qquad \text{沿最后一个轴} \tag{softmax (2)}$$
#
# 先把最简单的情形做对,`check` 会从易到难地试。然后是三件真正的 softmax 都必须做到的事:
#
# - **不溢出。** $e^{1000}$ 在计算机里是无穷大。`np.exp` 之前先减去这一行的最大值:这等于分子分母同除一个数,结果不变。
# - **遮罩。** `mask` 是 `None`,或者是能广播到 `S` 形状的布尔数组。为 `False` 处权重是 0,其余的加起来仍是 1:把这些分数换成 `-np.inf`。
# - **一个也不剩的行。** 整行都被遮住时,权重全为 0。留意两步:这一行的最大值是 $-\infty$,而 $-\infty - (-\infty)$ 不是数;它的和是 0,而
#   $0/0$ 不是数。在这两处换用别的数。

# %%
def softmax(S, mask=None):
    ### BEGIN SOLUTION
    if mask is not None:
        S = np.where(mask, S, -np.inf)
    top = S.max(axis=-1, keepdims=True)
    E = np.exp(S - np.where(np.isfinite(top), top, 0))
    total = E.sum(axis=-1, keepdims=True)
    return E / np.where(total == 0, 1, total)
    ### END SOLUTION

# %%
check("softmax", softmax)

# %% [markdown] lang="en"
# ## 3 · `softmax_backward(d_A, A) -> d_S`
#
# `A` are the weights that the forward gave, `d_A` is the gradient of the loss for them, of the same shape $(\ldots, m)$. Return the gradient of
# the scores.
#
# **With a pencil first.** One row. The Jacobian is $\partial A_j / \partial S_k = A_j(\delta_{jk} - A_k)$; derive it again if you can. Now
# $dS_k = \sum_j dA_j\, \partial A_j / \partial S_k$. Split the sum into the part with $\delta_{jk}$ and the rest, and take $A_k$ out. You should
# need one number a row. Test yourself: $A = (0.5, 0.5)$ and $dA = (1, 0)$ must give $dS = (0.25, -0.25)$.
#
# Masked entries need no case of their own: where $A_k = 0$, your formula gives 0.

# %% [markdown] lang="zh"
# ## 3 · `softmax_backward(d_A, A) -> d_S`
#
# `A` 是前向得到的权重,`d_A` 是损失对它的梯度,同形 $(\ldots, m)$。返回分数的梯度。
#
# **先用铅笔。** 只看一行。雅可比矩阵是 $\partial A_j / \partial S_k = A_j(\delta_{jk} - A_k)$,能再推一遍最好。于是
# $dS_k = \sum_j dA_j\, \partial A_j / \partial S_k$。把和式拆成带 $\delta_{jk}$ 的一项和其余部分,再把 $A_k$ 提出来。每行应该只需要一个数。
# 自测:$A = (0.5, 0.5)$,$dA = (1, 0)$ 应得 $dS = (0.25, -0.25)$。
#
# 被遮住的元素不必另外处理:$A_k = 0$ 处,公式给出的就是 0。

# %%
def softmax_backward(d_A, A):
    ### BEGIN SOLUTION
    return A * (d_A - (d_A * A).sum(axis=-1, keepdims=True))
    ### END SOLUTION

# %%
check("softmax_backward", softmax_backward)

# %% [markdown] lang="en"
# ## 4 · `attention(Q, K, V, key_mask=None) -> Y`
#
# $$A = \mathrm{softmax}(S) \tag{attention (2)}$$
# $$Y = A V \tag{attention (3)}$$
#
# `V` has shape $(\ldots, m, v)$, one value a key; `Y` $(\ldots, n, v)$. Call your `attention_scores` and your `softmax`.
#
# `key_mask` is `None` or has shape $(\ldots, m)$, `True` = a real key. The scores have an axis for the queries and `key_mask` has none: give it
# one with `key_mask[..., None, :]` before you hand it to your softmax. A query with no real key gets $Y = 0$ by itself.

# %% [markdown] lang="zh"
# ## 4 · `attention(Q, K, V, key_mask=None) -> Y`
#
# $$A = \mathrm{softmax}(S) \tag{attention (2)}$$
# $$Y = A V \tag{attention (3)}$$
#
# `V` 的形状是 $(\ldots, m, v)$,每个键一个值;`Y` 是 $(\ldots, n, v)$。调用你写好的 `attention_scores` 和 `softmax`。
#
# `key_mask` 是 `None`,或者形状为 $(\ldots, m)$,`True` 表示真实的键。分数有查询这个轴,而 `key_mask` 没有:先用 `key_mask[..., None, :]` 添一个
# 轴,再交给你的 softmax。一个真实的键也没有的查询,自然得到 $Y = 0$。

# %%
def attention(Q, K, V, key_mask=None):
    ### BEGIN SOLUTION
    S = attention_scores(Q, K)
    A = softmax(S, None if key_mask is None else key_mask[..., None, :])
    return A @ V
    ### END SOLUTION

# %%
check("attention", attention)

# %% [markdown] lang="en"
# ## 5 · `attention_backward(d_Y, cache) -> d_Q, d_K, d_V`
#
# Undo the three steps from the last to the first. `cache` has what the forward kept: `Q`, `K`, `V` and the weights `A`. `d_Y` has the shape of
# `Y`, $(\ldots, n, v)$. Return the three gradients as a tuple, in this order.
#
# For a product $C = A B$ the rule is $dA = dC\, B^\top$ and $dB = A^\top dC$. So:
#
# | undo | you get | shape |
# |---|---|---|
# | $Y = A V$ | $dA$, $dV$ | $(n, m)$, $(m, v)$ |
# | $A = \mathrm{softmax}(S)$ | $dS$, with your `softmax_backward` | $(n, m)$ |
# | $S = Q K^\top / \sqrt{d}$ | $dQ$, $dK$ | $(n, d)$, $(m, d)$ |
#
# In the last line $B$ is $K^\top$, so its rule gives you $(dK)^\top$. And the factor $1 / \sqrt{d}$ does not go away.

# %% [markdown] lang="zh"
# ## 5 · `attention_backward(d_Y, cache) -> d_Q, d_K, d_V`
#
# 从最后一步到第一步,把三步逐一拆开。`cache` 里是前向留下的 `Q`、`K`、`V` 和权重 `A`。`d_Y` 与 `Y` 同形,$(\ldots, n, v)$。按这个顺序用元组返回
# 三个梯度。
#
# 对乘积 $C = A B$,法则是 $dA = dC\, B^\top$,$dB = A^\top dC$。于是:
#
# | 拆 | 得到 | 形状 |
# |---|---|---|
# | $Y = A V$ | $dA$、$dV$ | $(n, m)$、$(m, v)$ |
# | $A = \mathrm{softmax}(S)$ | $dS$,用你的 `softmax_backward` | $(n, m)$ |
# | $S = Q K^\top / \sqrt{d}$ | $dQ$、$dK$ | $(n, d)$、$(m, d)$ |
#
# 最后一行里 $B$ 是 $K^\top$,所以法则给出的是 $(dK)^\top$。系数 $1 / \sqrt{d}$ 也不会消失。

# %%
def attention_backward(d_Y, cache):
    Q, K, V, A = cache
    ### BEGIN SOLUTION
    d_A = d_Y @ V.swapaxes(-1, -2)
    d_V = A.swapaxes(-1, -2) @ d_Y
    d_S = softmax_backward(d_A, A) / math.sqrt(Q.shape[-1])
    return d_S @ K, d_S.swapaxes(-1, -2) @ Q, d_V
    ### END SOLUTION

# %%
check("attention_backward", attention_backward)

# %% [markdown] lang="en"
# ## 6 · `split_heads(X, heads) -> Y`
#
# Cut the last axis of `X`, shape $(\ldots, n, d)$, into `heads` blocks of $d / h$ neighbouring features, and move the axis of the heads in front of
# the tokens: `Y` has shape $(\ldots, h, n, d / h)$. Then a product `@` works on every head by itself.
#
# | X | `split_heads(X, 2)` |
# |---|---|
# | `[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]` | head 0: `[[0, 1], [4, 5], [8, 9]]`, head 1: `[[2, 3], [6, 7], [10, 11]]` |
#
# One `reshape` cannot do it: it never changes the order in which the numbers lie. What has to happen after it?

# %% [markdown] lang="zh"
# ## 6 · `split_heads(X, heads) -> Y`
#
# `X` 的形状是 $(\ldots, n, d)$。把最后一个轴切成 `heads` 段,每段是相邻的 $d / h$ 个特征,再把头的轴移到词元的前面:`Y` 的形状是
# $(\ldots, h, n, d / h)$。这样,`@` 就对每个头分别做乘积。
#
# | X | `split_heads(X, 2)` |
# |---|---|
# | `[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]` | 头 0:`[[0, 1], [4, 5], [8, 9]]`,头 1:`[[2, 3], [6, 7], [10, 11]]` |
#
# 一次 `reshape` 做不到:它从不改变数字排列的先后。在它之后还要做什么?

# %%
def split_heads(X, heads):
    ### BEGIN SOLUTION
    return X.reshape(*X.shape[:-1], heads, X.shape[-1] // heads).swapaxes(-2, -3)
    ### END SOLUTION

# %%
check("split_heads", split_heads)

# %%
progress()
