"""The VIB recipe on made-up voices: both stages, what conditions what, resuming, and what dev may choose."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from crossed_tones import Toy
from vib_toys import job, recipe, write_data

from harness.errors import UserError
from upstreams.vib.checkpoint import command, find, load
from upstreams.vib.network import seeded
from upstreams.vib.posttrain import Recipe
from upstreams.vib.settings import Settings, from_options
from upstreams.vib.training import NOT_YET, Learner, Rows, Transcription, Validation

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("suite"))


def learner(data: Path, **options: object) -> tuple[Learner, Rows]:
    made = job(data)
    settings = from_options(options, "")
    rows = Rows(made.splits["train"], made.features, [1, 2])
    task = Transcription(made.splits["train"])
    network = seeded([1, 2], 40, settings.dim, len(task.outputs), True, settings.bottleneck, 0)
    return Learner(network, task, rows, settings, 0), rows


def learns(log: str, what: str) -> bool:
    """Whether the last epoch's losses are less than half the first one's."""
    losses = [float(line.split(",")[-1]) for line in log.splitlines() if f",{what}," in line]
    return sum(losses[-4:]) < 0.5 * sum(losses[:4])


def test_stage_1_learns_and_the_file_says_what_it_is(data: Path) -> None:
    made = job(data, 3)
    (path,) = recipe(epochs=60, beta=(0.0, 0.001), standardise=True).run(made)
    meta = load(path).meta
    assert meta.settings.stage == "text" and meta.seed == 3 and meta.layers == [1, 2]
    assert meta.symbols[0] == "<s>" and len(meta.symbols) == 32 and meta.classes == [] and meta.text_sha256 == ""
    assert meta.data_hash == made.data_hash and meta.backbone == "toy"
    assert set(meta.validation) == {"wer", "loss", "kl"} and meta.validation["kl"] > 0
    log = (path.with_suffix(".csv")).read_text()
    assert ",wer_loss," in log and ",kl," in log and ",beta," in log
    assert learns(log, "wer_loss")


def test_validation_figures_are_of_the_weights_in_the_file(data: Path) -> None:
    made = job(data)
    (path,) = recipe().run(made)
    checkpoint = load(path)
    rows = Rows(made.splits["val"], made.features, checkpoint.meta.layers)
    wer, loss = Transcription(made.splits["val"]).score(checkpoint.network, rows)
    assert (wer, loss) == (checkpoint.meta.validation["wer"], checkpoint.meta.validation["loss"])


def test_stage_2_names_the_stage_1_that_it_stands_on_and_leaves_it_as_it_was(data: Path) -> None:
    (text,) = recipe().run(job(data))
    before = text.read_bytes()
    (path,) = recipe("acoustic", epochs=60, beta=(0.0, 0.001), lr=1e-2).run(job(data))
    meta = load(path).meta
    assert text.read_bytes() == before and meta.text_sha256 == load(text).meta.tensors_sha256
    assert meta.classes == ["p00", "p01", "p02", "p03"] and meta.symbols == []
    assert path.parent != text.parent and learns(path.with_suffix(".csv").read_text(), "accuracy_loss")
    own = set(load(path).network.state_dict())
    assert "decoder.cond_attention.query" in own and not any("lm_head" in name for name in own)


def test_stage_2_without_a_stage_1_names_the_command(data: Path) -> None:
    with pytest.raises(UserError, match="vib --backbone toy --stage text --dim 5 --seed 0, or give one by --text"):
        recipe("acoustic", dim=5).run(job(data))


def test_stage_2_refuses_a_stage_1_of_another_backbone(data: Path, tmp_path: Path) -> None:
    (named,) = recipe().run(job(data, backbone=Toy("other"), out=tmp_path / "other"))
    with pytest.raises(UserError, match="is for backbone other, toy is wanted"):
        recipe("acoustic", text=named).run(job(data))
    (changed,) = recipe().run(job(data, backbone=Toy(seed=1), out=tmp_path / "changed"))
    with pytest.raises(UserError, match="was trained on another backbone"):
        recipe("acoustic", text=changed).run(job(data))


@pytest.mark.parametrize(
    ("stage_1", "wanted"),
    [({"dim": 4}, "dim 6 wanted, found 4"), ({"bottleneck": False}, "bottleneck True wanted, found False")],
)
def test_stage_2_refuses_a_stage_1_of_another_kind(
    data: Path, tmp_path: Path, stage_1: dict[str, object], wanted: str
) -> None:
    (text,) = recipe(**stage_1).run(job(data, out=tmp_path / "text"))
    with pytest.raises(UserError, match=wanted):
        recipe("acoustic", text=text).run(job(data))


def test_stage_2_refuses_a_stage_2_below_it(data: Path) -> None:
    recipe().run(job(data))
    (path,) = recipe("acoustic").run(job(data))
    with pytest.raises(UserError, match="stage text wanted, found acoustic"):
        recipe("acoustic", text=path).run(job(data))


def test_another_stage_1_makes_stage_2_anew(data: Path, tmp_path: Path) -> None:
    recipe().run(job(data))
    (path,) = recipe("acoustic").run(job(data))
    first = path.stat().st_mtime_ns
    recipe("acoustic").run(job(data))
    assert path.stat().st_mtime_ns == first
    (other,) = recipe(lr=1e-3).run(job(data, out=tmp_path / "other"))
    recipe("acoustic", text=other).run(job(data))
    assert path.stat().st_mtime_ns != first and load(path).meta.text_sha256 == load(other).meta.tensors_sha256


def test_the_control_stands_on_the_control(data: Path) -> None:
    recipe().run(job(data))
    (text,) = recipe(bottleneck=False).run(job(data))
    (path,) = recipe("acoustic", bottleneck=False).run(job(data))
    assert load(path).meta.text_sha256 == load(text).meta.tensors_sha256
    log = (path.with_suffix(".csv")).read_text().splitlines()
    assert {line.split(",")[-1] for line in log if ",beta," in line} == {"0.0"}


def test_single_layer_mode_works(data: Path) -> None:
    (text,) = recipe(layer=0).run(job(data))
    (path,) = recipe("acoustic", layer=0).run(job(data))
    assert load(text).meta.layers == load(path).meta.layers == [0]
    assert load(text).network.layer_weights().tolist() == [1.0]
    with pytest.raises(UserError, match="--layer 7: toy has states 0 to 2"):
        recipe(layer=7).run(job(data))


def test_standardisation_is_of_the_training_frames(data: Path) -> None:
    made = job(data)
    (path,) = recipe(standardise=True).run(made)
    frames = torch.cat([made.features.frames(u.id)[:, 1:] for u in made.splits["train"].utterances])
    mix = load(path).network.mix
    assert torch.allclose(mix.mean, frames.mean(0), atol=1e-3)
    assert torch.allclose(mix.std, frames.std(0, correction=0), atol=1e-3)
    (raw,) = recipe(standardise=False).run(made)
    assert load(raw).network.mix.mean.abs().max() == 0


def test_dev_chooses_only_among_states_of_the_last_beta(data: Path) -> None:
    made, rows = learner(data)
    judge = Validation(made, made.task, rows)
    made.train(False)
    keys = []
    for step in (0, made.steps.rise - 1, made.steps.rise, made.steps.all - 1):
        made.begin(step)
        keys.append(judge.score().key == NOT_YET)
    assert keys == [True, True, False, False]
    (path,) = recipe(epochs=6, hold=2).run(job(data))
    assert load(path).meta.step > made.steps.epoch * 4


def test_an_epoch_reads_every_utterance_once_and_seeds_differ(data: Path) -> None:
    made, rows = learner(data)
    epochs = [
        [place for step in range(made.steps.epoch) for place in made.batch(start + step, 0).places]
        for start in (0, made.steps.epoch)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(len(rows))) and epochs[0] != epochs[1]
    made.seed = 1
    assert made.batch(0, 0).places != epochs[0][:5]


def test_the_loss_of_a_batch_is_the_mean_of_its_utterances(data: Path) -> None:
    made, rows = learner(data, bottleneck=False)
    together = made.losses(rows.batch([0, 9, 5]), [0])
    alone = torch.stack([made.losses(rows.batch([place]), [0])[0] for place in (0, 9, 5)])
    assert torch.allclose(together, alone.mean(), atol=1e-5)


@pytest.mark.parametrize("stage", ["text", "acoustic"])
def test_interrupted_it_resumes_to_the_same_bytes(
    data: Path, stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (text,) = recipe().run(job(data, out=tmp_path / "text.safetensors"))
    more = {"text": text} if stage == "acoustic" else {}
    (straight,) = recipe(stage, **more).run(job(data, out=tmp_path / "straight"))
    whole, left = Learner.losses, [11]

    def losses(self: Learner, batch: object, active: object) -> torch.Tensor:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return whole(self, batch, active)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "losses", losses)
    with pytest.raises(KeyboardInterrupt):
        recipe(stage, **more).run(job(data, out=tmp_path / "broken"))
    left[0], what = 10**6, "text" if stage == "text" else "speaker"
    again, said = job(data, out=tmp_path / "broken"), list[str]()
    again.say = said.append
    (broken,) = recipe(stage, **more).run(again)
    # four updates an epoch: the first two epochs were done
    assert 10**6 - left[0] == 16 - 8
    assert [line for line in said if "going on" in line] == [f"training {what} seed 0: going on from update 8 of 16"]
    assert straight.read_bytes() == broken.read_bytes()
    assert straight.with_suffix(".csv").read_bytes() == broken.with_suffix(".csv").read_bytes()


def test_seeds_together_equal_seeds_alone(data: Path, tmp_path: Path) -> None:
    together = recipe().run(job(data, 0, 1))
    (alone,) = recipe().run(job(data, 1, out=tmp_path / "alone"))
    assert together[1].read_bytes() == alone.read_bytes() != together[0].read_bytes()


def test_frames_beyond_the_memory_are_read_again_and_are_the_same(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(data)
    kept = Rows(made.splits["train"], made.features, [1, 2])
    monkeypatch.setattr("upstreams.vib.training.IN_MEMORY", 0)
    read = Rows(made.splits["train"], made.features, [1, 2])
    for _ in range(2):
        assert torch.equal(kept.frames(3), read.frames(3))


def test_paper_preset_holds_the_authors_figures() -> None:
    for stage, batch in (({"stage": "text"}, 1), ({"stage": "acoustic", "target": "speaker"}, 8)):
        settings = from_options({"preset": "paper", **stage}, "")
        assert (settings.epochs, settings.hold, settings.batch, settings.lr) == (50, 5, batch, 1e-3)
        assert (settings.beta, settings.weight_decay, settings.warmup) == ((0.1, 1.0), 0.005, 0.1)
        assert (settings.dim, settings.standardise, settings.bottleneck) == (128, False, True)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"stage": "acoustic"}, "wants a target"),
        ({"stage": "text", "target": "speaker"}, "has a target"),
        ({"stage": "acoustic", "target": "mood"}, "target"),
        ({"hold": 99}, "less than epochs"),
        ({"beta": (-1.0, 1.0)}, "0 or more"),
        ({"beta": (1.0, 0.1)}, "at most the last, 0.1, wanted, found 1"),
        ({"beta": (0.1, float("nan"))}, "finite number"),
        ({"lr": float("inf")}, "lr: Input should be a finite number"),
        ({"preset": "huge"}, "preset 'huge' unknown"),
    ],
)
def test_bad_settings_are_one_line(options: dict[str, object], wanted: str) -> None:
    with pytest.raises(UserError, match=wanted) as caught:
        from_options(options, "here")
    assert "\n" not in str(caught.value)


def test_text_is_for_the_acoustic_stage() -> None:
    with pytest.raises(UserError, match="--text is for stage acoustic"):
        recipe(text=Path("x"))


def test_texts_that_cannot_be_spelt_are_one_line(data: Path, tmp_path: Path) -> None:
    other = write_data(tmp_path)
    manifest = other.parent / "data" / "crossed_tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",a b,", ",,"))
    with pytest.raises(UserError, match="a text for every utterance wanted, 4 have none, first p00-s00"):
        recipe().run(job(other))


def test_a_hopeless_learning_rate_fails_and_leaves_no_checkpoint(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged"):
        recipe(lr=1e30).run(job(data, out=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_the_command_in_a_message_makes_that_recipe() -> None:
    options = {"stage": "acoustic", "target": "emotion", "bottleneck": False, "standardise": False, "beta": [0.2, 0.5]}
    settings = from_options(options | {"dim": 16, "layer": 3, "epochs": 7}, "")
    line = command("hubert_base", settings, 2)
    assert line.startswith("python harness/posttrain.py vib --backbone hubert_base --stage acoustic --target emotion ")
    parser = argparse.ArgumentParser()
    Recipe.options(parser)
    assert Recipe(parser.parse_args(line.split()[5:-2])).settings == settings
    plain = command("hubert_base", from_options({}, ""), 0)
    assert plain == "python harness/posttrain.py vib --backbone hubert_base --stage text --seed 0"


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"preset": "paper", "dim": 32}, "--preset paper --stage text --dim 32"),
        ({"preset": "paper", "stage": "acoustic", "target": "speaker"},
         "--preset paper --stage acoustic --target speaker"),
        ({"preset": "paper", "epochs": 30}, "--preset paper --stage text --epochs 30"),
        ({"preset": "paper", "epochs": 30, "hold": 5}, "--preset paper --stage text --epochs 30 --hold 5"),
        ({"epochs": 30, "hold": 2}, "--stage text --epochs 30 --hold 2"),
        ({"epochs": 30}, "--stage text --epochs 30"),
    ],
)  # fmt: skip
def test_the_command_names_a_preset_where_that_is_shorter(options: dict[str, object], flags: str) -> None:
    settings = from_options(options, "")
    line = command("toy", settings, 0)
    assert line == f"python harness/posttrain.py vib --backbone toy {flags} --seed 0"
    parser = argparse.ArgumentParser()
    Recipe.options(parser)
    assert Recipe(parser.parse_args(flags.split())).settings.hash == settings.hash


def test_options_that_do_not_go_together_do_not_name_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    from harness import posttrain

    for options in (["--beta=-1"], ["--hold", "99"], ["--target", "speaker"], ["--beta", "nan"], ["--beta", "1,0.1"]):
        assert posttrain.main(["vib", *options]) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: posttrain.py vib: ") and "the file" not in line and line.count("\n") == 1
    assert posttrain.main(["vib", "--standardise", "--raw"]) == 2
    assert "--raw: not allowed with argument --standardise" in capsys.readouterr().err


def test_each_stage_names_its_own_data() -> None:
    assert recipe().data == "tasks/mini/vib_text.yaml" and recipe("acoustic").data == "tasks/mini/vib_speaker.yaml"


def test_a_shipped_file_is_found_by_its_recipe(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from upstreams.vib.checkpoint import Checkpoint
    from upstreams.weights import sha256_file

    folder = tmp_path / "ship" / "toy"
    (path,) = recipe().run(job(data, out=folder / "text_seed0.safetensors"))
    (folder / "SHA256SUMS").write_text(f"{sha256_file(path)}  {path.name}\n")
    monkeypatch.setattr(Checkpoint, "shipped", tmp_path / "ship")
    settings: Settings = recipe().settings
    assert find("toy", settings, 0) == path
    with pytest.raises(UserError, match="no VIB checkpoint for toy"):
        find("toy", recipe(dim=5).settings, 0)
