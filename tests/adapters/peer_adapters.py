"""Adapters of `peft` over tiny classifiers: run by the Python of an environment that has it, not by pytest.

    peer_adapters.py TARGET IDS FAMILY=BASE=OURS ...

TARGET/FAMILY gets an adapter that `peft` made for the model in BASE; TARGET/scores.json the logits, for the sequences
in the JSON file IDS, of it (`theirs`) and of the adapter in OURS (`ours`), by family.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from peft import AutoPeftModelForSequenceClassification, LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

TARGETS = {
    "distilbert": ["q_lin", "k_lin", "lin2"],
    "mpnet": ["attn.q", "attn.o"],
    "deberta-v3": ["query_proj", "value_proj"],
    "modernbert-mean": ["Wqkv", "mlp.Wo"],
    "albert": ["query", "ffn"],
}
WHOLE = {"bert": ["pooler", "classifier"], "modernbert-mean": ["head", "classifier"], "deberta-v3": ["pooler"]}


def logits(model: torch.nn.Module, sequences: list[list[int]]) -> list[float]:
    """The logit of each sequence alone, without segments."""
    model.eval()
    with torch.no_grad():
        return [float(model(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in sequences]


def make(family: str, base: str, target: Path) -> torch.nn.Module:
    """Save an adapter with random values, its classifier among them."""
    torch.manual_seed(4)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=3,
        lora_alpha=5,
        use_rslora=family == "roberta",
        target_modules=TARGETS.get(family, ["query", "value"]),
        modules_to_save=WHOLE.get(family),
    )
    model = get_peft_model(AutoModelForSequenceClassification.from_pretrained(base, num_labels=1), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(target)
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    root, ids = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    found = {}
    for word in sys.argv[3:]:
        family, base, ours = word.split("=")
        opened = AutoPeftModelForSequenceClassification.from_pretrained(ours, num_labels=1)
        found[family] = {"theirs": logits(make(family, base, root / family), ids), "ours": logits(opened, ids)}
    (root / "scores.json").write_text(json.dumps(found))
