"""Translating, side by side: sentences a second, with the BLEU of what came out.

Untrained weights never end a sentence, so either every translation gets a fixed length, which
compares the work of a step alone, or every contender trains first, for as many updates on the same
batches, and ends sentences itself; then BLEU and lengths stand beside the speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

from harness.contender import Contender
from harness.results import Row, interleaved, ratios
from measures.training import Field
from nmt.data.vocabulary import Vocabulary
from nmt.evaluation.metrics import score


@dataclass(frozen=True)
class Work:
    """What is translated, and how.

    Attributes:
        count: sentences
        sentences: a batch
        length: pieces that every translation gets; None where contenders are trained
    """

    vocabulary: Vocabulary
    references: Sequence[str]
    count: int
    sentences: int = 64
    beam: int = 5
    length: int | None = None


def teach(field: Field, updates: int, folder: Path) -> None:
    """Train every contender so long, or take the weights that it kept in `folder` before.

    Contenders of one system share weights, whatever their number format is in translating.
    """
    for name, contender in field.contenders.items():
        kind = field.kinds[name]
        sizes = crc32(repr(field.plan.sizes).encode())
        kept = folder / f"{kind.system}-{updates}-{sizes:08x}.pt"
        if not kept.is_file():
            if updates:
                contender.ask("train", first=0, updates=updates)
            contender.ask("save", path=str(kept))
        contender.ask("load", path=str(kept))


def translation_rows(field: Field, work: Work, *, trained: str) -> list[Row]:
    """Sentences a second of every contender, and the first one's by each of the others'.

    Args:
        trained: what the weights are, as a note says it
    """
    plan = field.plan
    few = {"beam": work.beam, "sentences": work.sentences, "length": work.length, "first": 0}
    for contender in field.contenders.values():
        contender.ask("translate", count=plan.warmup, **few)

    def run(contender: Contender) -> Any:
        return lambda repetition: contender.ask("translate", count=work.count, **few)

    asked = {name: run(contender) for name, contender in field.contenders.items()}
    found = interleaved(asked, plan.repetitions)
    speeds = {name: [a["sentences"] / a["seconds"] for a in all_] for name, all_ in found.items()}
    ours = next(iter(speeds))
    return [
        Row(
            f"translating, beam {work.beam}, batches of {work.sentences}",
            name,
            "sentences/s",
            speeds[name],
            field.conditions(name),
            field.told[name]["versions"],
            baseline=ours,
            ratios=[] if name == ours else ratios(speeds[ours], speeds[name]),
            note=f"{trained}; {_outcome(work, answers)}",
        )
        for name, answers in found.items()
    ]


def _outcome(work: Work, answers: list[dict[str, Any]]) -> str:
    pieces = median(answer["target_pieces"] / answer["sentences"] for answer in answers)
    told = f"{pieces:.1f} pieces a sentence"
    if work.length is not None:
        return told
    texts = [work.vocabulary.decode(ids) for ids in answers[0]["ids"]]
    bleu = score(["bleu"], texts, [list(work.references[: work.count])])["bleu"].score
    return f"BLEU {bleu:.2f}, {told}"
