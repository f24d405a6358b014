# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # 3 · Cross-attention
#
# In lesson 2 words looked at words and regions at regions. Now the two meet: the word "cat" looks for its region, and the region of
# the cat looks for its words. From what they find, one vector for the text and one for the image is made.
#
# **When you have worked through it, you can**
#
# 1. compute $A_{t2v}$, $A_{v2t}$, $C_t$ and $C_v$ of a small example, and say why one matrix is not the other transposed;
# 2. derive the gradient of cross-attention, in which the tokens that are looked at go two ways;
# 3. write three fusions and three poolings, derive the gradient of the gate, and say which token each pooling teaches;
# 4. read a map from words to regions, turn its heads and its temperature, and say what it does not show;
# 5. say why $g_v$ depends on the text, and what an index stores instead.
#
# You need lesson 2: `attention (1)` to `attention (3)` and their gradient.

# %% [markdown] lang="zh"
# # 3 · 交叉注意力
#
# 第 2 课里,词看词,区域看区域。现在两边见面了:“猫”这个词去找自己的区域,猫所在的区域去找说它的词。用它们找到的东西,文本和图像各做成
# 一个向量。
#
# **学完之后,你能够**
#
# 1. 算出一个小例子的 $A_{t2v}$、$A_{v2t}$、$C_t$、$C_v$,并说清为什么一个矩阵不是另一个的转置;
# 2. 推出交叉注意力的梯度,其中被看的一方走了两条路;
# 3. 写出三种融合和三种池化,推出门的梯度,并说清每种池化在教哪些词元;
# 4. 读懂从词到区域的注意力图,调它的头和温度,并说清它没有显示什么;
# 5. 说清 $g_v$ 为什么取决于文本,以及索引里存的是什么。
#
# 需要第 2 课的内容:`attention (1)` 到 `attention (3)` 以及它们的梯度。

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
# ## 3.1 Two directions
#
# $H_t\,(n, d)$ are the words and $H_v\,(m, d)$ the regions, each after its own self-attention. They have one size $d$, so a word and a
# region have a dot product. Queries come from the side that looks, keys and values from the side that is looked at:
#
# $$A = \mathrm{softmax}(H H_{other}^\top / \sqrt{d}) \tag{cross-attention (1)}$$
# $$C = A H_{other} \tag{cross-attention (2)}$$
#
# | who looks | at whom | weights | what it finds: the context |
# |---|---|---|---|
# | words, $H = H_t$ | regions, $H_{other} = H_v$ | $A_{t2v}\,(n, m)$ | $C_t\,(n, d)$, one row a word |
# | regions, $H = H_v$ | words, $H_{other} = H_t$ | $A_{v2t}\,(m, n)$ | $C_v\,(m, d)$, one row a region |
#
# This is the whole equation: no weights of its own. What a word and a region have in common is learnt by the layers before it.
#
# **With a pencil.** Three words, five regions, $d = 4$, so $\sqrt d = 2$. The third to fifth region are empty.
#
# | words | | regions | |
# |---|---|---|---|
# | cat | $(2, 0, 0, 0)$ | 0, with the cat | $(2, 0, 0, 1)$ |
# | is | $(0, 0, 0, 0)$ | 1, with the ball | $(0, 2, 1, 0)$ |
# | ball | $(0, 2, 0, 0)$ | 2, 3, 4, empty | $(0, 0, 0, 0)$ |
#
# The logits of "cat" are $(2, 0, 0, 0, 0)$, and $e^2 = 7.39$; so its weights are $7.39 / 11.39 = 0.649$, and $0.088$ four times.
#
# **Predict before you run.** Region 0 looks at the three words. Its logits are the same numbers, the first *column*: $(2, 0, 0)$. What is
# its weight for "cat"? More or less than 0.649, and why?

# %% [markdown] lang="zh"
# ## 3.1 两个方向
#
# $H_t\,(n, d)$ 是词,$H_v\,(m, d)$ 是区域,各自已经做过自注意力。两者的大小都是 $d$,所以词和区域之间有点积。查询来自看的一方,键和值来自
# 被看的一方:
#
# $$A = \mathrm{softmax}(H H_{other}^\top / \sqrt{d}) \tag{cross-attention (1)}$$
# $$C = A H_{other} \tag{cross-attention (2)}$$
#
# | 谁在看 | 看谁 | 权重 | 找到的东西:上下文 |
# |---|---|---|---|
# | 词,$H = H_t$ | 区域,$H_{other} = H_v$ | $A_{t2v}\,(n, m)$ | $C_t\,(n, d)$,每个词一行 |
# | 区域,$H = H_v$ | 词,$H_{other} = H_t$ | $A_{v2t}\,(m, n)$ | $C_v\,(m, d)$,每个区域一行 |
#
# 公式就这么多,它自己没有参数。词和区域有什么共同点,由前面的层去学。
#
# **拿起铅笔。** 三个词,五个区域,$d = 4$,所以 $\sqrt d = 2$。最后三个区域是空的。
#
# | 词 | | 区域 | |
# |---|---|---|---|
# | 猫 cat | $(2, 0, 0, 0)$ | 0,有猫 | $(2, 0, 0, 1)$ |
# | 在 is | $(0, 0, 0, 0)$ | 1,有球 | $(0, 2, 1, 0)$ |
# | 球 ball | $(0, 2, 0, 0)$ | 2、3、4,空的 | $(0, 0, 0, 0)$ |
#
# “猫”的分数是 $(2, 0, 0, 0, 0)$,$e^2 = 7.39$,所以权重是 $7.39 / 11.39 = 0.649$,其余四个各 $0.088$。
#
# **先猜再运行。** 轮到区域 0 看三个词。分数还是那些数,只是取第一*列*:$(2, 0, 0)$。它给“猫”的权重是多少?比 0.649 大还是小,为什么?

# %%
from attnretrieval.equations.cross_attention import cross_attention, cross_attention_backward
from attnretrieval.figures import heads

H_t = np.array([[2.0, 0, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0]])
H_v = np.array([[2.0, 0, 0, 1], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
C_t, t2v = cross_attention(H_t, H_v)
C_v, v2t = cross_attention(H_v, H_t)
A_t2v, A_v2t = t2v.A[0], v2t.A[0]           # one head
print("C_t\n", C_t, "\nC_v\n", C_v)
heads(np.stack([A_t2v, A_v2t.T]), ["cat", "is", "ball"], ["0: cat", "1: ball", "2", "3", "4"],
      titles=["A_t2v: rows sum to 1", "A_v2t, transposed: columns sum to 1"], axes=("words", "regions"))

# %% [markdown] lang="en"
# There is one table of logits, and two ways to share out: each word has 1 to give to the regions, and each region has 1 to give to the
# words. Region 0 has three words to choose from and the word has five regions, so 0.787 and not 0.649. And look at the empty
# regions: no word looks at them much, but *they* must look somewhere, a third at each word. In a softmax nobody may abstain.
#
# Most of what the function below does is for options that are off by default (projections, heads, cosines). The line with (1), (2) is
# the equation.

# %% [markdown] lang="zh"
# 分数表只有一张,分法有两种:每个词有一份“1”分给各个区域,每个区域也有一份“1”分给各个词。区域 0 只有三个词可选,而词有五个区域可选,
# 所以是 0.787 而不是 0.649。再看那些空区域:词很少看它们,但*它们*总得看点什么,于是每个词分到三分之一。在 softmax 里谁也不能弃权。
#
# 下面的函数大半是为默认关闭的选项(投影、多头、余弦)写的。标着 (1)、(2) 的那一行就是公式本身。

# %%
show(cross_attention)

# %% [markdown] lang="en"
# `key_mask` belongs to those who are looked at: the mask of the regions when words look, the mask of the words when regions look.
#
# **Predict before you run.** A text of three words is padded to five. Regions look at it without a mask. Padding has vector 0. Does
# it do harm?

# %% [markdown] lang="zh"
# `key_mask` 属于被看的一方:词看区域时用区域的遮罩,区域看词时用词的遮罩。
#
# **先猜再运行。** 三个词的文本填充到五个,区域不带遮罩去看它。填充的向量是 0。这有害吗?

# %%
padded, real = np.pad(H_t, ((0, 2), (0, 0))), np.array([True, True, True, False, False])
for name, mask in (("no mask", None), ("with mask", real), ("nothing is real", np.zeros(5, bool))):
    C, cache = cross_attention(H_v, padded, mask)
    print(f"{name:16} region 0 looks {cache.A[0, 0]}   its context {C[0]}")

# %% [markdown] lang="en"
# A logit of 0 is no weight of 0: padding takes its share, and the same text would get a different score in a longer batch. Keep the
# last line in mind: **with nothing to look at, the context is 0.** Section 3.7 lives on it.
#
# ## 3.2 The gradient: the tokens looked at go two ways
#
# One direction: $H\,(n, d)$, $H_{other}\,(m, d)$, and $dC\,(n, d)$ is given. It is lesson 2 with $Q = H$ and $K = V = H_{other}$:
#
# | undo | why | gradient | shapes |
# |---|---|---|---|
# | (2) $C = A H_{other}$ | a product | $dA = dC\, H_{other}^\top$ | $(n, d)(d, m) = (n, m)$ |
# | | the way as **values** | $dH_{other} \mathrel{+}= A^\top dC$ | $(m, n)(n, d) = (m, d)$ |
# | (1) $A = \mathrm{softmax}(S)$ | row by row | $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$ | $(n, m)$ |
# | (1) $S = H H_{other}^\top / \sqrt d$ | a product, and a factor | $dH = dS\, H_{other} / \sqrt d$ | $(n, m)(m, d) = (n, d)$ |
# | | the way as **keys** | $dH_{other} \mathrel{+}= dS^\top H / \sqrt d$ | $(m, n)(n, d) = (m, d)$ |
#
# The second habit of lesson 1: what is used twice gets the sum of two. (And both directions together use $H_t$ three times: to
# look, as keys and as values. With its way into the fusion that makes four.)
#
# **With a pencil**, on 3.1: $L$ is the first number of the cat's context, so $dC = (1, 0, 0, 0)$ in the row of "cat", 0 elsewhere.
#
# | row of "cat" | | |
# |---|---|---|
# | $dA_j = dc \cdot r_j$ | $(2, 0, 0, 0, 0)$ | only region 0 has a first number |
# | $\sum_j dA_j A_j$ | $2 \cdot 0.649 = 1.298$ | |
# | $dS_j = A_j (dA_j - 1.298)$ | $(0.456, -0.114, -0.114, -0.114, -0.114)$ | the sum is 0 |
# | region 0, as value and as key | $0.649\,dc + \tfrac12 \cdot 0.456 \cdot (2, 0, 0, 0)$ | $(1.105, 0, 0, 0)$ |
# | region 1, as value and as key | ? | **yours** |
#
# **Predict before you run.** Region 1, the ball. As a value, should its first number grow, so that $L$ grows? And as a key? Which of
# the two wins?

# %% [markdown] lang="zh"
# 分数为 0 不等于权重为 0:填充会分走一份,同一句话放进更长的批次,得分就变了。请记住最后一行:**没有东西可看时,上下文是 0。** 3.7 节
# 全靠它。
#
# ## 3.2 梯度:被看的一方走了两条路
#
# 只看一个方向:$H\,(n, d)$,$H_{other}\,(m, d)$,给定 $dC\,(n, d)$。它就是第 2 课里 $Q = H$、$K = V = H_{other}$ 的情形:
#
# | 拆 | 为什么 | 梯度 | 形状 |
# |---|---|---|---|
# | (2) $C = A H_{other}$ | 乘积 | $dA = dC\, H_{other}^\top$ | $(n, d)(d, m) = (n, m)$ |
# | | 作为**值**的那条路 | $dH_{other} \mathrel{+}= A^\top dC$ | $(m, n)(n, d) = (m, d)$ |
# | (1) $A = \mathrm{softmax}(S)$ | 逐行 | $dS = A \circ (dA - \mathrm{rowsum}(dA \circ A))$ | $(n, m)$ |
# | (1) $S = H H_{other}^\top / \sqrt d$ | 乘积,再带一个系数 | $dH = dS\, H_{other} / \sqrt d$ | $(n, m)(m, d) = (n, d)$ |
# | | 作为**键**的那条路 | $dH_{other} \mathrel{+}= dS^\top H / \sqrt d$ | $(m, n)(n, d) = (m, d)$ |
#
# 第 1 课的第二条习惯:用了两次,就加两份。(两个方向合起来,$H_t$ 用了三次:去看、当键、当值。再加上直接进入融合的那一次,一共四次。)
#
# **拿起铅笔**,仍用 3.1 的例子:$L$ 是“猫”的上下文的第一个数,即 $dC$ 在“猫”那一行是 $(1, 0, 0, 0)$,其余为 0。
#
# | “猫”这一行 | | |
# |---|---|---|
# | $dA_j = dc \cdot r_j$ | $(2, 0, 0, 0, 0)$ | 只有区域 0 的第一个数不为 0 |
# | $\sum_j dA_j A_j$ | $2 \cdot 0.649 = 1.298$ | |
# | $dS_j = A_j (dA_j - 1.298)$ | $(0.456, -0.114, -0.114, -0.114, -0.114)$ | 和为 0 |
# | 区域 0,作为值与作为键 | $0.649\,dc + \tfrac12 \cdot 0.456 \cdot (2, 0, 0, 0)$ | $(1.105, 0, 0, 0)$ |
# | 区域 1,作为值与作为键 | ? | **轮到你** |
#
# **先猜再运行。** 看区域 1,也就是球。要让 $L$ 变大,作为值,它的第一个数应该变大吗?作为键呢?哪一边占上风?

# %%
from attnretrieval.equations.softmax import softmax, softmax_backward

d_C = np.zeros((3, 4))
d_C[0, 0] = 1
d_A = d_C @ H_v.T
as_values = A_t2v.T @ d_C
d_S = softmax_backward(d_A, A_t2v) / math.sqrt(4)
d_H_t = d_S @ H_v
as_keys = d_S.T @ H_t
print("region 0: as value", as_values[0], " as key", as_keys[0])
print("region 1: as value", as_values[1], " as key", as_keys[1])
print("          the sum ", as_values[1] + as_keys[1])
print("d_H of 'cat':", d_H_t[0])
theirs = cross_attention_backward(d_C, t2v)
assert np.allclose(d_H_t, theirs.d_H) and np.allclose(as_values + as_keys, theirs.d_H_other)
show(cross_attention_backward)

# %% [markdown] lang="en"
# As a value region 1 is asked for more of feature 1, since "cat" takes 0.088 of it. As a key it is asked for less: it should be found
# less, for what it gives is worse than the mean. Here the key wins: a backward that forgets the keys has the wrong sign.
#
# ### Check it by machine
#
# The checker can say more than "wrong" when it knows the ways. `ways` below is the equation once more, with every use of an input
# marked by a name.
#
# **Predict before you run.** `forgetful` returns only the way through the keys. What will the checker say of $dH$?

# %% [markdown] lang="zh"
# 作为值,区域 1 被要求在第一个特征上多一点,因为“猫”取了它的 0.088。作为键,它被要求少一点:它给出的东西不如平均,应该少被找到。这里键
# 占上风:漏掉键这条路的反向传播,连符号都会错。
#
# ### 让机器检验
#
# 检验器如果知道有哪些路,就不只会说“错”。下面的 `ways` 把公式再写一遍,给每个输入的每次使用起了名字。
#
# **先猜再运行。** `forgetful` 只返回经过键的那条路。检验器会怎样说 $dH$?

# %%
from attnretrieval.equations.attention import attention_backward
from attnretrieval.gradcheck import check_gradient

rng = np.random.default_rng(0)


def ways(x):
    S = x("H", "queries") @ x("H_other", "keys").T / math.sqrt(4)
    return softmax(S) @ x("H_other", "values")


def forgetful(d_C, cache):
    d_Q, d_K, d_V = attention_backward(d_C[None], cache.attended)       # [None]: the axis of the heads
    return d_Q[0], d_K[0]


inputs = {"H": rng.normal(size=(3, 4)), "H_other": rng.normal(size=(5, 4))}
for backward in (forgetful, cross_attention_backward):
    print(check_gradient(cross_attention, backward, inputs, rng=rng, name=backward.__name__, paths=ways),
          end="\n\n")

# %% [markdown] lang="en"
# $dH$ is right: its only way is that of the queries. Of $dH_{other}$ the checker names the part that is missing.
#
# ## 3.3 Fusion: a token and what it found
#
# Every token now has two vectors, its own $H$ and its context $C$. Fusion makes one $F\,(n, d)$ of them. Each option has its own (1):
#
# $$\text{add:}\quad F = H + C \tag{fusion (1)}$$
# $$\text{concat:}\quad F = [H \,; C]\, W + b \tag{fusion (1)}$$
# $$\text{gate:}\quad G = \sigma([H \,; C]\, W + b) \tag{fusion (1)}$$
# $$\phantom{\text{gate:}\quad} F = G \circ H + (1 - G) \circ C \tag{fusion (2)}$$
#
# $[H \,; C]$ is $(n, 2d)$: the features of the token, then those of its context. The rows of $W\,(2d, d)$ split in the same place, so
# $[H \,; C]\, W = H W_1 + C W_2$. With $G = 1$ a feature is the token's own, with $G = 0$ it comes from the other side.
#
# ### The gradient of the gate
#
# Let $U = [H \,; C]\, W + b$ and $dF\,(n, d)$ be given. $\sigma' = \sigma (1 - \sigma)$, so from the last line up:
#
# | undo | gradient | shapes |
# |---|---|---|
# | (2) $F = G \circ H + (1 - G) \circ C$ | $dG = dF \circ (H - C)$ | $(n, d)$ |
# | | $dH \mathrel{+}= dF \circ G$, $\;dC \mathrel{+}= dF \circ (1 - G)$: **straight** | $(n, d)$ |
# | (1) $G = \sigma(U)$ | $dU = dG \circ G \circ (1 - G)$ | $(n, d)$ |
# | (1) $U = [H \,; C]\, W + b$ | $dW = [H \,; C]^\top dU$, $\;db = $ sum of the rows of $dU$ | $(2d, n)(n, d)$, $(d)$ |
# | | $[dH \,; dC] \mathrel{+}= dU\, W^\top$: **through the gate** | $(n, d)(d, 2d) = (n, 2d)$ |
#
# **With a pencil.** One feature: $h = 3$, $c = 1$, weights $w_h = 1$, $w_c = -1$, $b = -2$. Then $u = 3 - 1 - 2 = 0$, $G = \tfrac12$, $F = 2$.
# With $dF = 1$: $dG = 2$ and $dU = 2 \cdot \tfrac14 = \tfrac12$.
#
# **Predict before you run.** $dh$ and $dc$, each as straight + through the gate. One of them will surprise you.

# %% [markdown] lang="zh"
# $dH$ 是对的:它只有当查询这一条路。至于 $dH_{other}$,检验器指出了漏掉的是哪一部分。
#
# ## 3.3 融合:词元和它找到的东西
#
# 现在每个词元有两个向量,自己的 $H$ 和上下文 $C$。融合把它们合成一个 $F\,(n, d)$。每种做法都有自己的 (1):
#
# $$\text{add:}\quad F = H + C \tag{fusion (1)}$$
# $$\text{concat:}\quad F = [H \,; C]\, W + b \tag{fusion (1)}$$
# $$\text{gate:}\quad G = \sigma([H \,; C]\, W + b) \tag{fusion (1)}$$
# $$\phantom{\text{gate:}\quad} F = G \circ H + (1 - G) \circ C \tag{fusion (2)}$$
#
# 三者依次是相加、拼接、门控。$[H \,; C]$ 的形状是 $(n, 2d)$:先是词元自己的特征,再是上下文的特征。$W\,(2d, d)$ 的行在同一处分开,所以
# $[H \,; C]\, W = H W_1 + C W_2$。$G = 1$ 的特征取自己的,$G = 0$ 的特征取对方的。
#
# ### 门的梯度
#
# 设 $U = [H \,; C]\, W + b$,给定 $dF\,(n, d)$。$\sigma' = \sigma (1 - \sigma)$,从最后一行往上拆:
#
# | 拆 | 梯度 | 形状 |
# |---|---|---|
# | (2) $F = G \circ H + (1 - G) \circ C$ | $dG = dF \circ (H - C)$ | $(n, d)$ |
# | | $dH \mathrel{+}= dF \circ G$,$\;dC \mathrel{+}= dF \circ (1 - G)$:**直接的路** | $(n, d)$ |
# | (1) $G = \sigma(U)$ | $dU = dG \circ G \circ (1 - G)$ | $(n, d)$ |
# | (1) $U = [H \,; C]\, W + b$ | $dW = [H \,; C]^\top dU$,$\;db = dU$ 各行之和 | $(2d, n)(n, d)$,$(d)$ |
# | | $[dH \,; dC] \mathrel{+}= dU\, W^\top$:**经过门的路** | $(n, d)(d, 2d) = (n, 2d)$ |
#
# **拿起铅笔。** 只有一个特征:$h = 3$,$c = 1$,权重 $w_h = 1$,$w_c = -1$,$b = -2$。于是 $u = 3 - 1 - 2 = 0$,$G = \tfrac12$,$F = 2$。
# 取 $dF = 1$:$dG = 2$,$dU = 2 \cdot \tfrac14 = \tfrac12$。
#
# **先猜再运行。** $dh$ 和 $dc$ 各等于“直接的”加“经过门的”,是多少?其中一个会让你意外。

# %%
from attnretrieval.equations.fusion import fuse_add, fuse_gate, fuse_gate_backward

h, c, W, b = np.array([[3.0]]), np.array([[1.0]]), np.array([[1.0], [-1.0]]), np.array([-2.0])
F, cache = fuse_gate(h, c, W, b)
grads = fuse_gate_backward(np.ones((1, 1)), cache)
print(f"F = {F[0, 0]},  d_h = {grads.d_H[0, 0]} = 0.5 + 0.5,  d_c = {grads.d_C[0, 0]} = 0.5 - 0.5")

u = np.linspace(-7, 7, 200)
figure, panels = plt.subplots(1, 2, figsize=(9, 2.7))
G = 1 / (1 + np.exp(-u))
panels[0].plot(u, G * 3 + (1 - G) * 1, color="#0072B2")
panels[0].set_title("F slides from the context to the token", fontsize=10)
for value, name in ((3, "h = 3, the token"), (1, "c = 1, the context")):
    panels[0].axhline(value, color="grey", linewidth=0.8, linestyle="--")
    panels[0].text(-7 if value == 3 else 7, value, name, fontsize=8,
                   ha="left" if value == 3 else "right", va="bottom")
for d_u, style, name in ((G * (1 - G) * 2, "-", "h - c = 2"), (G * (1 - G) * 0.2, "--", "h - c = 0.2")):
    panels[1].plot(u, d_u, style, color="#D55E00", label=name)
panels[1].legend(fontsize=8), panels[1].set_title("what the gate learns from: dU for dF = 1", fontsize=10)
for panel in panels:
    panel.set_xlabel("u", fontsize=9), panel.spines[["top", "right"]].set_visible(False)
panels[0].set_ylim(0.9, 3.3)
figure.tight_layout()

# %% [markdown] lang="en"
# $dc = 0$: more of $c$ would raise $F$ by its share, and it would also close the gate for $h$, which is larger. The two cancel. And the
# right panel says when a gate learns: while it is undecided, and where token and context differ.
#
# **Predict before you run.** `straight` leaves out the way through the gate. Which of its four gradients are wrong?

# %% [markdown] lang="zh"
# $dc = 0$:$c$ 大一点,$F$ 会按它的份额升高,但同时也把更大的 $h$ 的门关小了一点,两者正好抵消。右图则说明门什么时候在学:它还没拿定主意,
# 而且词元与上下文不一样的时候。
#
# **先猜再运行。** `straight` 漏了经过门的那条路。它的四个梯度中哪些是错的?

# %%
def gate_ways(x):
    side_by_side = np.concatenate([x("H", "gate"), x("C", "gate")], axis=-1)
    G = 1 / (1 + np.exp(-(side_by_side @ x("W", "gate") + x("b", "gate"))))
    return G * x("H", "straight") + (1 - G) * x("C", "straight")


def straight(d_F, cache):
    right = fuse_gate_backward(d_F, cache)
    return d_F * cache.G, d_F * (1 - cache.G), right.d_W, right.d_b


inputs = {"H": rng.normal(size=(3, 4)), "C": rng.normal(size=(3, 4)), "W": rng.normal(size=(8, 4)),
          "b": rng.normal(size=4)}
for backward in (straight, fuse_gate_backward):
    print(check_gradient(fuse_gate, backward, inputs, rng=rng, name=backward.__name__, paths=gate_ways),
          end="\n\n")
show(fuse_gate, fuse_gate_backward)

# %% [markdown] lang="en"
# ## 3.4 Pooling: one vector for a whole sequence
#
# $F\,(n, d)$ becomes $g\,(d)$. Again each option has its own (1):
#
# $$\text{mean:}\quad g = \sum_i mask_i F_i \big/ \sum_i mask_i \tag{pooling (1)}$$
# $$\text{max:}\quad g_c = \max_i F_{ic} \tag{pooling (1)}$$
# $$\text{attention:}\quad e = F u / \sqrt d \tag{pooling (1)}$$
# $$a = \mathrm{softmax}(e) \tag{pooling (2)}$$
# $$g = \sum_i a_i F_i \tag{pooling (3)}$$
#
# $u\,(d)$ is learnt: a query that belongs to no word and asks every token "do you matter?". Padding must not matter in any of the three.
#
# What they teach differs. With $dg\,(d)$ given:
#
# | pooling | $dF_i$ | who is taught |
# |---|---|---|
# | mean | $mask_i\, dg \,/\, \text{number of real tokens}$ | all alike |
# | max | $dg_c$ for the token that gave feature $c$, else 0 | one token a feature |
# | attention | $a_i\, dg + de_i\, u / \sqrt d$, with $de = a \circ (da - \textstyle\sum_k da_k a_k)$, $da_i = F_i \cdot dg$ | by weight, and two ways again |
#
# **Predict before you run.** Below are the three $dF$ for five tokens of six features, the last one padding, and $dg = (1, \ldots, 1)$. In which
# will a token have no gradient at all, though it is real? In which can an entry be negative?

# %% [markdown] lang="zh"
# ## 3.4 池化:整个序列变成一个向量
#
# $F\,(n, d)$ 变成 $g\,(d)$。同样,每种做法都有自己的 (1):
#
# $$\text{mean:}\quad g = \sum_i mask_i F_i \big/ \sum_i mask_i \tag{pooling (1)}$$
# $$\text{max:}\quad g_c = \max_i F_{ic} \tag{pooling (1)}$$
# $$\text{attention:}\quad e = F u / \sqrt d \tag{pooling (1)}$$
# $$a = \mathrm{softmax}(e) \tag{pooling (2)}$$
# $$g = \sum_i a_i F_i \tag{pooling (3)}$$
#
# 三者依次是均值、最大值、注意力池化。$u\,(d)$ 是学出来的:它是一个不属于任何词的查询,去问每个词元“你要紧吗?”。三种做法里,填充都不许
# 起作用。
#
# 它们教的对象不同。给定 $dg\,(d)$:
#
# | 池化 | $dF_i$ | 教谁 |
# |---|---|---|
# | mean | $mask_i\, dg \,/\, \text{真实词元数}$ | 一视同仁 |
# | max | 特征 $c$ 取自哪个词元,哪个就得 $dg_c$,其余为 0 | 每个特征只教一个词元 |
# | attention | $a_i\, dg + de_i\, u / \sqrt d$,其中 $de = a \circ (da - \textstyle\sum_k da_k a_k)$,$da_i = F_i \cdot dg$ | 按权重,而且又是两条路 |
#
# **先猜再运行。** 下面是五个词元、六个特征时三种池化的 $dF$,最后一个词元是填充,$dg = (1, \ldots, 1)$。哪一种会让一个真实的词元完全得不到
# 梯度?哪一种可能出现负数?

# %%
from attnretrieval.equations.pooling import (
    pool_attention,
    pool_attention_backward,
    pool_max,
    pool_max_backward,
    pool_mean,
    pool_mean_backward,
)

draw_numbers = np.random.default_rng(135)
F, u = draw_numbers.normal(size=(5, 6)), 1.5 * draw_numbers.normal(size=6)
mask = np.array([1, 1, 1, 1, 0], bool)
d_g = np.ones(6)
taught = {"mean": pool_mean_backward(d_g, pool_mean(F, mask)[1]).d_F,
          "max": pool_max_backward(d_g, pool_max(F, mask)[1]).d_F,
          "attention": pool_attention_backward(d_g, pool_attention(F, u, mask)[1]).d_F}
figure, panels = plt.subplots(1, 3, figsize=(10, 2.9), sharey=True)
for panel, (name, d_F) in zip(panels, taught.items()):
    panel.imshow(d_F, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(d_F):
        panel.text(j, i, f"{value:.2f}" if value else "0", ha="center", va="center", fontsize=8,
                   color="white" if abs(value) > 0.6 else "black")
    panel.set_title(f"d_F, {name}", fontsize=10)
    panel.set_xticks(range(6), [f"$c_{j}$" for j in range(6)])
panels[0].set_yticks(range(5), ["token 0", "token 1", "token 2", "token 3", "padding"], fontsize=9)
figure.tight_layout()
print("a =", pool_attention(F, u, mask)[1].a)
for forward, backward, inputs in ((pool_mean, pool_mean_backward, {"F": F, "mask": mask}),
                                  (pool_attention, pool_attention_backward,
                                   {"F": F, "u": u, "mask": mask})):
    print(check_gradient(forward, backward, inputs, rng=rng))
show(pool_attention, pool_attention_backward)

# %% [markdown] lang="en"
# Token 2 is real, and *max* teaches it nothing: it had the largest number of no feature. Token 3 gets next to nothing from *attention*, since its
# weight is 0.02. And only there are entries negative: as a value a token should grow, and the way through $a$ may take weight from it.
#
# ## 3.5 Train it
#
# Now all pieces are put together: $T$, $V$ → self-attention → $H_t$, $H_v$ → cross-attention → $C_t$, $C_v$ → fusion → pooling → $g_t$, $g_v$, and the
# score of a pair is the cosine of the two. We train the package's own `Model`, small, with the plain options: *add*, attention pooling,
# two heads, and regions without self-attention, so that each shows its own cell alone. Two parts are new. A feed-forward layer and a layer norm stand behind self-attention; layer norm brings every token to about the
# length $\sqrt d$, so that the logits are large enough for the softmax to choose. And the loss is borrowed from lesson 4. It asks for one thing
# only: **of 16 scenes, each caption shall score highest with its own.** Nobody says which word belongs to which region.
#
# **Predict before you run.** Will the word "cat" find the cat's region nevertheless? Why should it?

# %% [markdown] lang="zh"
# 词元 2 是真实的,而 *max* 什么也没教它:它没有一个特征是最大的。词元 3 从 *attention* 几乎一无所得,因为它的权重只有 0.02。负数也只在
# *attention* 里出现:作为值,词元该变大;经过 $a$ 的那条路,却可能要减它的权重。
#
# ## 3.5 训练
#
# 现在把零件装起来:$T$、$V$ → 自注意力 → $H_t$、$H_v$ → 交叉注意力 → $C_t$、$C_v$ → 融合 → 池化 → $g_t$、$g_v$,一对图文的得分就是这两个
# 向量的余弦。训练的是程序包自己的 `Model`,只是小一些,选项取最朴素的:相加、注意力池化、两个头;区域之间不做自注意力,
# 让每个区域只反映自己那一格。有两处是新的。自注意力后面加了前馈层
# 和层归一化;层归一化让每个词元的长度约为 $\sqrt d$,这样分数才够大,softmax 才挑得出来。损失函数从第 4 课借来,它只要求一件事:
# **在 16 个场景里,每句话与自己的场景得分最高。** 没有人说哪个词属于哪个区域。
#
# **先猜再运行。** 即便如此,“猫”这个词会找到猫的区域吗?凭什么会?

# %%
from attnretrieval.build import build_retriever, training_data
from attnretrieval.model import Model
from attnretrieval.recipe import parse_recipe
from attnretrieval.training.data import draw_batches, steps_in_epoch
from attnretrieval.training.objective import Objective, objective_backward, objective_forward
from attnretrieval.training.optimisers import Adam
from attnretrieval.verbs.demo import make_part

show(Model.paired, Model.paired_backward)

# %% [markdown] lang="en"
# Read `paired` from `cross_attention` down, and `paired_backward` as the same list upwards. Its last lines are the sum of 3.2: own way,
# out to look, looked at. (The branch after `else` is another score, off here.)

# %% [markdown] lang="zh"
# 从 `cross_attention` 往下读 `paired`,再把 `paired_backward` 当作同一张单子往上读。最后几行就是 3.2 节的求和:自己的路、去看的路、被看的路。
# (`else` 之后是另一种得分,这里没有用。)

# %%
SIDE = {"project": True, "residual": True, "layer_norm": True, "feed_forward": 96, "pooling": "attention"}
RECIPE = parse_recipe({
    "text": {"tokeniser": "characters", "d_vectors": 48, "positions": 24, **SIDE},
    "image": {"pca": 96, "positions": 16, "self_attention": False, **SIDE},     # see the text above
    "model": {"d": 48, "heads": 4, "cross_heads": 2, "fusion": "add"},
})


def fit(model, data, epochs, rng, lr=3e-3, batch=16):
    """Both losses of every step."""
    objective, losses = Objective(paired_weight=1.0), []
    adam, gradient = Adam(model.parameters.flat), model.parameters.zeros_like()
    steps = epochs * steps_in_epoch(data, batch)
    for _ in range(epochs):
        for pairs in draw_batches(data, rng, batch, captions_per_image=2):
            loss, cache = objective_forward(model, pairs, objective)
            gradient.flat[...] = 0
            objective_backward(model, cache, objective, gradient)
            adam.step(model.parameters.flat, gradient.flat, lr * (1 - len(losses) / steps))
            losses.append((float(loss.alone), float(loss.paired)))
    return np.array(losses)


rng = np.random.default_rng(0)
# no combination is in both
train, test = make_part("train", 2000, rng), make_part("test", 100, rng)
retriever = build_retriever(RECIPE, train.data)
model, vocabulary = retriever.model, retriever.vocabulary
losses = fit(model, training_data(retriever, train.data), epochs=3, rng=rng)

figure, axis = plt.subplots(figsize=(7, 2.6))
knows_nothing = {"alone": (np.log(16) + np.log(32)) / 2, "paired": np.log(16)}
for k, (name, colour, style) in enumerate((("alone", "#0072B2", "--"), ("paired", "#D55E00", "-"))):
    smooth = np.convolve(losses[:, k], np.ones(8) / 8, "valid")
    axis.plot(smooth, style, color=colour, linewidth=1.2, label=name)
    axis.axhline(knows_nothing[name], color="grey", linewidth=0.8, linestyle=":")
    axis.text(len(losses), knows_nothing[name], f"{name}: knows nothing", ha="right", va="bottom", fontsize=8,
              color="grey")
axis.set_xlabel("step"), axis.set_ylabel("loss, mean of 8 steps", fontsize=9)
axis.legend(fontsize=8, loc="center right"), axis.set_ylim(0, 3.7)
axis.spines[["top", "right"]].set_visible(False)
figure.tight_layout()

# %% [markdown] lang="en"
# Two losses fall: *paired* is the score above, *alone* is explained in 3.7. (A batch has 16 scenes with two captions each. *Alone* takes
# all 32 captions, *paired* one a scene, so a network that knows nothing starts at $\tfrac12(\log 16 + \log 32)$ and at $\log 16$.)
#
# ## 3.6 Which region did each word look at?
#
# The scene is from the test set: no *black cat chasing a red ball* was in training. Above, where each word looks ($A_{t2v}$, its row); below,
# which regions look at it ($A_{v2t}$, its column). Dark red is attention far above uniform.

# %% [markdown] lang="zh"
# 下降的有两个损失:*paired* 就是上面说的成对得分,*alone* 到 3.7 节再解释。(一个批次有 16 个场景,每个两句描述。*alone* 用全部 32 句,
# *paired* 每个场景只用一句;所以什么都不懂的网络,前者从 $\tfrac12(\log 16 + \log 32)$ 开始,后者从 $\log 16$ 开始。)
#
# ## 3.6 每个词看了哪个区域?
#
# 这个场景来自测试集:训练中没有出现过“黑猫追红球”。上排是每个词看哪里($A_{t2v}$ 的一行),下排是哪些区域在看它($A_{v2t}$ 的一列)。
# 深红表示远高于均匀的注意力。

# %%
from attnretrieval.figures import region_weights, word_region_maps
from attnretrieval.inputs.scenes import RUNNING_EXAMPLE

scene, images = test.scenes[0], retriever.encode_regions(test.data.regions)
image = images.take([0])
looks = {language: model.attention(retriever.encode_captions([text]), image)
         for language, text in RUNNING_EXAMPLE.items()}
tokens = {language: vocabulary.tokens_of(text) for language, text in RUNNING_EXAMPLE.items()}
# %config InlineBackend.figure_format = "png"
word_region_maps(scene.image, tokens["en"], looks["en"].A_t2v, looks["en"].A_v2t, test.data.boxes,
                 title=RUNNING_EXAMPLE["en"])

# %%
word_region_maps(scene.image, tokens["zh"], looks["zh"].A_t2v, looks["zh"].A_v2t, test.data.boxes,
                 title=RUNNING_EXAMPLE["zh"])

# %% [markdown] lang="en"
# *cat* and *black* look at the cat, *red* and *ball* at the ball. The measure word 只 counts cats, dogs and birds, and it looks at the cat as
# well; "a" could be either and looks at both. And what do the empty regions do, who must look somewhere? They all look at *is*, and in
# Chinese at 的: words that are never about anything. That is where a softmax that may not abstain puts its attention.
# Not all is tidy: 球 prefers the ball by little, and 在 looks at both objects, for which we know no reason.
#
# Why does it work? The reason is the gradient of 3.2: a caption scores higher with its own scene when $C_t$ resembles the words, so the
# region that resembles "cat" is moved towards it, as key and as value, in every scene with a cat; the other regions change from scene to
# scene, and what they do cancels.
#
# How often does it work? Of every noun and every colour in the test captions we ask whether its darkest region is the right one of 16.

# %% [markdown] lang="zh"
# “猫”和“黑”看猫,“红”和“球”看球。量词“只”用来数猫、狗、鸟,它也看着猫;“a”两样都可以指,就两样都看。那些空区域又总得看点什么,它们
# 看哪里?在英文里都看 *is*,在中文里都看“的”:从不指任何东西的词。不能弃权的 softmax,就把注意力放在这种地方。
# 也不是处处都整齐:“球”只略微偏向球,“在”则看着两个物体,我们说不出为什么。
#
# 它为什么学得会?原因就是 3.2 节的梯度:$C_t$ 越像这些词,这句话与自己的场景得分越高;于是在每个有猫的场景里,像“猫”的那个区域都被推近一点,
# 作为键,也作为值。其余区域每个场景都不同,它们的作用互相抵消。
#
# 这种情况有多常见?对测试描述里的每个名词和颜色词,我们问:颜色最深的区域是不是 16 个中正确的那一个。

# %%
from attnretrieval.inputs.words import phrase_positions

hits = {}
texts = retriever.encode_captions(test.data.captions.texts)
for i, (text, spans) in enumerate(zip(test.data.captions.texts, test.spans)):
    A = model.attention(texts.take([i]), images.take([test.data.captions.image_of[i]])).A_t2v
    for span in spans:
        if span.kind != "relation":
            places = phrase_positions(vocabulary.spans(text), span.start, span.end)
            for name, weights in (("head 0", A[0]), ("head 1", A[1]), ("mean of both", A.mean(axis=0))):
                hit = weights[places].mean(axis=0).argmax() in span.cells
                hits.setdefault((span.kind, name), []).append(hit)
# %config InlineBackend.figure_format = "retina"
figure, axis = plt.subplots(figsize=(7, 2.4))
for row, ((kind, _), found) in enumerate(hits.items()):
    axis.barh(row, np.mean(found), color="#0072B2" if kind == "object" else "#E69F00")
    axis.text(np.mean(found) + 0.01, row, f"{np.mean(found):.2f}", va="center", fontsize=9)
axis.set_yticks(range(len(hits)), fontsize=9,
                labels=[f"{'noun' if kind == 'object' else kind}, {name}" for kind, name in hits])
axis.axvline(1 / 16, color="black", linewidth=0.8, linestyle="--")
axis.text(1 / 16 + 0.01, -0.75, "a random cell", fontsize=8)
axis.invert_yaxis(), axis.set_xlim(0, 1.08), axis.spines[["top", "right"]].set_visible(False)
axis.set_xlabel(f"share of {len(found)} words whose darkest region is the right one", fontsize=9)
figure.tight_layout()

# %% [markdown] lang="en"
# ### Turn it: words, heads, temperature
#
# Divide the logits by a temperature $\tau$ before the softmax: $A = \mathrm{softmax}(S / \tau)$. With the sliders (in a running notebook) choose a word, a head and
# $\tau$. On a page without a kernel you see the picture only: one word at three temperatures.
#
# **Predict before you run.** What is the map at $\tau \to \infty$, and what at $\tau \to 0$? Does $\tau$ ever change which region is darkest, in one
# head? And in the mean of two heads?

# %% [markdown] lang="zh"
# ### 动手调:词、头、温度
#
# 在 softmax 之前把分数除以温度 $\tau$:$A = \mathrm{softmax}(S / \tau)$。在运行着的笔记本里,可以用滑块选词、选头、选 $\tau$。没有内核的页面上只看得到
# 图片:同一个词在三个温度下的样子。
#
# **先猜再运行。** $\tau \to \infty$ 时图是什么样?$\tau \to 0$ 时呢?在一个头里,$\tau$ 会不会改变哪个区域最深?在两个头的平均里呢?

# %%
from attnretrieval.equations.heads import split_heads

encoded = {language: retriever.encode_captions([text]) for language, text in RUNNING_EXAMPLE.items()}


def maps(language, head, temperature):
    """A_t2v (n, m) and A_v2t (m, n) of one head, or of the mean of both."""
    Q, K = split_heads(encoded[language].H[0], 2), split_heads(image.H[0], 2)
    S = Q @ K.swapaxes(-1, -2) / math.sqrt(Q.shape[-1]) / temperature
    A_t2v, A_v2t = softmax(S), softmax(S.swapaxes(-1, -2))
    return (A_t2v.mean(axis=0), A_v2t.mean(axis=0)) if head == "mean" else (A_t2v[head], A_v2t[head])


def draw(word, head, temperature):
    language, i = word
    A_t2v, A_v2t = maps(language, head, temperature)
    token = tokens[language][i]
    return region_weights(scene.image, np.stack([A_t2v[i], A_v2t[:, i]]), (4, 4),
                          [f"{token} looks at", f"{token} is looked at by"],
                          [None, None])


try:
    from ipywidgets import FloatLogSlider, SelectionSlider, interact

    words = [(f"{token} ({i})", (language, i)) for language in tokens
             for i, token in enumerate(tokens[language])]
    interact(draw, word=SelectionSlider(options=words, value=("en", 2)),
             head=SelectionSlider(options=["mean", 0, 1]),
             temperature=FloatLogSlider(value=1, min=-1.5, max=1.5, step=0.25))
except ImportError:  # no sliders; call draw(("en", 2), "mean", 0.5) by hand
    pass
of_cat = [maps("en", "mean", temperature)[0][2] for temperature in (0.3, 1, 4)]
region_weights(scene.image, np.stack(of_cat), (4, 4),
               ["cat, temperature 0.3", "cat, temperature 1", "cat, temperature 4"], [None] * 3)

# %% [markdown] lang="en"
# A temperature never changes the order within one head, since dividing keeps the order of the logits. In a mean of two heads it can:
# the sharper head wins. What these maps do *not* show: that the score rests on what is dark. Lesson 5 tests that, by deletion.
#
# ## 3.7 The hard question: $g_v$ depends on the text
#
# A search engine stores one vector an image, *before* anyone has asked. But look at the chain: $C_v$ is made of words. Below, $g_v$ of
# **one** image, computed with each English caption of the test set.
#
# **Predict before you run.** How many different $g_v$ has this one image? A million images and a thousand queries: how many vectors would
# have to be computed, and when?

# %% [markdown] lang="zh"
# 在一个头里,温度从不改变先后,因为除以一个正数,分数的顺序不变。在两个头的平均里就可能改变:更尖的那个头占上风。这些图*没有*显示的是:
# 得分是否真的靠颜色深的地方。第 5 课用删除实验来检验。
#
# ## 3.7 难题:$g_v$ 取决于文本
#
# 搜索引擎为每幅图存一个向量,而且是在*有人提问之前*。可是看看这条链:$C_v$ 是由词组成的。下面对**同一幅**图,分别用测试集里的每一句英文描述
# 计算 $g_v$。
#
# **先猜再运行。** 这一幅图有多少个不同的 $g_v$?一百万幅图、一千个查询,要算多少个向量?什么时候算?

# %%
from attnretrieval.equations.cosine import cosine_similarity
from attnretrieval.figures import embedding_map


def image_vector(H_v, H_t=None, word_mask=None):
    """g_v (..., d) of an image with a text, or without one."""
    C_v = None if H_t is None else cross_attention(H_v, H_t, word_mask, heads=2)[0]
    F_v, _ = fuse_add(H_v, C_v)
    return pool_attention(F_v, model.parameters["pool_v.u"])[0]


english = texts.take(np.arange(0, 200, 2))              # the plain form of each scene's caption
g_v = image_vector(image.H, english.H, english.mask)
g_alone = image_vector(image.H)
print(len(np.unique(g_v.round(5), axis=0)), "different g_v of one image")
assert np.allclose(g_alone, image.g, atol=1e-5)         # the model does the same
chosen = np.arange(40)
embedding_map(np.concatenate([g_v[chosen], g_alone]), [""] * 41,
              ["with its own text", *["with another text"] * 39, "alone, C := 0"],
              title="g_v of one image, with 40 texts")

# %% [markdown] lang="en"
# As many as there are texts: a billion for a million images and a thousand queries, and each only once the query has come. In the picture the
# text moves $g_v$ about, and *alone*, with no context in it, lies apart. So $g_v$ cannot be stored; only something that does not depend on the text can. What should stand in its
# place? The equations answer it, if we read them for the case that is asked: **an image alone is an image with a text of no words.**
# Attention over an empty set of keys gives the empty sum, $C_v = 0$, as we saw in 3.1 with the mask. Fusion and pooling go on:
#
# | fusion | with $C := 0$ | |
# |---|---|---|
# | add | $F = H$ | |
# | concat | $F = H W_1 + b$ | the second half of $W$ has no part |
# | gate | $G = \sigma(H W_1 + b)$, $F = G \circ H$ | |
#
# The result is called $g^0_v$, and $g^0_t$ for a text alone. No new weights, no made-up average text: **one set of weights, two entry points**.
# But a vector that training has never seen is worth nothing, so training minimises both: $L = L_{alone} + \lambda L_{paired}$. $L_{alone}$ is the
# dashed curve of 3.5. (It ends near $\tfrac12 \log 2 = 0.35$ and cannot go lower: two captions of each scene share the prize.)
#
# **Predict before you run.** Captions with scenes, scored alone and paired: in which of the two will the diagonal stand out? How much
# does one have to compute for each, for $N$ texts and $N$ images?

# %% [markdown] lang="zh"
# 有多少句话,就有多少个:一百万幅图、一千个查询就是十亿个,而且都要等查询来了才能算。图中,文本把 $g_v$ 挪来挪去;不带上下文的 *alone* 单独
# 在一边。所以 $g_v$ 没法存,能存的只有不取决于文本的东西。拿什么来代替?只要把公式用到所问的情形上,它自己就给出了答案:
# **单独一幅图,就是配了一句“零个词”的图。** 对空的键集合做注意力,得到的是空和,$C_v = 0$,3.1 节的遮罩已经演示过。融合和池化照常进行:
#
# | 融合 | $C := 0$ 时 | |
# |---|---|---|
# | add | $F = H$ | |
# | concat | $F = H W_1 + b$ | $W$ 的后一半不起作用 |
# | gate | $G = \sigma(H W_1 + b)$,$F = G \circ H$ | |
#
# 结果记作 $g^0_v$,单独的文本则是 $g^0_t$。没有新的参数,也不用编造一句“平均的话”:**一套参数,两个入口**。不过,训练从没见过的向量一文不值,
# 所以训练同时最小化两者:$L = L_{alone} + \lambda L_{paired}$。3.5 节的虚线就是 $L_{alone}$。
# (它停在 $\tfrac12 \log 2 = 0.35$ 附近,再低不了:一个批次里每个场景有两句话,奖品由它们平分。)
#
# **先猜再运行。** 句子配场景,分别用单独的和成对的方式打分。哪一种的对角线更突出?对 $N$ 句话、$N$ 幅图,两种方式各要算多少?

# %%
alone = cosine_similarity(english.g, images.g)[0]           # 100 texts, 100 scenes
paired = model.score_matrix(english, images)
titles = [f"{name}: {np.sum(S.argmax(axis=1) == np.arange(100))} of 100 texts find their scene"
          for name, S in (("alone", alone), ("paired", paired))]
heads(np.stack([alone, paired])[:, :8, :8], [f"text {i}" for i in range(8)],
      [f"scene {i}" for i in range(8)], titles=titles,
      axes=("", ""), bar="score (below 0 is white)")

# %% [markdown] lang="en"
# Both know the pairs, and here *alone* is even the better of the two: a score that costs more is not better for that, it must be measured
# (lesson 5 does). *Alone*, each of the $2N$ items is encoded once and the table is one product: that is what an index does. *Paired*,
# cross-attention runs $N^2$ times. What the pair alone can give are the maps of 3.6. The two can share the work: the index finds a few
# candidates, the paired score re-orders them.
#
# **Try it.** Change `"add"` in the recipe to `"gate"` and `image_vector` to `fuse_gate` with `**model.parameters.under("fuse_v")`. Which of
# the two scores is the better one now?
#
# ## Summary
#
# | step | forward | backward |
# |---|---|---|
# | `cross_attention (1)` | $A = \mathrm{softmax}(H H_{other}^\top / \sqrt d)$ | $dH = dS H_{other} / \sqrt d$, $dH_{other} \mathrel{+}= dS^\top H / \sqrt d$ |
# | `cross_attention (2)` | $C = A H_{other}$ | $dA = dC H_{other}^\top$, $dH_{other} \mathrel{+}= A^\top dC$ |
# | `fusion (1)`, add | $F = H + C$ | $dF$ to both |
# | `fusion (2)`, gate | $F = G \circ H + (1 - G) \circ C$ | straight, and through the gate |
# | `pooling (1)`, mean | the mean of the real tokens | $dg$ / number, padding 0 |
# | `pooling (3)`, attention | $g = \sum_i a_i F_i$ | $a_i\, dg$, and through $a$ |
#
# - One table of logits, two softmaxes: $A_{v2t}$ is not $A_{t2v}$ transposed.
# - The tokens that are looked at are keys and values: their gradient is a sum of two, and the two can pull in opposite directions.
# - The mask belongs to those who are looked at. With nothing to look at, $C = 0$.
# - $g_v$ depends on the text. What is stored is $g^0_v$, the same equations with $C := 0$, and training must see it too.
#
# **Next**: [exercise 3](3_exercises.ipynb). In lesson 4 the loss is no longer borrowed.

# %% [markdown] lang="zh"
# 两种都认得出自己的另一半,而且这里*单独*的反而更好:算得多的得分不一定就好,要量过才知道(第 5 课会量)。*单独*时,$2N$ 个对象各编码
# 一次,整张表就是一次乘积:索引做的正是这件事。*成对*时,交叉注意力要算 $N^2$ 次。只有成对才给得出的,是 3.6 节的图。两者可以分工:先用
# 索引找出几个候选,再用成对的得分重新排序。
#
# **试一试。** 把配方里的 `"add"` 换成 `"gate"`,`image_vector` 里换成 `fuse_gate`,并传入 `**model.parameters.under("fuse_v")`。现在
# 哪一种得分更好?
#
# ## 小结
#
# | 步骤 | 前向 | 反向 |
# |---|---|---|
# | `cross_attention (1)` | $A = \mathrm{softmax}(H H_{other}^\top / \sqrt d)$ | $dH = dS H_{other} / \sqrt d$,$dH_{other} \mathrel{+}= dS^\top H / \sqrt d$ |
# | `cross_attention (2)` | $C = A H_{other}$ | $dA = dC H_{other}^\top$,$dH_{other} \mathrel{+}= A^\top dC$ |
# | `fusion (1)`,相加 | $F = H + C$ | 两边都得 $dF$ |
# | `fusion (2)`,门 | $F = G \circ H + (1 - G) \circ C$ | 直接的路,加上经过门的路 |
# | `pooling (1)`,均值 | 真实词元的均值 | $dg$ / 个数,填充为 0 |
# | `pooling (3)`,注意力 | $g = \sum_i a_i F_i$ | $a_i\, dg$,再加上经过 $a$ 的路 |
#
# - 分数表一张,softmax 两次:$A_{v2t}$ 不是 $A_{t2v}$ 的转置。
# - 被看的一方既是键又是值:梯度是两份之和,而这两份可能方向相反。
# - 遮罩属于被看的一方。没有东西可看时,$C = 0$。
# - $g_v$ 取决于文本。存下来的是 $g^0_v$,即同样的公式取 $C := 0$;训练时也必须让它出场。
#
# **接下来**:[练习 3](3_exercises.ipynb)。到第 4 课,损失函数就不用再借了。
