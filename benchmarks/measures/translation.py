"""Translation speed in sentences per second, and the BLEU of the output.

Untrained models never end a sentence. Either all translations get a fixed length, which compares
the work of a step alone; or every contender is first trained for the same number of updates on the
same batches and ends sentences itself. Then BLEU and lengths are reported as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

from harness.results import Row, ratios
from harness.work import search_flops
from harness.worker_process import WorkerPool
from nmt.data.vocabulary import Vocabulary
from nmt.evaluation.metrics import score
from workers.ids import Ids


@dataclass(frozen=True)
class Work:
    """The text to translate, and the options of the search.

    Attributes:
        vocabulary: vocabulary of the ids
        references: reference translations
        count: number of sentences
        sentences: sentences per batch
        beam: beam size
        length: tokens of every translation; None if the contenders are trained
        name: name of the measure
    """

    vocabulary: Vocabulary
    references: Sequence[str]
    count: int
    sentences: int = 64
    beam: int = 5
    length: int | None = None
    name: str = "translation"


def load_weights(pool: WorkerPool, updates: int, folder: Path) -> None:
    """Train every contender, or load the weights that an earlier run has saved in `folder`.

    Contenders of one system share weights, whatever their number format in translation.
    """
    for name in list(pool.workers):
        contender = pool.contenders[name]
        sizes = crc32(repr(pool.plan.sizes).encode())
        path = folder / f"{contender.system}-{updates}-{sizes:08x}.pt"
        if not path.is_file():
            if updates:
                pool.ask(name, "train", first=0, updates=updates)
            pool.ask(name, "save", path=str(path))
        pool.ask(name, "load", path=str(path))


def translation_rows(pool: WorkerPool, work: Work, *, trained: str) -> list[Row]:
    """Measure sentences per second of every contender, and the first one's ratio to the others.

    Args:
        pool: contenders with weights
        work: the text and the options of the search
        trained: description of the weights for the note
    """
    plan = pool.plan
    search = {"beam": work.beam, "sentences": work.sentences, "length": work.length, "first": 0}
    pool.ask_all("translate", lambda name: {"count": plan.warmup, **search})
    answers = pool.take_turns(
        "translate", lambda number: {"count": work.count, **search}, plan.repetitions
    )
    speeds = {name: [a["sentences"] / a["seconds"] for a in all_] for name, all_ in answers.items()}
    ours = next(iter(speeds))
    measure = f"{work.name}, beam {work.beam}, batches of {work.sentences}"
    rows = [
        Row(
            measure,
            name,
            "sentences/s",
            speeds[name],
            pool.conditions(name),
            pool.info[name]["versions"],
            baseline=ours,
            ratios=[] if name == ours else ratios(speeds[ours], speeds[name]),
            note=f"{trained}; {_quality(work, of_one)}",
            share=_share(pool, name, work, median(speeds[name])),
        )
        for name, of_one in answers.items()
    ]
    return rows + pool.unmeasured(measure)


def _share(pool: WorkerPool, name: str, work: Work, speed: float) -> float | None:
    """Return the share of the peak, if all translations have one length."""
    plan = pool.plan
    if work.length is None:
        return None
    flops = search_flops(
        plan.sizes, Ids(plan.ids), count=work.count, beam=work.beam, length=work.length
    )
    return plan.share(pool.contenders[name].dtype, flops * speed)


def _quality(work: Work, answers: list[dict[str, Any]]) -> str:
    tokens = median(answer["target_tokens"] / answer["sentences"] for answer in answers)
    length = f"{tokens:.1f} tokens per sentence"
    if work.length is not None:
        return length
    texts = [work.vocabulary.decode(ids) for ids in answers[0]["ids"]]
    bleu = score(["bleu"], texts, [list(work.references[: work.count])])["bleu"].score
    return f"BLEU {bleu:.2f}, {length}"
