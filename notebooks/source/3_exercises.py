# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # Exercises 3 · Cross-attention
#
# Six functions: what two modalities find in each other, how it is fused, how it is pooled, and two gradients of these.
#
# Write yours in place of `raise NotImplementedError`, run the cell, and run the `check` below it. It draws new shapes and numbers each
# time. `hint("contexts")` gives a hint, and the next one is a little clearer. You have written `softmax`, `attention` and
# `linear_backward` in earlier exercises; here `softmax` and `attention` are given, so that this sheet stands by itself. The given
# `attention(Q, K, V, key_mask=None)` returns $Y$ alone.

# %% [markdown] lang="zh"
# # 练习 3 · 交叉注意力
#
# 六个函数:两种模态在对方那里找到什么,怎样融合,怎样池化,以及其中两个的梯度。
#
# 把 `raise NotImplementedError` 换成你的代码,运行这一格,再运行下面的 `check`,它每次都换新的形状和数字。`hint("contexts")` 给一个提示,
# 再要一次会更明白一点。`softmax`、`attention` 和 `linear_backward` 你在前面的练习里写过;这里把 `softmax` 和 `attention` 直接给出,好让这一份练习
# 自成一体。给出的 `attention(Q, K, V, key_mask=None)` 只返回 $Y$。

# %%
import math

import numpy as np

from attnretrieval.course import check, hint, progress
from attnretrieval.course.given import attention, softmax

# %% [markdown] lang="en"
# ## 1 · `cross_attention(H, H_other, key_mask=None) -> C`
#
# $$A = \mathrm{softmax}(H H_{other}^\top / \sqrt d) \tag{cross-attention (1)}$$
# $$C = A H_{other} \tag{cross-attention (2)}$$
#
# `H` has shape $(\ldots, n, d)$: those who look. `H_other` has shape $(\ldots, m, d)$: those who are looked at. `C` is $(\ldots, n, d)$, one context
# for each who looks. `key_mask` is `None` or $(\ldots, m)$, `True` = a real token of `H_other`.
#
# Which of $Q$, $K$, $V$ is which?

# %% [markdown] lang="zh"
# ## 1 · `cross_attention(H, H_other, key_mask=None) -> C`
#
# $$A = \mathrm{softmax}(H H_{other}^\top / \sqrt d) \tag{cross-attention (1)}$$
# $$C = A H_{other} \tag{cross-attention (2)}$$
#
# `H` 的形状是 $(\ldots, n, d)$,是看的一方;`H_other` 是 $(\ldots, m, d)$,是被看的一方。`C` 是 $(\ldots, n, d)$,看的一方每个词元得到一个上下文。
# `key_mask` 是 `None` 或形状 $(\ldots, m)$,`True` 表示 `H_other` 的真实词元。
#
# $Q$、$K$、$V$ 各是谁?

# %%
def cross_attention(H, H_other, key_mask=None):
    ### BEGIN SOLUTION
    return attention(H, H_other, H_other, key_mask)
    ### END SOLUTION

# %%
check("cross_attention", cross_attention)

# %% [markdown] lang="en"
# ## 2 · `contexts(H_t, H_v, word_mask, region_mask) -> C_t, C_v`
#
# Both directions, of one text `H_t` $(n, d)$ and one image `H_v` $(m, d)$. Return $C_t\,(n, d)$, what the words found among the regions, and
# $C_v\,(m, d)$, what the regions found among the words, as a tuple. `word_mask` has shape $(n)$, `region_mask` $(m)$; `True` = real.
#
# Two things go wrong here. A mask belongs to those who are looked at. And $A_{v2t}$ is not $A_{t2v}$ transposed: its own rows must sum
# to 1.

# %% [markdown] lang="zh"
# ## 2 · `contexts(H_t, H_v, word_mask, region_mask) -> C_t, C_v`
#
# 一句话 `H_t` $(n, d)$ 和一幅图 `H_v` $(m, d)$,两个方向都要。用元组返回 $C_t\,(n, d)$(词在区域中找到的)和 $C_v\,(m, d)$(区域在词中找到的)。
# `word_mask` 的形状是 $(n)$,`region_mask` 是 $(m)$,`True` 表示真实。
#
# 这里容易错两处:遮罩属于被看的一方;$A_{v2t}$ 不是 $A_{t2v}$ 的转置,它自己的每一行之和必须是 1。

# %%
def contexts(H_t, H_v, word_mask, region_mask):
    ### BEGIN SOLUTION
    return cross_attention(H_t, H_v, region_mask), cross_attention(H_v, H_t, word_mask)
    ### END SOLUTION

# %%
check("contexts", contexts)

# %% [markdown] lang="en"
# ## 3 · `fuse_gate(H, C, W, b) -> F`
#
# $$G = \sigma([H \,; C]\, W + b) \tag{fusion (1)}$$
# $$F = G \circ H + (1 - G) \circ C \tag{fusion (2)}$$
#
# `H` and `C` have shape $(\ldots, n, d)$, `W` $(2d, d)$, `b` $(d)$. $[H \,; C]$ puts the features side by side, $(\ldots, n, 2d)$:
# `np.concatenate` with `axis=-1`. $\sigma(u) = 1 / (1 + e^{-u})$, and $\circ$ is `*`.

# %% [markdown] lang="zh"
# ## 3 · `fuse_gate(H, C, W, b) -> F`
#
# $$G = \sigma([H \,; C]\, W + b) \tag{fusion (1)}$$
# $$F = G \circ H + (1 - G) \circ C \tag{fusion (2)}$$
#
# `H` 和 `C` 的形状是 $(\ldots, n, d)$,`W` 是 $(2d, d)$,`b` 是 $(d)$。$[H \,; C]$ 把特征左右并排,得 $(\ldots, n, 2d)$:用 `np.concatenate`,
# `axis=-1`。$\sigma(u) = 1 / (1 + e^{-u})$,$\circ$ 就是 `*`。

# %%
def fuse_gate(H, C, W, b):
    ### BEGIN SOLUTION
    U = np.concatenate([H, C], axis=-1) @ W + b
    G = 1 / (1 + np.exp(-U))
    return G * H + (1 - G) * C
    ### END SOLUTION

# %%
check("fuse_gate", fuse_gate)

# %% [markdown] lang="en"
# ## 4 · `fuse_gate_backward(d_F, cache) -> d_H, d_C, d_W, d_b`
#
# `cache` has `H`, `C`, `W` and the gate `G`; `d_F` has shape $(\ldots, n, d)$. Return four gradients as a tuple, each with the shape of its
# variable.
#
# **With a pencil first**, one feature: $F = G h + (1 - G) c$, $\;G = \sigma(u)$, $\;u = w_h h + w_c c + b$. Note that $\sigma' = G (1 - G)$, and that $h$ reaches
# $F$ in two ways. Test yourself: $h = 3$, $c = 1$, $w_h = 1$, $w_c = -1$, $u = 0$, $dF = 1$ must give $dh = 1$ and $dc = 0$.
#
# | undo | you get | shape |
# |---|---|---|
# | $F = G \circ H + (1 - G) \circ C$ | $dG$, and the straight parts of $dH$, $dC$ | $(\ldots, n, d)$ |
# | $G = \sigma(U)$ | $dU$ | $(\ldots, n, d)$ |
# | $U = [H \,; C]\, W + b$ | $dW$, $db$, and $dU\, W^\top$: first the $d$ features of $H$, then those of $C$ | $(2d, d)$, $(d)$, $(\ldots, n, 2d)$ |
#
# `dW` and `db` sum over all tokens of all sequences. Flatten first: `X.reshape(-1, X.shape[-1])`.

# %% [markdown] lang="zh"
# ## 4 · `fuse_gate_backward(d_F, cache) -> d_H, d_C, d_W, d_b`
#
# `cache` 里有 `H`、`C`、`W` 和门 `G`;`d_F` 的形状是 $(\ldots, n, d)$。用元组返回四个梯度,各与自己的变量同形。
#
# **先用铅笔**,只看一个特征:$F = G h + (1 - G) c$,$\;G = \sigma(u)$,$\;u = w_h h + w_c c + b$。注意 $\sigma' = G (1 - G)$,而且 $h$ 有两条路
# 通向 $F$。自测:$h = 3$、$c = 1$、$w_h = 1$、$w_c = -1$、$u = 0$、$dF = 1$ 时应得 $dh = 1$、$dc = 0$。
#
# | 拆 | 得到 | 形状 |
# |---|---|---|
# | $F = G \circ H + (1 - G) \circ C$ | $dG$,以及 $dH$、$dC$ 中直接的部分 | $(\ldots, n, d)$ |
# | $G = \sigma(U)$ | $dU$ | $(\ldots, n, d)$ |
# | $U = [H \,; C]\, W + b$ | $dW$、$db$,以及 $dU\, W^\top$:前 $d$ 个特征属于 $H$,后 $d$ 个属于 $C$ | $(2d, d)$、$(d)$、$(\ldots, n, 2d)$ |
#
# `dW` 和 `db` 要对所有序列的所有词元求和。先压平:`X.reshape(-1, X.shape[-1])`。

# %%
def fuse_gate_backward(d_F, cache):
    H, C, W, G = cache
    ### BEGIN SOLUTION
    d = H.shape[-1]
    d_U = d_F * (H - C) * G * (1 - G)
    X, d_U_flat = np.concatenate([H, C], axis=-1).reshape(-1, 2 * d), d_U.reshape(-1, d)
    d_X = d_U @ W.T
    return d_F * G + d_X[..., :d], d_F * (1 - G) + d_X[..., d:], X.T @ d_U_flat, d_U_flat.sum(axis=0)
    ### END SOLUTION

# %%
check("fuse_gate_backward", fuse_gate_backward)

# %% [markdown] lang="en"
# ## 5 · `pool_mean_backward(d_g, cache) -> d_F`
#
# $$g = \sum_i mask_i F_i \big/ \sum_i mask_i \tag{pooling (1)}$$
#
# `cache` has `F`, shape $(\ldots, n, d)$, and `mask`, $(\ldots, n)$, `True` = real. `d_g` has shape $(\ldots, d)$. How much does $g$ move when one real token
# moves by 1, and when padding does? A sequence without a real token has $g = 0$ whatever its tokens are: its gradient is 0, and nothing
# may be divided by 0.
#
# (`check` may remark that float32 becomes float64: in NumPy `True / 2` is a float64. It is no fault; `.astype(d_g.dtype)` mends it.)

# %% [markdown] lang="zh"
# ## 5 · `pool_mean_backward(d_g, cache) -> d_F`
#
# $$g = \sum_i mask_i F_i \big/ \sum_i mask_i \tag{pooling (1)}$$
#
# `cache` 里有 `F`,形状 $(\ldots, n, d)$,和 `mask`,形状 $(\ldots, n)$,`True` 表示真实。`d_g` 的形状是 $(\ldots, d)$。一个真实词元动 1,$g$ 动多少?
# 填充动 1 呢?没有真实词元的序列,无论词元是什么,$g$ 都是 0:它的梯度是 0,也不许除以 0。
#
# (`check` 可能会提到 float32 变成了 float64:NumPy 里 `True / 2` 是 float64。这不算错,用 `.astype(d_g.dtype)` 就能保持。)

# %%
def pool_mean_backward(d_g, cache):
    F, mask = cache
    ### BEGIN SOLUTION
    weights = (mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)).astype(d_g.dtype)
    return weights[..., :, None] * d_g[..., None, :]
    ### END SOLUTION

# %%
check("pool_mean_backward", pool_mean_backward)

# %% [markdown] lang="en"
# ## 6 · `pool_attention(F, u, mask=None) -> g`
#
# $$e = F u / \sqrt d \tag{pooling (1)}$$
# $$a = \mathrm{softmax}(e) \tag{pooling (2)}$$
# $$g = \sum_i a_i F_i \tag{pooling (3)}$$
#
# `F` has shape $(\ldots, n, d)$, `u` $(d)$, `mask` is `None` or $(\ldots, n)$, and `g` is $(\ldots, d)$. `F @ u` gives one score a token. The given
# `softmax(S, mask)` works along the last axis.

# %% [markdown] lang="zh"
# ## 6 · `pool_attention(F, u, mask=None) -> g`
#
# $$e = F u / \sqrt d \tag{pooling (1)}$$
# $$a = \mathrm{softmax}(e) \tag{pooling (2)}$$
# $$g = \sum_i a_i F_i \tag{pooling (3)}$$
#
# `F` 的形状是 $(\ldots, n, d)$,`u` 是 $(d)$,`mask` 是 `None` 或 $(\ldots, n)$,`g` 是 $(\ldots, d)$。`F @ u` 给每个词元一个分数。给出的
# `softmax(S, mask)` 沿最后一个轴做。

# %%
def pool_attention(F, u, mask=None):
    ### BEGIN SOLUTION
    a = softmax(F @ u / math.sqrt(F.shape[-1]), mask)
    return (a[..., :, None] * F).sum(axis=-2)
    ### END SOLUTION

# %%
check("pool_attention", pool_attention)

# %%
progress()
