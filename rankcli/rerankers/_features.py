"""The parts that rerankers on features share."""

from __future__ import annotations

from rankcli.errors import ConfigError
from rankcli.rerankers.base import RerankerContext
from rankcli.shapes import DenseSpec


def features_width(ctx: RerankerContext) -> int:
    """Return the size of the field `features`; ConfigError where the extractor makes no numbers."""
    spec = ctx.extractor.fields["features"]
    if not isinstance(spec, DenseSpec):
        raise ConfigError("the field `features` holds tokens, not numbers", where="extractor", fix="extractor=features")
    return spec.width
