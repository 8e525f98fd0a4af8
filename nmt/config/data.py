"""The section of an experiment file that says where the text is, and how it is cut."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from nmt.config.section import Section
from nmt.parts import Positive, PositiveFloat


def _cuts(nbest: int) -> int:
    if nbest != -1 and not 2 <= nbest <= 512:
        raise ValueError(f"is {nbest}; give 2 to 512 cuts, or -1 for many")
    return nbest


class SamplingConfig(Section):
    """Subword regularisation: words cut otherwise each epoch, by P(cut)**alpha. Kudo 2018, 3.3."""

    alpha: PositiveFloat = 0.2
    """how flat the choice is: near 0 all cuts are alike, a large one leaves only the likeliest"""
    nbest: Annotated[int, AfterValidator(_cuts)] = -1
    """likeliest cuts of a word to choose among, 2 to 512; -1 for many"""


class VocabularyConfig(Section):
    """The pieces of both languages."""

    size: Positive = 8000
    """pieces of a vocabulary that is trained from the training text"""
    type: Literal["unigram", "bpe", "char"] = "unigram"
    """how SentencePiece cuts words"""
    joint: bool = True
    """one vocabulary for both languages; without meaning where the source is pictures"""
    byte_fallback: bool = False
    """write characters that are not in the vocabulary as bytes"""
    normalization: Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"] = "nmt_nfkc"
    """SentencePiece's rule for the text before it is cut"""
    character_coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the text's characters that get a piece of their own"""
    lines: Positive = 400_000
    """lines to learn from; of a longer training text so many are drawn, the same each time"""
    model: Path | list[Path] | None = None
    """SentencePiece models made elsewhere: one for both sides, or source and target"""
    sampling: SamplingConfig | None = None
    """subword regularisation of the training text; the type is unigram"""

    @model_validator(mode="after")
    def _nothing_beside_a_model(self) -> "VocabularyConfig":
        unused = [
            name
            for name in (
                "size",
                "type",
                "byte_fallback",
                "normalization",
                "character_coverage",
                "lines",
            )
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.model is not None and unused:
            raise ValueError(f"a ready model leaves {', '.join(unused)} without use; remove them")
        if isinstance(self.model, list) and len(self.model) not in (1, 2):
            raise ValueError("model: one SentencePiece model, or one for source and one for target")
        return self

    @model_validator(mode="after")
    def _only_unigram_samples(self) -> "VocabularyConfig":
        if self.sampling is not None and self.type != "unigram":
            raise ValueError(
                f"sampling: pieces of type {self.type} have no probabilities to sample by; "
                "use type: unigram or remove sampling"
            )
        return self


class PicturesConfig(Section):
    """What the source's pictures are: pixels, or ready feature maps."""

    size: Positive | None = None
    """side in pixels that pictures are stretched or squeezed to"""
    features: Positive | None = None
    """width of an annotation of the feature maps, which are .npy files of floats"""
    positions: Positive = 196
    """annotations of a feature map, rows times columns"""

    @model_validator(mode="after")
    def _one_kind(self) -> "PicturesConfig":
        if (self.size is None) == (self.features is None):
            raise ValueError(
                "give one of size, for pictures as pixels, and features, for ready feature maps"
            )
        if self.size is not None and self.positions != 196:
            raise ValueError("positions are those of feature maps, and size asks for pixels")
        return self


class DataConfig(Section):
    """Where the sentence pairs are."""

    train: Path | list[Path]
    """training text: a prefix (`train` for train.de, train.en), a .tsv file, a pattern of shards
    (`part-*`, or `part-*.de.gz` for both sides), or a list of these; each file plain or .gz"""
    valid: Path
    """validation text, named the same way"""
    source: str
    """suffix of the source files, as a rule the language's code"""
    target: str
    """suffix of the target files"""
    pictures: PicturesConfig | None = None
    """the source files name pictures, a file a line, from the text file's folder on"""
    max_length: Positive = 100
    """pairs with more pieces than this on a side are left out of training"""
    vocabulary: VocabularyConfig = VocabularyConfig()
    cache: Path | None = None
    """folder of the encoded text; that of the run when not given"""

    @model_validator(mode="after")
    def _pictures_have_no_vocabulary(self) -> "DataConfig":
        models = self.vocabulary.model
        if self.pictures is not None and isinstance(models, list) and len(models) > 1:
            raise ValueError("vocabulary.model: pictures have none; give the target's alone")
        return self
