"""Features as numbers: transformed, standardised by the training data, saved and opened."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rankcli.errors import DataError, MissingError
from rankcli.extractors import _pieces
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.features import FeatureExtractor, Features
from rankcli.shapes import DenseSpec, Example

BLOCKS = [[[1.0, 5.0, -2.0], [3.0, 5.0, 0.0]], [[8.0, 5.0, 1e6]]]


def built(blocks=BLOCKS, **options) -> FeatureExtractor:
    arrays = [np.array(block, np.float32) for block in blocks]
    return Features(**options).build(ExtractorContext(features=lambda: iter(arrays)))


def made(extractor: FeatureExtractor, rows) -> np.ndarray:
    values = np.array(rows, np.float32)
    columns = {"features": values}
    found = extractor.extract(Example("q", tuple("ab"[: len(rows)]), np.zeros(len(rows), np.float32), columns=columns))
    assert found["features"].dtype == np.float32 and values.tolist() == np.float32(rows).tolist()
    return found["features"]


def test_by_default_features_are_as_they_are():
    extractor = built()
    assert extractor.fields == {"features": DenseSpec(3)} and extractor.streams == {}
    assert made(extractor, [[1, -2, 0.5]]).tolist() == [[1, -2, 0.5]]


def test_log1p_is_symmetric():
    expected = [[np.log(2), -np.log(121), 0.0]]
    np.testing.assert_allclose(made(built(log1p=True), [[1, -120, 0]]), expected, rtol=1e-6)


@pytest.mark.parametrize("log1p", [False, True])
def test_training_data_get_mean_0_and_deviation_1_and_constants_0(log1p):
    extractor = built(standardize=True, log1p=log1p)
    rows = np.concatenate([made(extractor, block) for block in BLOCKS])
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(0), [1, 0, 1], atol=1e-5)


def test_far_from_zero_the_deviation_is_exact():
    draw = np.random.default_rng(2).normal(size=(50, 20, 2)).astype(np.float32) + np.float32([1000, 0])
    rows = np.concatenate([made(built(draw, standardize=True), block[:2]) for block in draw])
    plain = draw.reshape(-1, 2).astype(np.float64)
    expected = (draw[:, :2].reshape(-1, 2) - plain.mean(0)) / plain.std(0)
    np.testing.assert_allclose(rows, expected, atol=1e-3)


def test_what_is_saved_opens_to_the_bit_and_the_fingerprint_knows_the_numbers(tmp_path):
    extractor = built(standardize=True)
    extractor.save(tmp_path)
    again = Features(standardize=True).build(ExtractorContext(saved=tmp_path))
    rows = [[0.1, 0.2, 0.3], [9, 9, 9]]
    for copy in (again, pickle.loads(pickle.dumps(extractor))):
        assert made(copy, rows).tobytes() == made(extractor, rows).tobytes()
        assert copy.fingerprint == extractor.fingerprint and copy.fields == extractor.fields
    others = [built(), built(log1p=True), built(BLOCKS[:1], standardize=True), built(pieces=2), extractor]
    assert len({other.fingerprint for other in others}) == 5


def test_saved_pieces_open_to_the_bit(tmp_path):
    draw = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    extractor = built(draw, pieces=3, log1p=True)
    extractor.save(tmp_path)
    again = Features(pieces=3, log1p=True).build(ExtractorContext(saved=tmp_path))
    assert made(again, draw[0, :2]).tobytes() == made(extractor, draw[0, :2]).tobytes()
    assert again.fingerprint == extractor.fingerprint and again.fields == extractor.fields


def test_what_does_not_fit_is_refused():
    with pytest.raises(MissingError, match="no features to read"):
        Features().build(ExtractorContext())
    with pytest.raises(DataError, match="documents have 2 features, but the model was made for 3"):
        made(built(), [[1, 2]])


def test_pieces_are_a_broken_line_over_each_feature():
    rows = [[[1.0, 0.0, -4.0], [2.0, 0.0, -2.0]], [[3.0, 0.0, 4.0], [4.0, 0.0, 0.0], [5.0, 0.0, 8.0]]]
    extractor = built(rows, pieces=2)
    edges = [[0, 1, 3, 5], [0], [-4, 0, 1, 8]]  # 0, least, median, greatest of what is not 0
    assert extractor._pieces.edges == edges and extractor.fields == {"features": DenseSpec(6)} and extractor.width == 3
    found = made(extractor, [[2.0, 7.0, -1.0], [9.0, 0.0, 4.5]])
    assert found.tolist() == [[1, 0.5, 0, 0.75, 0, 0], [1, 1, 1, 1, 1, 0.5]]
    with pytest.raises(DataError, match="all features of the training queries are 0"):
        built([[[0.0, 0.0]]], pieces=2)
    with pytest.raises(ValueError, match="leave `standardize` out"):
        Features(pieces=2, standardize=True)


def test_of_many_rows_a_part_gives_the_edges(monkeypatch):
    monkeypatch.setattr(_pieces, "MOST", 50)
    values = np.arange(1, 1001, dtype=np.float32).reshape(-1, 1)
    blocks = np.split(values, [7, 20, 333, 334, 700])
    rows = _pieces._thinned(iter(blocks))
    assert 50 <= len(rows) <= 100 and len(set(np.diff(rows[:, 0]))) == 1  # evenly spread
    assert np.allclose(_pieces.edges_of(iter(blocks), 2)[0], [0, 1, 500, 1000], atol=20)
    assert _pieces._thinned(iter(blocks[:2])).tolist() == values[:20].tolist()
