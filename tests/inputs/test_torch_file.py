"""Reading PyTorch's legacy files: the right numbers, nothing run, nothing read outside the file.

The files are written here by hand. `Call(module, name, *args)` becomes the pickle of a call of that function, whether or not
the module exists, which is also how a hostile file is made.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict

import numpy as np
import pytest

from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.torch_file import TorchFileError, read_state_dict

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
FACTS = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Pid:
    """Becomes a persistent id of the pickle."""

    def __init__(self, *pid):
        self.pid = pid


class Pickler(pickle._Pickler):         # the one in Python: its pickles may name functions that do not exist
    def persistent_id(self, x):
        return x.pid if isinstance(x, Pid) else None


def function(module, name):
    """A function that the pickle names `module.name`."""
    def stub(*args):
        raise AssertionError("only its name is used")
    stub.__module__, stub.__qualname__, stub.__name__ = module, name, name
    return stub


class Call:
    def __init__(self, module, name, *args):
        self.stub, self.args = function(module, name), args

    def __reduce__(self):
        return self.stub, self.args


@pytest.fixture
def dumped(monkeypatch):
    """Pickles a value as PyTorch does, with protocol 2."""
    def dump(value):
        file = io.BytesIO()

        def save_global(self, obj, name=None):
            self.write(pickle.GLOBAL + f"{obj.__module__}\n{name or obj.__qualname__}\n".encode())

        monkeypatch.setattr(Pickler, "save_global", save_global)
        monkeypatch.setitem(Pickler.dispatch, type(function), save_global)
        monkeypatch.setitem(Pickler.dispatch, type, save_global)
        Pickler(file, protocol=2).dump(value)
        return file.getvalue()
    return dump


def storage(key, count, kind="FloatStorage"):
    return Pid("storage", function("torch", kind), key, "cpu", count, None)


def tensor(from_storage, offset, size, stride):
    return Call("torch._utils", "_rebuild_tensor_v2", from_storage, offset, size, stride, False, OrderedDict())


@pytest.fixture
def write(tmp_path, dumped):
    """Writes a file of this state and these storages; `keys`, where they differ from the storages'."""
    def write(state, arrays=None, keys=None, magic=MAGIC, protocol=PROTOCOL):
        arrays = arrays or {}
        parts = [dumped(x) for x in (magic, protocol, FACTS, state, sorted(arrays) if keys is None else keys)]
        for key in sorted(arrays):
            parts += [np.int64(len(arrays[key])).tobytes(), arrays[key].tobytes()]
        path = tmp_path / "weights.pth"
        path.write_bytes(b"".join(parts))
        return path
    return write


def fails(path, *parts):
    with pytest.raises(TorchFileError) as error:
        read_state_dict(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for part in parts:
        assert part in message


A, B = np.arange(24, dtype=np.float32), np.array([7, -1, 2**40])


def test_strides_offsets_and_shared_storages(write):
    a, b = storage("94100", 24), storage("94200", 3, "LongStorage")
    state = OrderedDict([
        ("whole", tensor(a, 0, (2, 3, 4), (12, 4, 1))),
        ("transposed", tensor(a, 0, (4, 6), (1, 4))),
        ("part", tensor(a, 13, (2, 3), (4, 1))),
        ("repeated", tensor(a, 5, (3, 2), (0, 1))),
        ("number", tensor(b, 2, (), ())),
        ("empty", tensor(a, 24, (0, 5), (5, 1))),
        ("counts", tensor(b, 0, (3,), (1,))),
    ])
    found = read_state_dict(write(state, {"94100": A, "94200": B}))
    assert list(found) == list(state)
    expected = {"whole": A.reshape(2, 3, 4), "transposed": A.reshape(6, 4).T, "part": A[13:21].reshape(2, 4)[:, :3],
                "repeated": A[[5, 6] * 3].reshape(3, 2), "number": B[2], "empty": np.empty((0, 5)), "counts": B}
    for name, x in expected.items():
        assert found[name].shape == np.shape(x) and np.array_equal(found[name], x), name
        assert found[name].flags.c_contiguous and found[name].flags.owndata
    assert found["whole"].dtype == np.float32 and found["counts"].dtype == np.int64


def test_state_dict_with_metadata(write, dumped):
    class WithMetadata(OrderedDict):                    # state dicts carry the attribute _metadata
        def __reduce__(self):
            return OrderedDict, (), {"_metadata": OrderedDict([("", {"version": 1})])}, None, iter(self.items())
    path = write(WithMetadata(w=tensor(storage("0", 24), 0, (24,), (1,))), {"0": A})
    assert np.array_equal(read_state_dict(path)["w"], A)


@pytest.mark.parametrize(("module", "name"), [
    ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("torch", "load"),
    ("collections", "namedtuple"), ("numpy", "load")])
@pytest.mark.parametrize("place", ["state", "key", "magic"])
def test_hostile_pickle_runs_nothing(write, tmp_path, module, name, place):
    call = Call(module, name, f"touch {tmp_path / 'was_here'}")
    path = write({"w": call} if place == "state" else {}, keys=[call] if place == "key" else None,
                 magic=call if place == "magic" else MAGIC)
    fails(path, f"asks for {module}.{name}", "not loaded")
    assert not (tmp_path / "was_here").exists()


def test_the_hostile_pickle_is_one(write, tmp_path, dumped):
    """Plain pickle would run it: the test above is not passed by a pickle that does nothing."""
    pickle.loads(dumped(Call("os", "system", f"touch {tmp_path / 'was_here'}")))
    assert (tmp_path / "was_here").exists()


def test_a_module_named_in_the_file_is_not_imported(write, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    fails(write({"w": Call("evil_module", "f")}), "evil_module.f")
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(("offset", "size", "stride"), [
    (0, (25,), (1,)), (1, (24,), (1,)), (0, (2, 3), (24, 1)), (24, (), ()), (-1, (2,), (1,)), (0, (2,), (-1,)),
    (0, (-2,), (1,)), (0, (2.0,), (1,)),
    (0, (True,), (1,)), (0, (2, 2), (1,)), (0, (10**9,), (0,)), (0, 3, 1), (0, (0, 2**70), (1, 1)),
    (0, (1,), (2**70,)), (0, (1,) * 99, (1,) * 99), ("0", (1,), (1,)),
])
def test_tensors_that_reach_outside_their_storage(write, offset, size, stride):
    fails(write({"w": tensor(storage("0", 24), offset, size, stride)}, {"0": A}))


def test_storages_that_contradict_each_other(write):
    small, large = storage("0", 24), storage("0", 2**40)
    for first, second in ((small, large), (large, small)):
        state = OrderedDict(a=tensor(first, 0, (24,), (1,)), b=tensor(second, 20, (1,), (1,)))
        fails(write(state, {"0": A}))
    state = OrderedDict(a=tensor(large, 2**39, (1,), (1,)), b=tensor(small, 0, (24,), (1,)))
    fails(write(state, {"0": A}), "the storage 0 differently")
    state = OrderedDict(a=tensor(small, 0, (24,), (1,)), b=tensor(storage("0", 24, "LongStorage"), 0, (24,), (1,)))
    fails(write(state, {"0": A}), "the storage 0 differently")
    fails(write({"w": tensor(storage("0", 30), 0, (24,), (1,))}, {"0": A}), "holds 24 elements", "expect 30")
    fails(write({"w": tensor(storage("0", 2**60), 0, (24,), (1,))}, {"0": A}))


def test_storage_lists_that_do_not_match(write):
    state = {"w": tensor(storage("0", 24), 0, (24,), (1,))}
    for keys in ([], ["1"], ["0", "0"], [0], "0", ["0", "1"], [None], [["0"]]):
        fails(write(state, {"0": A}, keys=keys), "list of storages")


@pytest.mark.parametrize("pid", [
    (), ("module", 1), ("storage", 1, "0", "cpu", 24, None), ("storage", None, "0", "cpu", 24, None)])
def test_unknown_persistent_ids(write, pid):
    fails(write({"w": tensor(Pid(*pid), 0, (24,), (1,))}, {"0": A}), "storage in an unknown form")


def test_storages_of_another_kind(write):
    good = storage("0", 24).pid
    for pid in ((*good[:4], -1, None), (*good[:5], ("0", 0, 24)), (*good[:2], 0, *good[3:])):
        fails(write({"w": tensor(Pid(*pid), 0, (24,), (1,))}, {"0": A}), "storage in an unknown form")
    fails(write({"w": tensor(storage("0", 24, "CharStorage"), 0, (24,), (1,))}, {"0": A}), "torch.CharStorage")


@pytest.mark.parametrize("state", [[], {"w": 3}, {3: 4}, None, "weights"])
def test_no_state_dict(write, state):
    fails(write(state), "no state dict")


def test_cut_off_at_every_part_and_damaged(write, tmp_path):
    data = write({"w": tensor(storage("0", 24), 0, (24,), (1,))}, {"0": A}).read_bytes()
    path = tmp_path / "cut.pth"
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        fails(path, "cut off")
    rng = np.random.default_rng(0)
    start = data.index(b"torch")                        # the state dict; what follows the pickles is numbers
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(start, len(data) - A.nbytes)] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except TorchFileError:
            pass


def test_other_files(write, tmp_path):
    fails(write({}, magic=1), "legacy format")
    fails(write({}, protocol=1002), "legacy format")
    path = tmp_path / "zip.pth"
    path.write_bytes(b"PK\x03\x04rest")
    fails(path, "zip format", "_use_new_zipfile_serialization=False")
    path.write_text("weights\nof a network\n")
    fails(path, "damaged")
    with pytest.raises(InputError, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(InputError, match="is a folder"):
        read_state_dict(tmp_path)
