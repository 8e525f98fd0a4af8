"""The checkpoints of a run: which one is the last and the best, their links, and pruning.

The training state, which has a checksum, decides which one is the last and which one is the best:
the links do not survive every copy of a run, nor a process that was killed before it could replace
them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from nmt.errors import UserError
from nmt.storage.atomic import JsonObject, exists, file_errors, move_aside, read_link
from nmt.storage.checkpoint import (
    NO_CHECKSUMS,
    STATE,
    TRANSLATION_FILES,
    WEIGHTS,
    Link,
    find_corruption,
    is_checkpoint,
    is_minimal,
    link_checkpoint,
    read_state,
)
from nmt.storage.checksums import CHECKSUMS
from nmt.storage.run_dir import RunDir


def repair_links(run: RunDir, last: int, best: int) -> None:
    """Let both links point to the checkpoints that the training state names.

    A process that was killed after it had written a checkpoint may have left the previous links.
    Newer checkpoints, which are damaged, are renamed, so that the newest one stays the last one.

    Args:
        run: the run
        last: the checkpoint that training continues from
        best: the best one so far; 0 before the first validation
    """
    for step in run.steps():
        if step > last:
            move_aside(run.checkpoint(step))
    wanted: dict[Link, int] = {"last": last, "best": best}
    for name, step in wanted.items():
        if step in run.steps() and read_link(run.checkpoint(name)) != str(step):
            link_checkpoint(run, name, step)


def prune_checkpoints(run: RunDir, keep: int, *, best: int = 0) -> None:
    """Remove all checkpoints except the newest `keep`, the best one and the targets of the links.

    Only directories that hold nothing but a checkpoint are removed, and none through a link.
    """
    if run.checkpoints.is_symlink():
        return
    protected = {read_link(run.checkpoint(name)) for name in ("last", "best")} | {str(best)}
    steps = [step for step in run.steps() if is_checkpoint(run.checkpoint(step))]
    for step in steps[:-keep]:
        if str(step) not in protected:
            _remove(run.checkpoint(step))


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint; a killed process leaves a temporary name, not half a checkpoint."""
    temporary = checkpoint.with_name(f".{checkpoint.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    with file_errors(checkpoint, "cannot be removed"):
        checkpoint.rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def adopt_copied_links(run: RunDir) -> None:
    """Rename directories that a copy has put in place of links, unless it has their updates."""
    for name in ("last", "best"):
        link = run.checkpoint(name)
        if not is_checkpoint(link) or find_corruption(link) is not None:
            continue
        step = read_state(link).get("step")
        if isinstance(step, int) and not exists(run.checkpoint(step)):
            with file_errors(link, "cannot be renamed"):
                link.rename(run.checkpoint(step))


def find_checkpoint(
    run: RunDir, name: str, files: Sequence[str] = TRANSLATION_FILES
) -> tuple[Path, list[str]]:
    """Return the first intact checkpoint of `candidates`, and warnings about damaged ones.

    Args:
        run: the run to search
        name: best, last, or the number of an update, which has no substitute
        files: files that must be intact

    Raises:
        UserError: no candidate is intact
    """
    checkpoints, warnings = candidates(run, name)
    damaged: list[str] = []
    for checkpoint in checkpoints:
        if files == TRANSLATION_FILES and is_minimal(checkpoint):
            if not exists(checkpoint / CHECKSUMS):
                return checkpoint, [*damaged, *warnings, f"{checkpoint}: {NO_CHECKSUMS}"]
            corruption = find_corruption(checkpoint, (WEIGHTS,))
        else:
            corruption = find_corruption(checkpoint, files)
        if corruption is None:
            return checkpoint, [*damaged, *warnings]
        damaged.append(f"{checkpoint}: damaged ({corruption}); using the previous one")
    detail = f": {'; '.join(damaged)}" if damaged else ""
    raise UserError(f"has no intact checkpoint '{name}'{detail}", str(run.path))


def candidates(run: RunDir, name: str) -> tuple[list[Path], list[str]]:
    """Return checkpoints in order of preference, and warnings about a link that is not right.

    The requested checkpoint is followed by older ones, then newer ones.

    Args:
        run: the run to search
        name: best, last, or the number of an update, which has no substitute

    Raises:
        UserError: the run has no checkpoint of that name
    """
    steps = run.steps()
    if name.isascii() and name.isdecimal():
        number = name.lstrip("0") or "0"
        if number not in map(str, steps):
            known = ", ".join(map(str, steps)) or "none"
            shown = name if len(name) < 20 else f"{name[:20]}..."
            raise UserError(f"has no checkpoint {shown}; available: {known}", str(run.path))
        return [run.checkpoint(number)], []
    if name not in ("best", "last"):
        message = (
            f"unknown checkpoint '{name[:40]}'; use best, last, average or the number of an update"
        )
        raise UserError(message)
    if not steps:
        return _copied_links(run, name)
    requested, warnings = _requested(run, name, steps)
    # Newer ones come last: they were worse than the best one.
    order = sorted(steps, key=lambda step: (step > requested, abs(step - requested)))
    found = [run.checkpoint(step) for step in order]
    link = run.checkpoint(name)
    if requested not in steps and is_checkpoint(link):
        return [link, *found], [f"{link}: is a directory; using the checkpoint in it"]
    return found, warnings


def _copied_links(run: RunDir, name: str) -> tuple[list[Path], list[str]]:
    """Return the directories that a copy has put in place of the links."""
    links = [run.checkpoint(link) for link in (name, "best", "last")]
    found = [link for link in links if not link.is_symlink() and link.is_dir()][:1]
    return found, [f"{link}: is a directory; using the checkpoint in it" for link in found]


def _requested(run: RunDir, name: str, steps: list[int]) -> tuple[int, list[str]]:
    """Return the update that `best` or `last` means, and a warning if the link disagrees."""
    link = run.checkpoint(name)
    target = read_link(link)
    linked = int(target) if target is not None and target in map(str, steps) else None
    by_state, source = steps[-1], "the newest checkpoint"
    if name == "best":
        best = _best_step(run)
        if best is None:
            # Before the first validation, or without an intact state.
            return (steps[-1] if linked is None else linked), []
        by_state, source = best, "the best one according to the training state"
    if by_state == linked:
        return by_state, []
    if by_state not in steps:
        return by_state, [f"{run.checkpoint(by_state)}: not found; it is {source}"]
    if target is not None:
        wrong = f"leads to {target[:40]!r}"
    else:
        wrong = "is not a link" if exists(link) else "is missing"
    return by_state, [f"{link}: {wrong}; using update {by_state}, {source}"]


def _best_step(run: RunDir) -> int | None:
    """Return the best update according to the newest intact training state; None if unknown."""
    watched = newest_state(run).get("watch")
    best = watched.get("best_step") if isinstance(watched, dict) else None
    return best if isinstance(best, int) and best > 0 else None


def newest_state(run: RunDir) -> JsonObject:
    """Return the newest training state of a run that is intact; an empty one if none is."""
    for step in reversed(run.steps()):
        checkpoint = run.checkpoint(step)
        if find_corruption(checkpoint, (STATE,)) is None:
            return read_state(checkpoint)
    return {}
