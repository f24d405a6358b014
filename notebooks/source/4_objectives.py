# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # 4 · Objectives
#
# We have a vector for a caption and a vector for an image. What should training ask of them? "The right image should be nearer than
# the wrong ones" can be said in several ways. They differ in which wrong ones they care about, and one of them can ruin the network
# within fifty steps.
#
# **When you have worked through it, you can**
#
# 1. derive the gradient of the cosine, and say why none of it lies along the vector;
# 2. compute a triplet loss by hand, summed, averaged and with the hardest negatives, and recognise its collapse by one number;
# 3. derive the gradient of InfoNCE, $P$ minus target, line by line and with all shapes, the temperature included;
# 4. say what a temperature does, and what a larger batch does and does not buy;
# 5. recognise false negatives, and say which loss they hurt;
# 6. read a similarity matrix, and watch one become diagonal.
#
# You need the softmax Jacobian of lesson 2 and the habit of lesson 1: what is used several times gets the sum.

# %% [markdown] lang="zh"
# # 4 · 训练目标
#
# 一句描述有一个向量,一幅图也有一个向量。训练该向它们要求什么?“正确的图要比错误的图更近”有好几种说法,区别在于盯着哪些错误的图;
# 其中一种说法,五十步之内就能毁掉整个网络。
#
# **学完之后,你能够**
#
# 1. 推出余弦的梯度,并说清为什么它没有一点落在向量自己的方向上;
# 2. 用手算三元组损失(求和、求平均、只取最难的负例),并凭一个数认出它的坍缩;
# 3. 一行一行推出 InfoNCE 的梯度,即 $P$ 减目标,写明所有形状,也包括温度的梯度;
# 4. 说清温度起什么作用,更大的批次换来什么、换不来什么;
# 5. 认出假负例,并说出它伤害哪种损失;
# 6. 读懂相似度矩阵,并看着它一步步变成对角的。
#
# 需要第 2 课的 softmax 雅可比矩阵,和第 1 课的习惯:用了几次就加几份。

# %%
from attnretrieval.threads import one_thread_by_default

one_thread_by_default()         # these products are small: a second thread would only wait for the first
# %matplotlib inline
# %config InlineBackend.figure_format = "retina"
import matplotlib.pyplot as plt
import numpy as np

from attnretrieval.course.show import formula, show
from attnretrieval.figures import similarity_matrix

np.set_printoptions(precision=3, suppress=True, linewidth=110)
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6b6b6b"


def panels_of(count, width=9.0, height=3.0, **options):
    """A row of plots without the frame on two sides."""
    figure, panels = plt.subplots(1, count, figsize=(width, height), layout="constrained", **options)
    for panel in np.atleast_1d(panels):
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def signed(matrices, titles, limit):
    """Gradients of scores on one scale: descent pushes orange scores down and pulls purple ones up."""
    rows, columns = matrices[0].shape
    figure, panels = plt.subplots(1, len(matrices),
                                  figsize=((0.55 * columns + 0.6) * len(matrices), 0.42 * rows + 0.8),
                                  layout="constrained")
    for panel, matrix, title in zip(panels, matrices, titles):
        panel.imshow(matrix, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(matrix):
            panel.text(j, i, f"{value:+.2f}" if abs(value) > 0.0005 else "0", fontsize=8,
                       ha="center", va="center", color="white" if abs(value) > 0.6 * limit else "black")
        panel.set_xticks([]), panel.set_yticks([])
        panel.set_xlabel("image", fontsize=8)
        panel.set_ylabel("caption", fontsize=8)
        panel.set_title(title, fontsize=9)

# %% [markdown] lang="en"
# ## 4.1 The cosine
#
# Captions have vectors $G_t\,(C, d)$, images $G_v\,(I, d)$. Each is brought to length 1, and then a product compares all with all:
#
# $$r = 1 / \sqrt{g \cdot g + \varepsilon} \tag{cosine.l2-normalise (1)}$$
# $$\hat g = r\, g \tag{cosine.l2-normalise (2)}$$
# $$S = \hat G_t\, \hat G_v^\top \qquad (C, I) \tag{cosine.cosine-similarity (2)}$$
#
# **With a pencil**, for one vector $g\,(d)$ and without the tiny $\varepsilon$. The length stands in every entry of $\hat g$:
#
# | step | reason | shape |
# |---|---|---|
# | $\partial r / \partial g_k = -r^3 g_k$ | $r = (g \cdot g)^{-1/2}$, chain rule | $(d)$ |
# | $\partial \hat g_j / \partial g_k = r\, \delta_{jk} - r^3 g_j g_k$ | product rule on $r\, g_j$ | $(d, d)$ |
# | $\phantom{\partial \hat g_j / \partial g_k} = r\, (\delta_{jk} - \hat g_j \hat g_k)$ | $r g = \hat g$, twice | |
# | $dg = r\, \big(d\hat g - \hat g\, (\hat g \cdot d\hat g)\big)$ | multiply by $d\hat g_j$ and sum over $j$ | $(d)$ |
#
# The bracket is $d\hat g$ minus its shadow on $\hat g$. What is left is perpendicular to $g$, and it has to be: **a longer vector has
# the same cosine**, so along $g$ there is nothing to gain. Compare the softmax of lesson 2, where one number was subtracted from
# all scores for the same reason.
#
# **Predict before you run.** $g = (3, 4)$ and an image $\hat v = (1, 0)$. What is $S$, and with $dS = 1$, what is $dg$? What
# becomes of $dg$ if $g$ is ten times as long?

# %% [markdown] lang="zh"
# ## 4.1 余弦
#
# 描述的向量是 $G_t\,(C, d)$,图像的是 $G_v\,(I, d)$。先把每个向量的长度变成 1,再用一次乘积把所有的两两比较:
#
# $$r = 1 / \sqrt{g \cdot g + \varepsilon} \tag{cosine.l2-normalise (1)}$$
# $$\hat g = r\, g \tag{cosine.l2-normalise (2)}$$
# $$S = \hat G_t\, \hat G_v^\top \qquad (C, I) \tag{cosine.cosine-similarity (2)}$$
#
# **拿起铅笔**,只看一个向量 $g\,(d)$,略去很小的 $\varepsilon$。长度出现在 $\hat g$ 的每个元素里:
#
# | 步骤 | 理由 | 形状 |
# |---|---|---|
# | $\partial r / \partial g_k = -r^3 g_k$ | $r = (g \cdot g)^{-1/2}$,链式法则 | $(d)$ |
# | $\partial \hat g_j / \partial g_k = r\, \delta_{jk} - r^3 g_j g_k$ | 对 $r\, g_j$ 用乘积法则 | $(d, d)$ |
# | $\phantom{\partial \hat g_j / \partial g_k} = r\, (\delta_{jk} - \hat g_j \hat g_k)$ | 两次用 $r g = \hat g$ | |
# | $dg = r\, \big(d\hat g - \hat g\, (\hat g \cdot d\hat g)\big)$ | 乘 $d\hat g_j$,对 $j$ 求和 | $(d)$ |
#
# 括号里是 $d\hat g$ 减去它在 $\hat g$ 上的投影,剩下的与 $g$ 垂直。它也必须垂直:**向量变长,余弦不变**,所以沿着 $g$ 走得不到任何好处。
# 可以对照第 2 课的 softmax:那里从所有分数里减去同一个数,道理是一样的。
#
# **先猜再运行。** $g = (3, 4)$,图像 $\hat v = (1, 0)$。$S$ 是多少?取 $dS = 1$,$dg$ 是多少?如果 $g$ 长十倍,$dg$ 会怎样?

# %%
from attnretrieval.equations.cosine import (
    cosine_similarity,
    cosine_similarity_backward,
    l2_normalise_backward,
)

for g in (np.array([[3.0, 4.0]]), np.array([[30.0, 40.0]])):
    S, cache = cosine_similarity(g, np.array([[1.0, 0.0]]))
    d_g, _ = cosine_similarity_backward(np.ones((1, 1)), cache)
    along = abs(d_g[0] @ g[0])
    print(f"g = {g[0]}: S = {S[0, 0]:.2f}, dg = {d_g[0].round(4)}, its part along g: {along:.0e}")
show(l2_normalise_backward, cosine_similarity_backward)

# %% [markdown] lang="en"
# Ten times as long, a tenth of the gradient: the factor $r$. A long vector turns slowly.
#
# **Predict before you run.** The right picture follows a gradient of the cosine for forty steps, each along $dg$ (we want the
# cosine to grow). What happens to the *length* of $g$, although no gradient ever points along it?

# %% [markdown] lang="zh"
# 长十倍,梯度只有十分之一:这就是系数 $r$。长的向量转得慢。
#
# **先猜再运行。** 右图沿余弦的梯度走四十步,每步朝 $dg$ 走(我们要余弦变大)。虽然没有一次梯度指向 $g$ 自己的方向,$g$ 的*长度*会怎样?

# %%
goal = np.array([[1.0, 0.0]])


def gradient_at(g):
    S, cache = cosine_similarity(g[None], goal)
    return cosine_similarity_backward(np.ones((1, 1)), cache).d_G_t[0], float(S[0, 0])


figure, (left, right) = panels_of(2, 9, 3.6)
for angle in np.radians([25, 65, 105, 145]):
    for length in (0.5, 1, 2):
        g = length * np.array([np.cos(angle), np.sin(angle)])
        d_g, _ = gradient_at(g)
        left.plot([0, g[0]], [0, g[1]], color=GREY, linewidth=0.6)
        left.plot(*g, "o", color=BLUE, markersize=4)
        arrow = {"arrowstyle": "->", "color": RED, "linewidth": 1.6}
        left.annotate("", g + 0.4 * d_g, g, arrowprops=arrow)
for panel in (left, right):
    arrow = {"arrowstyle": "->", "color": "black", "linewidth": 2}
    panel.annotate("", (1.9, 0), (0, 0), arrowprops=arrow)
    panel.set_aspect("equal"), panel.set_xlim(-1.8, 2.2), panel.set_ylim(-0.15, 2.2)
left.text(2.2, 0.07, "the image", ha="right", fontsize=9)
left.set_title("vectors (blue) and the gradient of their cosine (orange)", fontsize=9)

g, path = np.array([-0.5, 0.3]), []
for _ in range(41):
    d_g, S = gradient_at(g)
    path.append((*g, S))
    g = g + 0.6 * d_g
path = np.array(path)
right.plot(path[:, 0], path[:, 1], ".-", color=BLUE, markersize=6)
for step, dx, dy, side in ((0, -0.08, 0.05, "right"), (3, 0.05, 0.05, "left"), (40, 0.06, 0.22, "left")):
    x, y, S = path[step]
    right.plot([0, x], [0, y], color=GREY, linewidth=0.6)
    right.text(x + dx, y + dy, f"step {step}\nlength {np.hypot(x, y):.2f}\ncosine {S:.2f}", fontsize=8,
               ha=side, va="bottom")
right.set_title("forty steps along the gradient", fontsize=9)
plt.show()

# %% [markdown] lang="en"
# Each step stands at a right angle to the vector, so by Pythagoras the vector gets **longer** each time, and turns more slowly. It is
# harmless, but know it when you see lengths grow in a log.
#
# ## 4.2 The triplet loss
#
# A right pair $(c, i)$ should beat every wrong one by a **margin**. Where it does not, the shortfall is the loss:
#
# $$V_{ij} = \max(0,\; \mathrm{margin} + S_{cj} - S_{ci}), \qquad U_{ik} = \max(0,\; \mathrm{margin} + S_{ki} - S_{ci}) \tag{triplet (1)}$$
# $$L = \Big(\sum V + \sum U\Big) / \text{number of right pairs} \tag{triplet (2)}$$
#
# $V$: the caption $c$ chooses among images $j$, along the **row**. $U$: the image $i$ chooses among captions $k$, along the **column**.
#
# The gradient needs no algebra. Each active hinge is the difference of two scores: it gives **+1 to its wrong score, −1 to its right
# one**, and all is divided by the number of pairs. What is not active gives nothing.
#
# **With a pencil.** Margin 0.2, the right pairs on the diagonal:
#
# | S | image 1 | image 2 | image 3 |
# |---|---|---|---|
# | caption 1 | **0.70** | 0.60 | 0.10 |
# | caption 2 | 0.20 | **0.50** | 0.35 |
# | caption 3 | 0.20 | 0.45 | **0.60** |
#
# Row 1: $V_{12} = 0.2 + 0.6 - 0.7 = 0.1$, and $V_{13} = 0$. Column 2: $U_{21} = 0.2 + 0.6 - 0.5 = 0.3$.
#
# **Predict before you run.** What is $L$? In how many active hinges does $S_{12}$ stand, in how many $S_{22}$, and what are their
# gradients?

# %% [markdown] lang="zh"
# 每一步都与向量成直角,由勾股定理,向量每次都会变**长**,于是转得越来越慢。这没有害处,但在日志里看到长度上涨时要知道原因。
#
# ## 4.2 三元组损失
#
# 正确的一对 $(c, i)$ 应当比每个错误的高出一个**间隔**(margin)。差多少,损失就是多少:
#
# $$V_{ij} = \max(0,\; \mathrm{margin} + S_{cj} - S_{ci}), \qquad U_{ik} = \max(0,\; \mathrm{margin} + S_{ki} - S_{ci}) \tag{triplet (1)}$$
# $$L = \Big(\sum V + \sum U\Big) / \text{正确对的个数} \tag{triplet (2)}$$
#
# $V$:描述 $c$ 在图像 $j$ 中选,看的是**行**。$U$:图像 $i$ 在描述 $k$ 中选,看的是**列**。
#
# 梯度不用推。每个起作用的铰链不过是两个分数之差:给**错误的分数 +1,正确的分数 −1**,最后都除以正确对的个数。不起作用的什么也不给。
#
# **拿起铅笔。** 间隔 0.2,正确的对在对角线上:
#
# | S | 图像 1 | 图像 2 | 图像 3 |
# |---|---|---|---|
# | 描述 1 | **0.70** | 0.60 | 0.10 |
# | 描述 2 | 0.20 | **0.50** | 0.35 |
# | 描述 3 | 0.20 | 0.45 | **0.60** |
#
# 第 1 行:$V_{12} = 0.2 + 0.6 - 0.7 = 0.1$,$V_{13} = 0$。第 2 列:$U_{21} = 0.2 + 0.6 - 0.5 = 0.3$。
#
# **先猜再运行。** $L$ 是多少?$S_{12}$ 出现在几个起作用的铰链里?$S_{22}$ 呢?它们的梯度各是多少?

# %%
from attnretrieval.equations import triplet
from attnretrieval.equations.triplet import triplet_loss, triplet_loss_backward

S = np.array([[0.70, 0.60, 0.10], [0.20, 0.50, 0.35], [0.20, 0.45, 0.60]])
right_pairs = np.eye(3, dtype=bool)
gradients, titles = [], []
for violations in ("sum", "hardest", "mean"):
    L, cache = triplet_loss(S, right_pairs, margin=0.2, violations=violations)
    gradients.append(triplet_loss_backward(1.0, cache).d_S)
    titles.append(f"dS, {violations}: L = {L:.3f}")
signed(gradients, titles, limit=1)

# %% [markdown] lang="en"
# $S_{12}$ is a wrong image for caption 1 *and* a wrong caption for image 2, so it gets $2/3$. $S_{22}$ is the right one in three
# active hinges. The whole matrix adds to 0: the right ones are pulled up by as much as the wrong ones are pushed down. There are
# three ways to choose:
#
# - **sum**: every wrong one that violates. Early on that is nearly all of them.
# - **hardest**: for each right pair the worst wrong one in each direction. All attention goes to where it is needed.
# - **mean**: as sum, divided by the number of wrong ones, so that the size of the batch does not matter.

# %% [markdown] lang="zh"
# $S_{12}$ 对描述 1 是错误的图,对图像 2 *又*是错误的描述,所以得到 $2/3$。$S_{22}$ 是三个起作用的铰链里的正确者。整个矩阵加起来为 0:
# 错误者被压下多少,正确者就被抬起多少。选法有三种:
#
# - **sum**:每个违反间隔的错误者都算。训练初期几乎个个都违反。
# - **hardest**:每个正确的对,两个方向各取最坏的一个错误者。力气全用在刀刃上。
# - **mean**:同 sum,但除以错误者的个数,于是与批次大小无关。

# %%
show(triplet.triplet_loss, triplet._one_direction)

# %% [markdown] lang="en"
# ### Check it by machine
#
# **Predict before you run.** The first backward below pushes the wrong ones down and forgets to pull the right ones up. Which entries
# of $dS$ are wrong? And what would a network learn from it?

# %% [markdown] lang="zh"
# ### 让机器检验
#
# **先猜再运行。** 下面第一个反向传播只把错误者压下去,忘了把正确者抬上来。$dS$ 的哪些元素是错的?网络会从中学到什么?

# %%
from attnretrieval.gradcheck import check_gradient


def only_pushes(d_L, cache):
    return (d_L * np.maximum(cache.d_S, 0),)


for backward in (only_pushes, triplet_loss_backward):
    print(check_gradient(triplet_loss, backward, {"S": S, "positives": right_pairs},
                         rng=np.random.default_rng(0),
                         name=backward.__name__), end="\n\n")

# %% [markdown] lang="en"
# The checker says it in its own way: compared with the truth, $dS$ has a factor that is 0 on the right pairs. A network would learn
# to push everything away from everything.
#
# ## 4.3 A small retriever, and how it collapses
#
# To compare losses we need something that trains in a second: two towers, each a feed-forward layer and a mean. Drawn scenes
# with two English and two Chinese captions each; the test scenes show combinations that training never showed.

# %% [markdown] lang="zh"
# 检验器用自己的话说:与正确的相比,$dS$ 多了一个在正确的对上为 0 的系数。照这样学,网络只会把一切彼此推开。
#
# ## 4.3 一个小检索器,以及它怎样坍缩
#
# 要比较损失,得有个一秒钟就能训练好的东西:两座塔,每座只有一层前馈和一次平均。数据是画出来的场景,每幅两句英文、两句中文描述;测试
# 用的组合在训练中从没出现过。

# %%
from attnretrieval.course import two_towers
from attnretrieval.course.two_towers import TwoTowers, by_info_nce, by_triplet, tell
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.regions import RegionProjection
from attnretrieval.inputs.scenes import captions_of, make_scenes
from attnretrieval.inputs.words import Vocabulary

formula(two_towers)
print()
show(TwoTowers.forward, TwoTowers.backward)

rng = np.random.default_rng(0)
train_scenes, test_scenes = make_scenes("train", 1500, rng), make_scenes("test", 200, rng)
texts = [caption.text for scene in train_scenes for language in ("en", "zh")
         for caption in captions_of(scene, language)]
vocabulary = Vocabulary.build(texts, "characters")
E = rng.standard_normal((len(vocabulary), 32), dtype=np.float32)
projection = RegionProjection.fit(np.stack([PatchExtractor()(scene.image) for scene in train_scenes]), 64)
train, test = tell(train_scenes, vocabulary, E, projection), tell(test_scenes, vocabulary, E, projection)


def new_network():
    return TwoTowers(d_t=32, d_v=64, rng=np.random.default_rng(1))


def mean_cosine(network):
    """Of two captions of the test set: 0 where vectors point everywhere, 1 where all are one."""
    G, _ = network.vectors(test)
    unit = G / np.linalg.norm(G, axis=1, keepdims=True)
    return float((unit @ unit.T).mean())


def follow(loss, steps=400, every=10, **options):
    """Train a new network: the network, its losses, and its mean cosine every few steps."""
    network, losses, cosines = new_network(), [], []
    for step, L in enumerate(network.train(train, loss, steps, np.random.default_rng(2), **options)):
        losses.append(L)
        if step % every == 0:
            cosines.append(mean_cosine(network))
    return network, losses, cosines

# %% [markdown] lang="en"
# A batch has 32 images with 2 captions each, the margin is 0.2.
#
# **Predict before you run.** (a) Suppose *all* vectors were equal. What would the loss with "mean" be, and with "hardest"? (b) Before
# training, the worst of 31 wrong images usually scores higher than the right one. Is the loss with "hardest" then larger or smaller
# than your answer to (a)? (c) What does that suggest to an optimiser?

# %% [markdown] lang="zh"
# 一批有 32 幅图,每幅 2 句描述,间隔 0.2。
#
# **先猜再运行。** (a) 假如*所有*向量都相等,用 “mean” 时损失是多少?用 “hardest” 呢?(b) 训练之前,31 幅错图中最坏的那幅通常比对的分数还
# 高。这时 “hardest” 的损失比 (a) 的答案大还是小?(c) 这会给优化器什么暗示?

# %%
def first_mean_then_hardest(steps=100):
    losses = iter([by_triplet("mean")] * steps)
    hardest = by_triplet("hardest")
    return lambda *batch: next(losses, hardest)(*batch)


runs = {"mean": by_triplet("mean"), "hardest": by_triplet("hardest"),
        "mean, from step 100 hardest": first_mean_then_hardest()}
networks = {}
figure, (left, right) = panels_of(2, 9.5, 3.2)
for (name, loss), colour, dash in zip(runs.items(), (BLUE, RED, GREEN), ("-", "--", "-.")):
    networks[name], losses, cosines = follow(loss)
    left.plot(range(9, 400), np.convolve(losses, np.ones(10) / 10, "valid"), dash, color=colour,
              linewidth=1.2, label=name)
    right.plot(range(0, 400, 10), cosines, dash, color=colour, label=name)
    print(f"{name:28} last loss {np.mean(losses[-20:]):.3f}, mean cosine {cosines[-1]:.2f}, "
          f"R@1 of 200 images {networks[name].share_found(test):.2f}")
left.axhline(0.4, color=GREY, linewidth=0.8, linestyle=":")
left.text(400, 0.41, "2 · margin", ha="right", fontsize=8, color=GREY)
left.set_title("loss, mean of 10 steps", fontsize=10)
right.set_title("mean cosine of two captions", fontsize=10)
for panel in (left, right):
    panel.set_xlabel("step"), panel.set_ylim(bottom=-0.03)
right.legend(fontsize=8, loc="center right")
plt.show()

# %% [markdown] lang="en"
# With equal vectors each hinge is exactly the margin, so "mean" and "hardest" both give $2 \cdot 0.2 = 0.4$. At the start, "hardest"
# is **above** 0.4: the worst wrong score beats the right one. The quickest way down is to bring all scores together, and all vectors
# run into one point. That is the **collapse**, and a loss that stands still at twice the margin is its signature.
#
# Why does it not come out again? By 4.1, $dg = r(d\hat g - \hat g (\hat g \cdot d\hat g))$, and $d\hat g$ is a sum of the other
# side's vectors. In the collapse they all equal $\hat g$, and nothing is left after the subtraction: **no gradient**. With "mean"
# the many easy wrong ones drive the vectors apart first, and after a hundred such steps "hardest" is even the better loss.

# %% [markdown] lang="zh"
# 向量全相等时,每个铰链恰好等于间隔,所以 “mean” 和 “hardest” 都是 $2 \cdot 0.2 = 0.4$。而训练开始时 “hardest” 在 0.4 **之上**:最坏的错误
# 分数高过了正确的。往下走最快的路,就是让所有分数变得一样,于是所有向量挤成一点。这就是**坍缩**;损失停在间隔的两倍不动,就是它的标志。
#
# 为什么出不来?由 4.1,$dg = r(d\hat g - \hat g (\hat g \cdot d\hat g))$,而 $d\hat g$ 是对面那些向量的组合。坍缩之后它们都等于 $\hat g$,减完什么
# 也不剩:**没有梯度**。用 “mean” 时,众多容易的错误者先把向量撑开;这样走一百步之后,“hardest” 反而成了更好的损失。

# %%
shown = np.arange(8)
few, positives = test.take(shown, 4 * shown)
english = [captions_of(test_scenes[i], "en")[0].text for i in shown]
pictures = [test_scenes[i].image for i in shown]
similarity_matrix(np.stack([networks[name].forward(few)[0] for name in ("hardest", "mean")]), positives,
                  english, pictures,
                  titles=["hardest from the start", "mean"])

# %% [markdown] lang="en"
# How to read it: a row is a caption, a column an image, a frame the right answer, a dot the best image of its row. A dot in a frame is
# a caption that found its image. On the left all is one blue, and yet some dots are right: differences too small for the eye are
# left over from the start. They are all that the R@1 of the collapsed network consists of.
#
# ## 4.4 InfoNCE
#
# The other idea: retrieval is a **choice**, and we know the gradient of choosing. Each row is a softmax over the images, each column
# one over the captions, and the loss is how surprised they are by the truth:
#
# $$Z = S / \tau, \qquad \tau = e^{l} \tag{info-nce (1)}$$
# $$P = \mathrm{softmax}(Z) \text{ along the images}, \qquad R = \mathrm{softmax}(Z) \text{ along the captions} \tag{info-nce (2)}$$
# $$L_t = -\frac1C \sum_c \sum_i Y_{ci} \log P_{ci}, \qquad L_v = -\frac1I \sum_i \sum_c X_{ci} \log R_{ci} \tag{info-nce (3)}$$
# $$L = (L_t + L_v) / 2 \tag{info-nce (4)}$$
#
# $Y$ and $X$ are the targets: 1 on the right answer, or shared among several (section 4.8). Rows of $Y$ and columns of $X$ sum to 1.
#
# **With a pencil.** One caption $c$, one row. Put in $P_i = e^{Z_i} / \sum_k e^{Z_k}$, so $\log P_i = Z_i - \log \sum_k e^{Z_k}$:
#
# | step | reason | shape |
# |---|---|---|
# | $L_c = -\sum_i Y_i Z_i + \log \sum_k e^{Z_k}$ | $\sum_i Y_i = 1$ in front of the second part | one number |
# | $\partial L_c / \partial Z_j = -Y_j + e^{Z_j} / \sum_k e^{Z_k} = P_j - Y_j$ | the derivative of log-sum-exp *is* the softmax | $(I)$ |
# | $dZ = \tfrac12 \Big( \dfrac{P - Y}{C} + \dfrac{R - X}{I} \Big)$ | all rows (3), all columns (3), and (4) | $(C, I)$ |
# | $dS = dZ / \tau$ | (1) | $(C, I)$ |
# | $dl = \sum_{ci} dZ_{ci}\, \dfrac{\partial Z_{ci}}{\partial l} = -\sum_{ci} dZ_{ci} Z_{ci} = -\sum_{ci} dS_{ci} S_{ci}$ | $Z = S e^{-l}$, so $\partial Z / \partial l = -Z$; $l$ is used everywhere: the sum | one number |
#
# **What was given minus what was wanted.** The softmax Jacobian of lesson 2 and the logarithm have cancelled.
#
# **Predict before you run.** A row $Z = (2, 1, 0)$ whose first entry is right; lesson 2 found $P = (0.665, 0.245, 0.090)$ for it.
# What are $L_c$ and $dZ$? And what is the sum of $dZ$, always?

# %% [markdown] lang="zh"
# 读法:一行是一句描述,一列是一幅图,框是正确答案,点是这一行分数最高的图。点落在框里,就是这句描述找到了自己的图。左边是一片同样的蓝,
# 却仍有几个点落对了:起初的差别还剩下一点,小得眼睛看不出来。坍缩的网络那点 R@1,就全靠这个。
#
# ## 4.4 InfoNCE
#
# 另一个想法:检索就是**做选择**,而选择的梯度我们会求。每一行是对图像的 softmax,每一列是对描述的 softmax,损失就是它们见到真相时有多惊讶:
#
# $$Z = S / \tau, \qquad \tau = e^{l} \tag{info-nce (1)}$$
# $$P = \mathrm{softmax}(Z) \text{(沿图像)}, \qquad R = \mathrm{softmax}(Z) \text{(沿描述)} \tag{info-nce (2)}$$
# $$L_t = -\frac1C \sum_c \sum_i Y_{ci} \log P_{ci}, \qquad L_v = -\frac1I \sum_i \sum_c X_{ci} \log R_{ci} \tag{info-nce (3)}$$
# $$L = (L_t + L_v) / 2 \tag{info-nce (4)}$$
#
# $Y$ 和 $X$ 是目标:正确答案处为 1,正确答案有几个就平分(4.8 节)。$Y$ 的各行、$X$ 的各列之和为 1。
#
# **拿起铅笔。** 一句描述 $c$,就一行。代入 $P_i = e^{Z_i} / \sum_k e^{Z_k}$,于是 $\log P_i = Z_i - \log \sum_k e^{Z_k}$:
#
# | 步骤 | 理由 | 形状 |
# |---|---|---|
# | $L_c = -\sum_i Y_i Z_i + \log \sum_k e^{Z_k}$ | 第二部分前面的 $\sum_i Y_i = 1$ | 一个数 |
# | $\partial L_c / \partial Z_j = -Y_j + e^{Z_j} / \sum_k e^{Z_k} = P_j - Y_j$ | log-sum-exp 的导数*就是* softmax | $(I)$ |
# | $dZ = \tfrac12 \Big( \dfrac{P - Y}{C} + \dfrac{R - X}{I} \Big)$ | 所有行 (3)、所有列 (3),再加 (4) | $(C, I)$ |
# | $dS = dZ / \tau$ | (1) | $(C, I)$ |
# | $dl = \sum_{ci} dZ_{ci}\, \dfrac{\partial Z_{ci}}{\partial l} = -\sum_{ci} dZ_{ci} Z_{ci} = -\sum_{ci} dS_{ci} S_{ci}$ | $Z = S e^{-l}$,所以 $\partial Z / \partial l = -Z$;$l$ 处处用到,要求和 | 一个数 |
#
# **给出的减去想要的。** 第 2 课的 softmax 雅可比矩阵与对数恰好消掉了。
#
# **先猜再运行。** 一行 $Z = (2, 1, 0)$,第一个是对的;第 2 课算过它的 $P = (0.665, 0.245, 0.090)$。$L_c$ 和 $dZ$ 是多少?$dZ$ 之和总是多少?

# %%
from attnretrieval.equations import info_nce as info_nce_file
from attnretrieval.equations.info_nce import info_nce, info_nce_backward
from attnretrieval.equations.softmax import softmax

P = softmax(np.array([2.0, 1.0, 0.0]))
print("L =", -np.log(P[0]).round(3), " dZ =", P - np.array([1, 0, 0]))
show(info_nce, info_nce_file._one_direction, info_nce_backward)

S = np.array([[0.70, 0.60, 0.10], [0.20, 0.50, 0.35], [0.20, 0.45, 0.60]])      # the scores of 4.2
tau, Y = 0.2, np.eye(3)
P, R = softmax(S / tau), softmax(S.T / tau).T
d_Z = ((P - Y) / 3 + (R - Y) / 3) / 2
L, cache = info_nce(S, np.array(np.log(tau)), Y.astype(bool))
assert np.allclose(d_Z / tau, info_nce_backward(1.0, cache).d_S)
signed([P - Y, R - Y, 3 * d_Z], ["P - Y: rows sum to 0", "R - X: columns sum to 0", "3 dZ: their mean"],
       limit=0.6)

# %% [markdown] lang="en"
# Compare with the triplet's picture in 4.2: the same scores, and the same pair 1–2 is pushed most. But here **every** wrong answer is
# pushed, in proportion to the probability that it got, and no right one is ever quite done.
#
# ### Check it by machine
#
# **Predict before you run.** Three wrong backwards: one forgets the columns, one forgets $1/\tau$, one has the sign of $dl$ the other way
# round. Which of $dS$ and $dl$ does each spoil? (`paths` tells the checker in which ways the scores reach the loss, so that it can
# name the one that is missing.)

# %% [markdown] lang="zh"
# 与 4.2 节三元组的图对照:分数相同,被压得最狠的也是 1–2 那一对。但这里**每个**错误答案都被压,压多少与它得到的概率成正比;正确答案也永远
# 不算彻底完成。
#
# ### 让机器检验
#
# **先猜再运行。** 三个错误的反向传播:一个忘了列,一个忘了 $1/\tau$,一个把 $dl$ 的符号弄反了。它们各弄错了 $dS$ 和 $dl$ 中的哪些?
# (`paths` 告诉检验器,分数经过哪几条路影响损失,这样缺了哪一条它就说得出来。)

# %%
from attnretrieval.course.known import info_nce_paths


def one_direction_only(d_L, cache):
    S, _, tau, _ = cache
    # each caption has one right image: Y = positives
    d_Z = (softmax(S / tau) - right_answers) / len(S) / 2
    return d_L * d_Z / tau, -(d_L * d_Z / tau * S).sum()


def without_temperature(d_L, cache):
    S, d_Z, tau, _ = cache
    return d_L * d_Z, -(d_L * d_Z / tau * S).sum()


def temperature_upside_down(d_L, cache):
    S, d_Z, tau, _ = cache
    d_S = d_L * d_Z / tau
    return d_S, (d_S * S).sum()


right_answers = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=bool)      # four captions, two images
inputs = {"S": rng.normal(size=(4, 2)), "log_temperature": np.array(np.log(0.5)),
          "positives": right_answers}
for backward in (one_direction_only, without_temperature, temperature_upside_down, info_nce_backward):
    print(check_gradient(info_nce, backward, inputs, rng=np.random.default_rng(0), name=backward.__name__,
                         paths=info_nce_paths), end="\n\n")

# %% [markdown] lang="en"
# ## 4.5 The temperature
#
# $\tau$ divides the scores before the softmax, as $\sqrt{d_k}$ did in lesson 2. A cosine is at most 1, so with $\tau = 1$ the largest
# logit can never be far above the others.
#
# **Predict before you run.** A caption has one right image and thirty wrong ones, with cosines from −0.5 to 0.7. With
# $\tau = 1,\ 0.2,\ 0.05$: what share of the push that the wrong ones get in all goes to the three hardest?

# %% [markdown] lang="zh"
# ## 4.5 温度
#
# $\tau$ 在 softmax 之前除分数,就像第 2 课的 $\sqrt{d_k}$。余弦最大是 1,所以 $\tau = 1$ 时,最大的 logit 永远高不出别的多少。
#
# **先猜再运行。** 一句描述有一幅对的图、三十幅错的图,余弦从 −0.5 到 0.7。$\tau = 1,\ 0.2,\ 0.05$ 时,错误者总共受到的压力里,最难的三个
# 各占去多大的份额?

# %%
wrong = np.linspace(-0.5, 0.7, 30)
figure, panel = panels_of(1, 7, 2.8)
for tau, colour, style in ((1, BLUE, "o-"), (0.2, GREEN, "s--"), (0.05, RED, "^:")):
    push = softmax(wrong / tau)                 # dZ of the wrong ones, as shares of their sum
    panel.plot(wrong, push, style, color=colour, markersize=3.5, label=f"τ = {tau}")
    print(f"τ = {tau:4}: the three hardest get {push[-3:].sum():.2f}")
panel.set_xlabel("cosine of the wrong image")
panel.set_ylabel("share of the push")
panel.legend(fontsize=9)
plt.show()

# %% [markdown] lang="en"
# So the temperature chooses between the two triplet losses: hot is "mean", cold is "hardest". And it need not be set by hand, since
# we have its gradient. Write $dl$ row by row (the rows' half, times two):
#
# $$-\sum_i (P_i - Y_i) Z_i = Z_{\text{right}} - \sum_i P_i Z_i$$
#
# The right logit, minus the logit that $P$ **expects**. Where the right one is above what is expected, $dl > 0$ and descent makes the
# choice sharper; where it is below, the choice was too sure of itself and gets softer.
#
# ## 4.6 Watching a matrix become diagonal
#
# **Predict before you run.** The matrix of eight test scenes before training, after 20, 100 and 400 steps. What will the first look
# like: noise, or stripes? Which wrong cells will be the last to fade?

# %% [markdown] lang="zh"
# 可见温度是在两种三元组损失之间做选择:热就像 “mean”,冷就像 “hardest”。而且不必手动去设,因为我们有它的梯度。把 $dl$ 按行写出来(行的那一
# 半,乘以 2):
#
# $$-\sum_i (P_i - Y_i) Z_i = Z_{\text{right}} - \sum_i P_i Z_i$$
#
# 正确者的 logit,减去 $P$ 所**预期**的 logit。正确者高于预期,$dl > 0$,下降就让选择更果断;低于预期,说明先前太自信了,选择就变软。
#
# ## 4.6 看着矩阵变成对角的
#
# **先猜再运行。** 八个测试场景的矩阵:训练前,20 步、100 步、400 步之后。第一幅会是杂乱的还是条纹的?哪些错误的格子会最后褪去?

# %%
shown = np.arange(8)
few, positives = test.take(shown, 4 * shown)
best, snapshots, temperatures, losses = new_network(), {}, [], []
snapshots["before training"] = best.forward(few)[0]
for step, L in enumerate(best.train(train, by_info_nce, 400, np.random.default_rng(2)), start=1):
    losses.append(L), temperatures.append(float(np.exp(best.parameters["log_temperature"])))
    if step in (20, 100, 400):
        snapshots[f"step {step}"] = best.forward(few)[0]
print(f"R@1 of 200 images: {best.share_found(test):.2f}, mean cosine {mean_cosine(best):.2f}, "
      f"temperature {temperatures[-1]:.3f}")
similarity_matrix(np.stack(list(snapshots.values())), positives, english[:8], pictures[:8],
                  titles=list(snapshots))

# %%
chinese = [captions_of(test_scenes[i], "zh")[0].text for i in range(8, 14)]
others = np.arange(8, 14)
few, positives = test.take(others, 4 * others + 2)
S, _ = best.forward(few)
similarity_matrix(S, positives, chinese, [test_scenes[i].image for i in others],
                  titles=["after training, Chinese captions"])

# %% [markdown] lang="en"
# Before training all is nearly one colour, in stripes, and the dots gather in a few columns: random towers see mostly what all
# captions have in common, and one image is a little nearer to all of them. Afterwards the cells that stay
# dark are no accident. Look for pairs of scenes that share an object: they *are* half alike, and a good retriever says so. A matrix
# need not be black and white; the diagonal must be the darkest of its row and of its column. (The Chinese captions are of six other
# scenes.)
#
# ### Where the temperature went
#
# **Predict before you run.** The temperature began at 0.1 and was learnt. Which way will it go while the network gets better?

# %% [markdown] lang="zh"
# 训练前几乎是一种颜色,略有条纹,点挤在少数几列里:随机的塔看到的,主要是所有描述共有的东西,某幅图碰巧离它们都近一点。训练后仍然深的格子并非偶然。找一找有共同物体的两个场景:它们*确实*有一
# 半相像,好的检索器就该这么说。矩阵不必非黑即白,只要对角线在自己那行、那列里最深。(中文描述用的是另外六个场景。)
#
# ### 温度去了哪里
#
# **先猜再运行。** 温度从 0.1 开始,由训练来学。网络越来越好,它会往哪边走?

# %%
chosen = rng.permutation(len(train.V))[:32]
batch, right = train.take(chosen, (4 * chosen[:, None] + np.array([0, 2])).ravel())
S, _ = best.forward(batch)
S = S.astype(float)
grid = np.geomspace(0.012, 0.9, 60)
figure, (left, middle, panel) = panels_of(3, 10.5, 2.9)
left.plot(range(9, 400), np.convolve(losses, np.ones(10) / 10, "valid"), color=BLUE, linewidth=1.2)
left.set_title("loss, mean of 10 steps", fontsize=10), left.set_xlabel("step"), left.set_ylim(bottom=0)
left.axhline(np.log(2) / 2, color=GREY, linewidth=0.8, linestyle="--")
left.text(400, np.log(2) / 2 - 0.06, "½ log 2, see 4.8", fontsize=8, color=GREY, ha="right", va="top")
middle.plot(temperatures, color=RED)
middle.set_title("temperature", fontsize=10)
middle.set_xlabel("step")
middle.set_ylim(0, 0.12)
for share, name, colour, dash in ((0.5, "half as sure: S / 2", GREEN, "--"),
                                  (1, "the trained scores S", BLUE, "-")):
    L_of = [float(info_nce(share * S, np.array(np.log(tau)), right)[0]) for tau in grid]
    panel.plot(grid, L_of, dash, color=colour, label=name)
    panel.plot(grid[np.argmin(L_of)], min(L_of), "o", color=colour)
    L, cache = info_nce(share * S, np.array(np.log(0.1)), right)
    d_l = info_nce_backward(1.0, cache).d_log_temperature
    print(f"{name:22} at τ = 0.1: dl = {d_l:+.2f}; best τ = {grid[np.argmin(L_of)]:.3f}")
panel.set_xscale("log")
panel.set_xlabel("τ")
panel.set_title("loss of one batch, by τ", fontsize=10)
panel.legend(fontsize=8)
plt.show()

# %% [markdown] lang="en"
# In the first steps it rises: a network that knows nothing does better to be unsure. Then the better the scores, the colder it may be. And scores
# that are half as large want half the temperature: only $S / \tau$ counts. A temperature is not a matter of taste but of the scale of your scores, and is best learnt.
#
# ## 4.7 What a batch teaches
#
# The wrong answers are the other members of the batch. With $N$ images a caption is asked "which of these $N$?", and an image, with two
# captions each, "which of these $2N$?". A network that knows nothing has the loss $\tfrac12(\log N + \log 2N)$.
#
# **Predict before you run.** Batches of 4, 16 and 64 images. Which is best after the same number of **steps**? And which after the same
# number of **images** seen?

# %% [markdown] lang="zh"
# 头几步它先升:什么都不知道的时候,还是别太自信。之后分数越好,温度就可以越低。而分数小一半,要的温度也小一半:真正起作用的只有 $S / \tau$。温度不是口味问题,取决于分数的尺度,最好让它自己学。
#
# ## 4.7 一个批次教什么
#
# 错误答案就是同一批里的其他成员。有 $N$ 幅图,问一句描述的就是“这 $N$ 幅里是哪一幅?”;每幅图有两句描述,问一幅图的就是
# “这 $2N$ 句里是哪一句?”。什么都不懂的网络,损失是 $\tfrac12(\log N + \log 2N)$。
#
# **先猜再运行。** 批次为 4、16、64 幅图。**步数**相同时哪个最好?看过的**图数**相同时呢?

# %%
sizes, SEEN = (4, 16, 64), 12_800
found = {"400 steps": [], f"{SEEN} images seen": []}
for size in sizes:
    for name, steps in zip(found, (400, SEEN // size)):
        network, losses, _ = follow(by_info_nce, steps, every=1000, images=size)
        found[name].append(network.share_found(test))
    knows_nothing = (np.log(size) + np.log(2 * size)) / 2           # images, and twice as many captions
    print(f"N = {size:2}: first loss {losses[0]:.2f}, of one that knows nothing {knows_nothing:.2f}; R@1",
          *(f"{values[-1]:.2f}" for values in found.values()))
figure, panel = panels_of(1, 6.5, 2.8)
for (name, values), colour, style in zip(found.items(), (BLUE, ORANGE), ("o-", "s--")):
    panel.plot(sizes, values, style, color=colour, label=name)
panel.set_xscale("log", base=2), panel.set_xticks(sizes, sizes), panel.set_ylim(0, 1)
panel.set_xlabel("images in a batch"), panel.set_ylabel("R@1 of 200 images"), panel.legend(fontsize=9)
plt.show()

# %% [markdown] lang="en"
# A larger batch teaches more in a **step**: more wrong answers, and hard ones among them. It also costs more. For the same number of
# images seen little of the advantage is left here. When you read that large batches are better, ask what was held equal.
#
# ## 4.8 False negatives
#
# Scenes have four captions each, and a batch takes two of them. If each caption is made a pair of its own with its image, then the
# *other* caption of the same image counts as wrong: a **false negative**. The matrix `positives` $(C, I)$ says it as it is: all
# captions of an image are right. The target is shared among them: with $k$ right captions each has $X = 1/k$.
#
# **Predict before you run.** (a) With two captions an image, what is the smallest possible $L_v$? (b) Write the loss with each caption
# its own pair: the columns of $S$ are repeated, the target is the diagonal. Does the gradient of InfoNCE change? Does that of
# the triplet loss with the hardest negative?

# %% [markdown] lang="zh"
# 批次大,一**步**教得多:错误答案更多,其中也有难的。但代价也大。看过的图数相同时,这里几乎不剩什么优势。谁跟你说大批次更好,就问他保持
# 不变的是什么。
#
# ## 4.8 假负例
#
# 每个场景有四句描述,一批取其中两句。如果让每句描述各自与图配成一对,那么同一幅图的*另一句*描述就被当成错的:这就是**假负例**。矩阵
# `positives` $(C, I)$ 如实说明:一幅图的所有描述都是对的。目标由它们平分:有 $k$ 句正确描述,每句 $X = 1/k$。
#
# **先猜再运行。** (a) 每幅图两句描述,$L_v$ 最小能到多少?(b) 让每句描述自成一对来写损失:$S$ 的列重复,目标是对角线。InfoNCE 的梯度会变吗?
# 取最难负例的三元组损失,梯度会变吗?

# %%
def each_its_own_pair(loss):
    """The loss of pairs (caption, its image), in which all that is off the diagonal is wrong."""
    def of_pairs(S, log_temperature, positives):
        image_of = positives.argmax(axis=1)
        S_pairs, diagonal = S[:, image_of], np.eye(len(S), dtype=bool)          # (C, C) both
        L, d_pairs, d_log_temperature = loss(S_pairs, log_temperature, diagonal)
        # an image used k times gets the sum
        return L, d_pairs @ positives.astype(S.dtype), d_log_temperature
    return of_pairs


S = np.array([[0.80, 0.10, 0.30], [0.70, 0.20, 0.55], [0.30, 0.60, 0.10], [0.20, 0.65, 0.30],
              [0.10, 0.58, 0.70], [0.40, 0.30, 0.75]])
# captions 1 and 2 of image 1, 3 and 4 of image 2, ...
positives = np.repeat(np.eye(3, dtype=bool), 2, axis=0)
log_temperature = np.array(np.log(0.2))
shown, titles = [], []
for name, loss in (("InfoNCE", by_info_nce), ("hardest", by_triplet("hardest"))):
    for way, of in (("positives", loss), ("own pairs", each_its_own_pair(loss))):
        L, d_S, _ = of(S, log_temperature, positives)
        shown.append(d_S), titles.append(f"dS, {name}, {way}\nL = {L:.3f}")
assert np.allclose(shown[0], shown[1]), "InfoNCE: the same gradient"
signed(shown, titles, limit=0.6)

# %% [markdown] lang="en"
# **InfoNCE has the same gradient both ways.** The repeated columns of an image are equal, and their shares of $P$ add up to that of the
# image. Only the number is worse, by exactly $\tfrac12 \log 2$, since every row has to split its probability between two equal columns.
# (For (a): the best $R$ gives each of two right captions one half, so $L_v \ge \log 2$ and $L \ge \tfrac12 \log 2$. That was the dashed line in
# 4.6. Losses of batches with different $k$ cannot be compared.)
#
# **The hardest negative has no gradient at all.** Nothing violates the margin more than the other caption of the same image, or than the
# same image in the next column. Every hinge spends itself on these, what one pushes the other pulls, and captions 2 and 5, which do
# need help, get none. The loss is $2 \cdot$ margin: you know that number.
#
# **Predict before you run.** Which of the three losses will suffer in training?

# %% [markdown] lang="zh"
# **InfoNCE 两种写法梯度相同。** 同一幅图重复的列是相等的,它们在 $P$ 中的份额加起来就是这幅图的份额。只有数值变差了,恰好差
# $\tfrac12 \log 2$,因为每一行都得把概率分给两个相等的列。(至于 (a):最好的 $R$ 给两句正确描述各一半,所以 $L_v \ge \log 2$,
# $L \ge \tfrac12 \log 2$;4.6 节图中的虚线就是它。$k$ 不同的批次,损失不能互相比较。)
#
# **最难负例则完全没有了梯度。** 最违反间隔的,总是同一幅图的另一句描述,或者下一列里的同一幅图。每个铰链都耗在它们身上,这边压、那边抬,
# 彼此抵消;真正需要帮助的描述 2 和 5 什么也得不到。损失是间隔的两倍:这个数你认得。
#
# **先猜再运行。** 三种损失里,哪一种会在训练中吃亏?

# %%
networks["InfoNCE"] = best
wrongly = {"InfoNCE": by_info_nce, "mean": by_triplet("mean"),
           "mean, from step 100 hardest": first_mean_then_hardest()}
figure, panel = panels_of(1, 8.5, 2.6)
for place, (name, loss) in enumerate(wrongly.items()):
    of_pairs, _, _ = follow(each_its_own_pair(loss), every=1000)
    for shift, network, way, colour, hatch in ((-0.2, networks[name], "positives", BLUE, ""),
                                               (0.2, of_pairs, "each its own pair", ORANGE, "//")):
        share = network.share_found(test)
        panel.barh(place + shift, share, 0.38, color=colour, hatch=hatch, edgecolor="white",
                   label=way if place == 0 else None)
        panel.text(share + 0.01, place + shift, f"{share:.2f}   mean cosine {mean_cosine(network):.2f}",
                   va="center", fontsize=8)
panel.set_yticks(range(3), ["InfoNCE", "triplet, mean", "triplet, mean,\nthen hardest"])
panel.invert_yaxis()
panel.set_xlim(0, 1.75)
panel.set_xticks(np.arange(0, 1.1, 0.2))
panel.set_xlabel("R@1 of 200 images", loc="left")
panel.legend(fontsize=8, loc="center right")
plt.show()

# %% [markdown] lang="en"
# Only the hardest negative suffers, and how: the vectors run together again, although they had been apart when it began. (In "mean" each
# false negative is one of 63, and those of two captions of an image cancel.) So say what is right with `positives`, and the question does
# not arise.
#
# Real data sets have false negatives that nobody marked: two photographs of a dog on grass, each described just as well by the captions
# of the other. No matrix knows of these, and the harder a loss looks for negatives, the more often it finds them.
#
# ## Summary
#
# | step | forward | backward |
# |---|---|---|
# | `cosine`, normalise | $\hat g = g / \lVert g \rVert$ | $dg = r\,(d\hat g - \hat g\,(\hat g \cdot d\hat g))$ |
# | `cosine`, compare | $S = \hat G_t \hat G_v^\top$ | $d\hat G_t = dS\, \hat G_v$, $d\hat G_v = dS^\top \hat G_t$ |
# | `triplet (1)`, `triplet (2)` | hinges, over the number of pairs | +1 to the wrong, −1 to the right of each active hinge |
# | `info_nce (2)`, `info_nce (3)` | softmax, surprise | $P - Y$ along rows, $R - X$ along columns |
# | `info_nce (1)` | $Z = S / e^{l}$ | $dS = dZ / \tau$, $dl = -\sum dS \circ S$ |
#
# - The cosine has no gradient along the vector. That keeps lengths out of it, and makes a collapse final.
# - "Hardest" from the start collapses: a loss that stands at $2 \cdot$ margin, a mean cosine of 1. Begin with "mean".
# - InfoNCE pushes each wrong answer by its probability; the temperature decides how much falls to the hardest, and can be learnt.
# - A batch is the question that the loss asks. Say which of its answers are right.
#
# **Next**: write the four functions yourself in [exercise 4](4_exercises.ipynb). In lesson 5 the trained retriever searches.

# %% [markdown] lang="zh"
# 只有最难负例吃亏,而且吃得不轻:向量本来已经散开,现在又挤到了一起。(在 “mean” 里,一个假负例只占 63 份中的一份,而同一幅图两句描述的
# 作用又互相抵消。)所以,用 `positives` 说清什么是对的,问题就不会出现。
#
# 真实的数据集里还有没人标出来的假负例:两张草地上的狗的照片,彼此的描述拿过来也一样合适。没有哪个矩阵知道它们;损失越是专挑难的负例,
# 碰上它们的次数就越多。
#
# ## 小结
#
# | 步骤 | 前向 | 反向 |
# |---|---|---|
# | `cosine`,归一 | $\hat g = g / \lVert g \rVert$ | $dg = r\,(d\hat g - \hat g\,(\hat g \cdot d\hat g))$ |
# | `cosine`,比较 | $S = \hat G_t \hat G_v^\top$ | $d\hat G_t = dS\, \hat G_v$,$d\hat G_v = dS^\top \hat G_t$ |
# | `triplet (1)`、`triplet (2)` | 铰链之和,除以正确对的个数 | 每个起作用的铰链:错误者 +1,正确者 −1 |
# | `info_nce (2)`、`info_nce (3)` | softmax,惊讶程度 | 沿行 $P - Y$,沿列 $R - X$ |
# | `info_nce (1)` | $Z = S / e^{l}$ | $dS = dZ / \tau$,$dl = -\sum dS \circ S$ |
#
# - 余弦在向量自己的方向上没有梯度:长度因此不起作用,坍缩也因此无法挽回。
# - 一开始就用 “hardest” 会坍缩:损失停在间隔的两倍,平均余弦为 1。先用 “mean”。
# - InfoNCE 按概率去压每个错误答案;温度决定其中多少落在最难的身上,而且可以学出来。
# - 一个批次就是损失提出的问题。要说清哪些答案是对的。
#
# **接下来**:在[练习 4](4_exercises.ipynb)里亲手写出这四个函数。第 5 课里,训练好的检索器开始搜索。
