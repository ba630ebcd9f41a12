"""The ICL recipe on made-up voices: what it learns, that it is the same again, resumes, and says what it is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from crossed_tones import DIM, Toy, write_crossed
from safetensors import safe_open

from harness.errors import UserError
from harness.recipe import Job
from harness.train import TrialSpec, fit
from upstreams.icl.checkpoint import command, find, load
from upstreams.icl.network import InputMap
from upstreams.icl.posttrain import Recipe
from upstreams.icl.settings import Settings, from_options
from upstreams.icl.training import Crossed, Input, Learner, Validation, inputs, pair_eer, plan

SMALL = {"hidden": [16, 16], "block_dim": 8, "batch": 12, "steps": 30, "lr": 3e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crossed(tmp_path_factory.mktemp("suite"))


def job(data: Path, *seeds: int, **more: object) -> Job:
    made = Job("icl", "toy", data, list(seeds or (0,)), say=lambda line: None, **more)  # type: ignore[arg-type]
    made.backbone = Toy()
    return made


def recipe(**options: object) -> Recipe:
    return Recipe(argparse.Namespace(**(SMALL | options)))


def crossed(made: Job, split: str) -> Crossed:
    return Crossed(made.splits[split], made.features)


def test_training_separates_the_two_variables(data: Path) -> None:
    made = job(data)
    (path,) = recipe(layers="concat", standardise=True, steps=150).run(made)
    checkpoint = load(path)
    train = crossed(made, "train")
    means, values = train.whole()
    latent = checkpoint.network(means)
    assert pair_eer(latent[:, 0], values[:, 0]) < 5 and pair_eer(latent[:, 1], values[:, 1]) < 5
    assert pair_eer(latent[:, 0], values[:, 1]) > 30 and pair_eer(latent[:, 1], values[:, 0]) > 30


def test_the_file_says_what_it_is(data: Path) -> None:
    made = job(data, 3)
    (path,) = recipe(layers="last", standardise=True).run(made)
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["post_superb"])
    assert said["settings"]["steps"] == 30 and said["settings"]["variant"] == "joint"
    assert (said["seed"], said["layers"], said["kind"], said["standardise"]) == (3, [2], "concat", True)
    assert said["data_hash"] == made.data_hash and said["data"] == "tiny/crossed version 1"
    assert said["backbone"] == "toy" and said["backbone_fingerprint"] == made.backbone.fingerprint
    assert said["recipe_hash"] == from_options(SMALL | {"layers": "last", "standardise": True}, "").hash
    assert set(said["validation"]) == {"speaker_eer", "content_eer", "loss"}
    assert path.name == "seed3.safetensors" and said["recipe_hash"][:16] == path.parent.name
    assert find("toy", recipe(layers="last", standardise=True).settings, 3) == path


def test_validation_figures_are_of_the_weights_in_the_file(data: Path) -> None:
    made = job(data)
    (path,) = recipe(layers="1", standardise=False).run(made)
    checkpoint = load(path)
    means, values = crossed(made, "val").whole()
    latent = checkpoint.network(means)
    assert pair_eer(latent[:, 0], values[:, 0]) == checkpoint.meta.validation["speaker_eer"]
    assert pair_eer(latent[:, 1], values[:, 1]) == checkpoint.meta.validation["content_eer"]


def test_the_same_call_gives_the_same_bytes_and_other_seeds_others(data: Path, tmp_path: Path) -> None:
    first, second = (
        recipe(layers="last", standardise=True).run(job(data, 0, out=tmp_path / name))[0] for name in ("a", "b")
    )
    other = recipe(layers="last", standardise=True).run(job(data, 1, out=tmp_path / "c"))[0]
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()


def test_seeds_together_equal_seeds_alone(data: Path, tmp_path: Path) -> None:
    together = recipe(layers="auto", steps=20).run(job(data, 0, 1))
    alone = recipe(layers="auto", steps=20).run(job(data, 1, out=tmp_path / "alone"))
    assert together[1].read_bytes() == alone[0].read_bytes()


def test_interrupted_it_resumes_to_the_same_bytes(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("upstreams.icl.posttrain.plan", lambda s: plan(s).model_copy(update={"eval_every": 7}))
    steps: list[int] = []
    stop_at = [-1]
    whole = Learner.losses

    def losses(self: Learner, batch: object, active: object) -> torch.Tensor:
        steps.append(len(steps))
        if len(steps) == stop_at[0]:
            raise KeyboardInterrupt
        return whole(self, batch, active)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "losses", losses)
    (straight,) = recipe(standardise=True).run(job(data, 0, out=tmp_path / "straight"))
    # once while the input is chosen (30 updates of all), once while the chosen one trains
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "other"))
    for stop in (18, 14 + 20):
        steps.clear()
        stop_at[0] = stop
        with pytest.raises(KeyboardInterrupt):
            recipe(standardise=True).run(job(data, 0, out=tmp_path / "broken"))
        assert not (tmp_path / "broken").exists()
    stop_at[0] = -1
    steps.clear()
    (broken,) = recipe(standardise=True).run(job(data, 0, out=tmp_path / "broken"))
    assert len(steps) == 30 - 14
    assert straight.read_bytes() == broken.read_bytes()
    assert not list((tmp_path / "other").rglob("*.training.pt"))


def test_a_finished_checkpoint_is_not_made_twice_unless_asked(data: Path) -> None:
    (path,) = recipe(layers="last", standardise=True).run(job(data))
    before = path.stat().st_mtime_ns
    recipe(layers="last", standardise=True).run(job(data))
    assert path.stat().st_mtime_ns == before
    recipe(layers="last", standardise=True).run(job(data, again=True))
    assert path.stat().st_mtime_ns != before


def test_a_broken_file_is_neither_taken_nor_overwritten_unasked(data: Path) -> None:
    (path,) = recipe(layers="last", standardise=True).run(job(data))
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match="--again writes a new one"):
        recipe(layers="last", standardise=True).run(job(data))
    assert path.read_bytes() == b"broken"
    recipe(layers="last", standardise=True).run(job(data, again=True))
    assert load(path).meta.seed == 0


def test_other_data_makes_it_anew(data: Path, tmp_path: Path) -> None:
    (path,) = recipe(layers="last", standardise=True).run(job(data))
    before = load(path).meta.data_hash
    other = write_crossed(tmp_path / "more", train=(4, 9))
    (again,) = recipe(layers="last", standardise=True).run(job(other))
    assert again == path and load(path).meta.data_hash != before


def test_the_input_is_chosen_on_validation_and_every_try_is_kept(data: Path) -> None:
    made = job(data)
    (path,) = recipe().run(made)
    meta = load(path).meta
    tried = {(tuple(c.layers), c.kind, c.standardise) for c in meta.choices}
    single = {((k,), "concat", way) for k in range(3) for way in (True, False)}
    every = {((0, 1, 2), kind, way) for kind in ("concat", "mix") for way in (True, False)}
    assert tried == single | every
    order = [(c.eer, c.loss) for c in meta.choices]
    assert order == sorted(order)
    assert (meta.layers, meta.kind, meta.standardise) == (
        meta.choices[0].layers,
        meta.choices[0].kind,
        meta.choices[0].standardise,
    )


def test_the_choice_is_judged_on_validation_rows(data: Path) -> None:
    """The judge sees the validation rows: with them swapped for noise, its score changes."""
    made = job(data)
    learner = Learner(crossed(made, "train"), [Input((2,), "concat", True)], recipe().settings, 0)
    val = crossed(made, "val")
    before = Validation(val, learner).score(learner.networks[0])
    val.means = torch.randn(val.means.shape, generator=torch.Generator().manual_seed(0))
    assert Validation(val, learner).score(learner.networks[0]) != before


def test_standardisation_is_of_the_training_set_alone(data: Path) -> None:
    made = job(data)
    train, val = crossed(made, "train"), crossed(made, "val")
    (path,) = recipe(layers="concat", standardise=True).run(made)
    kept = load(path).network.inputs
    assert torch.allclose(kept.mean, train.means.mean(0), atol=1e-5)
    assert torch.allclose(kept.std, train.means.std(0, correction=0), rtol=1e-4)
    both = torch.cat([train.means, val.means])
    assert not torch.allclose(kept.mean, both.mean(0), atol=1e-3)
    scaled = kept(train.means)[:, kept.std.flatten() > 1e-4]
    assert scaled.shape[1] > 60
    assert scaled.mean(0).abs().max() < 1e-3 and (scaled.std(0, correction=0) - 1).abs().max() < 1e-2


def test_raw_leaves_the_input_as_it_is(data: Path) -> None:
    made = job(data)
    (path,) = recipe(layers="concat", standardise=False).run(made)
    means = crossed(made, "val").means
    assert torch.equal(load(path).network.inputs(means), means.flatten(1))


def test_learned_mix_moves_its_weights_and_is_a_weighted_sum() -> None:
    mapped = InputMap([0, 2], 4, "mix")
    assert mapped.mix is not None
    hidden = torch.randn(5, 3, 4)
    assert torch.allclose(mapped(hidden), (hidden[:, 0] + hidden[:, 2]) / 2, atol=1e-6)
    with torch.no_grad():
        mapped.mix.copy_(torch.tensor([0.0, 50.0]))
    assert torch.allclose(mapped(hidden), hidden[:, 2], atol=1e-6)


def test_the_mix_is_trained(data: Path) -> None:
    (path,) = recipe(layers="mix", standardise=True).run(job(data))
    mix = load(path).network.inputs.mix
    assert mix is not None and mix.std() > 1e-4


def test_a_dimension_that_never_varies_stays_finite() -> None:
    mapped = InputMap([0], 3, "concat")
    mapped.standardise(torch.tensor([[[1.0, 5.0, 2.0]], [[3.0, 5.0, 2.5]]]))
    assert mapped(torch.tensor([[1.0, 5.0, 2.0]])).tolist() == [-1.0, 0.0, -1.0]


@pytest.mark.parametrize(
    ("options", "blocks", "size"),
    [
        ({"variant": "speaker_only"}, ("speaker",), 8),
        ({"variant": "content_only"}, ("content",), 8),
        ({"residual": True}, ("speaker", "content", "residual"), 24),
        ({"orth_mode": "batch", "margin": 0.1}, ("speaker", "content"), 16),
    ],
)
def test_variants(data: Path, options: dict[str, object], blocks: tuple[str, ...], size: int) -> None:
    (path,) = recipe(layers="last", standardise=True, **options).run(job(data))
    checkpoint = load(path)
    assert checkpoint.meta.settings.blocks == blocks
    assert checkpoint.network(torch.zeros(3, DIM)).flatten().shape == (size,)
    assert {name for name in checkpoint.meta.validation if name != "loss"} == {
        f"{block}_eer" for block in blocks if block != "residual"
    }


def test_networks_side_by_side_train_as_each_alone(data: Path) -> None:
    made = job(data)
    train, val = crossed(made, "train"), crossed(made, "val")
    tried = [Input((0,), "concat", True), Input((0, 1, 2), "mix", False)]

    def states(which: list[Input]) -> list[dict[str, torch.Tensor]]:
        learner = Learner(train, which, recipe().settings, 0)
        judge = Validation(val, learner)
        specs = [TrialSpec(3e-3, 0)] * len(which)
        fit(learner, specs, learner.batch, lambda k: judge.score(learner.networks[k]), plan(recipe().settings))
        return [learner.state(k) for k in range(len(which))]

    for together, (alone,) in zip(states(tried), [states([one]) for one in tried], strict=True):
        assert all(torch.equal(together[name], alone[name]) for name in alone)


def test_paper_preset_holds_the_authors_figures() -> None:
    settings = from_options({"preset": "paper"}, "")
    assert (settings.hidden, settings.block_dim, settings.batch) == ((768, 768), 384, 512)
    assert (settings.lr, settings.steps, settings.temperature) == (1e-4, 480, 0.1)
    assert inputs(settings, 13) == [Input((12,), "concat", False)]
    made = plan(settings)
    assert made.optimiser == "adamw" and made.weight_decay is None
    assert made.onecycle == {"pct_start": 0.1, "div_factor": 25.0, "final_div_factor": 1e3}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"layers": "7"}, "has layers 0 to 2"),
        ({"layers": "lst"}, "auto, last, concat, mix or a layer's number"),
        ({"batch": 13}, "nearest that work are 12"),
        ({"lr": -1.0}, "lr"),
    ],
)
def test_bad_settings_are_one_line(data: Path, options: dict[str, object], wanted: str) -> None:
    with pytest.raises(UserError, match=wanted):
        recipe(**options).run(job(data))


def test_a_hopeless_learning_rate_fails_and_leaves_no_checkpoint(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged"):
        recipe(layers="last", standardise=False, lr=1e30).run(job(data, 0, out=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_the_command_in_a_message_makes_that_recipe() -> None:
    settings = from_options({"variant": "speaker_only", "standardise": False, "hidden": [8, 8], "margin": 0.2}, "")
    line = command("hubert_base", settings, 2)
    assert line.startswith("python harness/posttrain.py icl --backbone hubert_base ") and line.endswith("--seed 2")
    parser = argparse.ArgumentParser()
    Recipe.options(parser)
    words = line.split()[5:-2]
    assert Recipe(parser.parse_args(words)).settings.hash == settings.hash
    paper = from_options({"preset": "paper", "variant": "content_only"}, "")
    line = command("hubert_base", paper, 0)
    assert line.endswith("--backbone hubert_base --preset paper --variant content_only --seed 0")
    assert Recipe(parser.parse_args(line.split()[5:-2])).settings.hash == paper.hash
    # `paper` standardises or not, and no flag says "what does best"
    undecided = paper.model_copy(update={"standardise": None})
    assert "--preset" not in command("hubert_base", undecided, 0) and "None" not in command("hubert_base", undecided, 0)
    assert command("hubert_base", Settings(), 0) == "python harness/posttrain.py icl --backbone hubert_base --seed 0"
