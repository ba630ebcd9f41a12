"""The Speech-FT recipe on made-up voices and a small random HuBERT: the schedule, the baselines, resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from killed import in_training
from speech_ft_toys import SMALL, job, recipe, write_data

from harness.errors import UserError
from upstreams.speech_ft import posttrain
from upstreams.speech_ft.checkpoint import load
from upstreams.speech_ft.encoder import inner, trainable
from upstreams.speech_ft.settings import BASELINES, alpha_of, from_options
from upstreams.speech_ft.training import FineTuning, Part, Rows, plan, rate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("suite"))


@pytest.fixture
def folder(hf_folder) -> Path:
    return hf_folder("hubert")


def learner(data: Path, folder: Path, **options: object) -> FineTuning:
    made = job(data, folder)
    settings = from_options(SMALL | {"task": "asr"} | options, "")
    encoder = trainable(made.backbone, front=not settings.stable, dropout=settings.dropout)
    parts = [Part(*(Rows(made.splits[name], encoder) for name in ("train", "val")), made.objective("mini", 0))]
    return FineTuning(encoder, parts, settings, 0)


def step(made: FineTuning, at: int, lr: float = 1e-2) -> None:
    """One update by hand."""
    made.train(True)
    made.begin(at)
    made.zero_grad()
    torch.manual_seed(at)
    made.losses(made.batch(at, 0), [0]).sum().backward()
    torch.optim.Adam(made.trial_parameters(0), lr=lr).step()


def weights(made: FineTuning) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.encoder.module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if torch.equal(one[name], other[name])}


def test_the_head_learns_alone_at_first_and_the_front_end_never(data, folder):
    made = learner(data, folder, steps=20, head_only=0.1)
    start, head = weights(made), made.heads[0].net.linear.weight.detach().clone()
    for at in (0, 1):
        step(made, at)
    assert same(start, weights(made)) == set(start)
    assert not torch.equal(head, made.heads[0].net.linear.weight)
    step(made, 2)
    still = same(start, weights(made))
    front = {name for name in start if name.startswith("feature_extractor.")}
    assert front <= still and "masked_spec_embed" in still
    assert not {name for name in made.encoder.learns if name.endswith("weight")} & still


def test_without_the_stable_schedule_everything_learns_from_the_first_update_at_a_constant_rate(data, folder):
    made = learner(data, folder, stable=False)
    start = weights(made)
    step(made, 0)
    assert "feature_extractor.conv_layers.0.conv.weight" not in same(start, weights(made))
    assert rate(made.settings) is None


def test_the_rate_has_three_stages():
    settings = from_options({"steps": 100}, "")
    factor = rate(settings)
    assert factor is not None
    assert [factor(at) for at in (0, 5, 10, 30, 50)] == [0, 0.5, 1, 1, 1]
    assert factor(75) == pytest.approx(0.5) and factor(99) == pytest.approx(0.02)
    assert plan(settings).clip == 1.0 and plan(settings).optimiser == "adam"


def test_the_early_checkpoint_is_the_last_weights_at_a_fifth_under_the_whole_schedule(data, folder, tmp_path):
    settings = from_options({"steps": 100, "baseline": "early"}, "")
    assert plan(settings).steps == 20
    factor = rate(settings)
    assert factor is not None and factor(19) == 1.0
    (path,) = recipe(baseline="early", steps=20, eval_every=3).run(job(data, folder, out=tmp_path / "early"))
    assert load(path).meta.step == 4


def test_the_l2_penalty_is_the_squared_distance_times_its_weight(data, folder):
    plain, held = learner(data, folder, dropout=0.0), learner(data, folder, dropout=0.0, l2=0.5)
    for made in (plain, held):
        made.train(False)
        with torch.no_grad():
            for value in made.moved.values():
                value.add_(0.01)
    batch = plain.batch(0, 0)
    moved = sum(value.numel() for value in held.moved.values())
    extra = held.losses(batch, [0]) - plain.losses(batch, [0])
    assert float(extra) == pytest.approx(0.5 * moved * 0.01**2, rel=1e-3)
    assert held.terms()["distance"] == pytest.approx(moved * 0.01**2, rel=1e-3)


def test_the_feature_penalty_is_the_mean_squared_distance_to_the_pretrained_state(data, folder):
    plain, held = learner(data, folder), learner(data, folder, features=3.0)
    batch = plain.batch(0, 0)
    for made in (plain, held):
        made.train(False)
    assert float(held.losses(batch, [0])) == pytest.approx(float(plain.losses(batch, [0])))
    fronts = [held.parts[0].train.front(place) for place in batch.places]
    with torch.no_grad():
        before, _ = held.encoder(fronts)
        for made in (plain, held):
            made.moved["encoder.layers.1.final_layer_norm.bias"].add_(0.3)
        after, _ = held.encoder(fronts)
    extra = held.losses(batch, [0]) - plain.losses(batch, [0])
    assert float(extra) == pytest.approx(3.0 * float((after - before).square().mean()), rel=1e-3)
    assert float(extra) == pytest.approx(3.0 * 0.09, rel=1e-2)  # the last norm's bias moves each frame by 0.3


def test_a_gradient_is_the_difference_quotient(data, folder):
    made = learner(data, folder, dropout=0.0, l2=0.1, features=0.5)
    made.train(False)
    batch = made.batch(0, 0)
    with torch.no_grad():
        for value in made.moved.values():
            value.add_(0.003 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    made.zero_grad()
    made.losses(batch, [0]).sum().backward()
    for name in ("encoder.layers.0.attention.k_proj.weight", "encoder.layers.1.final_layer_norm.weight"):
        value = made.moved[name]
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
        found = []
        with torch.no_grad():
            for sign in (1, -1):
                value.add_(sign * 1e-2 * direction)
                found.append(float(made.losses(batch, [0])))
                value.sub_(sign * 1e-2 * direction)
        assert float((value.grad * direction).sum()) == pytest.approx((found[0] - found[1]) / 2e-2, rel=0.05, abs=2e-3)


def test_it_learns_and_the_file_says_what_it_is(data, folder):
    made = job(data, folder, 3)
    (path,) = recipe(steps=60, eval_every=20).run(made)
    meta = load(path).meta
    assert (meta.settings.task, meta.seed, meta.form, meta.backbone) == ("asr", 3, "weights", "hubert_base")
    assert set(meta.validation) == {"tones_words_wer"} and meta.step in (20, 40, 60)
    assert not any(name.startswith("feature_extractor") for name in meta.shapes)
    log = path.with_suffix(".csv").read_text()
    losses = [float(line.split(",")[-1]) for line in log.splitlines() if ",task_loss," in line]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert recipe(steps=60, eval_every=20).run(made) == [path]  # made once


def test_validation_figures_are_of_the_weights_in_the_file(data, folder):
    made = job(data, folder)
    (path,) = recipe(eval_every=3).run(made)
    checkpoint = load(path)
    pretrained = dict(inner(made.backbone).state_dict())
    moved = checkpoint.finetuned(pretrained)
    assert moved and same(moved, pretrained) != set(moved)
    log = (path.with_suffix(".csv")).read_text().splitlines()
    judged = {int(line.split(",")[0]): float(line.split(",")[-1]) for line in log if ",dev_metric," in line}
    assert judged[checkpoint.meta.step] == checkpoint.meta.validation["tones_words_wer"] == min(judged.values())


def test_training_leaves_the_backbone_as_it_was(data, folder):
    for options in ({}, {"baseline": "lora"}):
        made = job(data, folder)
        before = {name: value.clone() for name, value in inner(made.backbone).state_dict().items()}
        recipe(**options).run(made)
        after = inner(made.backbone).state_dict()
        assert list(after) == list(before) and same(before, dict(after)) == set(before)


@pytest.mark.parametrize("baseline", [None, "unstable", "l2", "features", "lora", "dora"])
def test_interrupted_it_resumes_to_the_same_bytes(data, folder, baseline, tmp_path):
    if baseline in ("lora", "dora"):
        pytest.importorskip("peft")
    more = {} if baseline is None else {"baseline": baseline}
    (straight,) = recipe(**more).run(job(data, folder, out=tmp_path / "straight"))
    with in_training(9):
        recipe(**more).run(job(data, folder, out=tmp_path / "broken"))
    (broken,) = recipe(**more).run(job(data, folder, out=tmp_path / "broken"))
    assert straight.read_bytes() == broken.read_bytes()
    assert straight.with_suffix(".csv").read_bytes() == broken.with_suffix(".csv").read_bytes()


def test_seeds_together_equal_seeds_alone(data, folder, tmp_path):
    together = recipe().run(job(data, folder, 0, 1))
    (alone,) = recipe().run(job(data, folder, 1, out=tmp_path / "alone"))
    assert together[1].read_bytes() == alone.read_bytes() != together[0].read_bytes()


@pytest.mark.parametrize(("option", "message"), [("export", "is there already"), ("delta8", "is a folder")])
def test_a_place_that_is_taken_is_said_before_training(data, folder, tmp_path, option, message):
    place = tmp_path / "taken.safetensors.xz"
    place.mkdir()
    (place / "model.safetensors").touch()
    made = job(data, folder, out=tmp_path / "seed0.safetensors")
    with pytest.raises(UserError, match=message):
        recipe(**{option: place}).run(made)
    assert not made.out.exists()


def test_an_epoch_reads_every_utterance_once_with_similar_lengths_together(data, folder):
    made = learner(data, folder)
    updates = -(-len(made.parts[0].train.ids) // 4)
    epochs = [[made.batch(start + at, 0).places for at in range(updates)] for start in (0, updates)]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == list(range(16))
    assert epochs[0] != epochs[1]
    seconds = [u.duration for u in made.parts[0].train.split.utterances]
    for places in epochs[0]:
        assert [seconds[place] for place in places] == sorted(seconds[place] for place in places)


def test_speakers_and_units_are_objectives_too(tmp_path, folder):
    for kind, metric in (("classification", "accuracy"), ("units", "accuracy")):
        data = write_data(tmp_path / kind, kind)
        (path,) = recipe(task="sid" if kind != "units" else "spanish").run(job(data, folder))
        score = load(path).meta.validation[f"tones_{kind}_{metric}"]
        assert 0 <= score <= 100


def test_several_tasks_take_turns_within_an_update(tmp_path, folder, monkeypatch):
    suite = {name: write_data(tmp_path / name, kind) for name, kind in (("pr", "words"), ("sid", "classification"))}
    monkeypatch.setattr(posttrain, "_yaml", lambda task: str(suite[task]))
    made = recipe(task="pr+sid")
    assert made.settings.accumulate == 2 and made.settings.tasks == ["pr", "sid"]
    (path,) = made.run(job(suite["pr"], folder))
    assert set(load(path).meta.validation) == {"tones_words_wer", "tones_classification_accuracy"}


def test_rounds_begin_where_the_last_merge_ended(tmp_path, folder, monkeypatch):
    suite = {name: write_data(tmp_path / name, kind) for name, kind in (("pr", "words"), ("sid", "classification"))}
    monkeypatch.setattr(posttrain, "_yaml", lambda task: str(suite[task]))
    second = recipe(task="sid", after=("pr",))
    with pytest.raises(UserError, match="speech_ft --backbone hubert_base --task pr"):
        second.run(job(suite["sid"], folder))
    (first,) = recipe(task="pr").run(job(suite["pr"], folder))
    (path,) = second.run(job(suite["sid"], folder))
    theta0 = {name: v.clone() for name, v in inner(job(suite["sid"], folder).backbone).state_dict().items()}
    began, _ = second.before(job(suite["sid"], folder), 0)
    name = "encoder.layers.0.feed_forward.output_dense.weight"
    round1 = load(first).finetuned(theta0)[name]
    torch.testing.assert_close(began[name], theta0[name] + 0.25 * (round1 - theta0[name]))
    assert load(path).meta.before_sha256
    # another first round makes the second one anew
    stamp = path.stat().st_mtime_ns
    assert second.run(job(suite["sid"], folder)) == [path] and path.stat().st_mtime_ns == stamp
    recipe(task="pr", lr=1e-3).run(job(suite["pr"], folder, out=first, again=True))
    assert second.run(job(suite["sid"], folder)) == [path] and path.stat().st_mtime_ns != stamp


def test_paper_preset_holds_the_published_figures():
    asr = from_options({"preset": "paper", "task": "asr"}, "")
    assert (asr.steps, asr.lr, asr.batch, asr.accumulate, asr.eval_every) == (50_000, 1e-4, 16, 1, 2000)
    er = from_options({"preset": "paper", "task": "er"}, "")
    assert (er.steps, er.batch, er.accumulate, er.eval_every) == (30_000, 4, 8, 1000)
    for made in (asr, er):
        assert (made.head_only, made.hold, made.stable, made.dropout, made.until) == (0.1, 0.4, True, None, 1.0)
    assert alpha_of(None) == alpha_of("unstable") == 0.25
    assert {alpha_of(name) for name in BASELINES if name != "unstable"} == {1.0}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"task": "arr"}, "unknown task to fine-tune on 'arr'; did you mean asr"),
        ({"task": "pr+pr"}, "each task wanted once, found pr, then pr"),
        ({"task": "pr", "after": ("sid", "pr")}, "each task wanted once, found sid, then pr, then pr"),
        ({"preset": "big"}, "preset 'big' unknown"),
        ({"head_only": 0.7, "hold": 0.4}, "leave room for the fall"),
        ({"alpha": 0.5}, "add --export FOLDER, or give it to the upstream, as -u speech_ft_asr"),
        ({"alpha": 2.0, "export": Path("x")}, "0 \\(pre-trained\\) to 1"),
        ({"delta8": Path("x.txt")}, "ends in .safetensors.xz wanted"),
        ({"lr": -1.0}, "lr"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(options, wanted):
    with pytest.raises(UserError, match=wanted) as error:
        recipe(**options)
    assert "\n" not in str(error.value)
