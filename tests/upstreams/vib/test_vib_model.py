"""The VIB upstreams: streams, controls, and which stage 1 goes with which stage 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from crossed_tones import DIM, Toy
from safetensors.torch import load_file, save_file
from vib_toys import job, recipe, write_data

from harness.check import check
from harness.contracts import Upstream
from harness.errors import UserError
from upstreams.card import Card
from upstreams.vib.checkpoint import load
from upstreams.vib.model import build

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("suite"))


@pytest.fixture
def made(data: Path) -> dict[str, Path]:
    """Both stages in the test's own cache."""
    (text,) = recipe().run(job(data))
    (acoustic,) = recipe("acoustic").run(job(data))
    return {"text": text, "acoustic": acoustic}


def upstream(stream: str, file: Path | None = None, **options: Any) -> Any:
    target = {} if stream == "text" else {"target": "speaker"}
    card = Card(
        family="vib", backbone="toy", options={"stream": stream} | target | options,
        contamination="no", supervised=True, licence="Apache-2.0", source="a test",
    )  # fmt: skip
    return build(card, f"vib_{stream}", "toy", 0, file)


def hidden(frames: int) -> torch.Tensor:
    return torch.randn(frames, 3, DIM, generator=torch.Generator().manual_seed(frames))


def test_streams_are_the_means_of_their_stages(made: dict[str, Path]) -> None:
    x = hidden(9)
    text, acoustic, both = (upstream(stream) for stream in ("text", "acoustic", "both"))
    assert isinstance(text, Upstream)
    assert (text.base, text.level, text.dim, text.num_layers, text.stride) == ("toy", "frame", 6, 1, 320)
    assert both.dim == 12
    mu = [load(made[stage]).network.encode(x)[0] for stage in ("text", "acoustic")]
    assert torch.equal(text.transform([x])[0][:, 0], mu[0])
    assert torch.equal(acoustic.transform([x])[0][:, 0], mu[1])
    assert torch.equal(both.transform([x])[0][:, 0], torch.cat(mu, dim=1))
    assert len({text.fingerprint, acoustic.fingerprint, both.fingerprint}) == 3


def test_a_stream_does_not_depend_on_the_batch_or_on_a_seed(made: dict[str, Path]) -> None:
    one = upstream("both")
    torch.manual_seed(0)
    alone = one.transform([hidden(5)])[0]
    torch.manual_seed(1)
    beside = one.transform([hidden(11), hidden(5), hidden(30)])[1]
    assert torch.equal(alone, beside)


@pytest.mark.parametrize("stream", ["text", "acoustic", "both"])
def test_every_check_passes(made: dict[str, Path], stream: str) -> None:
    results = check(upstream(stream), base=Toy(), bridge=None)
    assert [str(result) for result in results if not result.ok] == []


def test_the_control_is_another_checkpoint(data: Path, made: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="no VIB checkpoint for toy.*--no-bottleneck"):
        upstream("text", bottleneck=False)
    recipe(bottleneck=False).run(job(data))
    recipe("acoustic", bottleneck=False).run(job(data))
    control, plain = upstream("both", bottleneck=False), upstream("both")
    assert control.fingerprint != plain.fingerprint
    assert [str(result) for result in check(control, base=Toy(), bridge=None) if not result.ok] == []


def test_both_takes_the_stage_1_that_stage_2_was_conditioned_on_and_no_other(
    data: Path, made: dict[str, Path], tmp_path: Path
) -> None:
    recipe(lr=1e-3).run(job(data, again=True, out=made["text"]))
    with pytest.raises(UserError, match="conditioned on a stage 1 whose .* none of the 2 files"):
        upstream("both")
    assert upstream("acoustic").dim == 6
    # another in its place is not taken, the right one beside stage 2 is
    recipe().run(job(data, out=made["acoustic"].parent / "text.safetensors"))
    assert upstream("both").dim == 12
    stage_2 = load(made["acoustic"])
    with pytest.raises(UserError, match="is not the stage 1 that this stage 2 was conditioned on"):
        stage_2.check_text(load(made["text"]), str(made["text"]))


@pytest.mark.parametrize("damage", ["flip", "cut", "rubbish", "folder"])
def test_a_damaged_copy_beside_stage_2_is_passed_over(made: dict[str, Path], tmp_path: Path, damage: str) -> None:
    """The folder's other files are only candidates: the cache has the right stage 1."""
    stage_2, beside = tmp_path / "mine" / "b.safetensors", tmp_path / "mine" / "a.safetensors"
    stage_2.parent.mkdir()
    stage_2.write_bytes(made["acoustic"].read_bytes())
    content = bytearray(made["text"].read_bytes())
    content[-1] ^= 255
    if damage == "folder":
        beside.mkdir()
    else:
        beside.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "rubbish": b"no weights"}[damage])
    assert upstream("both", stage_2).dim == 12
    made["text"].unlink()
    with pytest.raises(UserError, match=r"b\.safetensors was conditioned on a stage 1 whose") as caught:
        upstream("both", stage_2)
    assert ("a copy is damaged" in str(caught.value)) == (damage == "flip")


@pytest.mark.parametrize("said", ["{}", '{"format": "post-superb vib 0"}'])
def test_what_is_no_checkpoint_is_one_line(made: dict[str, Path], tmp_path: Path, said: str) -> None:
    with pytest.raises(UserError, match="is a folder: wanted a file, a checkpoint of VIB"):
        load(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"post_superb": said})
    with pytest.raises(UserError, match="is no VIB checkpoint of this version"):
        load(tmp_path / "x.safetensors")


def test_another_backbone_is_refused(made: dict[str, Path]) -> None:
    upstream("both").check_base(Toy(fingerprint="f" * 64))
    with pytest.raises(UserError, match="was trained on another backbone: wanted toy"):
        upstream("both").check_base(Toy(seed=1))
    with pytest.raises(UserError, match=f"trained on 3 layers x {DIM} of toy, found 5 x {DIM}"):
        upstream("text").transform([torch.zeros(4, 5, DIM)])


def test_a_file_of_another_stage_is_refused(made: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="wants a checkpoint with stage text, .* has acoustic"):
        upstream("text", made["acoustic"])
    with pytest.raises(UserError, match="wants a checkpoint with stage acoustic"):
        upstream("both", made["text"])


@pytest.mark.parametrize("options", [{"strem": 1}, {"recipe": {"epoch": 3}}, {"target": "x"}, {"bottleneck": "maybe"}])
def test_wrong_card_options_are_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="card of vib_text"):
        upstream("text", **options)


def test_a_stage_2_wants_a_target() -> None:
    with pytest.raises(UserError, match="wants a target"):
        upstream("both", target=None)


def test_a_file_is_kept_in_half_precision_but_for_statistics_and_the_probe(made: dict[str, Path]) -> None:
    types = {name: value.dtype for name, value in load_file(made["text"]).items()}
    assert types["encoder.enc1.weight"] == types["decoder.lm_head.weight"] == torch.float16
    assert {types[name] for name in ("mix.mean", "mix.std", "mix.weights", "probe")} == {torch.float32}
