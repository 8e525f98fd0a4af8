"""eole as a worker of `benchmarks/benchmark.py`: its own model, loss, optimizer and search.

What cannot be equal: its encoder reads the padding as if it were text and may not be told not to;
its decoder is Luong's (it moves, then looks, and feeds the attentional vector back), with the `mlp`
score, which is Bahdanau's; the attentional vector is as wide as the decoder and is read by the
output layer directly. The decoder starts from the state of the encoder's bottom layer. Only the
beam is the same search: it stops when the best of the beam has ended.
"""

from types import SimpleNamespace
from typing import Any

import torch
from eole.config.models import CustomModelConfig
from eole.config.training import TrainingConfig
from eole.inputters.inputter import dict_to_vocabs
from eole.models.model import EncoderDecoderModel
from eole.predict import GNMTGlobalScorer
from eole.predict.translator import Translator
from eole.trainer import BatchProcessor
from eole.utils import Statistics
from eole.utils.loss import LossCompute
from eole.utils.optimizers import Optimizer

from workers.ids import Array, Marks, Sizes, padded
from workers.serve import Worker, main


def vocabularies(pieces: int, marks: Marks) -> Any:
    """Both sides' vocabulary, whose marks have our ids."""
    names = [f"piece{number}" for number in range(pieces)]
    names[marks.pad], names[marks.unk] = "<blank>", "<unk>"
    names[marks.bos], names[marks.eos] = "<s>", "</s>"
    specials = {
        "pad_token": "<blank>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    made = dict_to_vocabs(
        {"src": names, "tgt": names, "specials": specials, "decoder_start_token": "<s>"}
    )
    assert made["tgt"]["</s>"] == marks.eos and made["src"]["<blank>"] == marks.pad
    return made


def model_config(sizes: Sizes) -> Any:
    """Two layers of BiLSTM and one of an LSTM with input feeding."""
    return CustomModelConfig(
        embeddings={"word_vec_size": sizes.embedding, "position_encoding_type": None},
        encoder={
            "encoder_type": "brnn",
            "hidden_size": 2 * sizes.encoder,
            "layers": sizes.layers,
            "rnn_type": "LSTM",
            "bridge": False,
        },
        decoder={
            "decoder_type": "rnn",
            "hidden_size": sizes.decoder,
            "layers": 1,
            "rnn_type": "LSTM",
            "global_attention": "mlp",
        },
        hidden_size=sizes.decoder,
        share_embeddings=False,
        share_decoder_embeddings=False,
    )


class EoleWorker(Worker):
    """fp32 is its default; bf16 is its automatic mixed precision, with the scaler it brings."""

    packages = ("eole",)

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        sizes, marks = self.sizes, self.ids.marks
        assert 2 * sizes.encoder == sizes.decoder, "eole wants both to be of one width"
        self.vocabs = vocabularies(self.ids.vocabulary, marks)
        training = TrainingConfig(
            optim="adam",
            learning_rate=sizes.learning_rate,
            adam_beta2=0.999,
            max_grad_norm=sizes.clip_norm,
            label_smoothing=sizes.smoothing,
            dropout=[sizes.dropout],
            dropout_steps=[0],
            compute_dtype=dtype,
            param_init_method="xavier_uniform",
            decay_method="none",
            normalization="tokens",
        )
        config = SimpleNamespace(training=training, model=model_config(sizes))
        number = 0 if device == "cuda" else -1
        self.model = EncoderDecoderModel.for_training(
            config.model, self.vocabs, training, device_id=number
        )
        self.config, self.dtype, self.number = config, dtype, number
        self.optimizer = Optimizer.from_config(self.model, config)
        loss = LossCompute.from_config(config, self.model, self.vocabs)
        self.processor = BatchProcessor(
            self.model,
            loss,
            self.optimizer,
            n_gpu=int(device == "cuda"),
            parallel_mode="data_parallel",
            with_align=False,
            zero_out_prompt_loss=False,
            estim_loss_lambda=0.0,
            accum_count=1,
        )
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return parameters, "Luong's order with the mlp score; reads padding"

    def update(self, number: int) -> float:
        sources, targets = self.ids.batch(number)
        self.model.train()
        source = padded(sources, self.ids.marks)
        target = padded(targets, self.ids.marks, begin=True)
        batch = {
            "src": torch.from_numpy(source).to(self.device),
            "srclen": torch.tensor([len(sentence) + 1 for sentence in sources]).to(self.device),
            "tgt": torch.from_numpy(target).to(self.device),
            "images": None,
            "prefix_len": None,
            "cid": ["train"] * len(sources),
            "cid_line_number": list(range(len(sources))),
        }
        tokens = sum(len(sentence) + 1 for sentence in targets)
        told = Statistics()
        self.optimizer.zero_grad(set_to_none=True)
        self.processor.process_batch(batch, tokens, 1, told, Statistics())
        self.optimizer.step()
        return float(told.loss)

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        self.model.eval()
        source = padded(sentences, self.ids.marks)
        longest = length or 2 * max(map(len, sentences)) + 20
        translator = self._translator(beam, longest, longest if length else 0)
        batch = {
            "src": torch.from_numpy(source).to(self.device),
            "srclen": torch.tensor([len(sentence) + 1 for sentence in sentences]).to(self.device),
        }
        with torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == "bf16"):
            found = translator.predict_batch(batch, attn_debug=False)["predictions"]
        end = self.ids.marks.eos
        return [[piece for piece in best[0].tolist() if piece != end] for best in found]

    def _translator(self, beam: int, longest: int, least: int) -> Any:
        config = SimpleNamespace(
            transforms=[],
            optional_eos=[],
            dynamic_shapes=None,
            n_best=1,
            max_length=longest,
            max_length_ratio=0,
            context_length=0,
            beam_size=beam,
            temperature=1.0,
            top_k=0,
            top_p=0.0,
            min_length=least,
            ban_unk_token=False,
            ratio=-0.0,
            stepwise_penalty=False,
            dump_beam="",
            block_ngram_repeat=0,
            ignore_when_blocking=[],
            replace_unk=False,
            tgt_file_prefix=False,
            phrase_table="",
            data_type="text",
            verbose=False,
            report_time=False,
            report_align=False,
            gold_align=False,
            seed=-1,
            with_score=False,
            estim_only=False,
            self_attn_backend="",
        )
        scorer = GNMTGlobalScorer(1.0, 0.0, "avg", "none")
        return Translator(
            self.model, self.vocabs, config, self.config.model, self.number, scorer, logger=Silent()
        )

    def parameters(self) -> torch.nn.Module:
        return self.model


class Silent:
    """A logger that says nothing."""

    def info(self, *words: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    main(EoleWorker())
