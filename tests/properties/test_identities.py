"""Identities between equations, and what a result must be like whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnretrieval.equations.attention import attention
from attnretrieval.equations.axes import sum_to
from attnretrieval.equations.cosine import cosine_similarity, l2_normalise
from attnretrieval.equations.cross_attention import cross_attention
from attnretrieval.equations.dropout import draw_dropout, dropout
from attnretrieval.equations.fusion import fuse_gate
from attnretrieval.equations.heads import join_heads, split_heads
from attnretrieval.equations.layer_norm import layer_norm
from attnretrieval.equations.linear import linear, linear_backward
from attnretrieval.equations.multi_head import multi_head_attention
from attnretrieval.equations.pooling import pool_max, pool_mean
from tests.properties.calls import calls
from tests.properties.strategies import EXTREME, SEEDS, Draw, close, close_grads

DOUBLE = (np.float64,)


def doubles(name: str, **limits):
    return calls(name, dtypes=DOUBLE, **limits)


# --- softmax and attention -------------------------------------------------------------------------------------------


@given(calls("softmax", scales=EXTREME))
def test_a_row_of_weights_sums_to_1_or_is_empty(call):
    A, mask = call.out(), call.inputs["mask"]
    left = np.ones(A.shape, bool) if mask is None else np.broadcast_to(mask, A.shape)
    assert np.all(A >= 0) and np.all(A[~left] == 0)
    np.testing.assert_allclose(A.sum(axis=-1), left.any(axis=-1), rtol=1e-5, atol=0)


@given(doubles("softmax"), st.floats(-1e4, 1e4))
def test_softmax_does_not_see_a_number_added_to_a_row(call, c):
    d_A = call.upstream()
    (A, (d_S,)), (shifted, (d_shifted,)) = ((A, grads.values()) for A, grads in (
        call.run(d_A), call.run(d_A, S=call.inputs["S"] + c)))
    close(shifted, A, 1e-10)
    close(d_shifted, d_S, 1e-10)
    np.testing.assert_allclose(d_S.sum(axis=-1), 0, atol=1e-12)


@given(doubles("attention"))
def test_attention_stays_within_the_values_it_mixes(call):
    V, Y = call.inputs["V"], call.out()
    low, high = (np.minimum(V.min(axis=-2), 0), np.maximum(V.max(axis=-2), 0))          # 0: where no key is left
    assert np.all(Y >= low[..., None, :] - 1e-12) and np.all(Y <= high[..., None, :] + 1e-12)


@given(doubles("cosine_attention"))
def test_cosine_attention_is_attention_of_unit_vectors(call):
    Q, K, V, log_scale, mask = (call.inputs[key] for key in ("Q", "K", "V", "log_scale", "key_mask"))
    Q_hat, K_hat = l2_normalise(Q)[0], l2_normalise(K)[0]
    close(call.out(), attention(Q_hat * np.exp(log_scale) * np.sqrt(Q.shape[-1]), K_hat, V, mask)[0])


@given(doubles("cross_attention"))
def test_cross_attention_with_one_head_and_no_weights_is_attention(call):
    H, other, mask = (call.inputs[key] for key in ("H", "H_other", "key_mask"))
    close(cross_attention(H, other, mask)[0], attention(H, other, other, mask)[0])


@given(doubles("multi_head_attention"))
def test_one_head_is_attention_between_projections(call):
    X, mask = call.inputs["X"], call.inputs["mask"]
    Q, K, V = (linear(X, call.inputs[f"W_{letter}"], call.inputs[f"b_{letter}"])[0] for letter in "QKV")
    expected, _ = linear(attention(Q, K, V, mask)[0], call.inputs["W_O"], call.inputs["b_O"])
    close(multi_head_attention(**call.inputs, heads=1)[0], expected)


@given(doubles("multi_head_attention"), st.data())
def test_the_order_of_the_heads_does_not_matter(call, data):
    heads = call.options["heads"]
    order = data.draw(st.permutations(range(heads)))
    blocks = np.arange(call.inputs["W_O"].shape[0]).reshape(heads, -1)[order].ravel()
    moved = {f"{kind}_{letter}": call.inputs[f"{kind}_{letter}"][..., blocks] for kind in "Wb" for letter in "QKV"}
    d_H = call.upstream()
    (H, grads), (H_moved, grads_moved) = call.run(d_H), call.run(d_H, **moved, W_O=call.inputs["W_O"][blocks])
    close(H_moved, H)
    expected = {key: d_x[..., blocks] if key in moved else d_x[blocks] if key == "W_O" else d_x for key, d_x in grads.items()}
    close_grads(grads_moved, expected)


@given(calls("split_heads"), calls("join_heads"))
def test_splitting_and_joining_heads_undo_each_other(split, join):
    X, Y = split.inputs["X"], join.inputs["X"]
    np.testing.assert_array_equal(join_heads(split_heads(X, **split.options)), X)
    np.testing.assert_array_equal(split_heads(join_heads(Y), Y.shape[-3]), Y)


# --- layers ----------------------------------------------------------------------------------------------------------


@given(doubles("linear"), st.floats(-3, 3))
def test_a_linear_layer_is_linear(call, c):
    X, W = call.inputs["X"], call.inputs["W"]
    Z = call.rng.normal(size=X.shape)
    close(linear(c * X + Z, W)[0], c * linear(X, W)[0] + linear(Z, W)[0])


@given(doubles("embedding"))
def test_an_embedding_is_a_linear_layer_on_one_hot_words(call):
    E, ids = call.inputs["E"], call.inputs["ids"]
    d_X = call.upstream()
    X, grads = call.run(d_X)
    Y, cache = linear(np.eye(len(E))[ids], E)
    np.testing.assert_array_equal(X, Y)
    close(grads["E"], linear_backward(d_X, cache).d_W)


@given(doubles("layer_norm"))
def test_layer_norm_gives_every_row_its_mean_and_deviation(call):
    X, eps = call.inputs["X"], call.options["eps"]
    Y, _ = layer_norm(X, np.ones(X.shape[-1]), np.zeros(X.shape[-1]), eps)
    variance = X.var(axis=-1)
    np.testing.assert_allclose(Y.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(Y.var(axis=-1), variance / (variance + eps), rtol=1e-10, atol=1e-12)


@given(doubles("position_code"))
def test_places_beyond_the_sentence_learn_nothing(call):
    n = call.inputs["X"].shape[-2]
    _, grads = call.run(call.upstream())
    assert np.all(grads["E"][n:] == 0)


@given(st.floats(0, 0.95), SEEDS, st.sampled_from([np.float32, np.float64]))
def test_dropout_keeps_the_mean(p, seed, dtype):
    like = np.ones((100, 100), dtype)
    Y, _ = dropout(like, draw_dropout(np.random.default_rng(seed), like.shape, p, like))
    assert np.all((Y == 0) | (Y == dtype(1 / (1 - p))))
    deviation = np.sqrt(p / (1 - p) / Y.size)                          # of the mean of the draws
    assert abs(Y.mean(dtype=np.float64) - 1) <= 6 * deviation + 1e-6


# --- fusion and pooling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fuse_add", "fuse_concat", "fuse_gate"])
@given(data=st.data())
def test_no_context_is_a_context_of_zeros(name, data):
    alone = data.draw(doubles(name)).changed(C=None)
    d_F = alone.upstream()
    (F, grads), (F_zero, zero) = alone.run(d_F), alone.run(d_F, C=np.zeros_like(alone.inputs["H"]))
    close(F, F_zero)
    del zero["C"]
    close_grads(grads, zero)


@given(doubles("fuse_concat"))
def test_fusing_by_concatenation_is_one_linear_layer(call):
    H, C, W, b = (call.inputs[key] for key in ("H", "C", "W", "b"))
    H, C = np.broadcast_arrays(H, np.zeros_like(H) if C is None else C)
    close(call.out(), linear(np.concatenate([H, C], axis=-1), W, b)[0])


@given(calls("fuse_gate", scales=EXTREME))
def test_a_gate_chooses_between_token_and_context(call):
    H, C = call.inputs["H"], call.inputs["C"]
    C = np.zeros_like(H) if C is None else C
    F, room = call.out(), 1e-6 * (np.abs(H) + np.abs(C))
    assert np.all(F >= np.minimum(H, C) - room) and np.all(F <= np.maximum(H, C) + room)


@given(doubles("fuse_gate"))
def test_a_gate_without_weights_is_half_open(call):
    W, b = np.zeros_like(call.inputs["W"]), np.zeros_like(call.inputs["b"])
    H, C = call.inputs["H"], call.inputs["C"]
    close(fuse_gate(H, C, W, b)[0], H / 2 if C is None else (H + C) / 2)


@given(doubles("pool_attention"))
def test_a_query_of_zeros_pools_the_mean(call):
    g = call.changed(u=np.zeros_like(call.inputs["u"])).out()
    close(g, pool_mean(call.inputs["F"], call.inputs["mask"])[0])


@given(doubles("pool_max"))
def test_the_mean_lies_between_the_smallest_and_the_largest_token(call):
    F, mask = call.inputs["F"], call.inputs["mask"]
    mean, low = pool_mean(F, mask)[0], -pool_max(-F, mask)[0]
    assert np.all(call.out() >= mean - 1e-12) and np.all(mean >= low - 1e-12)


@pytest.mark.parametrize("name", ["pool_mean", "pool_max", "pool_attention"])
@given(data=st.data())
def test_equal_tokens_pool_to_themselves(name, data):
    call = data.draw(doubles(name))
    F, mask = call.inputs["F"], call.inputs["mask"]
    g = call.changed(F=np.broadcast_to(F[..., :1, :], F.shape)).out()
    left = True if mask is None else np.broadcast_to(mask, F.shape[:-1]).any(axis=-1)[..., None]
    close(g, np.where(left, F[..., 0, :], 0))


# --- cosines ---------------------------------------------------------------------------------------------------------


@given(doubles("cosine_similarity"), st.floats(0.5, 1e4), st.booleans())
def test_a_cosine_does_not_see_lengths(call, length, turned):
    """Between -1 and 1; a vector turned round turns the sign."""
    S, sign = call.out(), -1 if turned else 1
    assert np.all(np.abs(S) <= 1 + 1e-12)
    close(cosine_similarity(sign * length * call.inputs["G_t"], call.inputs["G_v"])[0], sign * S)


@given(doubles("cosine_similarity"))
def test_a_vector_has_cosine_1_with_itself(call):
    G = call.inputs["G_t"]
    S, _ = cosine_similarity(G, G)
    np.testing.assert_allclose(np.diagonal(S, axis1=-2, axis2=-1), 1, rtol=1e-10)


@given(doubles("token_cosine"))
def test_token_cosines_are_the_diagonal_of_all_cosines(call):
    H, C = np.broadcast_arrays(call.inputs["H"], call.inputs["C"])
    close(call.out(), np.diagonal(cosine_similarity(H, C)[0], axis1=-2, axis2=-1))


@given(doubles("l2_normalise"))
def test_normalising_twice_changes_nothing(call):
    X_hat = call.out()
    np.testing.assert_allclose((X_hat * X_hat).sum(axis=-1), 1, rtol=1e-10)
    close(l2_normalise(X_hat)[0], X_hat)


# --- axes ------------------------------------------------------------------------------------------------------------


@given(st.data())
def test_summing_over_copies_is_the_adjoint_of_broadcasting(data):
    """<broadcast(x), y> = <x, sum_to(y)>."""
    drawn = Draw(data.draw, dtypes=DOUBLE)
    small, other = drawn.leading(2)
    x, y = drawn.floats(*small), drawn.floats(*np.broadcast_shapes(small, other))
    summed = sum_to(y, x.shape)
    assert summed.shape == x.shape
    np.testing.assert_allclose((np.broadcast_to(x, y.shape) * y).sum(), (x * summed).sum(), rtol=1e-10, atol=1e-12)
