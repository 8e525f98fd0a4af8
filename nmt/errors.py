"""Mistakes of the user, which commands print on one line each."""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

MAX_LINE = 2000  # characters of a mistake on one line
MAX_NAME = 120


class UserError(ValueError):
    """A mistake of the user: an invalid option, configuration, file or text.

    Commands print it on one line and exit with code 2, without a traceback.

    Args:
        message: what is wrong; what to do
        location: `FILE:LINE`, `FILE` or a configuration key; empty if unknown
    """

    def __init__(self, message: str, location: str = "") -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.message = message
        self.location = location

    @property
    def lines(self) -> list[str]:
        """Return one line per mistake."""
        line = " ".join(str(self).split("\n"))
        # A name or a value in it may be longer than any screen.
        return [line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 500]} ... {line[-400:]}"]


class OptionError(UserError):
    """A mistake in an option of an experiment that only its data, model or device reveals.

    Its location is the dotted key of the option, until `LoadedExperiment.located` adds the line.
    """


@contextmanager
def option_errors(option: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Report user errors inside the block as errors of an option, unless they are some already.

    Args:
        option: dotted key of the option
        kind: class of the errors
    """
    try:
        yield
    except OptionError:
        raise
    except kind as error:
        raise OptionError(str(error), option) from error


class UserErrors(UserError):
    """Several mistakes that are reported together.

    Args:
        errors: at least one, in the order of printing
    """

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)

    @property
    def lines(self) -> list[str]:
        return [line for error in self.errors for line in error.lines]


def printable(text: str, max_length: int = MAX_NAME) -> str:
    """Return a name that a user gave, shortened and without control and surrogate characters."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= max_length else f"{text[: max_length - 20]}...{text[-10:]}"


# What to do about an error of the operating system; other errors have no general remedy.
_REMEDIES = {
    errno.ENOSPC: "free some space and repeat the command",
    errno.EDQUOT: "free some of your quota and repeat the command",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f) and repeat the command",
    errno.EROFS: "choose a location that is not read-only",
    errno.EACCES: "change the permissions, or choose another location",
    errno.EPERM: "change the permissions, or choose another location",
    errno.EIO: "check the disk",
    errno.ENAMETOOLONG: "choose a shorter name",
}

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""Errors of a full or failing disk, which a command reports wherever they occur."""


def file_error(
    error: OSError, location: object = "", failed: str = "cannot be written"
) -> UserError:
    """Return the user error for an error of the operating system, with its remedy.

    Args:
        error: the error
        location: file or directory, if the error itself names none
        failed: the operation that has failed, in words
    """
    file = str(location) or os.fsdecode(error.filename or "")
    remedy = _REMEDIES.get(error.errno or 0)
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UserError(f"{failed}: {reason}" + (f"; {remedy}" if remedy else ""), file)


# Texts of the exceptions that torch and its libraries raise when an allocation fails.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "could not create a primitive",
    "could not create a memory",
    "could not execute a primitive",  # for want of a scratchpad
    "bad_alloc",
    "bad allocation",
    "Storage size calculation overflowed",
    "can't start new thread",
    "Resource temporarily unavailable",  # of a thread in C++
    "failed to map segment",  # the dynamic linker
    "Cannot allocate memory",
    # On a GPU that is nearly full, the workspaces of cuBLAS and cuDNN fail before torch's tensors.
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # a handle, which takes memory as well
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that an allocation has failed, on a CPU or a GPU."""
    if isinstance(error, MemoryError):
        return True
    kinds = (RuntimeError, ImportError)
    return isinstance(error, kinds) and any(text in str(error) for text in _OUT_OF_MEMORY)


# A size as torch's allocators on a CPU, on a GPU, and numpy write it.
_SIZES = (r"tried to allocate (\d+) bytes", r"(?:Tried|Unable) to allocate ([\d.]+ [KMGT]?i?B)")


def needed_memory(error: BaseException) -> str:
    """Return the size of a failed allocation, ": 2.1 GB more are needed", or nothing if unknown."""
    found = next(filter(None, (re.search(size, str(error)) for size in _SIZES)), None)
    if found is None:
        return ""
    size = found[1]
    if size.isdecimal():
        size = f"{int(size) / 1e9:,.2f} GB" if int(size) >= 10**7 else f"{size} bytes"
    return f": {size} more are needed"


LOWER_MEMORY = (
    "lower training.batch_tokens or training.output_chunk, or the sizes of the model "
    "(embedding_size, hidden_size, layers)"
)
"""Remedy for training that needs more memory than there is."""


@contextmanager
def explained_out_of_memory(remedy: str) -> Iterator[None]:
    """Report a failed allocation inside the block as a user error.

    Args:
        remedy: the options to lower, for example "lower training.batch_tokens"
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory{needed_memory(error)}; {remedy}") from error


# Names in the files of JoeyNMT, OpenNMT-py, fairseq and Marian. The counterpart is the first one
# whose first word is known where the name was used: a key of the same section, or one of a section
# inside it. An empty string means that a similar name of this toolkit is something else.
OTHER_TOOLKITS: dict[str, tuple[str, ...]] = {
    "accum_count": ("accumulate",),
    "batch_multiplier": ("accumulate",),
    "batch_type": ("batch_tokens",),
    "beam": ("beam_size",),
    "bidirectional": ("direction",),
    "brnn": ("bilstm",),
    "clip_grad_norm": ("clip_norm",),
    "decoder_type": ("model.decoder",),
    "dev": ("valid",),
    "early_stopping_metric": ("early_stopping.metric",),
    "embedding_dim": ("embedding_size",),
    "encoder_type": ("model.encoder",),
    "global_attention": ("model.attention",),
    "init_hidden": ("initial_state",),
    "learning_rate": ("optimizer.learning_rate", "training.optimizer.learning_rate"),
    "logging_freq": ("log_every",),
    "max_epoch": ("epochs",),
    "max_grad_norm": ("clip_norm",),
    "max_update": ("steps",),
    "mlp": ("additive",),
    "optim": ("optimizer", "training.optimizer"),
    "patience": ("early_stopping.patience",),
    "random_seed": ("seed",),
    "recurrent": ("bilstm", "bahdanau"),
    "report_every": ("log_every",),
    "rnn": ("bilstm", "bahdanau"),
    "rnn_size": ("hidden_size", "model.encoder.hidden_size"),
    "rnn_type": ("cell",),
    "src": ("source", "data.source"),
    "src_vocab": ("vocabulary.model", "data.vocabulary.model"),
    "test": ("",),
    "testing": ("search",),
    "tgt": ("target", "data.target"),
    "tgt_vocab": ("vocabulary.model", "data.vocabulary.model"),
    "train_steps": ("steps", "training.steps"),
    "trg": ("target", "data.target"),
    "valid_steps": ("validate_every", "training.validate_every"),
    "validation_freq": ("validate_every",),
    "word_vec_size": ("embedding_size", "model.embedding_size"),
}


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the most similar known name, and all of them."""
    names = list(known)
    counterparts = OTHER_TOOLKITS.get(name, ())
    fitting = [one for one in counterparts if not one or one.split(".")[0] in names]
    close = [*fitting, *get_close_matches(name, names, n=1)]
    hint = f"did you mean '{close[0]}'? " if close and close[0] else ""
    return f"{hint}known: {', '.join(names) or 'none'}"
