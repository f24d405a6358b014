"""The contender in JAX: the algebra of torch_algebra.py, its gradient and Adam in one compiled function."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks.problem import LEARNING_RATE, draw_problem
from tests.benchmarks.qkv import join_qkv, split_qkv

EPS = 1e-12


class Step:
    def __init__(self, size: str, task: str, N: int, dtype: str = "float32", threads: int = 1):
        jax.config.update("jax_enable_x64", dtype == "float64")
        problem = draw_problem(size, task, N, dtype)
        parameters = problem.parameters
        self.p = {name: jnp.asarray(x) for name, x in join_qkv({name: parameters[name] for name in parameters}).items()}
        self.moments = {name: (jnp.zeros_like(x), jnp.zeros_like(x)) for name, x in self.p.items()}
        self.count = jnp.zeros((), dtype)
        batch = problem.batch
        self.inputs = tuple(jnp.asarray(x) for x in (problem.table, batch.ids, batch.word_mask, batch.regions))
        options = {"heads": problem.size.heads, "paired": problem.paired, "gated": task == "gate"}
        self.backward = jax.jit(jax.value_and_grad(partial(objective, **options)))
        self.update = jax.jit(partial(step, **options), donate_argnums=(0, 1, 2))

    def step(self) -> None:
        self.p, self.moments, self.count, loss = self.update(self.p, self.moments, self.count, self.inputs)
        jax.block_until_ready((self.p, loss))

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, grads = self.backward(self.p, self.inputs)
        return float(loss), split_qkv({name: np.asarray(x) for name, x in grads.items()})


def step(p, moments, count, inputs, **options):
    loss, grads = jax.value_and_grad(objective)(p, inputs, **options)
    count = count + 1
    new_p, new_moments = {}, {}
    for name, g in grads.items():
        m, v = moments[name]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat, v_hat = m / (1 - 0.9**count), v / (1 - 0.999**count)
        new_p[name], new_moments[name] = p[name] - LEARNING_RATE * m_hat / (jnp.sqrt(v_hat) + 1e-8), (m, v)
    return new_p, new_moments, count, loss


def objective(p, inputs, heads: int, paired: bool, gated: bool):
    table, ids, mask, V = inputs
    H_t = self_attention(table[ids], mask, p, "text.attention", heads)
    H_v = self_attention(V, None, p, "image.attention", heads)
    w_t = mask.astype(H_t.dtype) / mask.sum(-1, keepdims=True).astype(H_t.dtype)
    g_t = jnp.einsum("tn,tnd->td", w_t, alone(H_t, p, "fuse_t", gated))
    g_v = alone(H_v, p, "fuse_v", gated).mean(1)
    total = info_nce(normalise(g_t) @ normalise(g_v).T, p["loss_alone.log_temperature"])
    if not paired:
        return total
    d = H_t.shape[-1]
    L = jnp.einsum("tnd,vmd->tnvm", H_t, H_v) / math.sqrt(d)
    A_t = jax.nn.softmax(L, axis=3)
    A_v = jax.nn.softmax(jnp.where(mask[:, :, None, None], L, -jnp.inf), axis=1)
    if gated:
        W_t, b_t, W_v, b_v = (p[f"fuse_{side}.{name}"] for side in "tv" for name in "Wb")
        F_t = gate(H_t[:, None], (H_t @ W_t[:d] + b_t)[:, None], "tnvm,vmd->tvnd", A_t, H_v, H_v @ W_t[d:])
        F_v = gate(H_v, H_v @ W_v[:d] + b_v, "tnvm,tnd->tvmd", A_v, H_t, H_t @ W_v[d:])
        g_t, g_v = jnp.einsum("tn,tvnd->tvd", w_t, F_t), F_v.mean(2)
    else:
        pooled_t = jnp.einsum("tn,tnvm->tvm", w_t, A_t)
        g_t = jnp.einsum("tn,tnd->td", w_t, H_t)[:, None] + jnp.einsum("tvm,vmd->tvd", pooled_t, H_v)
        g_v = H_v.mean(1) + jnp.einsum("tnv,tnd->tvd", A_v.mean(3), H_t)
    s = (normalise(g_t) * normalise(g_v)).sum(-1)
    return total + info_nce(s, p["loss_paired.log_temperature"])


def self_attention(X, mask, p, name: str, heads: int):
    N, n, d_in = X.shape
    QKV = X.reshape(N * n, d_in) @ p[f"{name}.W_QKV"] + p[f"{name}.b_QKV"]
    Q, K, V = QKV.reshape(N, n, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    S = Q @ K.swapaxes(-1, -2) / math.sqrt(Q.shape[-1])
    if mask is not None:
        S = jnp.where(mask[:, None, None], S, -jnp.inf)
    Y = (jax.nn.softmax(S) @ V).swapaxes(1, 2).reshape(N * n, -1)
    return (Y @ p[f"{name}.W_O"] + p[f"{name}.b_O"]).reshape(N, n, -1)


def alone(H, p, name: str, gated: bool):
    return jax.nn.sigmoid(H @ p[f"{name}.W"][:H.shape[-1]] + p[f"{name}.b"]) * H if gated else H


def gate(H, U, product: str, A, K, K_W):
    C, from_C = jnp.einsum(product, A, K), jnp.einsum(product, A, K_W)
    G = jax.nn.sigmoid(U + from_C)
    return G * H + (1 - G) * C


def normalise(X):
    return X * jax.lax.rsqrt((X * X).sum(-1, keepdims=True) + EPS)


def info_nce(S, log_temperature):
    Z = S * jnp.exp(-log_temperature)
    return -(jnp.diag(jax.nn.log_softmax(Z, axis=1)).mean() + jnp.diag(jax.nn.log_softmax(Z, axis=0)).mean()) / 2
