"""Conversion of configuration files of JoeyNMT (1.x and 2.x) to experiments.

Every key is converted, listed as harmless (initialization, the machine), or reported in a note.
"""

from pathlib import Path
from typing import Any

from nmt.config.joey_side import JoeySide
from nmt.config.peer_keys import PeerKeys
from nmt.errors import UserError, printable

# Keys that decide nothing here, or that have their effect without an option.
HARMLESS = frozenset(
    {
        "batch_size",
        "batch_type",
        "bias_init_weight",
        "bias_initializer",
        "cache_dir",
        "embed_init_gain",
        "embed_init_weight",
        "embed_initializer",
        "eval_batch_size",
        "eval_batch_type",
        "eval_metric",
        "fp16",
        "generate_unk",
        "init_gain",
        "init_rnn_orthogonal",
        "init_weight",
        "initializer",
        "joeynmt_version",
        "loss",
        "lstm_forget_gate",
        "min_length",
        "min_output_length",
        "model_dir",
        "name",
        "normalization",
        "num_merges",
        "num_workers",
        "overwrite",
        "postprocess",
        "random_state",
        "reset_best_ckpt",
        "reset_iter_state",
        "reset_optimizer",
        "reset_scheduler",
        "return_prob",
        "sample_dev_subset",
        "sample_train_subset",
        "scale",
        "schedule_after_loss",
        "separator",
        "shuffle",
        "tensorboard",
        "use_cuda",
    }
)
OPTIMIZERS = ("adam", "adamw", "sgd", "adadelta", "adagrad", "rmsprop")
METRICS = {"bleu": "bleu", "chrf": "chrf", "sequence_accuracy": "exact"}
Settings = dict[str, Any]


def convert_joey(file: Path, output: Path) -> tuple[Settings, list[str]]:
    """Convert a configuration file of JoeyNMT.

    Args:
        file: the file
        output: the experiment file to be, whose folder relative paths refer to

    Returns:
        the settings by section, and notes about keys whose effect differs or is missing

    Raises:
        UserError: if the file is not one of JoeyNMT, or has a value without a counterpart
    """
    joey = _Joey(file, output)
    missing = [name for name in ("data", "training", "model") if not joey.has(name)]
    if missing:
        raise UserError(f"has no section {missing[0]}; give a config of JoeyNMT", str(file))
    settings = {
        "data": joey.data(),
        "model": joey.model(),
        "training": joey.training(),
        "search": joey.search(),
        "evaluation": joey.evaluation(),
    }
    return {name: values for name, values in settings.items() if values}, joey.finish(HARMLESS)


class _Joey(PeerKeys):
    """The sections of an experiment from a config of JoeyNMT."""

    def data(self) -> Settings:
        """Convert the texts and their preparation."""
        kind = self.take("data.dataset_type", "plain")
        if kind not in ("plain", "tsv"):
            message = f"'{printable(str(kind))}' has no counterpart; write the text to files"
            raise self.error("data.dataset_type", message)
        sides = [JoeySide(self, name) for name in ("src", "trg")]
        source, target = (side.language() for side in sides)
        ends = (".tsv",) if kind == "tsv" else (f".{source}", f".{target}")
        settings: Settings = {}
        for name, joey_name in (("train", "train"), ("valid", "dev")):
            found = self.path(f"data.{joey_name}", *ends)
            if found is None:
                raise self.error("data", f"has no {joey_name}; add it")
            settings[name] = f"{found}.tsv" if kind == "tsv" else found
        if self.take("data.test") is not None:
            self.note("data.test", "give the test text to nmt-translate or nmt-eval")
        settings |= {"source": source, "target": target}
        lengths = [length for side in sides if (length := side.max_length()) > 0]
        if lengths:
            settings["max_length"] = int(max(lengths))
        settings["vocabulary"] = self._vocabulary(*sides)
        moses = [side.take("tokenizer_cfg.pretokenizer", "none") == "moses" for side in sides]
        if all(moses):
            settings |= {"pre": "moses", "post": ["moses"]}
        elif any(moses):
            self.note("data", "only one side has pretokenizer: moses; data.pre would be of both")
        if all(side.is_segmented for side in sides):
            settings["post"] = ["subword_nmt"]
        return settings

    def _vocabulary(self, source: JoeySide, target: JoeySide) -> Settings:
        options = [side.vocabulary() for side in (source, target)]
        is_joint = options[0] == options[1] and (
            self.has("model.tied_embeddings") or "model" in options[0]
        )
        vocabulary = dict(options[1])
        for name in ("model", "codes"):
            files = [one.get(name) for one in options]
            if None in files:
                vocabulary.pop(name, None)
            elif files[0] != files[1]:
                vocabulary[name] = files
        if "model" not in vocabulary:
            for name in ("type", "size"):
                if options[0].get(name) != options[1].get(name) and "codes" not in vocabulary:
                    message = f"both sides have the {name} of the target here"
                    self.note(f"data.src, {name} of the vocabulary", message)
            vocabulary["joint"] = is_joint
            rules = source.rule("nmt_nfkc"), target.rule("nfkc")
            if rules != ("nmt_nfkc", "identity"):
                vocabulary["normalization"] = {"source": rules[0], "target": rules[1]}
        elif source.lowercase() or target.lowercase():
            self.note(
                "data.src.lowercase",
                "has no counterpart with a given vocabulary; lower the "
                "text beforehand, and set evaluation.lowercase",
            )
        return vocabulary

    def model(self) -> Settings:
        """Convert the encoder and the decoder."""
        width = self.number("model.encoder.embeddings.embedding_dim", 64)
        if self.number("model.decoder.embeddings.embedding_dim", width) != width:
            self.note(
                "model.decoder.embeddings.embedding_dim", "both sides have that of the source"
            )
        settings: Settings = {"embedding_size": width}
        dropouts = [
            self.number(f"model.{side}.{name}", 0.0)
            for side in ("encoder", "decoder")
            for name in ("emb_dropout", "embeddings.dropout")
        ]
        if any(dropouts):
            settings["embedding_dropout"] = max(dropouts)
        tied = bool(self.take("model.tied_embeddings")), bool(self.take("model.tied_softmax"))
        if any(tied):
            settings["tied_embeddings"] = "all" if tied[0] else "decoder"
        if tied == (True, False):
            self.note("model.tied_embeddings", "the output layer shares the weights as well")
        kinds = [self.take(f"model.{side}.type", "recurrent") for side in ("encoder", "decoder")]
        convert = {"recurrent": self._recurrent, "transformer": self._transformer}
        for side, kind in zip(("encoder", "decoder"), kinds, strict=True):
            if kind not in convert:
                message = f"'{printable(str(kind))}' must be recurrent or transformer"
                raise self.error(f"model.{side}.type", message)
            settings[side] = convert[kind](f"model.{side}")
        if kinds[1] == "recurrent":
            attention = self.take("model.decoder.attention", "bahdanau")
            settings["score"] = "general" if attention == "luong" else "additive"
        return settings

    def _layers(self, side: str, names: dict[str, str]) -> Settings:
        found = {ours: self.take(f"{side}.{theirs}") for theirs, ours in names.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _recurrent(self, side: str) -> Settings:
        options = self._layers(
            side,
            {
                "hidden_size": "hidden_size",
                "num_layers": "layers",
                "rnn_type": "cell",
                "dropout": "dropout",
            },
        )
        if options.get("cell") == "lstm":
            del options["cell"]
        if side.endswith("encoder"):
            if self.take(f"{side}.bidirectional", True) is False:
                options["direction"] = "forward"
            return {"type": "bilstm", **options}
        if self.has(f"{side}.hidden_dropout"):
            self.note(f"{side}.hidden_dropout", "model.decoder.dropout is that of both places")
            options["dropout"] = max(
                self.number(f"{side}.hidden_dropout", 0.0), options.get("dropout", 0.0)
            )
        options |= self._layers(side, {"init_hidden": "initial_state"})
        if self.take(f"{side}.input_feeding", True) is False:
            options["input_feeding"] = False
        # Its state is updated before it attends, with every score function.
        return {"type": "luong", **options}

    def _transformer(self, side: str) -> Settings:
        width = self.number(f"{side}.hidden_size", 512)
        if width != self.tree.get(("model", "encoder", "embeddings", "embedding_dim")):
            raise self.error(f"{side}.hidden_size", "must be that of the embeddings here")
        names = {
            "num_layers": "layers",
            "num_heads": "heads",
            "ff_size": "feed_forward_size",
            "dropout": "dropout",
            "layer_norm": "norm",
            "activation": "activation",
        }
        options = self._layers(side, names)
        if "norm" not in options:
            options["norm"] = "pre"
            self.note(
                f"{side}.layer_norm",
                "has no value, whose default depends on the version of JoeyNMT; pre is assumed",
            )
        return {"type": "transformer", **options}

    def training(self) -> Settings:
        """Convert optimization, limits and reports."""
        name = str(self.take("training.optimizer", "sgd")).lower()
        if name not in OPTIMIZERS:
            raise self.error("training.optimizer", f"must be one of {', '.join(OPTIMIZERS)}")
        rate = self.number("training.learning_rate", 3e-4)
        schedule = self._schedule(rate)
        optimizer: Settings = {"type": name, "learning_rate": schedule.pop("peak", rate)}
        betas = self.take("training.adam_betas")
        if isinstance(betas, list) and len(betas) == 2 and name.startswith("adam"):
            optimizer |= {"beta1": betas[0], "beta2": betas[1]}
        if decay := self.number("training.weight_decay", 0):
            if name == "adam":
                optimizer["type"] = "adamw"
                self.note("training.weight_decay", "adamw decouples it, adam of JoeyNMT does not")
            if optimizer["type"] in ("adamw", "sgd"):
                optimizer["weight_decay"] = decay
            else:
                self.note("training.weight_decay", f"has no counterpart with {name}")
        is_tokens = self.take("training.batch_type", "sentence") == "token"
        size = int(self.number("training.batch_size", 80))
        settings: Settings = {"optimizer": optimizer, **schedule}
        # The limit in sentences is the one that decides.
        settings |= (
            {"batch_tokens": size}
            if is_tokens
            else {"batch_tokens": max(4000, 100 * size), "batch_sentences": size}
        )
        settings["clip_norm"] = self.take("training.clip_grad_norm")
        if self.take("training.clip_grad_val") is not None:
            self.note(
                "training.clip_grad_val", "clipping by value has no counterpart; use clip_norm"
            )
        settings["label_smoothing"] = self.number("training.label_smoothing", 0.0)
        names = {
            "random_seed": "seed",
            "batch_multiplier": "accumulate",
            "updates": "steps",
            "validation_freq": "validate_every",
            "logging_freq": "log_every",
        }
        settings |= self._layers("training", names)
        if settings.get("accumulate") == 1:
            del settings["accumulate"]
        if self.has("training.epochs") or "steps" not in settings:
            settings["epochs"] = self.take("training.epochs", 1)
        keep = self.take("training.keep_best_ckpts", self.take("training.keep_last_ckpts", 5))
        if isinstance(keep, int) and keep > 0:
            settings["keep"] = keep
        metric = str(self.take("training.early_stopping_metric", "ppl")).lower()
        if metric not in ("ppl", "loss", "bleu", "chrf"):
            self.note(
                "training.early_stopping_metric", f"{metric} has no counterpart; loss instead"
            )
        settings["early_stopping"] = {"metric": metric if metric in ("bleu", "chrf") else "loss"}
        self._metric = settings["early_stopping"]["metric"]
        if self.take("training.load_model") is not None:
            self.note("training.load_model", "weights of JoeyNMT cannot be loaded")
        return settings

    def _schedule(self, rate: float | int) -> Settings:
        """Return the schedule, and the peak of the learning rate if it differs."""
        name = self.take("training.scheduling")
        patience, factor = (self.take(f"training.{one}") for one in ("patience", "decrease_factor"))
        floor = self.take("training.learning_rate_min")
        warmup = int(self.number("training.learning_rate_warmup", 4000))
        scale = self.number("training.learning_rate_factor", 1)
        match name:
            case None:
                return {}
            case "plateau":
                schedule: Settings = {"type": "plateau", "decay": factor or 0.1}
                schedule |= {"patience": patience} if patience else {}
                if floor and 0 < floor < rate:
                    schedule["floor"] = float(f"{floor / rate:.3g}")
                    self.note(
                        "training.learning_rate_min", "the rate stays there; training goes on"
                    )
                return {"schedule": schedule}
            case "noam":
                width = self.number("model.encoder.hidden_size", 512)
                peak = scale * (width * warmup) ** -0.5
                return {
                    "schedule": {"type": "inverse_sqrt", "warmup": warmup},
                    "peak": float(f"{peak:.4g}"),
                }
            case "warmupinversesquareroot":
                return {"schedule": {"type": "inverse_sqrt", "warmup": warmup}}
        self.note(
            "training.scheduling",
            f"{printable(str(name))} has no counterpart; the rate is constant",
        )
        return {}

    def search(self) -> Settings:
        """Convert the options of beam search."""
        settings: Settings = {"beam_size": self.take("testing.beam_size", 1)}
        alpha = self.take("testing.beam_alpha", self.take("testing.alpha", -1))
        if isinstance(alpha, int | float) and alpha > 0:
            settings["length_penalty"] = {"type": "gnmt", "alpha": alpha}
        else:
            settings["length_penalty"] = "none"
        length = self.take("testing.max_output_length", self.take("training.max_output_length"))
        if isinstance(length, int) and length > 0:
            settings["max_length"] = length
        ngram = self.take("testing.no_repeat_ngram_size", -1)
        if isinstance(ngram, int) and ngram > 0:
            settings["block_ngram_repeat"] = ngram
        if self.number("testing.repetition_penalty", -1) in (-1, 1):
            return settings
        self.note("testing.repetition_penalty", "has no counterpart and is left out")
        return settings

    def evaluation(self) -> Settings:
        """Convert metrics and samples."""
        given = self.take("testing.eval_metrics", self.take("training.eval_metric", ["bleu"]))
        metrics = []
        for name in given if isinstance(given, list) else [given]:
            if name in METRICS:
                metrics.append(METRICS[name])
            else:
                self.note("testing.eval_metrics", f"{printable(str(name))} has no counterpart")
        if self._metric != "loss":
            metrics.append(self._metric)
        settings: Settings = {"metrics": list(dict.fromkeys(metrics)) or ["bleu"]}
        tokenize = self.take("testing.sacrebleu_cfg.tokenize")
        if tokenize and "bleu" in settings["metrics"]:
            settings["tokenize"] = tokenize
        if self.take("testing.sacrebleu_cfg.lowercase"):
            settings["lowercase"] = True
        samples = self.take("training.print_valid_sents")
        if isinstance(samples, list):
            settings["samples"] = len(samples)
        return settings
