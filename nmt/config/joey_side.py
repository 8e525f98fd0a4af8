"""The keys of one language in a config of JoeyNMT."""

from typing import Any

from nmt.config.peer_keys import PeerKeys

Settings = dict[str, Any]


class JoeySide:
    """The keys of one language: `data.src.voc_file`, or `data.src_vocab` before version 2."""

    def __init__(self, joey: PeerKeys, name: str) -> None:
        self.joey, self.name = joey, name
        self.is_old = not isinstance(joey.tree.get(("data", name)), dict)
        level = self.take("level", "word")
        tokenizer = self.take("tokenizer_type", "subword-nmt")
        has_tokenizer = not self.is_old and joey.has(f"data.{name}.tokenizer_cfg")
        # Text of JoeyNMT before 2.0 is segmented by subword-nmt beforehand.
        self.is_segmented = level == "bpe" and self.is_old
        self.kind = "word" if self.is_segmented else level
        if self.kind == "bpe" and tokenizer == "sentencepiece":
            self.kind = "sentencepiece"
        self.has_codes = self.kind == "bpe" and has_tokenizer and self.take("tokenizer_cfg.codes")

    def take(self, name: str, default: Any = None) -> Any:
        """Return the value of a key of this language."""
        if not self.is_old:
            return self.joey.take(f"data.{self.name}.{name}", default)
        return self.joey.take(f"data.{self.name}_{name}", self.joey.take(f"data.{name}", default))

    def language(self) -> str:
        """Return the suffix of the files."""
        name = f"data.{self.name}" if self.is_old else f"data.{self.name}.lang"
        language = self.joey.take(name)
        if not isinstance(language, str):
            raise self.joey.error(name, "must be the suffix of the files; add it")
        return language

    def max_length(self) -> float | int:
        """Return the maximum length of a sentence; -1 without a limit."""
        if self.is_old:
            return self.joey.number("data.max_sent_length", -1)
        return self.joey.number(f"data.{self.name}.max_length", -1)

    def lowercase(self) -> bool:
        """Return whether text is lowercased."""
        return bool(self.take("lowercase", False))

    def rule(self, default: str) -> str:
        """Return the normalization rule."""
        if self.lowercase():
            return f"{default}_cf"
        return "identity" if self.name == "trg" else default

    def vocabulary(self) -> Settings:
        """Convert the vocabulary of this language."""
        name = "vocab" if self.is_old else "voc_file"
        prefix = f"data.{self.name}_" if self.is_old else f"data.{self.name}."
        tokens = self.joey.path(prefix + name) if self.joey.has(prefix + name) else None
        size = self.take("voc_limit", 8000 if self.kind in ("bpe", "sentencepiece") else 1_000_000)
        if self.take("voc_min_freq", 1) not in (0, 1):
            self.joey.note(f"{prefix}voc_min_freq", "has no counterpart; limit the size instead")
        match self.kind:
            case "sentencepiece":
                model = f"data.{self.name}.tokenizer_cfg.model_file"
                if self.joey.has(model):
                    return {"model": self.joey.path(model)}
                kind = self.take("tokenizer_cfg.model_type", "unigram")
                return {"type": kind, "size": size}
            case "char":
                return {"type": "char", "size": size}
            case "bpe" if self.has_codes:
                codes = self.joey.path(f"data.{self.name}.tokenizer_cfg.codes")
                return {"codes": codes} | ({} if tokens is None else {"model": tokens})
            case "bpe":
                return {"type": "bpe", "size": size}
        return {"type": "word", "size": size} if tokens is None else {"model": tokens}
