#!/usr/bin/env python3
"""Makes a model file of the same shape in another quantisation, to measure that one's kernels.

Every matrix of the source's commonest quantised type is unpacked and packed again; the others stay as
they are (SmolLM2's embedding is Q8_0 in the Q4_1 file, and llama.cpp's own quantiser leaves it so for
Q4_0). Quality suffers from the second rounding: the results are for measuring speed. Needs the package
gguf.
"""

import argparse
import collections
import os
import pathlib
import sys

try:
    import gguf
except ImportError:
    sys.exit(f"{sys.executable} has no gguf; run: {sys.executable} -m pip install -r jobs/peers/requirements.txt")

SOURCE = "~/.cache/kvfreeze/models/SmolLM2-135M-Instruct.Q4_1.gguf"
TYPES = {
    name: (gguf.GGMLQuantizationType[name], gguf.LlamaFileType[f"MOSTLY_{name}"])
    for name in ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
}
# Written by GGUFWriter itself.
OWN_FIELDS = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture", "general.file_type")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default=SOURCE, help="GGUF file (default: %(default)s)")
    parser.add_argument("--types", default="Q8_0,Q4_0", help="of " + ", ".join(TYPES) + "; a file each")
    parser.add_argument("--folder", help="where the files go (default: that of the source)")
    return parser.parse_args()


def commonest_type(reader):
    """The quantised type that most tensors have."""
    types = collections.Counter(t.tensor_type for t in reader.tensors if len(t.shape) > 1)
    return types.most_common(1)[0][0]


def copy_fields(reader, writer, file_type):
    for field in reader.fields.values():
        if field.name in OWN_FIELDS:
            continue
        nested = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=nested)
    writer.add_file_type(file_type)


def convert(source, target, type_name):
    reader = gguf.GGUFReader(source)
    wanted, file_type = TYPES[type_name]
    replaced = commonest_type(reader)
    unfinished = target.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, reader.fields["general.architecture"].contents())
    copy_fields(reader, writer, file_type)
    for tensor in reader.tensors:
        if tensor.tensor_type == replaced:
            values = gguf.quants.dequantize(tensor.data, replaced)
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, wanted), raw_dtype=wanted)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(unfinished, target)
    print(f"{target}: {replaced.name} became {type_name}, {target.stat().st_size / 1e6:.0f} MB")


def main():
    arguments = parse_arguments()
    source = pathlib.Path(arguments.source).expanduser()
    if not source.is_file():
        sys.exit(f"there is no model file {source}; jobs/fetch-model fetches the default one")
    folder = pathlib.Path(arguments.folder).expanduser() if arguments.folder else source.parent
    folder.mkdir(parents=True, exist_ok=True)
    stem = source.stem.rsplit(".", 1)[0]
    for type_name in arguments.types.split(","):
        if type_name not in TYPES:
            sys.exit(f"{type_name} is not one of " + ", ".join(TYPES))
        convert(source, folder / f"{stem}.{type_name}.gguf", type_name)


if __name__ == "__main__":
    main()
