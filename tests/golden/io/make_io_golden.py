#!/usr/bin/env python3
"""Made the files of this folder, with Python's own pickle and zipfile and stand-ins for torch's, numpy's and Lightning's classes.
usage: make_io_golden.py FOLDER CKPT     FOLDER: where the files go; CKPT: ../sd1c/sd1c.ckpt, whose tensors are listed in sd1c.tensors.json
"""
import collections, hashlib, io, json, pickle, struct, sys, types, zipfile

out, ckpt = sys.argv[1:3]


def module(name):
    if "." in name and name.rpartition(".")[0] not in sys.modules: module(name.rpartition(".")[0])
    m = sys.modules[name] = types.ModuleType(name)
    return m


def named(m, name, thing):
    thing.__module__, thing.__qualname__, thing.__name__ = m.__name__, name, name
    setattr(m, name, thing)
    return thing


torch, utils = module("torch"), module("torch._utils")
HalfStorage, FloatStorage = (named(torch, n, type(n, (), {})) for n in ("HalfStorage", "FloatStorage"))
rebuild_tensor = named(utils, "_rebuild_tensor_v2", lambda *a: None)
rebuild_parameter = named(utils, "_rebuild_parameter", lambda *a: None)
lightning = module("pytorch_lightning.callbacks.model_checkpoint")
ModelCheckpoint = named(lightning, "ModelCheckpoint", type("ModelCheckpoint", (), {}))
multiarray, numpy = module("numpy.core.multiarray"), module("numpy")
scalar, dtype = named(multiarray, "scalar", lambda *a: None), named(numpy, "dtype", type("dtype", (), {}))


class Call:
    def __init__(self, function, *arguments, state=None): self.what = (function, arguments, state)
    def __reduce__(self): return self.what if self.what[2] is not None else self.what[:2]


class Storage:
    def __init__(self, kind, key, count): self.id = ("storage", kind, key, "cpu", count)


class Pickler(pickle._Pickler):
    def persistent_id(self, thing): return thing.id if isinstance(thing, Storage) else None
    def save_pers(self, pid):  # protocol 0 would write the id as text
        if self.bin: return super().save_pers(pid)
        self.save(pid); self.write(pickle.BINPERSID)


numbers = struct.pack("<24f", *range(24))
half = struct.pack("<6e", 0.5, 1, 1.5, 2, 2.5, 3)
storage, small = Storage(FloatStorage, "0", 24), Storage(HalfStorage, "1", 6)
checkpoint = ModelCheckpoint()
checkpoint.monitor, checkpoint.best = "val/loss", {"score": [1.0, 2.0], "self": checkpoint}
f8 = Call(dtype, "f8", False, True, state=(3, "<", None, None, None, -1, -1, 0))
content = {
    "string_to_param": collections.OrderedDict({"*": Call(rebuild_parameter, Call(rebuild_tensor, small, 0, (2, 3), (3, 1), True, collections.OrderedDict()), True, collections.OrderedDict())}),
    "transposed": Call(rebuild_tensor, storage, 0, (4, 6), (1, 4), False, collections.OrderedDict()),
    "middle": Call(rebuild_tensor, storage, 8, (2, 2, 2), (8, 1, 4), False, collections.OrderedDict()),
    "steps": [Call(rebuild_tensor, storage, 23, (), (), False, collections.OrderedDict())],
    "name": "naïve \\ 'fox' \n☃ 𝄞", "step": 1234, "negative": -5, "large": 2**40, "huge": 2**100, "lr": 0.1, "yes": True, "no": False, "nothing": None,
    "loss": Call(scalar, f8, struct.pack("<d", 0.25)), "raw": b"\x00\xff'", "both": (1, "two"), "tags": {7}, "frozen": frozenset({8}),
    "callback": checkpoint, "class": ModelCheckpoint, 3: "three",
}
for protocol in range(6):
    data = io.BytesIO()
    Pickler(data, protocol).dump(content)
    kind = zipfile.ZIP_DEFLATED if protocol == 3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(f"{out}/protocol{protocol}.pt", "w", kind) as z:
        for name, data in (("data.pkl", data.getvalue()), ("data/0", numbers), ("data/1", half), ("version", b"3\n")):
            z.writestr(zipfile.ZipInfo("archive/" + name), data, kind)

# The tensors of the checkpoint, read without torch: name -> [dtype, shape, sha256 of the contiguous little-endian elements].
kinds = {"HalfStorage": ("F16", 2), "FloatStorage": ("F32", 4), "LongStorage": ("I64", 8), "IntStorage": ("I32", 4)}
z = zipfile.ZipFile(ckpt)
folder = z.namelist()[0].split("/")[0]


def read(storage, offset, shape, stride, *_):
    _, kind, key, *_ = storage
    word, width = kinds[kind]
    raw = z.read(f"{folder}/data/{key}")
    places = [offset]
    for n, step in zip(shape, stride): places = [p + i * step for p in places for i in range(n)]
    return [word, list(shape), hashlib.sha256(b"".join(raw[p * width:(p + 1) * width] for p in places)).hexdigest()[:16]]


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        return {"_rebuild_tensor_v2": read, "_rebuild_parameter": lambda t, *_: t, "OrderedDict": dict}.get(name, name)
    def persistent_load(self, pid): return pid


tensors = Reader(z.open(f"{folder}/data.pkl")).load()["state_dict"]
with open(f"{out}/sd1c.tensors.json", "w") as f: f.write("{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(v) for k, v in sorted(tensors.items())) + "\n}\n")
