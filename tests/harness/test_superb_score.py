"""The SUPERB score of published rows, checked against values worked out apart from this code."""

from __future__ import annotations

import pytest

from harness.errors import UserError
from harness.superb_score import FBANK, HEADS, TASKS, WAVLM_LARGE, of_cells, score

ROWS = {  # PR, ASR, KS, SID, ASV, ER
    "wav2vec 2.0 Base": ((5.74, 6.43, 96.23, 75.18, 6.02, 63.43), 831.8),
    "HuBERT Base": ((5.41, 6.42, 96.30, 81.42, 5.11, 64.92), 876.9),
    "HuBERT Large": ((3.53, 3.62, 95.29, 90.33, 5.98, 67.62), 905.9),
    "WavLM Base+": ((3.92, 5.59, 97.37, 89.42, 4.07, 68.65), 950.6),
    "HuBERT Base, rerun": ((5.17, 6.38, 96.59, 81.86, 5.56, 64.99), 866.4),
    "its stable fine-tuning": ((5.22, 7.63, 96.92, 79.89, 5.34, 65.38), 861.1),
    "its Speech-FT": ((3.94, 5.75, 96.69, 84.11, 5.27, 67.78), 900.0),
}


@pytest.mark.parametrize("name", ROWS)
def test_published_rows(name: str) -> None:
    values, wanted = ROWS[name]
    assert score(dict(zip(TASKS, values, strict=True))) == pytest.approx(wanted, abs=0.05)


def test_the_anchors_are_0_and_1000() -> None:
    assert score(FBANK.values) == 0 and score(WAVLM_LARGE.values) == pytest.approx(1000, abs=1e-9)


def test_a_task_less_is_no_score() -> None:
    with pytest.raises(UserError, match="wants the tasks pr, asr, ks, sid, asv, er, found asr"):
        score({"asr": 3.0})


def test_cells_count_under_superb_s_own_heads_and_steps_alone() -> None:
    values = dict(zip(TASKS, ROWS["WavLM Base+"][0], strict=True))
    cells = {task: (HEADS[task], "superb", value) for task, value in values.items() if task != "er"}
    folds = {f"er_fold{k}": ("pooled_linear", "superb", 68.65 + (k - 3) * 0.5) for k in range(1, 6)}
    assert of_cells({**cells, **folds}) == pytest.approx(950.6, abs=0.05)
    assert of_cells(cells) is None
    assert of_cells({**cells, **{name: folds[name] for name in list(folds)[:4]}}) is None
    for other in (("pooled_mlp", "superb", 97.0), (HEADS["ks"], "trial", 97.0), (HEADS["ks"], "superb", None)):
        assert of_cells({**cells, **folds, "ks": other}) is None
