# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # Exercises 6 · Capstone
#
# Five functions that every collection needs: read its captions, split it, find what stands in both parts, put a gradient back where its
# rows came from, and say how far a recall may be off.
#
# Write yours in place of `raise NotImplementedError`, run the cell, and run the `check` below it. It draws new shapes and numbers each
# time. `hint("split_by_image")` gives a hint, and the next one is a little clearer.

# %% [markdown] lang="zh"
# # 练习 6 · 总结项目
#
# 五个函数,哪个图集都用得上:读描述,划分,找出同时出现在两部分里的图,把梯度放回它那几行的来处,再说清召回率可能偏多少。
#
# 把 `raise NotImplementedError` 换成你的代码,运行这一格,再运行下面的 `check`,它每次都换新的形状和数字。`hint("split_by_image")` 给一个提示,
# 再要一次会更明白一点。

# %%
import numpy as np

from attnretrieval.course import check, hint, progress

# %% [markdown] lang="en"
# ## 1 · `read_captions(text) -> captions`
#
# `text` is the whole of a caption file in the layout of Flickr8k, a line each: the name of the image, `#`, a number, a tab, the caption.
# Return a dict: the name of each image → the list of its captions, in the order of the file.
#
# ```
# cat.jpg#0	a cat on a sofa
# cat.jpg#1	一只猫在沙发上
# dog #2.jpg#0	my dog is #1
# ```
#
# gives `{"cat.jpg": ["a cat on a sofa", "一只猫在沙发上"], "dog #2.jpg": ["my dog is #1"]}`. A `#` may stand in a name or a caption, as here.
# Lines may end in `\r\n`, as Windows writes them, and blank lines are skipped. The captions of an image need not stand together.

# %% [markdown] lang="zh"
# ## 1 · `read_captions(text) -> captions`
#
# `text` 是一个 Flickr8k 格式描述文件的全文,每行依次是:图像名、`#`、编号、制表符、描述。返回一个字典:图像名 → 它的描述列表,按文件里的先后。
#
# ```
# cat.jpg#0	a cat on a sofa
# cat.jpg#1	一只猫在沙发上
# dog #2.jpg#0	my dog is #1
# ```
#
# 应得 `{"cat.jpg": ["a cat on a sofa", "一只猫在沙发上"], "dog #2.jpg": ["my dog is #1"]}`。名字和描述里都可能有 `#`,就像这里。行尾可能是 Windows 的
# `\r\n`,空行要跳过。同一幅图的描述不一定挨在一起。

# %%
def read_captions(text):
    ### BEGIN SOLUTION
    captions = {}
    for line in text.split("\n"):
        if line.strip():
            key, _, caption = line.rstrip("\r").partition("\t")
            name = key.rpartition("#")[0]
            captions.setdefault(name, []).append(caption)
    return captions
    ### END SOLUTION

# %%
check("read_captions", read_captions)

# %% [markdown] lang="en"
# ## 2 · `split_by_image(image_of, test_images, rng) -> train, test`
#
# `image_of` $(C,)$ is the number of each caption's image. Draw `test_images` images with the generator `rng`; **all** their captions are the
# test, all others train. Return the numbers of the captions of both parts. No image may be in both. By hand: `image_of` = (0, 0, 1, 1, 2, 2),
# and image 1 drawn, gives (0, 1, 4, 5) and (2, 3).

# %% [markdown] lang="zh"
# ## 2 · `split_by_image(image_of, test_images, rng) -> train, test`
#
# `image_of` $(C,)$ 是每句描述的图像编号。用生成器 `rng` 抽 `test_images` 幅图,它们的**全部**描述作测试,其余作训练。返回两部分的描述编号。任何一幅图都
# 不得两边都有。用手算:`image_of` = (0, 0, 1, 1, 2, 2),抽到图像 1,应得 (0, 1, 4, 5) 和 (2, 3)。

# %%
def split_by_image(image_of, test_images, rng):
    ### BEGIN SOLUTION
    chosen = rng.choice(np.unique(image_of), test_images, replace=False)
    in_test = np.isin(image_of, chosen)
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)
    ### END SOLUTION

# %%
check("split_by_image", split_by_image)

# %% [markdown] lang="en"
# ## 3 · `near_duplicates(G, in_test, threshold) -> pairs`
#
# The same photograph may be there twice, under two names, once smaller or paler. `G` $(I, d)$ is a vector of each image, of any length, and
# `in_test` $(I,)$ is `True` where the image is in the test part. Return a list of all pairs `(i, j)`, $i$ in train and $j$ in test, with
# $\cos(G_i, G_j) \ge$ `threshold`, sorted by $i$ and then $j$. Both are numbers of rows of `G`.
#
# By hand: `G` = ((1, 0), (0, 1), (2, 0), (3, 0.1)), `in_test` = (False, False, True, False) and the threshold 0.9 give `[(0, 2), (3, 2)]`.
# That 0 and 3 are alike as well is no harm: both are in train.

# %% [markdown] lang="zh"
# ## 3 · `near_duplicates(G, in_test, threshold) -> pairs`
#
# 同一张照片可能以两个名字出现两次,一次小一些,或者淡一些。`G` $(I, d)$ 是每幅图的一个向量,长度不定;`in_test` $(I,)$ 在测试图像处为 `True`。返回所有
# 满足 $\cos(G_i, G_j) \ge$ `threshold` 的 `(i, j)` 的列表,$i$ 在训练部分,$j$ 在测试部分,先按 $i$ 再按 $j$ 排好。两者都是 `G` 的行号。
#
# 用手算:`G` = ((1, 0), (0, 1), (2, 0), (3, 0.1)),`in_test` = (False, False, True, False),阈值 0.9,应得 `[(0, 2), (3, 2)]`。0 和 3 也很像,但不碍事:
# 两幅都在训练部分。

# %%
def near_duplicates(G, in_test, threshold):
    ### BEGIN SOLUTION
    U = G / np.linalg.norm(G, axis=1, keepdims=True)
    found = (U @ U.T >= threshold) & ~in_test[:, None] & in_test
    return [(int(i), int(j)) for i, j in np.argwhere(found)]
    ### END SOLUTION

# %%
check("near_duplicates", near_duplicates)

# %% [markdown] lang="en"
# ## 4 · `take_rows_backward(d_T, rows, count) -> d_G`
#
# The forward took rows of a matrix, as a word table does for its words and the paired loss for its captions:
#
# $$T_p = G_{\mathrm{rows}_p} \tag{embedding (1)}$$
#
# `G` is $(\mathrm{count}, d)$. A row may be taken twice, or not at all. Given `d_T` $(P, d)$, return `d_G` $(\mathrm{count}, d)$.
#
# **With a pencil first**: $G$ has 3 rows of one number, and `rows` = (2, 0, 2). Write $T$, and then ask of each row of $G$ where it went. With
# `d_T` = ((10), (1), (5)) it gives ((1), (0), (15)). Then try `d_G[rows] += d_T` in NumPy on it, and wonder.

# %% [markdown] lang="zh"
# ## 4 · `take_rows_backward(d_T, rows, count) -> d_G`
#
# 前向从一个矩阵里取了若干行,词表为各个词取行是这样,成对损失为它的描述取行也是这样:
#
# $$T_p = G_{\mathrm{rows}_p} \tag{embedding (1)}$$
#
# `G` 的形状是 $(\mathrm{count}, d)$。一行可能取两次,也可能一次都没取。给定 `d_T` $(P, d)$,返回 `d_G` $(\mathrm{count}, d)$。
#
# **先用铅笔**:$G$ 有 3 行,每行一个数,`rows` = (2, 0, 2)。写出 $T$,再问 $G$ 的每一行去了哪里。`d_T` = ((10), (1), (5)) 时应得 ((1), (0), (15))。然后在 NumPy
# 里用 `d_G[rows] += d_T` 试一下,看看怪在哪里。

# %%
def take_rows_backward(d_T, rows, count):
    ### BEGIN SOLUTION
    d_G = np.zeros((count, d_T.shape[1]))
    np.add.at(d_G, rows, d_T)           # d_G[rows] += d_T would count a row once, however often it was taken
    return d_G
    ### END SOLUTION

# %%
check("take_rows_backward", take_rows_backward)

# %% [markdown] lang="en"
# ## 5 · `bootstrap_interval(hits, image_of, draws) -> low, high`
#
# With another hundred test images, what would R@K have been? The bootstrap asks the images that there are: draw as many, with replacement,
# and compute R@K again; many times.
#
# `hits` $(C,)$ is `True` where the caption found its image among the first $K$, `image_of` $(C,)$ is its image. Each of the $B$ rows of `draws`
# $(B, I)$ names $I$ images. The recall of a row is the share of hits among **all captions of its images**, in percent; an image that is drawn twice counts
# twice, with all its captions. Return the percentiles 2.5 and 97.5 of the $B$ recalls (`np.percentile`).
#
# By hand: `hits` = (True, False, True) and `image_of` = (0, 0, 1). The draw (0, 0) has the recall 50, the draw (0, 1) 66.7, the draw (1, 1) 100.

# %% [markdown] lang="zh"
# ## 5 · `bootstrap_interval(hits, image_of, draws) -> low, high`
#
# 换一百幅测试图,R@K 会是多少?自助法(bootstrap)去问手头这些图:有放回地抽出同样多的图,重算一遍 R@K,重复许多次。
#
# `hits` $(C,)$ 在描述把自己的图找进前 $K$ 名处为 `True`,`image_of` $(C,)$ 是它的图像。`draws` $(B, I)$ 有 $B$ 行,每行是 $I$ 幅图的编号。一行的召回率,是**这些图的全部
# 描述**中命中的百分比;抽到两次的图算两次,连同它的全部描述。返回这 $B$ 个召回率的 2.5 与 97.5 百分位数(`np.percentile`)。
#
# 用手算:`hits` = (True, False, True),`image_of` = (0, 0, 1)。抽到 (0, 0) 时召回率是 50,(0, 1) 是 66.7,(1, 1) 是 100。

# %%
def bootstrap_interval(hits, image_of, draws):
    ### BEGIN SOLUTION
    found, told = np.bincount(image_of, weights=hits), np.bincount(image_of)      # of each image: its hits, its captions
    recalls = 100 * found[draws].sum(axis=1) / told[draws].sum(axis=1)
    return tuple(np.percentile(recalls, [2.5, 97.5]))
    ### END SOLUTION

# %%
check("bootstrap_interval", bootstrap_interval)

# %%
progress()
