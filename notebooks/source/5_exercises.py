# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # Exercises 5 · Retrieval
#
# Five functions: three that say how good a search is, one that improves it, and one that asks where attention looks.
#
# Write yours in place of `raise NotImplementedError`, run the cell, and run the `check` below it. It draws new shapes and numbers each
# time. `hint("rerank")` gives a hint, and the next one is a little clearer.
#
# Everywhere, $C$ is the number of captions and $I$ that of images. A row of $S\,(C, I)$ is a caption, a column an image; `image_of` $(C,)$
# names the image of each caption, and an image may have several captions. **Ranks count from 0, the largest score stands first, and of
# equal scores the one with the lower number.** Useful in NumPy: `np.argsort(-x, kind="stable")` gives the places of `x`, largest first,
# and leaves equal ones in their order. `example_S` and `example_image_of` are those of lesson 5.2, to try your functions on.

# %% [markdown] lang="zh"
# # 练习 5 · 检索
#
# 五个函数:三个说明一次检索有多好,一个让它更好,还有一个问注意力看向哪里。
#
# 把 `raise NotImplementedError` 换成你的代码,运行这一格,再运行下面的 `check`,它每次都换新的形状和数字。`hint("rerank")` 给一个提示,再要
# 一次会更明白一点。
#
# 全篇里 $C$ 是描述的个数,$I$ 是图像的个数。$S\,(C, I)$ 的一行是一句描述,一列是一幅图;`image_of` $(C,)$ 写明每句描述属于哪幅图,一幅图可以有
# 几句描述。**名次从 0 数起,分数最大的在最前,分数相等时编号小的在前。** 用得上的 NumPy:`np.argsort(-x, kind="stable")` 给出 `x` 从大到小的
# 位置,相等的保持原来的先后。`example_S` 和 `example_image_of` 取自第 5.2 节,可以拿来试你的函数。

# %%
import numpy as np

from attnretrieval.course import check, hint, progress

example_S = np.array([[0.9, 0.2], [0.3, 0.6], [0.2, 0.5], [0.4, 0.6]])
example_image_of = np.array([0, 0, 1, 1])

# %% [markdown] lang="en"
# ## 1 · `recall_at_k(S, image_of, k) -> percent`
#
# Text to image. Each caption is a query. It is a **hit** if fewer than `k` images stand before its own image `image_of[c]`. Return the
# share of hits among all captions, in percent.
#
# By hand: `recall_at_k(example_S, example_image_of, 1)` is 75, and with k = 2 it is 100.

# %% [markdown] lang="zh"
# ## 1 · `recall_at_k(S, image_of, k) -> percent`
#
# 由文找图。每句描述是一个查询。排在它自己的图 `image_of[c]` 之前的图少于 `k` 幅,就是**命中**。返回命中的描述占全部描述的百分比。
#
# 可以用手核对:`recall_at_k(example_S, example_image_of, 1)` 是 75,k = 2 时是 100。

# %%
def recall_at_k(S, image_of, k):
    ### BEGIN SOLUTION
    hits = [image_of[c] in np.argsort(-S[c], kind="stable")[:k] for c in range(len(S))]
    return 100 * np.mean(hits)
    ### END SOLUTION

# %%
check("recall_at_k", recall_at_k)

# %% [markdown] lang="en"
# ## 2 · `rank_of_first_match(S, image_of) -> ranks`
#
# Image to text. Each image is a query, and a column of $S$ holds its scores. Several captions are right, and **the first one found
# counts**: how many captions stand before it? Return `ranks` $(I,)$.
#
# By hand: the example gives the ranks (0, 1).

# %% [markdown] lang="zh"
# ## 2 · `rank_of_first_match(S, image_of) -> ranks`
#
# 由图找文。每幅图是一个查询,它的分数在 $S$ 的一列里。正确的描述有几句,**最先找到的那一句算数**:排在它之前的描述有几句?返回 `ranks` $(I,)$。
#
# 可以用手核对:上面的例子应得名次 (0, 1)。

# %%
def rank_of_first_match(S, image_of):
    ### BEGIN SOLUTION
    ranks = []
    for i in range(S.shape[1]):
        order = np.argsort(-S[:, i], kind="stable")
        ranks.append(np.argmax(image_of[order] == i))       # the place of the first True
    return np.array(ranks)
    ### END SOLUTION

# %%
check("rank_of_first_match", rank_of_first_match)

# %% [markdown] lang="en"
# ## 3 · `median_rank(ranks) -> medr`
#
# The median rank as papers report it: $\lfloor \mathrm{median} \rfloor + 1$, where `ranks` $(Q,)$ count from 0. The best value is 1.
# With an even number of queries the median is the mean of the two in the middle. By hand: (4, 0, 3, 1) has the median 2, so 3.

# %% [markdown] lang="zh"
# ## 3 · `median_rank(ranks) -> medr`
#
# 论文里报告的中位名次:$\lfloor \mathrm{median} \rfloor + 1$,`ranks` $(Q,)$ 从 0 数起,最好的值是 1。查询数为偶数时,中位数是中间两个的平均。
# 用手算:(4, 0, 3, 1) 的中位数是 2,所以得 3。

# %%
def median_rank(ranks):
    ### BEGIN SOLUTION
    return np.floor(np.median(ranks)) + 1
    ### END SOLUTION

# %%
check("median_rank", median_rank)

# %% [markdown] lang="en"
# ## 4 · `rerank(order, scores, k) -> order`
#
# The index found the ids `order` $(n,)$, best first. A slower and better score was then computed for the first `k` of them: `scores`
# $(k,)$, where `scores[0]` belongs to the id `order[0]`. Return all ids in their new order: the first `k` by the new scores, largest first and
# equal ones as they stood; the others keep their places.
#
# By hand: `order` = (7, 2, 9, 4), `scores` = (0.1, 0.8, 0.5), k = 3 gives (2, 9, 7, 4).

# %% [markdown] lang="zh"
# ## 4 · `rerank(order, scores, k) -> order`
#
# 索引找到了编号 `order` $(n,)$,最好的在前。然后用更慢也更准的方法给前 `k` 个打了分:`scores` $(k,)$,`scores[0]` 属于编号 `order[0]`。按新的次序返回
# 所有编号:前 `k` 个按新分数从大到小,相等的保持原来的先后;其余的位置不动。
#
# 用手算:`order` = (7, 2, 9, 4),`scores` = (0.1, 0.8, 0.5),k = 3,应得 (2, 9, 7, 4)。

# %%
def rerank(order, scores, k):
    ### BEGIN SOLUTION
    places = np.argsort(-scores, kind="stable")
    return np.concatenate([order[:k][places], order[k:]])
    ### END SOLUTION

# %%
check("rerank", rerank)

# %% [markdown] lang="en"
# ## 5 · `pointing_accuracy(A, boxes, centres) -> share`
#
# `A` $(P, m)$: for each of $P$ phrases its attention on the $m$ regions. `centres` $(m, 2)$: $x, y$ of the middle of each region. `boxes` is a list:
# for each phrase an array $(B, 4)$ of boxes $x_0, y_0, x_1, y_1$ around what it names; $B$ differs from phrase to phrase.
#
# A phrase hits if the centre of the region with its **largest** weight lies in **any** of its boxes, edges included. Return the share of
# hits, from 0 to 1.

# %% [markdown] lang="zh"
# ## 5 · `pointing_accuracy(A, boxes, centres) -> share`
#
# `A` $(P, m)$:$P$ 个短语各自在 $m$ 个区域上的注意力。`centres` $(m, 2)$:各区域中心的 $x, y$。`boxes` 是一个列表:每个短语对应一个数组 $(B, 4)$,即它所指之
# 物的框 $x_0, y_0, x_1, y_1$;各短语的 $B$ 不同。
#
# 权重**最大**的区域的中心落在**任一**框内(边界也算),这个短语就命中。返回命中的比例,从 0 到 1。

# %%
def pointing_accuracy(A, boxes, centres):
    ### BEGIN SOLUTION
    hits = []
    for a, listed in zip(A, boxes):
        x, y = centres[a.argmax()]
        hits.append(any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in listed))
    return np.mean(hits)
    ### END SOLUTION

# %%
check("pointing_accuracy", pointing_accuracy)

# %%
progress()
