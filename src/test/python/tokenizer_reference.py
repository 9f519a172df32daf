"""Token ids of awkward strings by llama.cpp, the reference of TokenizerReferenceTest.

Usage: python tokenizer_reference.py MODELS_FOLDER OUTPUT.json   (needs llama-cpp-python)
"""

import ctypes
import json
import pathlib
import random
import sys

import llama_cpp

MODELS = ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-Q4_K_M.gguf"]
SPECIAL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>",
    "<pad>", "<unk>", "<mask>", "<unused7>", "<repo_name>", "<file_sep>", "</s>", "<table>", "[multimodal]",
    "<0x0A>", "<start_of_image>", "<s>", "<|eot_id|>", "[INST]",
]


def strings():
    rng = random.Random(20)
    found = [
        "", " ", "a", "\n", "\t", "\r\n", "\x00", "\x7f", "\u200b", "\ufeff", "\ufffd", "\u2581", "\u2581\u2581a", "Hello world",
        " Hello", "Hello ", "  two  spaces  ", "tab\tbetween\ttabs", "line\nline\r\nline\n\n\nend\n",
        "I'm you're they've we'll he'd it's can't", "I'M YOU'RE THEY'VE WE'LL HE'D IT'S", "'s 't 're 'x ''", "don\u2019t",
        "0", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000.00", "\u0661\u0662\u0663", "\u00bd \u00b2 \u2167 \u3007",
        "x1y22z333", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c", "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
        "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
        "\u202eright to left\u202c", "e\u0301 vs \u00e9", "Z\u0351\u036b\u0343a\u0327\u0321l\u0334\u034eg\u0337o\u0338", "a\u0300\u0301\u0302\u0303", "\u1e9b\u0323",
        "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2764\ufe0f\u200d\U0001f525", "text\U0001f642text \U0001f642\U0001f642",
        "\U00020000\U0002a6d6", "\U0001d4d7\U0001d4ee\U0001d4f5\U0001d4f5\U0001d4f8", "\U00010330\U00010331", "\ue000\uf8ff", "\U000f0000\U0010fffd", "\ufdd0\uffff",
        "\x01\x02\x1b[31mred\x1b[0m", "\u0085\u00a0\u2028\u2029\u3000", "a\u00a0b\u2003c\u3000d", "\u1680\u180e\u202f", "\u00ad\u2060\u2063",
        "def f(x):\n    return x ** 2  # square\n", "if (a<b && c>d) { x += 1; }\n\t\treturn;", "#include <stdio.h>\nint main(void){}",
        "SELECT * FROM t WHERE a='b' -- c", "{\"key\": [1, 2.5, null, true]}", "<html><body><p>Hi</p></body></html>",
        "<table><tr><td>1</td></tr></table>", "https://example.org/a/b?c=d&e=%20f#g", "user@example.org", "C:\\Windows\\System32", "/usr/bin/env",
        "$\\alpha^2 + \\beta_{ij} = \\frac{1}{2}$", "CamelCaseAndsnake_case_AND_UPPER", "supercalifragilisticexpialidocious",
        "Donaudampfschifffahrtsgesellschaft", "na\u00efve caf\u00e9 co\u00f6perate \u0153uvre", "\u0130stanbul \u0131 \u00df \u1e9e", "\ufb01 \ufb02 \u01c6",
        "...", "?!?!", "---", "\u2014 \u2026 \u201cquoted\u201d \u2018x\u2019", "a.b.c", "!!!\n\n", "\"\n", ")\n\n\n  x", "~`^|+=<>$",
        "\u20ac100 \u00a35 \u00a5300 $4", "H\u2082O CO\u2082 x\u00b2", "\u2211\u222b\u221e \u2260 \u2264", "\u2190\u2191\u2192", "\u2588\u2591\u2592", "\u2500\u2502\u250c",
        "The quick brown fox jumps over the lazy dog.", "  leading", "trailing  ", " \n \n ", "\n \n", "\t \t", "a \n b", "a  \n\n  b", "x\n\n\n\n\ny",
        "Mr. O'Neill's 2nd-hand e-mail", "ALLCAPS WORDS HERE", "mixed\u4e2d\u6587and English", "\u65e5\u672c\u8a9e123abc", "a\u0301\u0301b", "\u0e33\u0e4d",
        "\u0345\u0370\u1d2c\u2071\ua7f2", "\u1c80\u2c5f\ua7c0\U0001e900", "\u0fd0\u17d4\u1361", "_under_ *star* **bold**", "# Heading\n\n- item\n- item\n", "```java\nint x;\n```",
        "\x00a\x00b", "\ud7ff\ue000", "\u2581word\u2581", "\u0120token \u010a", "\u00c4\u00d6\u00dc\u00e4\u00f6\u00fc",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababababababababab", "=" * 70, "-" * 33, "." * 50, "\u00e9" * 20, "\U0001f602" * 7, "\u554a" * 15, "hahahahahahahahaha",
    ]
    for n in (2, 3, 4, 7, 16, 31, 32, 33, 62, 63, 97):
        found.append(" " * n + "x")
        found.append("\n" * n)
    for n in (5, 31, 54):
        found.extend(["\t" * n + "y", " " * n, "7" * n])
    for token in SPECIAL:
        found.append("before " + token + " after")
    found += ["".join(SPECIAL), "<|im_start|>system\nYou are<|im_end|>\n<|im_start|>user\n", "<|im_start", "|im_end|>", "<<|im_end|>>", "< bos >", "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "</s></s> x</s>"]
    pool = "ab  \n\t'.,019\u00e9\u4e2d\U0001f600\u0301\u200d<|>_A\u2581\u00a0"
    while len(found) < 200:
        found.append("".join(rng.choice(pool) for _ in range(rng.randint(5, 60))))
    assert len(set(found)) == len(found), [s for s in found if found.count(s) > 1]
    return found


def tokenize(vocab, data, special):
    room = len(data) * 2 + 16
    ids = (llama_cpp.llama_token * room)()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, room, False, special)
    assert count >= 0
    return list(ids[:count])


def piece(vocab, token):
    buffer = ctypes.create_string_buffer(1024)
    size = llama_cpp.llama_token_to_piece(vocab, token, buffer, 1024, 0, False)
    return buffer.raw[:size]


def reference(path, texts):
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    vocab = llama_cpp.llama_model_get_vocab(model.model)
    size = llama_cpp.llama_vocab_n_tokens(vocab)
    cases = []
    for text in texts:
        data = text.encode("utf-8")
        plain, parsed = tokenize(vocab, data, False), tokenize(vocab, data, True)
        decoded = b"".join(piece(vocab, token) for token in parsed)
        cases.append({"plain": plain, "parsed": parsed, "parsed_bytes": decoded.hex()})
    return {
        "vocabulary": size,
        "begin": llama_cpp.llama_vocab_bos(vocab),
        "adds_begin": bool(llama_cpp.llama_vocab_get_add_bos(vocab)),
        "ends": [i for i in range(size) if llama_cpp.llama_vocab_is_eog(vocab, i)],
        "cases": cases,
    }


def main():
    folder, output = map(pathlib.Path, sys.argv[1:])
    texts = strings()
    data = {"llama_cpp_python": llama_cpp.__version__, "texts": texts}
    data["models"] = {name: reference(folder / name, texts) for name in MODELS}
    output.write_text(json.dumps(data, separators=(",", ":")).replace('},{"plain"', '},\n{"plain"') + "\n")
    print(len(texts), "texts")


if __name__ == "__main__":
    main()
