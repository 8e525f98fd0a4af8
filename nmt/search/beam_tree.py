"""The tree of all hypotheses that were in the beam of a search.

Lee et al. 2017 ("Interactive Visualization and Manipulation of Attention-based Neural Machine
Translation") and Seq2Seq-Vis (Strobelt et al. 2018) draw this tree, to show the alternatives that a
search has pruned.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

NodeState = Literal["extended", "finished", "pruned", "active"]
"""State of a hypothesis at the end of the search.

`extended`: a continuation entered the beam of the next step; `finished`: it ends in `</s>`;
`pruned`: no continuation entered that beam; `active`: the search ended before it was extended.
"""

DIGITS = 4
"""Decimal digits of the numbers in plain data, which a page and a file of JSON contain."""


class BeamNode(NamedTuple):
    """A hypothesis that was in the beam, named by its last token.

    Attributes:
        step: step of the search that generated the token, from 1; the length of the hypothesis
        parent: number of the node that this one extends; None for the first step
        token: id of the last token
        token_log_prob: log-probability of that token alone
        log_prob: log-probability of the whole hypothesis
        score: score if the hypothesis ends here: normalized by length, plus the coverage penalty
        state: see `NodeState`
        piece: text of the token in the vocabulary; empty inside of the search
    """

    step: int
    parent: int | None
    token: int
    token_log_prob: float
    log_prob: float
    score: float
    state: NodeState = "active"
    piece: str = ""


class BeamTree(NamedTuple):
    """All hypotheses that were in the beam of a sentence; a node comes after its parent.

    The beam of a step consists of its active hypotheses and of those that end there in `</s>`. The
    nodes of a step are in the order of the search, best first.

    Attributes:
        nodes: the hypotheses
        n_best: numbers of the last nodes of the n best translations, best first
        right_to_left: whether the first step generated the last token of the text
    """

    nodes: tuple[BeamNode, ...]
    n_best: tuple[int, ...] = ()
    right_to_left: bool = False

    @classmethod
    def from_nodes(cls, nodes: Sequence[BeamNode], eos: int) -> "BeamTree":
        """Return the tree of nodes, whose states follow from their tokens and children."""
        extended = {node.parent for node in nodes}
        last = nodes[-1].step if nodes else 0

        def state(number: int, node: BeamNode) -> NodeState:
            if node.token == eos:
                return "finished"
            if number in extended:
                return "extended"
            return "active" if node.step == last else "pruned"

        return cls(
            tuple(node._replace(state=state(number, node)) for number, node in enumerate(nodes))
        )

    def path(self, number: int) -> list[int]:
        """Return the numbers of the nodes from the first step to a node."""
        numbers = [number]
        while (parent := self.nodes[numbers[-1]].parent) is not None:
            numbers.append(parent)
        return numbers[::-1]

    def spelled(self, spell: Callable[[list[int]], list[str]]) -> "BeamTree":
        """Return the tree with the piece of each token.

        Args:
            spell: function from token ids to pieces
        """
        pieces = spell([node.token for node in self.nodes])
        named = zip(self.nodes, pieces, strict=True)
        return self._replace(nodes=tuple(node._replace(piece=piece) for node, piece in named))

    def to_dict(self) -> dict[str, object]:
        """Return the tree as plain data for JSON: one list per attribute, numbers rounded."""
        columns: dict[str, list[object]] = {
            "pieces": [node.piece for node in self.nodes],
            "steps": [node.step for node in self.nodes],
            "parents": [node.parent for node in self.nodes],
            "states": [node.state for node in self.nodes],
            "piece_scores": [round(node.token_log_prob, DIGITS) for node in self.nodes],
            "log_probs": [round(node.log_prob, DIGITS) for node in self.nodes],
            "scores": [round(node.score, DIGITS) for node in self.nodes],
        }
        return columns | {"n_best": list(self.n_best), "right_to_left": self.right_to_left}


class BeamLeaf(NamedTuple):
    """The last node of a complete hypothesis.

    Attributes:
        tree: the tree of its sentence
        node: number of the node
    """

    tree: BeamTree
    node: int
