"""Worker for JoeyNMT, with its own model, loss, optimizer and search.

Differences that remain: its decoder is Luong's with input feeding (attention after the recurrence)
for every score, and the output layer reads the attentional vector, as wide as the decoder, without
a bias. It requires batches sorted by source length; as in its own trainer, sorting is part of the
measured time. Its special tokens have other ids, so ids below four are mapped.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from joeynmt.batch import Batch
from joeynmt.builders import build_gradient_clipper, build_optimizer
from joeynmt.model import build_model
from joeynmt.search import search
from joeynmt.vocabulary import Vocabulary

from workers.ids import Array, Sizes, SpecialTokens, pad
from workers.serve import Worker, main

THEIRS = SpecialTokens(pad=1, bos=2, eos=3, unk=0)


def vocabulary(size: int) -> Any:
    """Build a vocabulary of `size` tokens with the special tokens in JoeyNMT's order."""
    config = SimpleNamespace(
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        sep_token=None,
        lang_tags=[],
        unk_id=THEIRS.unk,
        pad_id=THEIRS.pad,
        bos_id=THEIRS.bos,
        eos_id=THEIRS.eos,
        sep_id=None,
    )
    return Vocabulary([f"piece{number}" for number in range(4, size)], config)


def id_maps(special_tokens: SpecialTokens) -> tuple[Array, Array]:
    """Return the maps of the first four ids from ours to theirs and back."""
    forth = np.zeros(4, np.int64)
    for name in ("pad", "bos", "eos", "unk"):
        forth[getattr(special_tokens, name)] = getattr(THEIRS, name)
    return forth, np.argsort(forth)


def map_ids(sentences: list[Array], table: Array) -> list[Array]:
    """Map the ids of sentences."""
    few = len(table) - 1
    return [np.where(ids <= few, table[np.minimum(ids, few)], ids) for ids in sentences]


def config(sizes: Sizes) -> dict[str, Any]:
    """Return the `model` section of its configuration."""
    embeddings = {"embedding_dim": sizes.embedding, "dropout": sizes.dropout}
    return {
        "initializer": "xavier_uniform",
        "tied_embeddings": False,
        "tied_softmax": False,
        "encoder": {
            "type": "recurrent",
            "rnn_type": "lstm",
            "embeddings": embeddings,
            "hidden_size": sizes.encoder,
            "bidirectional": True,
            "num_layers": sizes.layers,
            "dropout": sizes.dropout,
        },
        "decoder": {
            "type": "recurrent",
            "rnn_type": "lstm",
            "embeddings": embeddings,
            "hidden_size": sizes.decoder,
            "num_layers": 1,
            "dropout": sizes.dropout,
            "hidden_dropout": sizes.dropout,
            "attention": "bahdanau",
            "init_hidden": "bridge",
            "input_feeding": True,
        },
    }


class JoeyWorker(Worker):
    """Worker for JoeyNMT; bf16 uses autocast, as its trainer does."""

    packages = ("joeynmt",)

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        sizes = self.sizes
        self.forth, self.back = id_maps(self.ids.special_tokens)
        words = vocabulary(self.ids.vocabulary)
        self.model = build_model(config(sizes), words, words).to(device)
        self.model.loss_function = ("crossentropy", sizes.smoothing)
        training = {
            "optimizer": "adam",
            "learning_rate": sizes.learning_rate,
            "clip_grad_norm": sizes.clip_norm,
            "clip_grad_val": None,
        }
        self.clip = build_gradient_clipper(training)
        self.optimizer = build_optimizer(training, self.model.parameters())
        half = dtype == "bf16"
        self.autocast: dict[str, Any] = {
            "device_type": device,
            "enabled": half,
            "dtype": torch.bfloat16,
        }
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return parameters, "Luong's order with Bahdanau's score"

    def batch(self, sources: list[Array], targets: list[Array] | None) -> Any:
        """Build a batch sorted by source length."""
        source = pad(map_ids(sources, self.forth), THEIRS)
        target = None
        if targets is not None:
            target = torch.from_numpy(pad(map_ids(targets, self.forth), THEIRS, begin=True))
        return Batch(
            src=torch.from_numpy(source),
            src_length=torch.tensor([len(sentence) + 1 for sentence in sources]),
            src_prompt_mask=None,
            trg=target,
            trg_prompt_mask=None,
            indices=torch.arange(len(sources)),
            device=torch.device(self.device),
            pad_index=THEIRS.pad,
            eos_index=THEIRS.eos,
            is_train=targets is not None,
        )

    def update(self, number: int) -> float:
        """As `TrainManager._train_step` and the lines after it in `train_and_validate`."""
        batch = self.batch(*self.ids.batch(number))
        self.model.train()
        batch.sort_by_src_length()
        with torch.autocast(**self.autocast):
            loss, *_ = self.model(return_type="loss", **vars(batch))
        batch.normalize(loss, normalization="tokens").backward()
        self.clip(parameters=self.model.parameters())
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.item())

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        self.model.eval()
        batch = self.batch(sentences, None)
        order = batch.sort_by_src_length()
        longest = length or 2 * max(map(len, sentences)) + 20
        found, *_ = search(
            self.model,
            batch,
            max_output_length=longest,
            beam_size=beam,
            beam_alpha=1.0,
            min_output_length=longest if length else 1,
            autocast=self.autocast,
        )
        rows = [[int(piece) for piece in found[place]] for place in order]
        kept = [np.array([p for p in row if p not in (THEIRS.pad, THEIRS.eos)]) for row in rows]
        return [ids.astype(int).tolist() for ids in map_ids(kept, self.back)]

    def parameters(self) -> torch.nn.Module:
        return self.model


if __name__ == "__main__":
    main(JoeyWorker())
