"""Where the encoder ended: all that a decoder without attention has of the source."""

from nmt.model.interfaces import Encoded, SourceSizes


def ending_sizes(source: SourceSizes) -> SourceSizes:
    """The sizes of `ending`."""
    return source._replace(final_state=source.annotation) if source.layers else source


def ending(source: Encoded) -> Encoded:
    """The source with [→h_S; ←h_1] of the top layer for a summary, where it was ←h_1.

    Whoever reads no annotations would leave the top layer's forward direction without use. An
    encoder without last states keeps its own summary.
    """
    if source.layer_states.hidden_ble.size(1) == 0:
        return source
    return source._replace(final_state_bh=source.layer_states.hidden_ble[:, -1])
