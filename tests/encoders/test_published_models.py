"""Published models: what docs/models.md says of them is what happens with a config.json of their settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankcli.encoders import unsupported
from rankcli.encoders.family import family_in
from rankcli.errors import ConfigError
from rankcli.rerankers.foreign import ForeignDirectory
from rankcli.rerankers.modular import chained_head

ROOT = Path(__file__).resolve().parents[2]
GIVEN = json.loads((ROOT / "tests/golden/models.json").read_text())
EVERY = {model["id"]: model for kind in ("rerankers", "biencoders") for model in GIVEN[kind]}
PAGE = (ROOT / "docs/models.md").read_text()


def row(name: str) -> str:
    (found,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    return found


@pytest.mark.parametrize("name", EVERY)
def test_a_model_opens_with_its_length_or_is_refused_as_the_page_says(name):
    model, content = EVERY[name], GIVEN["shapes"][EVERY[name]["shape"]]
    if "| yes |" in row(name):
        family = family_in(content)
        config = family.read(content, "config.json")
        assert config.max_positions >= model["length"]
        names = {one for weight in family.weights(config, pooler=False) for one in weight.names}
        assert len(names) > 10 and family.head(config).weights(16)
    elif model["shape"] != "t5":  # whose encoder opens, but not as a reranker
        with pytest.raises(ConfigError) as refused:
            family_in(content).read(content, "config.json")
        nearest = refused.value.fix.removeprefix("use ").partition(",")[0]
        assert "| yes |" in row(nearest)


def test_the_nearest_models_open():
    advised = (unsupported.SMALL, unsupported.LONG, unsupported.LANGUAGES, unsupported.LARGE)
    assert all("| yes |" in row(name) for name in advised)


def test_the_head_of_ettin_is_a_chain_that_opens(tmp_path):
    kinds = ("Transformer", "Pooling", "Dense", "LayerNorm", "Dense")
    modules = [
        {"path": f"{n}_{kind}" if n else "", "type": f"sentence_transformers.{kind}"} for n, kind in enumerate(kinds)
    ]
    act = "torch.nn.modules.activation.GELU", "torch.nn.modules.linear.Identity"
    denses = {2: (16, False, act[0], "sentence_embedding"), 4: (1, True, act[1], "scores")}
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text('{"pooling_mode": "cls"}')
    for n, (width, bias, activation, output) in denses.items():
        content = {"out_features": width, "bias": bias, "activation_function": activation, "module_output_name": output}
        (tmp_path / f"{n}_Dense").mkdir()
        (tmp_path / f"{n}_Dense/config.json").write_text(json.dumps(content))
    head = chained_head(tmp_path, "ModernBertModel")
    assert ForeignDirectory(tmp_path).is_crossencoder
    assert head.pooling == "cls" and [layer.norm for layer in head.layers] == ["3_LayerNorm.norm", ""]
