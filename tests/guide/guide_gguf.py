"""GGUF files: the few things the guide's export and tests need. Format: ggml's docs/gguf.md, version 3."""
import struct

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TYPE_F32, TYPE_Q8_0, ALIGNMENT = 0, 8, 32


def text(s):
    data = s.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def value(kind, v):
    if kind == STRING:
        return text(v)
    if kind == ARRAY:
        item, items = v
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, i) for i in items)
    return struct.pack("<" + SCALARS[kind], v)


def write(path, metadata, tensors):
    """metadata: [(key, kind, value)]; tensors: [(name, dims with the row first, type, bytes)]"""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, kind, v in metadata:
        head += text(key) + struct.pack("<I", kind) + value(kind, v)
    at = 0
    for name, dims, kind, data in tensors:
        head += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, at)
        at += -(-len(data) // ALIGNMENT) * ALIGNMENT
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for _, _, _, data in tensors:
            file.write(data + bytes(-len(data) % ALIGNMENT))


def read_metadata(path):
    with open(path, "rb") as file:
        data = file.read()
    at = 24
    _, n_tensors, n_keys = struct.unpack_from("<IQQ", data, 4)

    def scalar(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, data, at)[0]
        at += struct.calcsize("<" + fmt)
        return v

    def string():
        nonlocal at
        n = scalar("Q")
        at += n
        return data[at - n : at].decode("utf-8")

    def any_value(kind):
        if kind == STRING:
            return string()
        if kind == ARRAY:
            item, n = scalar("I"), scalar("Q")
            return [any_value(item) for _ in range(n)]
        return scalar(SCALARS[kind])

    out = {}
    for _ in range(n_keys):
        key = string()
        out[key] = any_value(scalar("I"))
    return out
