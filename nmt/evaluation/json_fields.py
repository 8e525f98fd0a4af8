"""The fields of a translation in JSON, as nmt-translate writes and nmt-serve returns them."""

from nmt.evaluation.quality import quality_features
from nmt.search.translation import Translation


def json_fields(translation: Translation, *, quality: bool, beam_tree: bool) -> dict[str, object]:
    """Return plain data for JSON: `Translation.to_dict`, and requested fields of empty lines too.

    Args:
        translation: the translation
        quality: whether estimates of its quality were requested
        beam_tree: whether the tree of the beam was requested
    """
    fields = translation.to_dict()
    if quality:
        fields["quality"] = quality_features(translation)
    if beam_tree:
        fields.setdefault("beam_tree", None)  # an empty line has no tree
    return fields
