"""Values of options that models and training receive; importing them needs no pydantic."""

from typing import Literal

RecurrenceBackend = Literal["auto", "eager", "fused"]
"""How a decoder's recurrence is computed under teacher forcing; see `nmt.model.recurrence`."""
TiedEmbeddings = Literal["none", "decoder", "all"]
"""Tables that share weights: target embedding and output layer, and also the source embedding."""
