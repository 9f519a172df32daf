"""The five prompts of the reference data, as texts and as token ids of each model.

Tokenised by llama.cpp, so that a difference in logits is not one of tokens.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
REFERENCE = HERE.parent / "resources" / "reference"

SMOLLM2_CHAT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nName three things that a lighthouse keeper does.<|im_end|>\n<|im_start|>assistant\n"
)
PLAIN_DIALOGUE = (
    "Q: What does a lighthouse keeper do?\nA: A lighthouse keeper tends the lamp.\n"
    "Q: Name three more things that a lighthouse keeper does.\nA:"
)
CODE = (
    "def merge_sorted(left, right):\n"
    '    """Merges two sorted lists into one."""\n'
    "    result = []\n    i = j = 0\n    while i < len(left) and j < len(right):\n        if"
)
NON_ENGLISH = (
    "Im Jahre 1492 segelte Christoph Kolumbus nach Westen. La révolution française commença en 1789. "
    "東京は日本の首都です。Москва — столица России. Die Hauptstadt von Frankreich ist"
)


def prompts(model_name):
    """Name to (text, whether special tokens are parsed)."""
    passage = (REFERENCE / "perplexity.txt").read_text(encoding="utf-8")
    chat = SMOLLM2_CHAT if "SmolLM2" in model_name else PLAIN_DIALOGUE
    return {
        "short": ("The capital of France is", False),
        "chat": (chat, True),
        "thousand": (passage, False),
        "non-english": (NON_ENGLISH, False),
        "code": (CODE, False),
    }


def load_tokens(model_name):
    return json.loads((REFERENCE / f"{model_name}.prompts.json").read_text(encoding="utf-8"))
