# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="en"
# # 1 · Words and regions
#
# A computer that finds a picture for a sentence needs both as numbers, and in the same form: a list of vectors. This lesson
# makes that list twice.
#
# **When you have worked through it, you can**
#
# 1. turn a sentence into a matrix $T$ with one row a word, and an image into a matrix $V$ with one row a region;
# 2. say what a word vector knows and what it cannot know, and show it by counting;
# 3. reshape a feature map $(h, w, c)$ into $m = h \cdot w$ regions, and back, without mixing anything up;
# 4. derive the gradients of a linear layer and of an embedding with a pencil, and check them by machine;
# 5. put sentences of different length into one array, and keep the padding from having any effect.
#
# You need matrices, the chain rule, and a little Python. All numbers are small, all code is NumPy, and every function that you
# see is the one that the package runs. Where it says **predict before you run**, stop and write your answer down: that is where
# most of the learning happens.

# %% [markdown] lang="zh"
# # 1 · 词与区域
#
# 要让计算机给一句话找到图像,先得把两者都变成数,而且是同一种形式:一串向量。这一课把这件事做两遍:对句子一遍,对图像一遍。
#
# **学完之后,你能够**
#
# 1. 把一句话变成矩阵 $T$(每个词一行),把一幅图变成矩阵 $V$(每个区域一行);
# 2. 说清一个词向量知道什么、不可能知道什么,并且用计数来证明;
# 3. 把特征图 $(h, w, c)$ 变成 $m = h \cdot w$ 个区域,再变回去,什么都不弄乱;
# 4. 用铅笔推出线性层和词嵌入的梯度,再让机器检验;
# 5. 把长短不一的句子放进同一个数组,并且让填充的部分不起任何作用。
#
# 需要的基础:矩阵、链式法则、一点 Python。数字都很小,代码只用 NumPy,你看到的每个函数就是程序包里真正运行的那一个。凡是写着
# **先猜再运行**的地方,请停下来把答案写在纸上:收获多半就在这里。

# %%
from attnretrieval.threads import one_thread_by_default

one_thread_by_default()         # these products are small: a second thread would only wait for the first
# %matplotlib inline
# %config InlineBackend.figure_format = "retina"
import numpy as np

from attnretrieval.course.show import formula, show

np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown] lang="en"
# ## 1.1 The running example
#
# Through the whole course one sentence goes with one picture: *a black cat is chasing a red ball*, 一只黑色的猫在追红色的球.
# The picture is drawn by the package: 64×64 pixels, a grid of 4×4 cells, each object inside one cell.

# %% [markdown] lang="zh"
# ## 1.1 贯穿全课的例子
#
# 整门课始终用同一句话和同一幅图:一只黑色的猫在追红色的球,a black cat is chasing a red ball。图是程序包自己画的:64×64 像素,
# 分成 4×4 格,每个物体恰好在一格里。

# %%
from attnretrieval.inputs.scenes import EXAMPLE_MEANING, captions_of, draw_scene

scene = draw_scene(EXAMPLE_MEANING, np.random.default_rng(4))
sentence = {language: captions_of(scene, language)[0].text for language in ("en", "zh")}
print(sentence)
print("image:", scene.image.shape, scene.image.dtype, "  the cat is in cell", scene.cells[0],
      "and the ball in cell", scene.cells[1])

# %% [markdown] lang="en"
# ## 1.2 From a sentence to T
#
# Three steps: cut the sentence into tokens, give each token a number (its *id*, a row of a table), look the rows up.
#
# **Predict before you run.** The English sentence has eight words. How many tokens will the Chinese one have, when Chinese is
# cut into single characters? Which tokens occur twice?

# %% [markdown] lang="zh"
# ## 1.2 从句子到 T
#
# 分三步:把句子切成词元(token),给每个词元一个编号(id,也就是表里的行号),按编号取出那些行。
#
# **先猜再运行。** 英文句子有八个词。如果中文按单字切,会有多少个词元?哪些词元出现了两次?

# %%
from attnretrieval.inputs.words import Vocabulary, cut_words

for language in ("en", "zh"):
    tokens = [token.text for token in cut_words(sentence[language])]
    print(len(tokens), tokens)

# %% [markdown] lang="en"
# The vocabulary is built from captions. We take those of 2000 scenes, in both languages, and number the tokens by how frequent
# they are. Number 0 is kept for what was never seen.

# %% [markdown] lang="zh"
# 词表从图像的描述(caption)里统计出来。这里用 2000 幅图的中英文描述,词元按出现次数从多到少编号;0 号留给从没见过的词。

# %%
from attnretrieval.inputs.scenes import make_scenes

scenes = make_scenes("train", 2000, np.random.default_rng(1))
captions = [[caption.text for language in ("en", "zh") for caption in captions_of(one, language)]
            for one in scenes]
vocabulary = Vocabulary.build([text for texts in captions for text in texts], "characters")
R = len(vocabulary)

ids, mask = vocabulary.encode(sentence["en"])
print(R, "tokens in the vocabulary; the first are", vocabulary.tokens[:8])
print("ids of the sentence:", ids[0])

# %% [markdown] lang="en"
# Now the table $E \in \mathbb{R}^{R \times d_t}$: one row a token. Looking rows up is the first equation of the course, and its
# number is the one that it has in the package and in the documentation:
#
# $$X_i = E_{\mathrm{id}_i} \tag{embedding (1)}$$
#
# The rows that a sentence names form its matrix $T \in \mathbb{R}^{n \times d_t}$.

# %% [markdown] lang="zh"
# 现在是表 $E \in \mathbb{R}^{R \times d_t}$:每个词元一行。按编号取行,就是本课程的第一个公式;它的编号与程序包、文档里的一致:
#
# $$X_i = E_{\mathrm{id}_i} \tag{embedding (1)}$$
#
# 一句话取出的那些行,组成它的矩阵 $T \in \mathbb{R}^{n \times d_t}$。

# %%
from attnretrieval.equations.embedding import embedding, embedding_backward

E = np.random.default_rng(2).normal(size=(R, 6))
T, _ = embedding(E, ids[0])
print("T:", T.shape, " one row a word")
print("two rows for the word 'a', equal:", np.array_equal(T[0], T[5]))
show(embedding)

# %% [markdown] lang="en"
# ## 1.3 What a word vector knows
#
# Random rows know nothing: "cat" is no nearer to "dog" than to "above". Vectors that know something are made by **counting the
# company that a word keeps**. Which company is up to us, and it decides what the vector knows. We count twice:
#
# - *by neighbours*: which tokens stand one or two places left or right of it;
# - *by pictures*: which pictures the word is said of.
#
# A count says little by itself, since "a" stands beside everything. So each count is compared with what chance would give,
# $\log \frac{p(\text{word}, \text{company})}{p(\text{word})\,p(\text{company})}$, negative values are set to 0, and the singular value
# decomposition keeps the 16 strongest directions. GloVe and word2vec are refinements of this idea.
#
# **Predict before you run.** (a) Counted by neighbours: is "cat" closer to "dog" or to 猫? (b) And counted by pictures?
# (c) Can either of them find out that a cat and a dog are both *animals*?

# %% [markdown] lang="zh"
# ## 1.3 一个词向量知道什么
#
# 随机的行什么也不知道:“cat” 离 “dog” 并不比离 “above” 更近。有知识的向量,靠的是**数一数一个词跟谁在一起**。跟“谁”由我们定,
# 这也就决定了向量知道什么。我们数两种:
#
# - *按邻居*:它左右一两个位置上是哪些词元;
# - *按图像*:哪些图像的描述里有它。
#
# 单看次数意义不大,因为“的”跟谁都在一起。所以把每个次数与“碰巧”时应有的次数相比:
# $\log \frac{p(\text{词}, \text{同伴})}{p(\text{词})\,p(\text{同伴})}$,负值置 0,再用奇异值分解留下最强的 16 个方向。GloVe 和 word2vec
# 都是这个想法的改进。
#
# **先猜再运行。** (a) 按邻居数,“猫”离“狗”近,还是离 “cat” 近?(b) 按图像来数呢?(c) 这两种数法,有哪一种能发现猫和狗都是*动物*?

# %%
def count(captions, vocabulary):
    """(R, 4R) tokens at the places -2, -1, 1, 2, and (R, pictures) of which pictures a token is said."""
    R = len(vocabulary)
    neighbours, pictures = np.zeros((R, 4 * R)), np.zeros((R, len(captions)))
    for picture, texts in enumerate(captions):
        for row, real in zip(*vocabulary.encode(texts)):
            words = row[real]
            pictures[words, picture] = 1
            for block, offset in enumerate((-2, -1, 1, 2)):
                here = np.arange(max(0, -offset), len(words) - max(0, offset))
                np.add.at(neighbours, (words[here], block * R + words[here + offset]), 1)
    return neighbours, pictures


def vectors_of(counts, d=16):
    """The rows of the log ratios to chance, in their d strongest directions, at length 1."""
    p = counts / counts.sum()
    chance = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    ratios = np.log(np.maximum(p / np.maximum(chance, 1e-12), 1))
    U, s, _ = np.linalg.svd(ratios, full_matrices=False)
    X = U[:, :d] * s[:d]
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-9)


by_neighbours, by_pictures = map(vectors_of, count(captions, vocabulary))

# %%
from attnretrieval.figures import heads

words = "black red blue cat dog ball star 黑 红 蓝 猫 狗 球 星".split()
rows = [vocabulary.tokens.index(word) for word in words]
cosines = np.stack([X[rows] @ X[rows].T for X in (by_neighbours, by_pictures)])
heads(cosines, words, words, titles=["counted by neighbours", "counted by pictures"], axes=("", ""),
      bar="cosine (below 0 is white)")

# %% [markdown] lang="en"
# Read the two matrices slowly, they are the point of this section.
#
# - *By neighbours* there are blocks: colours with colours, things with things, each language by itself. The vector knows **what
#   kind of word** it is, and no English word ever stands beside a Chinese one. 星 differs a little from 猫, 狗 and 球, since 星星
#   is two characters.
# - *By pictures* there is a second diagonal: "cat" is 猫, "red" is 红. Nobody told it: the words are said **of the same
#   pictures**. This is what retrieval needs, and why captions in two languages can teach each other.
# - Neither knows that cats and dogs are animals. In these pictures an animal is nothing but a shape. A vector knows what it
#   was counted on, and nothing else.

# %% [markdown] lang="zh"
# 请慢慢读这两个矩阵,它们是这一节的关键。
#
# - *按邻居*数,出现的是方块:颜色跟颜色,事物跟事物,两种语言各管各的。向量知道的是**这是哪一类词**;英文词旁边从来没有中文字。
#   “星”与“猫、狗、球”稍有不同,因为“星星”是两个字。
# - *按图像*数,出现了第二条对角线:“猫”就是 “cat”,“红”就是 “red”。没有人告诉它,只因为这些词说的是**同样的图像**。检索要的
#   正是这个,这也是两种语言的描述可以互相帮助的原因。
# - 两种数法都不知道猫和狗是动物。在这些图里,动物只不过是一种形状。向量只知道它数过的东西。

# %% [markdown] lang="en"
# ### A pretrained table
#
# Counting billions of sentences gives more. If the extra `words` is installed, the next cell takes the vectors of a multilingual
# model; if not, it shows the ones we just counted. Look for two things: which words are near their translation, and which axis
# tells colours from the rest. The plane shows a small share of the variance (see its axes), so what looks near need not be near.

# %% [markdown] lang="zh"
# ### 预训练的词向量表
#
# 数上几十亿句话,知道的就更多。装了附加包 `words`,下面用一个多语言模型的词向量;没装,就用我们刚数出来的。看两点:哪些词靠近
# 自己的译文;哪个轴把颜色和其他词分开。平面只显示了方差的一小部分(见坐标轴),所以看起来近的未必真近。

# %%
from attnretrieval.figures import embedding_map

groups = {"colours 颜色": "black red green 黑色 红色 绿色", "animals 动物": "cat dog bird 猫 狗 鸟",
          "things 事物": "car ball star 汽车 球 星星"}
words = [word for group in groups.values() for word in group.split()]
kinds = [name for name, group in groups.items() for _ in group.split()]
try:
    from attnretrieval.inputs.vectors import piece_vectors
    from attnretrieval.inputs.words import cut_pieces

    pieces = {word: [token.text for token in cut_pieces(word) if token.text != "▁"] for word in words}
    names = sorted({piece for word in words for piece in pieces[word]})
    table = piece_vectors(names)
    row = {piece: i for i, piece in enumerate(names)}
    X = np.stack([table.table[[row[piece] for piece in pieces[word]]].mean(axis=0) for word in words])
    source = "pretrained pieces"
except Exception:  # the extra "words" is not installed
    tokens = {word: [token.text for token in cut_words(word)] for word in words}
    X = np.stack([by_pictures[[vocabulary.tokens.index(token) for token in tokens[word]]].mean(axis=0)
                  for word in words])
    source = "counted by pictures"
X = X / np.linalg.norm(X, axis=1, keepdims=True)
embedding_map(X, words, kinds, title=source)

# %% [markdown] lang="en"
# ## 1.4 From an image to V
#
# A convolutional network turns an image into a **feature map** of shape $(h, w, c)$: for each cell of an $h \times w$ grid, a
# vector of $c$ features. Attention wants a list, so the grid is laid out row by row:
#
# $$(h, w, c) \;\to\; V \in \mathbb{R}^{m \times d_v}, \qquad m = h \cdot w, \quad d_v = c, \qquad
# \text{cell } (r, s) \to \text{region } r \cdot w + s$$
#
# It is one `reshape`, and nothing is computed. For a drawn scene, the "features" of a cell are simply its pixels.
#
# **Predict before you run.** The cat's region number is printed above. In which row and column of the 4×4 grid is it? What are
# $m$ and $d_v$, when a cell is 16×16 pixels in three colours?

# %% [markdown] lang="zh"
# ## 1.4 从图像到 V
#
# 卷积网络把一幅图变成形状为 $(h, w, c)$ 的**特征图**:$h \times w$ 的网格,每格一个 $c$ 维向量。注意力要的是一个列表,所以把
# 网格一行接一行地排开:
#
# $$(h, w, c) \;\to\; V \in \mathbb{R}^{m \times d_v}, \qquad m = h \cdot w, \quad d_v = c, \qquad
# \text{格 } (r, s) \to \text{区域 } r \cdot w + s$$
#
# 这只是一次 `reshape`,什么也没算。对画出来的图,一格的“特征”就是它的像素。
#
# **先猜再运行。** 上面印出了猫所在的区域号。它在 4×4 网格的第几行、第几列?一格是 16×16 像素、三种颜色,那么 $m$ 和 $d_v$
# 各是多少?

# %%
from attnretrieval.inputs.extractors import PatchExtractor

patches = PatchExtractor()
V = patches(scene.image)
feature_map = V.reshape(4, 4, -1)
print("feature map", feature_map.shape, " →  V", V.shape)
cat, ball = scene.cells
print("the cat is in row, column", divmod(cat, 4), " the same vector:",
      np.array_equal(feature_map[divmod(cat, 4)], V[cat]))
show(PatchExtractor.__call__)

# %% [markdown] lang="en"
# Note the `swapaxes` in that function. A plain `image.reshape(16, 768)` has the right shape too, and is wrong: it cuts the image
# into strips of 4 rows of pixels. **A reshape that fits is not yet right.** The figure shows what each of the two calls a region.

# %% [markdown] lang="zh"
# 注意函数里的 `swapaxes`。直接 `image.reshape(16, 768)` 形状也对,结果却是错的:它把图切成了 4 行像素一条的横条。**形状对得上,
# 不等于 reshape 是对的。** 下图画出了两种做法各自所说的“区域”。

# %%
import matplotlib.pyplot as plt

wrong = scene.image.reshape(16, -1)
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), gridspec_kw={"width_ratios": [1, 1.1, 1.1]})
panels[0].imshow(scene.image)
for i in range(16):
    panels[0].text(16 * (i % 4) + 0.8, 16 * (i // 4) + 3.4, str(i), fontsize=8, color="#0072B2", weight="bold",
                   bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8})
panels[0].set_xticks(np.arange(16, 64, 16) - 0.5), panels[0].set_yticks(np.arange(16, 64, 16) - 0.5)
panels[0].grid(color="black", linewidth=0.6)
panels[0].tick_params(length=0, labelbottom=False, labelleft=False)
panels[0].set_title("the grid: 16 regions", fontsize=10)
for panel, regions, name in ((panels[1], V, "right: row i of V is cell i"),
                             (panels[2], wrong / 127.5 - 1, "wrong: image.reshape(16, 768)")):
    framed = [np.pad(region.reshape(16, 16, 3), ((1, 1), (1, 1), (0, 0)), constant_values=-1)
              for region in regions]
    tiles = np.concatenate([np.concatenate(framed[4 * r:4 * r + 4], axis=1) for r in range(4)])
    panel.imshow(np.clip((tiles + 1) / 2, 0, 1)), panel.set_axis_off(), panel.set_title(name, fontsize=10)
figure.tight_layout()

# %% [markdown] lang="en"
# ### A real photograph
#
# The next cell reads a photograph with a trained network, EfficientNet-Lite0, written in this package in NumPy too. Its last
# feature map is $7 \times 7 \times 1280$, so $m = 49$ and $d_v = 1280$. It needs the extras `cnn` and `course`; without them the
# scene stands in.
#
# What does one region know? We ask the network's own classifier, **region by region**, for the probability of a kind of cat
# (five of its thousand classes), and how alike (cosine) each region is to the one in the middle.
#
# **Predict before you run.** Will regions at the edge of the picture, where there is only background, say "cat"?

# %% [markdown] lang="zh"
# ### 一张真实的照片
#
# 下面用训练好的网络 EfficientNet-Lite0 读一张照片,这个网络在本程序包里同样是用 NumPy 写的。它最后的特征图是
# $7 \times 7 \times 1280$,所以 $m = 49$,$d_v = 1280$。需要附加包 `cnn` 和 `course`;没装就用画的图代替。
#
# 一个区域知道什么?我们让网络自己的分类器**逐个区域**地回答:这里是猫的概率有多大(一千类里有五类是猫);再看每个区域与正中那个
# 区域有多像(余弦)。
#
# **先猜再运行。** 图像边缘只有背景,那里的区域会说“猫”吗?

# %%
from attnretrieval.equations.softmax import softmax
from attnretrieval.figures import region_weights

try:
    from PIL import Image
    from skimage.data import chelsea

    from attnretrieval.inputs.efficientnet import feature_map as cnn_feature_map
    from attnretrieval.inputs.efficientnet import load_efficientnet

    network = load_efficientnet()
    photo = chelsea()
    pixels = np.asarray(Image.fromarray(photo).resize((224, 224)), np.float32)
    photo_map = cnn_feature_map(network, pixels)
    V_photo = photo_map.reshape(-1, photo_map.shape[-1])
    is_cat = softmax(V_photo @ network.W_fc + network.b_fc)[:, 281:286].sum(axis=1)
    middle, titles = 24, ["alone, it is called a cat", "alike the framed region"]
except Exception:  # no network or no photograph: the scene, and how dark a cell is
    photo, photo_map, V_photo, middle = scene.image, feature_map, V, cat
    is_cat = (V < -0.5).mean(axis=1)
    titles = ["share of dark pixels", "alike the framed region"]
unit = V_photo / np.linalg.norm(V_photo, axis=1, keepdims=True)
print("feature map", photo_map.shape, " →  V", V_photo.shape)
region_weights(photo[::2, ::2], np.stack([is_cat, np.maximum(unit @ unit[middle], 0)]),
               photo_map.shape[:2], titles, [None, middle],
               label="probability, cosine")

# %% [markdown] lang="en"
# The face says "cat" and the background does not, although the network was only ever trained to name whole images. So the rows of
# $V$ know *what is where*, and attention can choose among them. With one reservation: a region of the last map *sees* far beyond
# its own cell, since each layer looks at its neighbours. "Region" is where the vector sits on the grid, and not a cut-out of the
# picture. Remember this when you read an attention map.
#
# ## 1.5 To one size: the linear layer, and your first gradient
#
# Words have $d_t$ numbers, regions $d_v$. A linear layer brings both to the model's size $d$:
#
# $$Y = X W + b \qquad X\,(n, d_{in}),\; W\,(d_{in}, d_{out}),\; b\,(d_{out}),\; Y\,(n, d_{out}) \tag{linear (1)}$$
#
# **With a pencil.** Some number $L$, the loss, depends on $Y$. We write $dY$ (`d_Y` in code) for the matrix of all
# $\partial L / \partial Y_{ij}$: it has the shape of $Y$. We want $dX$, $dW$, $db$. Take one entry and ask where it goes:
#
# | step | reason | shape |
# |---|---|---|
# | $Y_{ij} = \sum_k X_{ik} W_{kj} + b_j$ | the definition | |
# | $\partial Y_{ij} / \partial X_{ik} = W_{kj}$ | $X_{ik}$ goes to all of row $i$ of $Y$, and nowhere else | |
# | $dX_{ik} = \sum_j dY_{ij} W_{kj}$ | chain rule, summed over all that $X_{ik}$ reaches | |
# | $dX = dY\, W^\top$ | the same as a product | $(n, d_{out})(d_{out}, d_{in}) = (n, d_{in})$ |
# | $dW_{kj} = \sum_i X_{ik}\, dY_{ij}$ | $W_{kj}$ is used in every row $i$ | |
# | $dW = X^\top dY$ | as a product | $(d_{in}, n)(n, d_{out}) = (d_{in}, d_{out})$ |
# | $db_j = \sum_i dY_{ij}$ | $b_j$ is added to every row | $(d_{out})$ |
#
# Two habits that will carry you through the course: **a gradient has the shape of what it is the gradient of**, and **what is used
# several times gets the sum of all its gradients**. The shapes alone nearly force the answer.

# %% [markdown] lang="zh"
# 脸上的区域说“猫”,背景不说,尽管网络在训练时只学过给整幅图命名。可见 $V$ 的各行知道*哪里有什么*,注意力正可以在其中挑选。但有一点
# 保留:每一层都要看邻居,所以最后一层的一个区域*看到*的范围远大于自己那一格。“区域”指的是向量在网格上的位置,而不是从图上剪下来的
# 一块。以后读注意力图时请记住这一点。
#
# ## 1.5 变成同样的大小:线性层,以及你的第一个梯度
#
# 词有 $d_t$ 个数,区域有 $d_v$ 个数。线性层把两者都变成模型的大小 $d$:
#
# $$Y = X W + b \qquad X\,(n, d_{in}),\; W\,(d_{in}, d_{out}),\; b\,(d_{out}),\; Y\,(n, d_{out}) \tag{linear (1)}$$
#
# **拿起铅笔。** 有一个数 $L$(损失)取决于 $Y$。把所有 $\partial L / \partial Y_{ij}$ 排成的矩阵记作 $dY$(代码里是 `d_Y`),它与 $Y$ 同形。要求的是 $dX$、
# $dW$、$db$。办法是盯住一个元素,问它去了哪里:
#
# | 步骤 | 理由 | 形状 |
# |---|---|---|
# | $Y_{ij} = \sum_k X_{ik} W_{kj} + b_j$ | 定义 | |
# | $\partial Y_{ij} / \partial X_{ik} = W_{kj}$ | $X_{ik}$ 只影响 $Y$ 的第 $i$ 行 | |
# | $dX_{ik} = \sum_j dY_{ij} W_{kj}$ | 链式法则,对它影响到的一切求和 | |
# | $dX = dY\, W^\top$ | 写成矩阵乘积 | $(n, d_{out})(d_{out}, d_{in}) = (n, d_{in})$ |
# | $dW_{kj} = \sum_i X_{ik}\, dY_{ij}$ | $W_{kj}$ 在每一行 $i$ 都用到 | |
# | $dW = X^\top dY$ | 写成矩阵乘积 | $(d_{in}, n)(n, d_{out}) = (d_{in}, d_{out})$ |
# | $db_j = \sum_i dY_{ij}$ | $b_j$ 加到了每一行上 | $(d_{out})$ |
#
# 两条会陪你走完全课的习惯:**梯度与它所求导的量同形**;**一个量用了几次,就把几份梯度加起来**。光看形状,答案几乎就定了。

# %%
from attnretrieval.equations.linear import linear, linear_backward

show(linear_backward)

# %% [markdown] lang="en"
# ### Check it by machine
#
# `check_gradient` draws a random $dY$, computes $L = \sum dY \circ Y$, and compares your gradients with numerical ones: with a
# **complex step**, $\operatorname{Im} f(x + i\varepsilon) / \varepsilon$, exact to rounding, and with a central difference.
# We give it a backward with a mistake first.
#
# **Predict before you run.** `forgetful_backward` differs from the right one in a single word. What will the report say?

# %% [markdown] lang="zh"
# ### 让机器检验
#
# `check_gradient` 随机取一个 $dY$,计算 $L = \sum dY \circ Y$,再把你的梯度与数值梯度相比:一种用**复数步长**
# $\operatorname{Im} f(x + i\varepsilon) / \varepsilon$,精确到舍入误差;一种用中心差分。先给它一个有错的反向传播。
#
# **先猜再运行。** `forgetful_backward` 与正确的写法只差一个词。报告会怎么说?

# %%
from attnretrieval.gradcheck import check_gradient


def forgetful_backward(d_Y, cache):
    X, W, _ = cache
    return {"d_X": d_Y @ W.T, "d_W": X.T @ d_Y, "d_b": d_Y.mean(axis=0)}


rng = np.random.default_rng(3)
inputs = {"X": rng.normal(size=(5, 4)), "W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
print(check_gradient(linear, forgetful_backward, inputs, rng=rng, name="forgetful"))
print()
print(check_gradient(linear, linear_backward, inputs, rng=rng))

# %% [markdown] lang="en"
# ### The gradient of looking up
#
# `embedding (1)` copies rows. What is used twice gets both gradients: in 一只黑色的猫在追红色的球 the characters 色 and 的 occur
# twice, so their rows of $E$ receive the **sum** of two rows of $dT$, and rows of words that are not in the sentence receive 0.
#
# **Predict before you run.** The upstream gradient is all ones, $dT = \mathbf{1}$. Which numbers stand in the rows of $dE$?

# %% [markdown] lang="zh"
# ### 查表的梯度
#
# `embedding (1)` 只是复制行。用了两次的,就得到两份梯度:“一只黑色的猫在追红色的球”里,“色”和“的”各出现两次,所以它们在 $E$ 中的
# 行得到 $dT$ 两行之**和**;句子里没有的词,那一行得到 0。
#
# **先猜再运行。** 上游梯度全是一,$dT = \mathbf{1}$。$dE$ 的各行里会是什么数?

# %%
ids_zh, _ = vocabulary.encode(sentence["zh"])
T, cache = embedding(E, ids_zh[0])
d_E = embedding_backward(np.ones_like(T), cache).d_E
for token in ("猫", "色", "的", "cat"):
    print(token, d_E[vocabulary.tokens.index(token)])
print(check_gradient(embedding, embedding_backward, {"E": E, "ids": ids_zh[0]}, rng=rng))

# %% [markdown] lang="en"
# ## 1.6 Several sentences at once: padding and masks
#
# An array has rows of one length, sentences do not. So the short ones are filled up, and a **mask** remembers which entries are
# real (`True`) and which are padding.

# %% [markdown] lang="zh"
# ## 1.6 一次放几句话:填充与遮罩
#
# 数组的每一行一样长,句子却长短不一。于是把短的填满,再用一个**遮罩**(mask)记住哪些是真的(`True`),哪些是填充。

# %%
from attnretrieval.figures.style import plain

texts = ["a cat", sentence["en"], sentence["zh"]]
ids, mask = vocabulary.encode(texts)
print(mask.astype(int))

figure, axis = plt.subplots(figsize=(10, 2.2))
axis.imshow(np.where(mask, 0.18, 0.0), cmap="Blues", vmin=0, vmax=1, aspect="auto")
for (i, j), real in np.ndenumerate(mask):
    label = vocabulary.tokens[ids[i, j]] if real else "0"
    plain(axis.text(j, i, label, ha="center", va="center", fontsize=10,
                    color="black" if real else "#888888"))
    if not real:
        axis.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="///",
                                     edgecolor="#cccccc", linewidth=0))
axis.set_xticks(np.arange(mask.shape[1] + 1) - 0.5, minor=True)
axis.set_yticks(np.arange(4) - 0.5, minor=True)
axis.grid(which="minor", color="white", linewidth=2)
axis.set_xticks([])
axis.set_yticks(range(3), ["text 0", "text 1", "text 2"], fontsize=9)
axis.tick_params(which="both", length=0)
_ = axis.set_title("ids of three texts in one array; hatched: padding, id 0, mask False", fontsize=10)

# %% [markdown] lang="en"
# The padding must change nothing. Whatever spreads weights over words has to give it weight **exactly 0**. That is the masked
# softmax, the only form of softmax in this package:
#
# $$E_j = \exp(S_j - \max S)\cdot \mathrm{mask}_j \tag{softmax (1)}$$
# $$A_j = E_j \Big/ \sum_k E_k \tag{softmax (2)}$$
#
# Subtracting the maximum changes nothing (numerator and denominator are divided by the same number) and keeps $\exp$ from
# overflowing. It is the maximum of the *real* entries.
#
# **Predict before you run.** Three real scores 2, 1, 0 and two of padding, which happen to be 5 and 5. What share of the weight
# does the padding take without a mask? What is left for the score 2? And what should a row be in which *nothing* is real?

# %% [markdown] lang="zh"
# 填充不能有任何影响。凡是把权重分给各个词的运算,都必须给它**恰好为 0** 的权重。这就是带遮罩的 softmax,本程序包里唯一的 softmax:
#
# $$E_j = \exp(S_j - \max S)\cdot \mathrm{mask}_j \tag{softmax (1)}$$
# $$A_j = E_j \Big/ \sum_k E_k \tag{softmax (2)}$$
#
# 减去最大值不改变结果(分子分母同除一个数),却能防止 $\exp$ 溢出。这里的最大值只在*真实*的元素里取。
#
# **先猜再运行。** 三个真实的分数 2、1、0,两个填充的分数碰巧是 5 和 5。没有遮罩时,填充拿走多少权重?分数 2 还剩多少?如果一行里
# *没有任何*真实元素,结果应该是什么?

# %%
S = np.array([[2.0, 1.0, 0.0, 5.0, 5.0]])
real = np.array([[True, True, True, False, False]])
print("without a mask", softmax(S)[0], " padding takes", softmax(S)[0, 3:].sum().round(3))
print("with a mask   ", softmax(S, real)[0])
print("nothing real  ", softmax(S, np.zeros_like(real))[0])

figure, panels = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True)
for panel, A, name in ((panels[0], softmax(S)[0], "without a mask"),
                       (panels[1], softmax(S, real)[0], "with the mask")):
    bars = panel.bar(range(5), A, color=["#0072B2"] * 3 + ["#bbbbbb"] * 2)
    for bar, weight in zip(bars, A):
        panel.text(bar.get_x() + 0.4, weight + 0.02, f"{weight:.2f}" if weight else "0", ha="center",
                   fontsize=9)
    panel.set_xticks(range(5), ["S=2", "S=1", "S=0", "padding", "padding"], fontsize=9)
    panel.set_ylim(0, 0.8)
    panel.set_title(name, fontsize=10), panel.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("weight")
figure.tight_layout()

# %% [markdown] lang="en"
# With a mask the result is the softmax of the three real scores alone. To test it on real words, let the padding be anything: the
# answer must not move.

# %% [markdown] lang="zh"
# 有了遮罩,结果就等于只对三个真实分数做 softmax。要检验它,就在填充处放上任何东西:答案不能动。

# %%
scores = rng.normal(size=mask.shape)
spoilt = np.where(mask, scores, 1e6 * rng.normal(size=mask.shape))
print("largest change:", np.abs(softmax(scores, mask) - softmax(spoilt, mask)).max())
print("weight on padding:", softmax(spoilt, mask)[~mask].sum(), "  row sums:",
      softmax(spoilt, mask).sum(axis=1))

# %% [markdown] lang="en"
# ## Summary
#
# | you have | as | shape |
# |---|---|---|
# | a sentence | $T$, rows of a table: `embedding (1)` | $(n, d_t)$ |
# | an image | $V$, the cells of a feature map, row by row | $(m, d_v)$, $m = h \cdot w$ |
# | both at one size | `linear (1)` | $(n, d)$ and $(m, d)$ |
# | a batch | padded arrays and a mask, True = real | $(N, n)$ |
# | weights over real entries | `softmax (1)`, `softmax (2)` | rows sum to 1, padding exactly 0 |
#
# - A word vector knows the company that it was counted in: neighbours teach the kind of word, pictures teach what it is about.
# - A reshape that fits is not yet right; a region is a place on the grid whose vector has seen more than its cell.
# - A gradient has the shape of its variable; what is used twice gets the sum; `check_gradient` tells you whether you are right.
#
# **What is still missing.** Each row of $T$ stands alone: the row of 黑 is the same whether the cat is black or the ball.
# In [lesson 2](2_self_attention.ipynb) the rows look at each other. First try [exercise 1](1_exercises.ipynb).

# %% [markdown] lang="zh"
# ## 小结
#
# | 你有了 | 写成 | 形状 |
# |---|---|---|
# | 一句话 | $T$,表里的若干行:`embedding (1)` | $(n, d_t)$ |
# | 一幅图 | $V$,特征图的各格,逐行排开 | $(m, d_v)$,$m = h \cdot w$ |
# | 同样的大小 | `linear (1)` | $(n, d)$ 与 $(m, d)$ |
# | 一个批次 | 填满的数组和遮罩,True 表示真实 | $(N, n)$ |
# | 只落在真实元素上的权重 | `softmax (1)`、`softmax (2)` | 每行和为 1,填充恰为 0 |
#
# - 词向量只知道统计时跟它在一起的东西:邻居教会它词的类别,图像教会它词的所指。
# - 形状对得上的 reshape 不一定对;区域是网格上的一个位置,它的向量看到的比那一格多。
# - 梯度与变量同形;用了两次就把两份加起来;对不对,问 `check_gradient`。
#
# **还缺什么。** $T$ 的每一行都是孤立的:不管黑的是猫还是球,“黑”这一行都一样。在[第 2 课](2_self_attention.ipynb)里,各行开始
# 互相看。先做[练习 1](1_exercises.ipynb)。
