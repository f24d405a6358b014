# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # 5 · Retrieval
#
# A trained model is not yet a search. Vectors must be stored, compared and sorted; the best may be looked at again with more care; and then
# somebody has to say, in one honest number, how good it is. This lesson does all of it by hand, looks at what goes wrong, and ends with a
# question that everyone asks: does attention look where the word is?
#
# **When you have worked through it, you can**
#
# 1. search an index with one matrix product, and say why its vectors must not know the query;
# 2. compute R@K, in both directions, with several captions an image and with ties, by hand;
# 3. name the failures of a retriever instead of only counting them;
# 4. rerank, say what it costs, what it cannot mend, and when it equals the exhaustive search;
# 5. derive the gradient of the paired score's cosine;
# 6. measure where attention points, against two baselines, and test by deletion whether it matters.
#
# You need the cosine of lesson 4 and the cross-attention of lesson 3.

# %% [markdown] lang="zh"
# # 5 · 检索
#
# 模型训练好了,还不等于能搜索。向量要存、要比、要排序;排在前面的可以再仔细看一遍;最后还得有人用一个诚实的数说清它有多好。这一课把这些都
# 亲手做一遍,看看错在哪里,最后回答一个人人都会问的问题:注意力看的,真是词所指的地方吗?
#
# **学完之后,你能够**
#
# 1. 用一次矩阵乘积搜索索引,并说清为什么索引里的向量不能知道查询;
# 2. 用手算出 R@K:两个方向、一幅图几句描述、有并列的情形;
# 3. 给检索器的失败起名字,而不只是数个数;
# 4. 做重排,说清它的代价、它补救不了什么、什么时候等于穷举搜索;
# 5. 推出成对分数里余弦的梯度;
# 6. 对照两条基线测量注意力指向哪里,并用删除实验检验它是否真的起作用。
#
# 需要第 4 课的余弦和第 3 课的交叉注意力。

# %%
from attnretrieval.threads import one_thread_by_default

one_thread_by_default()         # these products are small: a second thread would only wait for the first
# %matplotlib inline
# %config InlineBackend.figure_format = "png"
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from attnretrieval.course.show import formula, show
from attnretrieval.figures import retrieval_sheet

np.set_printoptions(precision=3, suppress=True, linewidth=110)
plt.rcParams["figure.dpi"] = 110          # the noise of the scenes makes sharper pictures large
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#6b6b6b"


def panels_of(count, width=9.0, height=3.0, **options):
    """A row of plots without the frame on two sides."""
    figure, panels = plt.subplots(1, count, figsize=(width, height), layout="constrained", **options)
    for panel in np.atleast_1d(panels):
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels

# %% [markdown] lang="en"
# ## 5.1 The index
#
# We train the real model of the package, smaller than usual: 2,000 drawn scenes, four rounds, some fifteen seconds. The gallery is 200 test
# scenes, whose combinations were never shown in training, with two English and two Chinese captions each.

# %% [markdown] lang="zh"
# ## 5.1 索引
#
# 训练的是程序包真正的模型,只是比平时小:2000 个画出来的场景,四轮,十几秒。待搜索的图库是 200 个测试场景,其中的组合训练时从没出现过,每幅两句
# 英文、两句中文描述。

# %%
from dataclasses import replace
from importlib import resources

from attnretrieval.build import build_retriever, training_data
from attnretrieval.recipe import read_recipe
from attnretrieval.training.loop import train
from attnretrieval.verbs.demo import make_part, words_to_point

rng = np.random.default_rng(0)
lessons, (scenes, test, spans) = make_part("train", 2000, rng), make_part("test", 200, rng)
recipe = read_recipe(resources.files("attnretrieval.verbs").joinpath("demo.toml"))
recipe = replace(recipe, model={**recipe.model, "alone_weight": 1.0},
                 training=replace(recipe.training, stages=(replace(recipe.training.stages[0], epochs=4),)))
retriever = build_retriever(recipe, lessons.data)
untrained = build_retriever(recipe, lessons.data)
rounds = iter(range(4))
rows = train(retriever.model, training_data(retriever, lessons.data), recipe.training,
             lambda model, mode: {"rsum": next(rounds)}, show=False)    # no validation: the last round counts
image_of, captions = test.captions.image_of, test.captions.texts
print(f"{len(captions)} captions, {len(scenes)} images; captions of image 0:")
for c in np.flatnonzero(image_of == 0):
    print(f"  {c:3}  {captions[c]}")

# %% [markdown] lang="en"
# An **index** holds one vector an image, made **before any query is known**. That is the whole point: the costly part is done once, and a
# query costs one product with all that is stored. So the vector is the $g^0$ of lesson 3, with $C := 0$: a context from a caption that
# nobody has typed yet cannot be in it.
#
# $$S^0 = \hat G^0_t\, \hat G^{0\top}_v \qquad (Q, d) \cdot (d, I) \to (Q, I)$$
#
# Then sort each row, the largest first. That is the search.
#
# **Predict before you run.** A million images with $d = 64$ in float32: how much memory does the index take? And how many
# multiplications does one query?

# %% [markdown] lang="zh"
# **索引**里每幅图存一个向量,是在**还不知道任何查询的时候**算好的。关键就在这里:费力的部分只做一次,之后一次查询只要与存好的东西做一次乘积。
# 所以存的是第 3 课的 $g^0$,即令 $C := 0$:还没人输入的描述,哪来的上下文。
#
# $$S^0 = \hat G^0_t\, \hat G^{0\top}_v \qquad (Q, d) \cdot (d, I) \to (Q, I)$$
#
# 再把每行从大到小排序,搜索就完成了。
#
# **先猜再运行。** 一百万幅图,$d = 64$,float32:索引占多少内存?一次查询要做多少次乘法?

# %%
from attnretrieval.retrieval.search import top_ids

texts, images = retriever.encode_captions(captions), retriever.encode_regions(test.regions)
print(f"g of captions {texts.g.shape}, g of images {images.g.shape}")
print(f"a million images: {1e6 * 64 * 4 / 1e6:.0f} MB, {1e6 * 64 / 1e6:.0f} million multiplications a query")


def unit(G):
    return G / np.linalg.norm(G, axis=-1, keepdims=True)


S0 = unit(texts.g) @ unit(images.g).T


def sheet(c, S, k=6):
    found = top_ids(S[c:c + 1], k)[0]
    return retrieval_sheet(captions[c], [(scenes[i].image, float(S[c, i]), bool(i == image_of[c]))
                                         for i in found])


running = {language: captions.index(text) for language, text in
           (("en", "a black cat is chasing a red ball"), ("zh", "一只黑色的猫在追红色的球"))}
for c in running.values():
    display(sheet(c, S0))
show(top_ids)

# %% [markdown] lang="en"
# 256 MB, read once a query, and 64 million multiplications: that is little. The two sentences share no character and find the same picture.
# (The package's `retrieval/nearest.py` does the same in blocks, so that memory does not grow with the gallery.)
#
# ## 5.2 R@K by hand
#
# How good is it? Take every caption as a query and ask how many images stand before its own: its **rank**, from 0.
#
# $$R@K = 100 \cdot \text{share of queries with rank} < K$$
#
# There are two directions, and they are not the same question:
#
# - **text to image** (t2i): a row of $S$. One image is right.
# - **image to text** (i2t): a column of $S$. Several captions are right, and **the first one found counts**: more right
#   answers, but also more to choose from.
#
# And there are **ties**. Here, of equal scores the lower number stands first, in search and metric alike.
#
# **With a pencil.** Captions 0 and 1 belong to image 0, captions 2 and 3 to image 1:
#
# | S | image 0 | image 1 |
# |---|---|---|
# | caption 0 | **0.9** | 0.2 |
# | caption 1 | **0.3** | 0.6 |
# | caption 2 | 0.2 | **0.5** |
# | caption 3 | 0.4 | **0.6** |
#
# **Predict before you run.** What is R@1 from text to image? From image to text? Which one hangs on a tie?

# %% [markdown] lang="zh"
# 256 MB,每次查询读一遍,六千四百万次乘法:不算多。两句话没有一个字符相同,找到的却是同一幅图。(程序包里的 `retrieval/nearest.py` 做的是同一件事,只是分块
# 进行,内存不随图库增长。)
#
# ## 5.2 用手算 R@K
#
# 它有多好?把每句描述当作查询,数一数有几幅图排在它自己的图之前:这就是**名次**,从 0 数起。
#
# $$R@K = 100 \cdot \text{名次小于 } K \text{ 的查询所占的比例}$$
#
# 有两个方向,它们问的不是一回事:
#
# - **由文找图**(t2i):看 $S$ 的一行,只有一幅图是对的。
# - **由图找文**(i2t):看 $S$ 的一列,有几句描述是对的,**最先找到的那句算数**。对的多了,可候选也多了。
#
# 还有**并列**。这里规定:分数相等时编号小的在前,搜索和指标都如此。
#
# **拿起铅笔。** 描述 0、1 属于图像 0,描述 2、3 属于图像 1:
#
# | S | 图像 0 | 图像 1 |
# |---|---|---|
# | 描述 0 | **0.9** | 0.2 |
# | 描述 1 | **0.3** | 0.6 |
# | 描述 2 | 0.2 | **0.5** |
# | 描述 3 | 0.4 | **0.6** |
#
# **先猜再运行。** 由文找图的 R@1 是多少?由图找文呢?哪一个取决于并列?

# %%
from attnretrieval.retrieval.metrics import rank_block, recalls

small, small_image_of = np.array([[0.9, 0.2], [0.3, 0.6], [0.2, 0.5], [0.4, 0.6]]), np.array([0, 0, 1, 1])
for way, r in zip(("image to text", "text to image"), recalls(small, small_image_of)):
    print(f"{way}: R@1 {r.r1:.0f}, queries {r.queries}, of which tied {r.ties}; "
          f"R@1 from {r.r1_worst:.0f} to {r.r1_best:.0f}")
show(rank_block)

# %% [markdown] lang="en"
# 75 and 50. Image 1 has its caption 3 and the wrong caption 1 at the same score, and the lower number stands first. In another
# order of the file it would be 100.
#
# **Predict before you run.** A model has collapsed and gives *every* pair the score 0. Somebody computes the rank as "how many scores are
# larger than that of the right one". What R@1 do they report?

# %% [markdown] lang="zh"
# 75 和 50。图像 1 的描述 3 和错误的描述 1 分数相同,编号小的在前。要是文件换个次序,就成了 100。
#
# **先猜再运行。** 一个坍缩了的模型给*每*一对都打 0 分。有人这样算名次:“有几个分数比正确的那个大”。他报告的 R@1 是多少?

# %%
collapsed = np.zeros((800, 200))
i2t, t2i, *_ = recalls(collapsed, image_of)
print(f"collapsed: t2i R@1 {t2i.r1:.1f} by lower number, "
      f"{t2i.r1_best:.0f} for whoever counts larger scores only")
print(f"           {t2i.ties} of {t2i.queries} queries hang on a tie")
of_index = recalls(S0, image_of)
for way, r in (("i2t", of_index.i2t), ("t2i", of_index.t2i)):
    print(f"our index, {way}: R@1 {r.r1:.1f}  R@5 {r.r5:.1f}  R@10 {r.r10:.1f}  "
          f"median place {r.medr:.0f}  mean place {r.meanr:.2f}")

# %% [markdown] lang="en"
# **100.** The worst model there is, and a perfect score, by a line of code that looks right. A metric must say what it does with ties, and
# it is wise to print how many there were. (Papers give the median and the mean *place*, counted from 1: rank + 1.)
#
# ### A number without its gallery says nothing
#
# **Predict before you run.** The same model, the same captions, but the gallery holds only 10 images, or 50. What becomes of R@1?

# %% [markdown] lang="zh"
# **100。** 最糟糕的模型,用一行看似正确的代码,得了满分。指标必须说明怎样处理并列,最好还报告有多少个。(论文里常给出名次的
# 中位数和平均数,那里从 1 数起,即这里的名次加 1。)
#
# ### 不说图库多大,数字就没有意义
#
# **先猜再运行。** 模型不变,描述不变,但图库只有 10 幅图,或者 50 幅。R@1 会怎样?

# %%
sizes = (5, 10, 20, 50, 100, 200)
draws = np.random.default_rng(3)
S_untrained = unit(untrained.encode_captions(captions).g) @ unit(untrained.encode_regions(test.regions).g).T


def in_galleries(S, size, repeats=20):
    """R@1 of text to image, mean over random galleries of this many images."""
    shares = []
    for _ in range(repeats):
        chosen = np.sort(draws.permutation(200)[:size])
        asked = np.flatnonzero(np.isin(image_of, chosen))
        shares.append(recalls(S[np.ix_(asked, chosen)], np.searchsorted(chosen, image_of[asked])).t2i.r1)
    return np.mean(shares)


figure, panel = panels_of(1, 6.5, 3.0)
for name, S, colour, style in (("trained", S0, BLUE, "o-"), ("untrained", S_untrained, ORANGE, "s--")):
    panel.plot(sizes, [in_galleries(S, size) for size in sizes], style, color=colour, label=name)
panel.plot(sizes, 100 / np.array(sizes), ":", color=GREY, label="guessing")
panel.set_xscale("log"), panel.set_xticks(sizes, sizes), panel.set_ylim(0, 103), panel.minorticks_off()
panel.set_xlabel("images in the gallery")
panel.set_ylabel("R@1, text to image")
panel.legend(fontsize=9, loc="center right")
plt.show()

# %% [markdown] lang="en"
# With 5 images even guessing gets 20. "R@1 of 60" on 1,000 images and on 5,000 are two different models.
#
# ## 5.3 What goes wrong
#
# A number says how often. To see **what**, we compare what the caption says with what the first picture shows. The scenes tell us: each has
# two things, their colours and a relation.
#
# **Predict before you run.** Which mistake will be the most frequent: a wrong animal, a wrong colour, colours exchanged between the two,
# or the wrong relation?

# %% [markdown] lang="zh"
# 只有 5 幅图时,瞎猜也有 20。“R@1 为 60”,在 1000 幅图上和在 5000 幅图上,说的是两个不同的模型。
#
# ## 5.3 错在哪里
#
# 一个数只说错了多少次。要看**错成什么样**,就把描述说的与排在第一的图画的相比。场景自己会告诉我们:每个场景有两样东西、各自的颜色和一种关系。
#
# **先猜再运行。** 最常见的会是哪种错:动物错了,颜色错了,两者的颜色互换了,还是关系错了?

# %%
def failure(said, shown):
    """What the wrong picture has wrong."""
    things = [{(m.shape, m.colour), (m.other_shape, m.other_colour)} for m in (said, shown)]
    shapes = [sorted((m.shape, m.other_shape)) for m in (said, shown)]
    colours = [sorted((m.colour, m.other_colour)) for m in (said, shown)]
    if things[0] == things[1]:
        return "same things, other relation or roles"
    if shapes[0] == shapes[1] and colours[0] == colours[1]:
        return "colours exchanged"
    if things[0] & things[1]:
        return "one thing right, one wrong"
    return "both things wrong"


NAMES = ("same things, other relation or roles", "colours exchanged", "one thing right, one wrong",
         "both things wrong")


def failures(S):
    first = top_ids(S, 1)[:, 0]
    wrong = np.flatnonzero(first != image_of)
    return {int(c): failure(scenes[image_of[c]].meaning, scenes[first[c]].meaning) for c in wrong}


def clearest(cases, S):
    """The one case where the right image stands furthest below the first, if there is a case."""
    return sorted(cases, key=lambda c: S[c, image_of[c]] - S[c].max())[:1]


wrong = failures(S0)


def count_failures(kinds, title=""):
    """Bars; `kinds` names each search and its failures."""
    figure, panel = panels_of(1, 8, 1.2 + len(kinds))
    for shift, (name, of), colour in zip((0, 0.4), kinds.items(), (BLUE, ORANGE)):
        counts = [list(of.values()).count(kind) for kind in NAMES]
        panel.barh(np.arange(len(NAMES)) + shift, counts, 0.38, color=colour,
                   label=f"{name}: {len(of)} wrong first results")
        for place, count in enumerate(counts):
            panel.text(count + 0.3, place + shift, str(count), va="center", fontsize=9)
    panel.set_yticks(np.arange(len(NAMES)) + 0.2 * (len(kinds) - 1), NAMES), panel.invert_yaxis()
    panel.set_xlim(0, 45)
    panel.set_xlabel(f"of {len(captions)} captions")
    panel.legend(fontsize=9, loc="lower right")
    panel.set_title(title, fontsize=10)
    plt.show()


count_failures({"index": wrong})
for name in NAMES[:2]:
    for c in clearest([c for c in wrong if wrong[c] == name], S0):
        # the Chinese captions follow the 400 English ones
        print(f"{name}: {captions[c % 400]} · {captions[c % 400 + 400]}")
        display(sheet(c, S0, 4))

# %% [markdown] lang="en"
# Most wrong pictures show the right shapes in the right colours, only not together as the caption says: exchanged between the two, or in
# another relation. The right picture mostly stands close behind. One vector has to hold who has which colour and who stands where, and
# **binding** is what it loses first. Also ask of every failure whether it *is* one: on photographs
# the "wrong" image often fits the caption just as well (lesson 4.8).
#
# ## 5.4 Reranking: look again, at a few
#
# The index compares two vectors that never saw each other. The **paired score** lets words and regions look at each other first:
#
# $$A = \mathrm{softmax}(H_t H_v^\top / \sqrt d) \tag{cross-attention (1)}$$
# $$C_t = A\, H_v \tag{cross-attention (2)}$$
# $$F = H + C \tag{fusion (1)}$$
# $$g = \sum_i a_i F_i \tag{pooling (3)}$$
# $$\hat H, \hat C = H, C \text{ brought to length 1} \tag{token-cosine (1)}$$
# $$c_i = \hat H_i \cdot \hat C_i \tag{token-cosine (2)}$$
#
# Regions look at words in the same way. Here the last two lines compare $g_t$ with $g_v$, one number a pair, and `alone_weight` adds the cosine of the index. It cannot be stored: it
# is different for each pair. With $n$ words, $m$ regions it costs some $4\,n\,m\,d$ multiplications a pair, against $d$.
#
# So do both. The index picks the best $k$, the paired score sorts these $k$ anew. The others keep their order.
#
# ### The gradient of the score, with a pencil
#
# `token_cosine` takes each vector with **its own** partner, and not all with all as the cosine of lesson 4. For one token:
#
# | step | reason | shape |
# |---|---|---|
# | $c = \hat H \cdot \hat C$ | the forward | () |
# | $d\hat H = dc\; \hat C, \quad d\hat C = dc\; \hat H$ | product rule, each gets the other | $(d)$ |
# | $dH = r_H \big(d\hat H - \hat H\,(\hat H \cdot d\hat H)\big)$ | through the length, lesson 4.1 | $(d)$ |
# | $\phantom{dH} = r_H\, dc\, (\hat C - c\, \hat H)$ | since $\hat H \cdot \hat C = c$ | $(d)$ |
#
# Read the last line: the token is pulled towards its partner, less what it has of it already. Where $c = 1$ nothing is left.
#
# **Predict before you run.** Somebody forgets the second term and writes $dH = r_H\, dc\, \hat C$. Will the checker call it a wrong
# factor, a missing sum, or something else? Would training fail?

# %% [markdown] lang="zh"
# 错误的图里,形状和颜色大多都对,只是搭配与描述不符:颜色互换了,或者关系变了;正确的图多半紧跟在后面。一个向量要记住谁是什么颜色、谁在哪里,最先丢的
# 就是这种**搭配**。另外,每遇到一次失败都要问问
# 它*是不是*失败:在照片上,“错误”的图常常与描述同样吻合(第 4.8 节)。
#
# ## 5.4 重排:对少数几个再看一遍
#
# 索引比较的是两个从没见过面的向量。**成对分数**则先让词和区域互相看一看:
#
# $$A = \mathrm{softmax}(H_t H_v^\top / \sqrt d) \tag{cross-attention (1)}$$
# $$C_t = A\, H_v \tag{cross-attention (2)}$$
# $$F = H + C \tag{fusion (1)}$$
# $$g = \sum_i a_i F_i \tag{pooling (3)}$$
# $$\hat H, \hat C = \text{长度化为 1 的 } H, C \tag{token-cosine (1)}$$
# $$c_i = \hat H_i \cdot \hat C_i \tag{token-cosine (2)}$$
#
# 区域看词也是同样的做法。这里最后两行比较的是 $g_t$ 与 $g_v$,每一对得一个数,`alone_weight` 再加上索引的余弦。它没法存:每一对都不同。$n$ 个词、$m$ 个区域,一对大约要
# $4\,n\,m\,d$ 次乘法,而索引只要 $d$ 次。
#
# 那就两样都用:索引挑出最好的 $k$ 个,成对分数把这 $k$ 个重新排序,后面的次序不变。
#
# ### 用铅笔推分数的梯度
#
# `token_cosine` 让每个向量只与**自己的**搭档相比,不像第 4 课的余弦那样所有的两两相比。只看一个词:
#
# | 步骤 | 理由 | 形状 |
# |---|---|---|
# | $c = \hat H \cdot \hat C$ | 前向 | () |
# | $d\hat H = dc\; \hat C, \quad d\hat C = dc\; \hat H$ | 乘积法则,各自得到对方 | $(d)$ |
# | $dH = r_H \big(d\hat H - \hat H\,(\hat H \cdot d\hat H)\big)$ | 经过长度,第 4.1 节 | $(d)$ |
# | $\phantom{dH} = r_H\, dc\, (\hat C - c\, \hat H)$ | 因为 $\hat H \cdot \hat C = c$ | $(d)$ |
#
# 读最后一行:词被拉向搭档,但要减去自己已有的那部分。$c = 1$ 时就什么也不剩。
#
# **先猜再运行。** 有人忘了第二项,写成 $dH = r_H\, dc\, \hat C$。检验器会说是系数错了、少了求和,还是别的?训练会因此毁掉吗?

# %%
from attnretrieval.equations.token_cosine import token_cosine, token_cosine_backward
from attnretrieval.gradcheck import check_gradient
from attnretrieval.model import Model


def without_the_shadow(d_c, cache):
    H, C = cache
    return d_c[..., None] * H.r * C.X_hat, token_cosine_backward(d_c, cache).d_C


draws = np.random.default_rng(0)
inputs = {"H": draws.standard_normal((2, 3, 5)), "C": draws.standard_normal((2, 3, 5))}
for backward in (without_the_shadow, token_cosine_backward):
    print(check_gradient(token_cosine, backward, inputs, rng=np.random.default_rng(0),
                         name=backward.__name__), end="\n\n")
show(token_cosine_backward, Model.paired)

# %% [markdown] lang="en"
# Not a factor: what is wrong lies along $H$, and differs from token to token. Training may well go on, since the missing part only
# changes the length of $H$, which the cosine does not see. That is what makes such mistakes dangerous, and a checker useful.
#
# ### Exactness
#
# **If $k$ is the size of the gallery, reranking is the exhaustive search**: all are candidates, the index decides nothing. With a smaller
# $k$ it can only lose what the index did not put among the first $k$. So the index's own R@$k$ is a ceiling for R@1 after reranking.
#
# **Predict before you run.** At which $k$ of 200 will the curve be flat? And the second curve, from the paired part alone
# (without the cosine of the index): above or below?

# %% [markdown] lang="zh"
# 不是系数:错的部分沿着 $H$ 的方向,每个词都不同。训练很可能照常进行,因为少掉的那部分只改变 $H$ 的长度,而余弦看不见长度。这类错误的危险正在于此,检验器的用处也在于此。
#
# ### 精确性
#
# **如果 $k$ 就是图库的大小,重排就是穷举搜索**:人人都是候选,索引什么也不决定。$k$ 更小时,它损失的只会是索引没放进前 $k$ 的那些。所以索引自己的
# R@$k$,是重排后 R@1 的上限。
#
# **先猜再运行。** 一共 200 幅,$k$ 到多大曲线就平了?第二条曲线只用成对的部分(不加索引的余弦):在上面还是在下面?

# %%
def rerank(S_index, S_paired, k):
    """Ids (Q, N): the first k of the index by the paired score, then the others as they stood."""
    order = top_ids(S_index, S_index.shape[1])
    first = np.sort(order[:, :k], axis=1)                       # equal scores: the lower number first
    places = np.argsort(-np.take_along_axis(S_paired, first, axis=1), axis=1, kind="stable")
    return np.concatenate([np.take_along_axis(first, places, axis=1), order[:, k:]], axis=1)


def found(order, truth, k=1):
    """Percent of the queries with a right answer among their first k."""
    return 100 * np.take_along_axis(truth, order[:, :k], axis=1).any(axis=1).mean()


S = retriever.model.score_matrix(texts, images)                 # exhaustive: 160,000 pairs
assert np.array_equal(rerank(S0, S, k=200), top_ids(S, 200)), "k = gallery size is exhaustive"

KS = (1, 2, 3, 5, 10, 20, 50, 200)
figure, (left, right) = panels_of(2, 10, 3.2)
for panel, way, A, B, truth in ((left, "text to image", S0, S, image_of[:, None] == np.arange(200)),
                                (right, "image to text", S0.T, S.T, np.arange(200)[:, None] == image_of)):
    ceiling = [found(top_ids(A, k), truth, k) for k in KS]
    full = [found(rerank(A, B, k), truth) for k in KS]
    part = [found(rerank(A, B - A, k), truth) for k in KS]
    assert all(r <= c for r, c in zip(full, ceiling))
    panel.plot(KS, ceiling, ":", color=GREY, label="R@k of the index: the ceiling")
    panel.plot(KS, full, "o-", color=BLUE, label="R@1, reranked by s")
    panel.plot(KS, part, "s--", color=ORANGE, label="R@1, by its paired part alone")
    panel.set_xscale("log"), panel.set_xticks(KS, KS), panel.minorticks_off(), panel.set_ylim(45, 102)
    panel.set_xlabel("k"), panel.set_title(way, fontsize=10)
left.legend(fontsize=8, loc="lower left")
plt.show()

# %%
after = failures(S)
mended, broken = [c for c in wrong if c not in after], [c for c in after if c not in wrong]
count_failures({"index": wrong, "reranked": after}, f"{len(mended)} mended, {len(broken)} newly wrong")
print("the two failures of 5.3, reranked")
for name in NAMES[:2]:
    for c in clearest([c for c in wrong if wrong[c] == name], S0):
        display(sheet(c, S, 4))

# %% [markdown] lang="en"
# The ceiling reaches 100 within the first ten: from there on, more candidates can only add wrong ones. Whether reranking *helps* is another
# matter: it mends some and breaks others, and the two clearest failures of 5.3 stay. The paired part alone falls far: the more
# candidates there are, the more wrong ones it finds to its liking. The index guards it from these, and so does
# the cosine that is added. On Flickr8k photographs, with a model trained for it, the rsum (R@1, R@5 and R@10 of both
# directions added) went from 296.0 to 305.7 by reranking 50 (docs/results.md). Measure it; do not assume it.
#
# ## 5.5 Does attention look where the word is?
#
# The **pointing game**: take the weights of a word, $A_{t2v}$ averaged over heads, and the region with the largest. A hit, if its centre lies in
# the box of what the word names. For the scenes we know the cell of each thing.
#
# A share of hits means nothing without two **baselines**: pointing anywhere at random, and always pointing at the middle.
#
# **Predict before you run.** Here 16 cells, one of them right: what does chance give? And the word "cat" shown with a picture that has no
# cat in it: where will it look?

# %% [markdown] lang="zh"
# 上限在前十名之内就到了 100:再往后,多出来的候选只会是错的。至于重排有没有*用*,是另一回事:它修好了一些,也弄坏了一些,5.3 节里最明显的两个失败依然如故。只用
# 成对的部分,成绩掉得厉害:候选一多,它看得顺眼的错图也多。索引替它挡住了这些,加上去的余弦也是。在 Flickr8k 照片上,用专门为此训练的模型,重排 50 个使 rsum(两个方向的 R@1、R@5、R@10 之和)从 296.0
# 升到 305.7,见 docs/results.md。要测量,不要想当然。
#
# ## 5.5 注意力看的是词所指的地方吗?
#
# **指向游戏**:取一个词的权重,即 $A_{t2v}$ 对各头的平均,找出权重最大的区域。它的中心落在该词所指之物的框里,就算命中。场景里每样东西在哪一格,我们
# 是知道的。
#
# 没有两条**基线**,命中率就毫无意义:一条是随便指,另一条是永远指正中间。
#
# **先猜再运行。** 这里有 16 格,对的只有一格:碰运气能得多少?再看“cat”这个词,给它一幅没有猫的图,它会看哪里?

# %%
from attnretrieval.figures.regions import region_weights
from attnretrieval.retrieval.pointing import pointing_accuracy

phrases = words_to_point(retriever, test.captions, spans)       # of a caption: (token numbers, boxes, kind)
encoded = {"trained": (retriever, texts, images),
           "untrained": (untrained, untrained.encode_captions(captions),
                         untrained.encode_regions(test.regions))}


def looks(name, c, i):
    """A_t2v (heads, n, m) of caption c with image i."""
    of, T, V = encoded[name]
    return of.model.attention(T.take(slice(c, c + 1)), V.take(slice(i, i + 1))).A_t2v


c = running["en"]
words = retriever.vocabulary.tokens_of(captions[c])
asked = [words.index(word) for word in ("black", "cat", "red", "ball")]
no_cat = next(i for i, scene in enumerate(scenes)
              if not {"cat", "ball"} & {scene.meaning.shape, scene.meaning.other_shape})
for i in (0, no_cat):
    A = looks("trained", c, i).mean(axis=0)
    display(region_weights(scenes[i].image, A[asked], (4, 4), [words[w] for w in asked], [None] * 4))

# %%
def points(name):
    return pointing_accuracy(lambda c: looks(name, c, image_of[c]), phrases, test.boxes, (4, 4))


pointed = {name: points(name) for name in encoded}
for name, p in pointed.items():
    kinds = ", ".join(f"{kind} words {100 * score.accuracy:.1f}" for kind, score in p.by_type.items())
    print(f"{name}: {100 * p.accuracy:.1f} % of {p.phrases} ({kinds}); "
          f"random {100 * p.random:.1f}, centre {100 * p.centre:.1f}")

p = pointed["trained"]
measured = {"random": 100 * p.random, "centre": 100 * p.centre,
            "untrained\nA_t2v": 100 * pointed["untrained"].accuracy, "A_t2v": 100 * p.accuracy}
# docs/results.md: 12,713 phrases of Flickr30k Entities
on_photographs = {"random": 30.0, "centre": 53.7, "A_t2v": 47.2}
figure, panels = panels_of(2, 8.5, 2.8, sharey=True)
for panel, values, title in zip(panels, (measured, on_photographs),
                                ("drawn scenes, measured here", "photographs, docs/results.md")):
    panel.bar(values.keys(), values.values(), color=[{"A": BLUE, "c": ORANGE}.get(name[0], GREY)
                                                     for name in values])
    for place, value in enumerate(values.values()):
        panel.text(place, value + 1, f"{value:.1f}", ha="center", fontsize=9)
    panel.set_title(title, fontsize=10), panel.set_ylim(0, 105)
panels[0].set_ylabel("hits, %"), panels[0].axhline(50, color="black", linewidth=0.8, linestyle="--")
panels[0].text(-0.4, 52, "either of the two things", fontsize=8)
plt.show()

# %% [markdown] lang="en"
# On the scenes it works well. Now the caveats, and they matter more than the number.
#
# - **On photographs the same measure gives 47.2 %: more than chance (30.0 %) and less than always pointing at the middle (53.7 %).** Boxes are
#   large and people photograph things in the middle. Without the second baseline 47.2 would have looked like a success.
# - **6 % is too easy a baseline here.** Fourteen of the sixteen cells are empty, and even an untrained model tells a thing from the ground: it
#   hits far more than chance. Whoever points at either of the two things gets 50 %. Only what is above that comes from the *word*.
# - **A softmax must look somewhere.** Shown a dog and a fish, "cat" and "ball" look at the dog, and quite decidedly. A sharp map is no sign that the thing is there.
# - Scenes are kind: one thing a cell, an empty ground, and regions that do not look at each other (`self_attention = false`). With
#   self-attention among regions, a cell holds what *other* cells showed.
# - Nothing in the loss asks a word to find its region. Where it does, that is a by-product.
#
# ## 5.6 A deletion test
#
# A map says where the weight is. It does not say whether the **score** depends on that. So hide a region and see how the score
# falls: the region that the word looks at most; the cell of the *other* thing; an empty cell, drawn at random. Hiding is a mask, as for
# padding: every softmax is renormalised over the fifteen cells that are left.
#
# **Predict before you run.** Order the three. Will hiding the most looked-at cell cost more than hiding the other thing?

# %% [markdown] lang="zh"
# 在场景上效果很好。接下来是几句提醒,它们比这个数更要紧。
#
# - **在照片上,同样的测量得到 47.2%:高于碰运气(30.0%),却低于永远指正中间(53.7%)。** 框很大,人又爱把东西拍在中间。没有第二条基线,47.2 看着
#   还像是成功。
# - **6% 这条基线在这里太容易了。** 十六格里十四格是空的,没训练过的模型也分得出东西和背景,命中远高于碰运气。在两样东西里随便指一个,就有 50%。超出
#   50% 的部分,才是*词*的功劳。
# - **softmax 总得看个地方。** 给一幅只有狗和鱼的图,“cat”和“ball”都去看狗,还看得相当坚决。图上一处颜色很深,不等于那东西真的在。
# - 场景很照顾我们:一格一物,背景空白,区域之间互不相看(`self_attention = false`)。区域之间若有自注意力,一格里装的可能是*别的*格子的内容。
# - 损失里没有一处要求词找到自己的区域。找到了,只是副产品。
#
# ## 5.6 删除实验
#
# 注意力图说的是权重在哪里,没说**分数**是否取决于那里。那就藏起一个区域,看分数降多少:词看得最多的那格;*另一样*东西所在的格;随机抽一个空格。藏起
# 来就是加遮罩,与填充一样:所有 softmax 都在剩下的十五格上重新归一。
#
# **先猜再运行。** 给这三种排个次序。藏起看得最多的那格,会比藏起另一样东西损失更大吗?

# %%
V = retriever.project(test.regions)
each = np.arange(200)
rows = 2 * each                                                 # the first English caption of each image
first_thing = [next(span for span in spans[c] if span.kind == "object") for c in rows]
tokens = [next(t for t, _, kind in phrases[c] if kind == "object") for c in rows]
own = np.array([span.cells[0] for span in first_thing])
# a scene has two things, each in its own cell
other = np.array([scene.cells for scene in scenes]).sum(axis=1) - own
most = np.array([looks("trained", c, i)[:, t].mean(axis=(0, 1)).argmax()
                 for c, i, t in zip(rows, each, tokens)])
draws = np.random.default_rng(5)
empty = np.array([draws.choice([cell for cell in range(16) if cell not in (*scene.cells, seen)])
                  for scene, seen in zip(scenes, most)])


def score_without(cells):
    """s of each caption with its own image, one cell of which is hidden."""
    mask = np.ones(V.shape[:2], bool)
    if cells is not None:
        mask[each, cells] = False
    hidden = retriever.model.encode_image(V, mask)
    return retriever.model.score_pairs(texts.take(rows), hidden, each, each)


whole = score_without(None)
drops = {"most looked at": whole - score_without(most), "the other thing": whole - score_without(other),
         "an empty cell": whole - score_without(empty)}
print(f"mean score of the whole images: {whole.mean():.2f}, of at most 2")
print(f"words that look most at the thing that they name: {np.mean(most == own):.2f}")
figure, panel = panels_of(1, 7.5, 3.0)
for place, (drop, colour) in enumerate(zip(drops.values(), (BLUE, ORANGE, GREY))):
    panel.scatter(drop, place + draws.uniform(-0.25, 0.25, len(drop)), s=8, color=colour, alpha=0.6)
    panel.plot([drop.mean()] * 2, [place - 0.35, place + 0.35], color="black", linewidth=2)
    panel.text(drop.mean() + 0.01, place - 0.3, f"{drop.mean():.3f}", fontsize=9)
panel.set_yticks(range(3), list(drops)), panel.invert_yaxis(), panel.axvline(0, color=GREY, linewidth=0.8)
panel.set_xlabel("fall of the score (black: mean)")
plt.show()

# %% [markdown] lang="en"
# The cells with things carry the score, the empty ones hardly. That is what a good map should predict, and here it does: what the word
# looks at matters.
#
# But look at the second row. Hiding the *other* thing, at which this word does not look, costs nearly as much: other words look there,
# and the image's own vector needs it. **The test shows that a region matters to the score, not that it matters because of this word's weight.**
# And a hidden cell is something that training never showed, so part of any fall is mere surprise. Say "the score depends on this region", and
# no more.
#
# ## Summary
#
# | step | what it is | cost for $Q$ queries, $I$ images |
# |---|---|---|
# | index | cosine of stored $g^0$, sort | $Q\,I\,d$ |
# | rerank | paired score of the first $k$, the others stay | $Q\,k$ pairs more |
# | exhaustive | paired score of all; equals rerank with $k = I$ | $Q\,I$ pairs |
#
# - R@K: ranks from 0; i2t takes the first of several right captions; say what happens to ties, and how large the gallery is.
# - Name failures. "Colours exchanged" tells more than "R@1 = 92.5".
# - R@$k$ of the index is the ceiling of R@1 after reranking $k$. Whether reranking helps has to be measured.
# - `token_cosine (1)`, `token_cosine (2)`: $dH = r_H\, dc\,(\hat C - c \hat H)$.
# - Attention maps show what a score was made of. They are no detector: compare with chance *and* centre, and delete to see what matters.
#
# **Next**: write the five functions yourself in [exercise 5](5_exercises.ipynb). In lesson 6 you search your own photographs.

# %% [markdown] lang="zh"
# 撑起分数的是有东西的格子,空格几乎不起作用。好的注意力图就应该预示这一点,这里也确实如此:词所看的地方是要紧的。
#
# 但请看第二行。藏起*另一样*东西,这个词并不看它,分数降得几乎一样多:别的词看那里,图像自己的向量也需要它。**这个实验说明某个区域对分数要紧,并不说明
# 它是因为这个词的权重才要紧。** 何况,藏起一格的图训练时从没见过,下降里有一部分只是意外所致。可以说“分数取决于这个区域”,到此为止。
#
# ## 小结
#
# | 步骤 | 做什么 | 代价:$Q$ 个查询,$I$ 幅图 |
# |---|---|---|
# | 索引 | 与存好的 $g^0$ 求余弦,排序 | $Q\,I\,d$ |
# | 重排 | 前 $k$ 个用成对分数,其余不动 | 再加 $Q\,k$ 对 |
# | 穷举 | 全部用成对分数;等于 $k = I$ 的重排 | $Q\,I$ 对 |
#
# - R@K:名次从 0 数起;由图找文取几句正确描述中最先的一句;要说清并列怎么办、图库有多大。
# - 给失败起名字。“颜色互换了”比“R@1 = 92.5”说得多。
# - 索引的 R@$k$ 是重排 $k$ 个之后 R@1 的上限。重排有没有用,要测了才知道。
# - `token_cosine (1)`、`token_cosine (2)`:$dH = r_H\, dc\,(\hat C - c \hat H)$。
# - 注意力图显示分数由什么构成。它不是检测器:要与碰运气*和*正中间两条基线比,并用删除实验看什么要紧。
#
# **接下来**:在[练习 5](5_exercises.ipynb)里亲手写出这五个函数。第 6 课搜索你自己的照片。
