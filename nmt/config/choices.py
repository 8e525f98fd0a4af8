"""Values of options that models and training receive; importing them needs no pydantic."""

from typing import Literal

RecurrenceBackend = Literal["auto", "eager", "fused"]
"""How a decoder's recurrence is computed under teacher forcing; see `nmt.model.recurrence`."""
Recurrence = Literal["auto", "eager", "fused", "graph"]
"""`training.recurrence`: a backend, or auto inside a CUDA graph of the whole update."""
SearchRecurrence = Literal["auto", "graph"]
"""Whether a translator launches every kernel of a search step, or a CUDA graph of all of them."""
TiedEmbeddings = Literal["none", "decoder", "all"]
"""Tables that share weights: target embedding and output layer, and also the source embedding."""


def backend_of(recurrence: Recurrence) -> RecurrenceBackend:
    """Return the backend of the decoder; a graph contains the fastest one."""
    return "auto" if recurrence == "graph" else recurrence
