# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # Exercises 4 · Objectives
#
# Four functions: the gradient of the cosine, two losses, and the gradient of the second.
#
# Write yours in place of `raise NotImplementedError`, run the cell, and run the `check` below it. It draws new shapes and numbers each
# time. `hint("info_nce")` gives a hint, and the next one is a little clearer.
#
# Everywhere, $C$ is the number of captions and $I$ that of images. A row of $S\,(C, I)$ is a caption, a column an image. `positives`
# $(C, I)$ is `True` where the caption describes the image; an image may have several captions. Useful in NumPy here: `~positives` turns
# `True` and `False` round, `S[c][~positives[c]]` takes the entries where a row of booleans is `True`, and `np.argwhere(positives)` lists
# all right pairs. `example_S` and `example_positives` are the scores of lesson 4.2, to try your losses on.

# %% [markdown] lang="zh"
# # 练习 4 · 训练目标
#
# 四个函数:余弦的梯度、两种损失,以及后一种损失的梯度。
#
# 把 `raise NotImplementedError` 换成你的代码,运行这一格,再运行下面的 `check`,它每次都换新的形状和数字。`hint("info_nce")` 给一个提示,
# 再要一次会更明白一点。
#
# 全篇里 $C$ 是描述的个数,$I$ 是图像的个数。$S\,(C, I)$ 的一行是一句描述,一列是一幅图。`positives` $(C, I)$ 在描述属于该图处为 `True`,一幅图
# 可以有几句描述。这里用得上的 NumPy:`~positives` 把 `True` 和 `False` 对调,`S[c][~positives[c]]` 取出布尔行为 `True` 处的元素,
# `np.argwhere(positives)` 列出所有正确的对。`example_S` 和 `example_positives` 是第 4.2 节的分数,可以拿来试你的损失。

# %%
import numpy as np

from attnretrieval.course import check, hint, progress

example_S = np.array([[0.70, 0.60, 0.10], [0.20, 0.50, 0.35], [0.20, 0.45, 0.60]])
example_positives = np.eye(3, dtype=bool)

# %% [markdown] lang="en"
# ## 1 · `cosine_similarity_backward(d_S, cache) -> d_G_t, d_G_v`
#
# The forward brought every caption vector $G_t\,(C, d)$ and every image vector $G_v\,(I, d)$ to length 1, and compared all with all:
#
# $$\hat T = r_t \circ G_t, \quad \hat V = r_v \circ G_v, \quad r = 1 / \text{length} \tag{cosine.cosine-similarity (1)}$$
# $$S = \hat T\, \hat V^\top \tag{cosine.cosine-similarity (2)}$$
#
# `cache` holds `T_hat` $(C, d)$, `V_hat` $(I, d)$, `r_t` $(C, 1)$ and `r_v` $(I, 1)$. Given `d_S` $(C, I)$, return both gradients as a tuple.
#
# Two steps back. The product first: it gives $d\hat T$ and $d\hat V$. Then the division, for each row by itself, where
# $\partial \hat g_j / \partial g_k = r\,(\delta_{jk} - \hat g_j \hat g_k)$. Test yourself by hand: $g = (3, 4)$ and $d\hat g = (1, 0)$ give
# $dg = (0.128, -0.096)$, perpendicular to $g$.

# %% [markdown] lang="zh"
# ## 1 · `cosine_similarity_backward(d_S, cache) -> d_G_t, d_G_v`
#
# 前向把每个描述向量 $G_t\,(C, d)$ 和图像向量 $G_v\,(I, d)$ 的长度变成 1,再两两比较:
#
# $$\hat T = r_t \circ G_t, \quad \hat V = r_v \circ G_v, \quad r = 1 / \text{长度} \tag{cosine.cosine-similarity (1)}$$
# $$S = \hat T\, \hat V^\top \tag{cosine.cosine-similarity (2)}$$
#
# `cache` 里有 `T_hat` $(C, d)$、`V_hat` $(I, d)$、`r_t` $(C, 1)$、`r_v` $(I, 1)$。给定 `d_S` $(C, I)$,用元组返回两个梯度。
#
# 倒退两步。先是乘积,得到 $d\hat T$ 和 $d\hat V$;再是除以长度,各行互不相干,用
# $\partial \hat g_j / \partial g_k = r\,(\delta_{jk} - \hat g_j \hat g_k)$。先用手自测:$g = (3, 4)$,$d\hat g = (1, 0)$ 应得
# $dg = (0.128, -0.096)$,与 $g$ 垂直。

# %%
def cosine_similarity_backward(d_S, cache):
    T_hat, V_hat, r_t, r_v = cache
    ### BEGIN SOLUTION
    def through_length(d_hat, hat, r):
        return r * (d_hat - hat * (hat * d_hat).sum(axis=-1, keepdims=True))

    return through_length(d_S @ V_hat, T_hat, r_t), through_length(d_S.T @ T_hat, V_hat, r_v)
    ### END SOLUTION

# %%
check("cosine_similarity_backward", cosine_similarity_backward)

# %% [markdown] lang="en"
# ## 2 · `triplet_loss(S, positives, margin=0.2) -> L`
#
# For each right pair $(c, i)$:
#
# $$V_{ij} = \max(0,\; \mathrm{margin} + S_{cj} - S_{ci}) \qquad \text{for each image } j \text{ that is wrong for } c \tag{triplet (1)}$$
# $$U_{ik} = \max(0,\; \mathrm{margin} + S_{ki} - S_{ci}) \qquad \text{for each caption } k \text{ that is wrong for } i$$
# $$L = \Big(\sum V + \sum U\Big) / \text{number of right pairs} \tag{triplet (2)}$$
#
# Loops are welcome. Mind "wrong": another caption of the same image is *not* wrong, and neither is $i$ itself. Where
# nothing is wrong, its sum is 0. Return a number. By hand: `triplet_loss(example_S, example_positives)` is 0.217.

# %% [markdown] lang="zh"
# ## 2 · `triplet_loss(S, positives, margin=0.2) -> L`
#
# 对每个正确的对 $(c, i)$:
#
# $$V_{ij} = \max(0,\; \mathrm{margin} + S_{cj} - S_{ci}) \qquad \text{对 } c \text{ 而言每幅错误的图 } j \tag{triplet (1)}$$
# $$U_{ik} = \max(0,\; \mathrm{margin} + S_{ki} - S_{ci}) \qquad \text{对 } i \text{ 而言每句错误的描述 } k$$
# $$L = \Big(\sum V + \sum U\Big) / \text{正确对的个数} \tag{triplet (2)}$$
#
# 尽管用循环。注意“错误”二字:同一幅图的另一句描述*不算*错,$i$ 自己当然也不算。没有错误者时,和
# 为 0。返回一个数。可以用手核对:`triplet_loss(example_S, example_positives)` 是 0.217。

# %%
def triplet_loss(S, positives, margin=0.2):
    ### BEGIN SOLUTION
    total = 0.0
    for c, i in np.argwhere(positives):
        images, captions = S[c][~positives[c]], S[:, i][~positives[:, i]]
        total += np.maximum(0, margin + images - S[c, i]).sum()
        total += np.maximum(0, margin + captions - S[c, i]).sum()
    return total / positives.sum()
    ### END SOLUTION

# %%
check("triplet_loss", triplet_loss)

# %% [markdown] lang="en"
# ## 3 · `info_nce(S, log_temperature, positives) -> L`
#
# $$Z = S / \tau, \qquad \tau = e^{l} \tag{info-nce (1)}$$
# $$L_t = \text{mean over captions of } -\sum_i Y_{ci} \log P_{ci}, \qquad P = \mathrm{softmax}(Z) \text{ along the images} \tag{info-nce (3)}$$
# $$L_v = \text{mean over images of } -\sum_c X_{ci} \log R_{ci}, \qquad R = \mathrm{softmax}(Z) \text{ along the captions}$$
# $$L = (L_t + L_v) / 2 \tag{info-nce (4)}$$
#
# $l$ is `log_temperature`. $Y$ is `positives` with each row divided by its sum, $X$ with each column divided by its sum. Every row and
# column has a right answer. Return a number: `info_nce(example_S, np.log(0.2), example_positives)` is 0.534.
#
# It pays to write **one direction** as a function of $Z$ and `positives`, along the rows; the other direction is the same function of the
# transposes. Take the logarithm by pencil first: $\log P_i = Z_i - \log \sum_k e^{Z_k}$. And subtract the row's maximum from $Z$ before
# all this, as in exercise 2: scores of some hundreds come too.

# %% [markdown] lang="zh"
# ## 3 · `info_nce(S, log_temperature, positives) -> L`
#
# $$Z = S / \tau, \qquad \tau = e^{l} \tag{info-nce (1)}$$
# $$L_t = -\sum_i Y_{ci} \log P_{ci} \text{ 对描述求平均}, \qquad P = \mathrm{softmax}(Z) \text{(沿图像)} \tag{info-nce (3)}$$
# $$L_v = -\sum_c X_{ci} \log R_{ci} \text{ 对图像求平均}, \qquad R = \mathrm{softmax}(Z) \text{(沿描述)}$$
# $$L = (L_t + L_v) / 2 \tag{info-nce (4)}$$
#
# $l$ 就是 `log_temperature`。$Y$ 是 `positives` 的每行除以该行之和,$X$ 是每列除以该列之和。每行每列都有正确答案。
# 返回一个数:`info_nce(example_S, np.log(0.2), example_positives)` 是 0.534。
#
# 最好把**一个方向**写成 $Z$ 和 `positives` 的函数,沿行计算;另一个方向就是对两者的转置再用同一个函数。先用铅笔取对数:
# $\log P_i = Z_i - \log \sum_k e^{Z_k}$。另外,一开始就让 $Z$ 减去行最大值,同练习 2:分数也会有几百那么大。

# %%
def info_nce(S, log_temperature, positives):
    ### BEGIN SOLUTION
    def one_direction(Z, positives):
        Y = positives / positives.sum(axis=1, keepdims=True)
        Z = Z - Z.max(axis=1, keepdims=True)
        log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        return -(Y * log_P).sum() / len(Z)

    Z = S / np.exp(log_temperature)
    return (one_direction(Z, positives) + one_direction(Z.T, positives.T)) / 2
    ### END SOLUTION

# %%
check("info_nce", info_nce)

# %% [markdown] lang="en"
# ## 4 · `info_nce_backward(d_L, cache) -> d_S, d_log_temperature`
#
# `cache` holds `S` $(C, I)$, `tau`, `positives` $(C, I)$ and both softmaxes: `P` $(C, I)$, whose rows sum to 1, and `R` $(C, I)$, whose columns
# sum to 1. `d_L` is a number. Return both gradients as a tuple.
#
# **With a pencil first.** One row: $L_c = -\sum_i Y_i Z_i + \log \sum_k e^{Z_k}$. What is $\partial L_c / \partial Z_j$? Then put together: the mean
# over $C$ captions, the mean over $I$ images, the half of (4), and the way through $Z = S / \tau$. Test yourself: a row $Z = (2, 1, 0)$ whose
# first entry is right gives $(-0.335,\ 0.245,\ 0.090)$.
#
# For $dl$, the gradient of `log_temperature`: every $Z_{ci} = S_{ci}\, e^{-l}$ uses $l$. What is used everywhere gets the sum.
#
# (`check` may remark that float32 becomes float64: in NumPy `True / 2` is a float64. It is no fault; `.astype(S.dtype)` on the targets
# mends it.)

# %% [markdown] lang="zh"
# ## 4 · `info_nce_backward(d_L, cache) -> d_S, d_log_temperature`
#
# `cache` 里有 `S` $(C, I)$、`tau`、`positives` $(C, I)$ 和两个 softmax:`P` $(C, I)$,各行之和为 1;`R` $(C, I)$,各列之和为 1。`d_L` 是一个数。用
# 元组返回两个梯度。
#
# **先用铅笔。** 只看一行:$L_c = -\sum_i Y_i Z_i + \log \sum_k e^{Z_k}$。$\partial L_c / \partial Z_j$ 是什么?然后合起来:对 $C$ 句描述平均,对 $I$ 幅图平均,
# (4) 里的一半,再经过 $Z = S / \tau$。自测:一行 $Z = (2, 1, 0)$,第一个是对的,应得 $(-0.335,\ 0.245,\ 0.090)$。
#
# 至于 `log_temperature` 的梯度 $dl$:每个 $Z_{ci} = S_{ci}\, e^{-l}$ 都用到 $l$。处处用到的,梯度要求和。
#
# (`check` 也许会提醒 float32 变成了 float64:在 NumPy 里 `True / 2` 是 float64。这不算错;给目标加上 `.astype(S.dtype)` 就好。)

# %%
def info_nce_backward(d_L, cache):
    S, tau, positives, P, R = cache
    ### BEGIN SOLUTION
    C, I = S.shape
    Y = (positives / positives.sum(axis=1, keepdims=True)).astype(S.dtype)
    X = (positives / positives.sum(axis=0, keepdims=True)).astype(S.dtype)
    d_Z = d_L * ((P - Y) / C + (R - X) / I) / 2
    return d_Z / tau, -(d_Z * S).sum() / tau
    ### END SOLUTION

# %%
check("info_nce_backward", info_nce_backward)

# %%
progress()
