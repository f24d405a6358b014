# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # Exercises 1 · Words and regions
#
# Four functions, each a few lines of NumPy. Write yours in place of `raise NotImplementedError`, run the cell, and run the `check`
# below it. `check` draws new shapes and numbers each time and tells you what is wrong; `hint("pad")` gives a hint, and the next one
# is a little clearer. A function must not change the arrays that it is given. Every exercise says all that you need; lesson 1 has the
# reasons.

# %% [markdown] lang="zh"
# # 练习 1 · 词与区域
#
# 四个函数,每个只要几行 NumPy。把 `raise NotImplementedError` 换成你的代码,运行这一格,再运行下面的 `check`。`check` 每次都换新的
# 形状和数字,并告诉你错在哪里;`hint("pad")` 给一个提示,再要一次会更明白一点。函数不许改动传入的数组。做题需要的都写在题目里,
# 道理在第 1 课。

# %%
import numpy as np

from attnretrieval.course import check, hint, progress

# %% [markdown] lang="en"
# ## 1 · `regions_from_feature_map(F) -> V`
#
# Most frameworks store a feature map with the channels **first**: `F` has shape $(c, h, w)$. Attention wants one row a cell, row by
# row from the top left, and in it the $c$ channels of this cell: `V` of shape $(h \cdot w, c)$.
#
# | F, channel 0 | F, channel 1 | V |
# |---|---|---|
# | `[[1, 2, 3], [4, 5, 6]]` | `[[10, 20, 30], [40, 50, 60]]` | `[[1, 10], [2, 20], [3, 30], [4, 40], [5, 50], [6, 60]]` |
#
# The shape alone will not tell you whether you are right: `F.reshape(h * w, c)` has the right shape and is wrong. Try it on the
# example, if you do not see why.

# %% [markdown] lang="zh"
# ## 1 · `regions_from_feature_map(F) -> V`
#
# 大多数框架把通道放在**最前面**:`F` 的形状是 $(c, h, w)$。注意力要的是每格一行,从左上角起逐行排列,一行里是这一格的 $c$ 个通道:
# `V` 的形状是 $(h \cdot w, c)$。
#
# | F 的通道 0 | F 的通道 1 | V |
# |---|---|---|
# | `[[1, 2, 3], [4, 5, 6]]` | `[[10, 20, 30], [40, 50, 60]]` | `[[1, 10], [2, 20], [3, 30], [4, 40], [5, 50], [6, 60]]` |
#
# 光看形状看不出对错:`F.reshape(h * w, c)` 形状是对的,结果是错的。看不出为什么的话,拿上面的例子试一试。

# %%
def regions_from_feature_map(F):
    c, h, w = F.shape
    ### BEGIN SOLUTION
    return F.reshape(c, h * w).T
    ### END SOLUTION

# %%
check("regions_from_feature_map", regions_from_feature_map)

# %% [markdown] lang="en"
# ## 2 · `pad(sequences) -> X, mask`
#
# `sequences` is a list of $N$ arrays, one a sentence: number $i$ has shape $(n_i, d)$, and the $n_i$ differ. Return both as a tuple:
#
# - `X` of shape $(N, n, d)$, where $n$ is the largest $n_i$. Sentence $i$ stands at the beginning of `X[i]`; behind it are zeros.
# - `mask` of shape $(N, n)$, booleans: `True` where there is a word, `False` where there is padding. The lengths tell where: a word
#   may be a vector of zeros.

# %% [markdown] lang="zh"
# ## 2 · `pad(sequences) -> X, mask`
#
# `sequences` 是 $N$ 个数组的列表,每句话一个:第 $i$ 个的形状是 $(n_i, d)$,各个 $n_i$ 不同。以元组返回两者:
#
# - `X`,形状 $(N, n, d)$,$n$ 是最大的 $n_i$。第 $i$ 句放在 `X[i]` 的开头,后面是零。
# - `mask`,形状 $(N, n)$,布尔型:有词处为 `True`,填充处为 `False`。依据是长度:一个词的向量也可能全是 0。

# %%
def pad(sequences):
    ### BEGIN SOLUTION
    lengths = [len(sequence) for sequence in sequences]
    X = np.zeros((len(sequences), max(lengths), sequences[0].shape[1]))
    for row, sequence in zip(X, sequences, strict=True):
        row[:len(sequence)] = sequence
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return X, mask
    ### END SOLUTION

# %%
check("pad", pad)

# %% [markdown] lang="en"
# ## 3 · `mask_padding(S, key_mask) -> S_masked`
#
# Before the softmax, scores of padding are replaced by $-\infty$ (`-np.inf`): $e^{-\infty} = 0$, so they get weight exactly 0.
#
# - `S` has shape $(\ldots, n, m)$: a row for each query, a column for each key. There may be any number of axes in front.
# - `key_mask` has shape $(\ldots, m)$ with the same axes in front: `True` is a real key. It has **no axis for the queries**: the same
#   keys are masked for all of them, so it needs one before it can be combined with `S`.
#
# Return a new array; `S` itself stays as it is.

# %% [markdown] lang="zh"
# ## 3 · `mask_padding(S, key_mask) -> S_masked`
#
# 做 softmax 之前,把填充处的分数换成 $-\infty$(`-np.inf`):$e^{-\infty} = 0$,它们的权重就恰好是 0。
#
# - `S` 的形状是 $(\ldots, n, m)$:每个查询一行,每个键一列。前面可以有任意多个轴。
# - `key_mask` 的形状是 $(\ldots, m)$,前面的轴与 `S` 相同:`True` 表示真实的键。它**没有查询这个轴**:对所有查询遮住的都是同样的键,
#   所以要先给它添一个轴,才能与 `S` 合用。
#
# 返回一个新数组,`S` 本身保持原样。

# %%
def mask_padding(S, key_mask):
    ### BEGIN SOLUTION
    return np.where(key_mask[..., None, :], S, -np.inf)
    ### END SOLUTION

# %%
check("mask_padding", mask_padding)

# %% [markdown] lang="en"
# ## 4 · `linear_backward(d_Y, cache) -> d_X, d_W, d_b`
#
# Your first gradient. The forward was $Y = X W + b$, with $X\,(n, d_{in})$, $W\,(d_{in}, d_{out})$, $b\,(d_{out})$; `cache.X` and `cache.W`
# are what the forward kept. Given $dY$, of the shape of $Y$, return the three gradients as a tuple.
#
# **With a pencil first**: write $Y_{ij} = \sum_k X_{ik} W_{kj} + b_j$. Where does $X_{ik}$ go, where $W_{kj}$, where $b_j$? Sum over all
# the places that each reaches. Then write the sums as products; the shapes tell you which transposes are needed.
#
# The last case that `check` tries is a batch, $X\,(N, n, d_{in})$. $W$ and $b$ are used by every token of every sentence: flatten both
# $X$ and $dY$ to two axes, with `X.reshape(-1, X.shape[-1])`, and the same formulas hold.

# %% [markdown] lang="zh"
# ## 4 · `linear_backward(d_Y, cache) -> d_X, d_W, d_b`
#
# 你的第一个梯度。前向是 $Y = X W + b$,其中 $X\,(n, d_{in})$,$W\,(d_{in}, d_{out})$,$b\,(d_{out})$;`cache.X` 和 `cache.W` 是前向留下的。
# 给定与 $Y$ 同形的 $dY$,用元组返回三个梯度。
#
# **先用铅笔**:写出 $Y_{ij} = \sum_k X_{ik} W_{kj} + b_j$。$X_{ik}$ 影响了哪里?$W_{kj}$ 呢?$b_j$ 呢?对各自影响到的所有地方求和。再把和式
# 写成乘积,形状会告诉你哪里要转置。
#
# `check` 也会试一个批次,$X\,(N, n, d_{in})$。$W$ 和 $b$ 被每句话的每个词用到:用 `X.reshape(-1, X.shape[-1])` 把 $X$ 和 $dY$ 都压成
# 两个轴,同样的公式就成立。

# %%
def linear_backward(d_Y, cache):
    X, W = cache.X, cache.W
    ### BEGIN SOLUTION
    d_X = d_Y @ W.T
    rows, d_rows = X.reshape(-1, X.shape[-1]), d_Y.reshape(-1, d_Y.shape[-1])
    return d_X, rows.T @ d_rows, d_rows.sum(axis=0)
    ### END SOLUTION

# %%
check("linear_backward", linear_backward)

# %%
progress()
