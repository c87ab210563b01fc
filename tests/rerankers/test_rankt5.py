"""RankT5: exact tokens, the formula in NumPy and over T5's states, what is saved, and a whole training."""

from __future__ import annotations

import json

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.data.trec import read_run
from rankcli.encoders.build import Pretrained
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.prompted import Prompted
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.rankt5 import RankT5
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train
from tests.encoders.golden_families import written


def test_a_sequence_is_prompt_query_prompt_document():
    _, extractor = tiny.extractor_of("rankt5")
    tokenizer = extractor.tokenizer
    group = tiny.example(extractor, tiny.QUERIES[0], tiny.TEXTS[:2])
    whole = tokenizer.encode([f"Query: {tiny.QUERIES[0]} Document: {text}" for text in tiny.TEXTS[:2]])
    query, ask, tell = tokenizer.encode([tiny.QUERIES[0], "Query:", "Document:"])
    start, end = tokenizer.single_template.pieces
    for sequence, ids in zip(extractor.extract(group)["pair"], whole, strict=True):
        assert sequence.ids.tolist() == [*start[0], *ids.tolist(), *end[0]][: len(sequence.ids) - 1] + [*end[0]]
        document = len(sequence.ids) - 2 - len(ask) - len(query) - len(tell)
        kinds = [[0], [0] * len(ask), [1] * len(query), [0] * len(tell), [2] * document, [0]]
        assert sequence.parts.tolist() == sum(kinds, [])
        assert not sequence.segments.any() and len(sequence.ids) <= 32


def test_prompts_that_leave_the_document_nothing_are_refused():
    with pytest.raises(ConfigError, match="no token of the document fits"):
        Prompted(maxseqlen=9, maxqlen=4, vocab_size=60).build(ExtractorContext(texts=lambda: tiny.TEXTS))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_scores_are_a_linear_layer_over_states(pooling):
    model = tiny.built("rankt5", pooling=pooling)
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups, size=3, static=True)).scores.numpy()
    tensors = model.reranker.tensors()
    assert tensors["rankt5.linear.weight"].shape == (1, 8) and "rankt5.linear.bias" not in tensors
    for b, group in enumerate(groups):
        for sequence in model.extractor.extract(group)["pair"]:
            states = numpy_models.bert_states(tensors, sequence.ids, sequence.segments, 2)
            pooled = states[0] if pooling == "cls" else states.mean(0)
            expected = float((tensors["rankt5.linear.weight"] @ pooled)[0])
            np.testing.assert_allclose(scores[b, sequence.doc], expected, rtol=1e-5, atol=1e-5)


def test_over_t5_it_has_the_papers_parameters_and_is_loaded_to_the_bit(tmp_path):
    """The encoder's weights, compared with PyTorch elsewhere, and one number for each of a state."""
    given = Pretrained(written("t5", tmp_path / "t5"))
    extractor_options, extractor = tiny.extractor_of("rankt5")
    options = RankT5(pretrained=str(tmp_path / "t5"))
    model = options.build(RerankerContext(extractor, models={"pretrained": given}))
    width = given.config.hidden_size
    head = {path: v.shape.num_elements() for path, v in model.variables.items() if not path.startswith("encoder/")}
    assert head == {"rankt5/linear/kernel": width}
    batch = tiny.batch(extractor, tiny.examples(extractor))
    pooled = model.encoders["encoder"].pooled(batch.fields["pair"].layout, "cls").numpy()
    owner, scores = batch.fields["pair"].owner.numpy(), model(batch).scores.numpy().ravel()
    np.testing.assert_allclose(scores[owner], pooled @ model.tensors()["rankt5.linear.weight"][0], rtol=1e-5, atol=1e-6)
    save_reranker(model, extractor, sections_of(options, extractor_options), tmp_path / "saved")
    assert not (tmp_path / "saved/modules.json").exists()
    assert json.loads((tmp_path / "saved/config.json").read_text())["architectures"] == ["T5EncoderModel"]
    again, *_ = load_reranker(tmp_path / "saved")
    np.testing.assert_array_equal(again(batch).scores, model(batch).scores)


def test_it_trains_and_a_rerank_gives_the_same_run(tmp_path, request):
    train(request.getfixturevalue("tiny")("rankt5", "trainer.niters=1"), out=tmp_path / "run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    assert read_run(tmp_path / "again.run") == read_run(tmp_path / "run/test.run")
