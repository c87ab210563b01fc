"""The first stage's score between query and document: golden values, exact tokens, its range, and a whole training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers as letters
from tokenizers import Tokenizer

from rankcli.data.trec import read_run
from rankcli.errors import ConfigError, DataError, MissingError
from rankcli.extractors._pairs import WrittenScores
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.passage import Passage
from rankcli.extractors.pooledpassage import PooledPassage
from rankcli.text import tokenizer
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/crossencoders.json").read_text())["ce_bm25"]
RANGE = {"run_score": True, "score_low": 0.0, "score_high": 10.0}


def with_digits(directory: Path) -> Path:
    """The tokenizer of letters, with digits from id 30 on."""
    content = json.loads((letters.bert(directory) / "tokenizer.json").read_text())
    content["model"]["vocab"] |= {str(n): 30 + n for n in range(10)} | {f"##{n}": 40 + n for n in range(10)}
    Tokenizer.from_str(json.dumps(content)).save(str(directory / "tokenizer.json"))
    return directory


def scored(extractor, query, docs, scores):
    """A group whose documents have these first-stage scores."""
    return replace(letters.example(extractor, query, *docs), columns={"first_stage": np.array(scores, np.float32)})


def test_golden_scores_are_whole_numbers_of_a_hundred(tmp_path):
    opened = tokenizer.Tokenizer.open(with_digits(tmp_path))
    written = WrittenScores(opened, 0.0, 50.0)
    extractor = Passage(maxseqlen=16, maxqlen=4).build(ExtractorContext(pretrained=tmp_path))
    scores = GOLDEN["inputs"]["scores"]
    tokens = written.of(scored(extractor, "a", ["b"] * len(scores), scores))
    assert [ids.tolist()[1:] for ids in tokens] == [ids.tolist() for ids in opened.encode(GOLDEN["expected"]["text"])]
    assert {int(ids[0]) for ids in tokens} == {letters.SEP} and written.room == 4


def test_the_score_stands_between_query_and_document_and_is_special(tmp_path):
    extractor = Passage(maxseqlen=12, maxqlen=2, **RANGE).build(ExtractorContext(pretrained=with_digits(tmp_path)))
    assert extractor.columns == ("first_stage",)
    assert extractor.budget("doc", {"query": 2}) == 12 - 3 - 2 - 4
    made = extractor.extract(scored(extractor, "a b", ("c d e f", "g"), (3.79, 77)))["pair"]
    assert letters.listed(made) == [
        ([2, 4, 5, 3, 33, 47, 3, 6, 7, 8, 3], [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1], 0),
        ([2, 4, 5, 3, 31, 40, 40, 3, 10, 3], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1], 1),
    ]
    assert made[0].parts.tolist() == [0, 1, 1, 0, 0, 0, 0, 2, 2, 2, 0]


def test_it_takes_room_of_the_text_also_where_the_longer_one_is_cut_and_in_passages(tmp_path):
    context = ExtractorContext(pretrained=with_digits(tmp_path))
    longest = Passage(maxseqlen=13, maxqlen=None, **RANGE).build(context)
    (made,) = longest.extract(scored(longest, "a b c d e", ("f g h i j",), (10,)))["pair"]
    assert made.ids.tolist() == [2, 4, 5, 6, 3, 31, 40, 40, 3, 9, 10, 11, 3]
    pooled = PooledPassage(maxseqlen=12, maxqlen=2, passagelen=3, stride=3, **RANGE).build(context)
    made = pooled.extract(scored(pooled, "a", ("b c d e",), (0,)))["pair"]
    assert [s.ids.tolist() for s in made] == [[2, 4, 3, 30, 3, 5, 6, 7, 3], [2, 4, 3, 30, 3, 8, 3]]
    assert pooled.fields["pair"].max_length == 2 + 3 + 3 + 4
    with pytest.raises(ConfigError, match="no token of the passage fits"):
        PooledPassage(maxseqlen=8, maxqlen=1, passagelen=4, stride=4, **RANGE).build(context)


def test_the_range_is_that_of_the_training_queries_candidates_and_is_saved(tmp_path):
    scores = np.arange(2001, dtype=np.float32)
    context = ExtractorContext(pretrained=with_digits(tmp_path / "tokenizer"), scores=lambda: scores)
    extractor = Passage(run_score=True).build(context)
    assert (extractor.scores.low, extractor.scores.high) == (2.0, 1998.0)
    extractor.save(tmp_path)
    again = Passage(run_score=True).build(ExtractorContext(saved=tmp_path))
    assert (again.scores.low, again.scores.high) == (2.0, 1998.0)
    half = Passage(run_score=True, score_high=50.0).build(context)
    assert (half.scores.low, half.scores.high) == (2.0, 50.0)


def test_a_range_that_says_nothing_is_refused(tmp_path):
    folder = with_digits(tmp_path)
    with pytest.raises(ValueError, match=r"score_low \(5\) must be below score_high \(5\)"):
        Passage(run_score=True, score_low=5.0, score_high=5.0)
    with pytest.raises(ValueError, match="set run_score, or leave them out"):
        PooledPassage(score_low=5.0)
    with pytest.raises(MissingError, match="no candidates of training queries"):
        Passage(run_score=True).build(ExtractorContext(pretrained=folder))
    with pytest.raises(DataError, match="cannot be told apart: they go from 3 to 3"):
        Passage(run_score=True).build(ExtractorContext(pretrained=folder, scores=lambda: np.full(9, 3.0, np.float32)))


def test_a_training_reads_the_scores_and_a_rerank_gives_the_same_run(tmp_path, tiny):
    config = tiny("crossencoder", "extractor.run_score=true", "extractor.maxseqlen=32")
    train(config, out=tmp_path / "run")
    about = json.loads((tmp_path / "run/best/ndcg_cut_10/run_scores.json").read_text())
    assert 0 <= about["low"] < about["high"] < 10
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    assert read_run(tmp_path / "again.run") == read_run(tmp_path / "run/test.run")
