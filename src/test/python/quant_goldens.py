#!/usr/bin/env python3
"""Writes src/test/resources/quant: blocks of every tensor type and their values.

The values come from the Python package gguf (0.19.0, numpy), an implementation that shares no code
with ours. TYPE.blocks holds random blocks whose scales cover zero, subnormals and both signs;
TYPE.values the same as little-endian float32.

    python -m venv venv && venv/bin/pip install gguf==0.19.0
    venv/bin/python src/test/python/quant_goldens.py
"""

import pathlib

import gguf
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "resources" / "quant"
SEED = 20251123

# Type: (blocks, offsets of the half-precision scales in a block).
TYPES = {
    "F32": (256, ()),
    "F16": (256, (0,)),
    "BF16": (256, ()),
    "Q4_0": (21, (0,)),
    "Q4_1": (21, (0, 2)),
    "Q5_0": (21, (0,)),
    "Q5_1": (21, (0, 2)),
    "Q8_0": (21, (0,)),
    "Q4_K": (5, (0, 2)),
    "Q5_K": (5, (0, 2)),
    "Q6_K": (5, (208,)),
}
EDGE_SCALES = np.array([0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 1.0, -1.0, 1000.0], dtype=np.float16)


def blocks_of(name: str, count: int, scales: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    kind = gguf.GGMLQuantizationType[name]
    size = gguf.GGML_QUANT_SIZES[kind][1]
    if name in ("F32", "BF16"):
        values = random.normal(size=count).astype(np.float32)
        values[:6] = [0.0, -0.0, 1e-40, -1e-38, 3e38, -1.0]
        raw = values.view(np.uint8).reshape(count, 4)
        return raw if name == "F32" else raw[:, 2:].copy()
    raw = random.integers(0, 256, size=(count, size), dtype=np.uint8)
    for offset in scales:
        half = (random.normal(size=count) * 0.02).astype(np.float16)
        edges = min(count, len(EDGE_SCALES))
        # Five blocks of the large types see every edge between their two scales and the seed's order.
        half[:edges] = np.roll(EDGE_SCALES, -offset)[:edges]
        raw[:, offset : offset + 2] = half.view(np.uint8).reshape(count, 2)
    return raw


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    for name, (count, scales) in TYPES.items():
        raw = blocks_of(name, count, scales, random)
        kind = gguf.GGMLQuantizationType[name]
        if name == "F32":
            values = raw.reshape(-1).view(np.float32)
        elif name == "F16":
            values = raw.reshape(-1).view(np.float16).astype(np.float32)
        else:
            values = gguf.dequantize(raw.reshape(1, -1), kind).reshape(-1).astype(np.float32)
        assert np.isfinite(values).all(), name
        (FOLDER / f"{name}.blocks").write_bytes(raw.tobytes())
        (FOLDER / f"{name}.values").write_bytes(values.astype("<f4").tobytes())
        print(f"{name}: {values.size} values")


if __name__ == "__main__":
    main()
