"""The names that components of other packages import. They stay what they are from one version to the next.

A component is a frozen, keyword-only dataclass of options that derives from the base class of its kind, with an entry
point in the group `rankcli.KIND` (`rankcli.rerankers`, `rankcli.encoders`, ...). `docs/architecture.md` shows one.
"""

from __future__ import annotations

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, LOSSES, RERANKERS, SAMPLERS, component, components, option
from rankcli.config.types import (
    Factor,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Rate,
)
from rankcli.data.documents import open_store
from rankcli.data.source import DatasetOptions, Documents, FeatureStore, Source, SourceContext, TrainingTriples
from rankcli.data.store import store_of
from rankcli.data.topics import read_judgments, read_topics
from rankcli.data.trec import read_run
from rankcli.encoders.base import Encoder
from rankcli.encoders.config import TINY, ConfigReader, EncoderConfig, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.embeddings import WordEmbeddings, word_weights
from rankcli.encoders.family import Family, family_of
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.layers import Block, Stack
from rankcli.encoders.layouts import by_sequence, token_mask, token_means
from rankcli.encoders.parameters import Adapter, Parameters
from rankcli.encoders.weights import Weight, dense, norm, table
from rankcli.errors import ConfigError, DataError, MissingError, RankcliError, StorageError, TrainingError
from rankcli.extractors.base import Extractor, ExtractorContext, ExtractorOptions, sequence_spec, vocab_size
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions
from rankcli.hooks.base import Gradients, Hook, HookContext, HookOptions, PartOptions
from rankcli.listeners.base import Listener, ListenerContext, Measuring
from rankcli.log import say, warn
from rankcli.losses.base import FLOOR, GroupLoss, Loss, LossOptions, masked, mean_over_documents, weights_of
from rankcli.rerankers.base import Base, Opened, Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.ops import per_document, query_of
from rankcli.samplers.base import DrawOptions, FirstStage, Sampler, SamplerContext, SamplerOptions
from rankcli.schedules.base import Schedule, ScheduleContext
from rankcli.schedules.ramp import Ramp
from rankcli.searchers.base import SearcherContext
from rankcli.shapes import (
    DOC,
    FIRST_STAGE,
    QUERY,
    SPECIAL,
    Batch,
    DenseSpec,
    Encoded,
    Example,
    Field,
    FieldSpec,
    Floats,
    Ints,
    Judged,
    Layout,
    Outputs,
    Ranked,
    Record,
    Sample,
    SequenceSpec,
    StepContext,
    StreamSpec,
    TokenSequence,
)
from rankcli.signals.base import Candidates, Signal, SignalOptions

__all__ = [
    "Adapter",
    "Base",
    "Batch",
    "Block",
    "Candidates",
    "ConfigError",
    "ConfigReader",
    "DOC",
    "DataError",
    "DatasetOptions",
    "DenseSpec",
    "Documents",
    "DrawOptions",
    "Dropout",
    "Encoded",
    "Encoder",
    "EncoderConfig",
    "EncoderSize",
    "Example",
    "Extractor",
    "ExtractorContext",
    "ExtractorOptions",
    "FIRST_STAGE",
    "FLOOR",
    "Factor",
    "Family",
    "FeatureStore",
    "Field",
    "FieldSpec",
    "FirstStage",
    "Floats",
    "Gradients",
    "GroupLoss",
    "HOOKS",
    "Head",
    "HeadLayer",
    "Hook",
    "HookContext",
    "HookOptions",
    "Ints",
    "Judged",
    "LOSSES",
    "Layout",
    "Listener",
    "ListenerContext",
    "Loss",
    "LossOptions",
    "Measuring",
    "MissingError",
    "NonNegativeFloat",
    "NonNegativeInt",
    "Opened",
    "Outputs",
    "Parameters",
    "PartOptions",
    "PositiveFloat",
    "PositiveInt",
    "QUERY",
    "RERANKERS",
    "Ramp",
    "RankcliError",
    "Ranked",
    "Rate",
    "Record",
    "Reranker",
    "RerankerContext",
    "RerankerOptions",
    "SAMPLERS",
    "SPECIAL",
    "Sample",
    "Sampler",
    "SamplerContext",
    "SamplerOptions",
    "Schedule",
    "ScheduleContext",
    "SearcherContext",
    "SequenceSpec",
    "Signal",
    "SignalOptions",
    "Source",
    "SourceContext",
    "Stack",
    "StepContext",
    "StorageError",
    "StreamSpec",
    "SubwordExtractor",
    "SubwordOptions",
    "TINY",
    "TokenSequence",
    "TrainingError",
    "TrainingTriples",
    "Weight",
    "WordEmbeddings",
    "by_sequence",
    "component",
    "components",
    "dense",
    "family_of",
    "masked",
    "mean_over_documents",
    "norm",
    "open_store",
    "option",
    "per_document",
    "query_of",
    "read_judgments",
    "read_run",
    "read_topics",
    "say",
    "sequence_spec",
    "store_of",
    "table",
    "tf",
    "token_mask",
    "token_means",
    "vocab_size",
    "warn",
    "weights_of",
    "word_weights",
]
