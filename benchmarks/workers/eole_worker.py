"""Worker for eole, with its own model, loss, optimizer and search.

Differences that remain: its encoder processes padding like text; its decoder is Luong's (attention
after the recurrence, with input feeding) with the `mlp` score, which is Bahdanau's; the output
layer reads the attentional vector, as wide as the decoder. The decoder starts from the final state
of the encoder's bottom layer. Search stops when the best hypothesis of the beam is finished.
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

from workers.ids import Array, Sizes, SpecialTokens, pad
from workers.serve import Worker, main


def vocabularies(size: int, special_tokens: SpecialTokens) -> Any:
    """Build the vocabularies of both sides, with our ids of the special tokens."""
    names = [f"piece{number}" for number in range(size)]
    names[special_tokens.pad], names[special_tokens.unk] = "<blank>", "<unk>"
    names[special_tokens.bos], names[special_tokens.eos] = "<s>", "</s>"
    specials = {
        "pad_token": "<blank>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    made = dict_to_vocabs(
        {"src": names, "tgt": names, "specials": specials, "decoder_start_token": "<s>"}
    )
    assert (
        made["tgt"]["</s>"] == special_tokens.eos and made["src"]["<blank>"] == special_tokens.pad
    )
    return made


def model_config(sizes: Sizes) -> Any:
    """Return the configuration of a BiLSTM encoder and an LSTM decoder with input feeding."""
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
    """Worker for eole; bf16 uses its automatic mixed precision with its gradient scaler."""

    packages = ("eole",)

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        sizes, special_tokens = self.sizes, self.ids.special_tokens
        assert 2 * sizes.encoder == sizes.decoder, (
            "eole requires encoder and decoder of equal width"
        )
        self.vocabs = vocabularies(self.ids.vocabulary, special_tokens)
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
        return parameters, "Luong's order with the mlp score; processes padding"

    def update(self, number: int) -> float:
        sources, targets = self.ids.batch(number)
        self.model.train()
        source = pad(sources, self.ids.special_tokens)
        target = pad(targets, self.ids.special_tokens, begin=True)
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
        statistics = Statistics()
        self.optimizer.zero_grad(set_to_none=True)
        self.processor.process_batch(batch, tokens, 1, statistics, Statistics())
        self.optimizer.step()
        return float(statistics.loss)

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        self.model.eval()
        source = pad(sentences, self.ids.special_tokens)
        longest = length or 2 * max(map(len, sentences)) + 20
        translator = self._translator(beam, longest, longest if length else 0)
        batch = {
            "src": torch.from_numpy(source).to(self.device),
            "srclen": torch.tensor([len(sentence) + 1 for sentence in sentences]).to(self.device),
        }
        with torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == "bf16"):
            found = translator.predict_batch(batch, attn_debug=False)["predictions"]
        end = self.ids.special_tokens.eos
        return [[token for token in best[0].tolist() if token != end] for best in found]

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
    """Logger without output."""

    def info(self, *arguments: object) -> None:
        """Discard a message."""


if __name__ == "__main__":
    main(EoleWorker())
