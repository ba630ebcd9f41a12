"""Published results and runs to try the leaderboard on, in a cache of their own."""

import shutil

import pytest
from made_up_runs import write_run

from leaderboard import build, publish


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(shared_cache, monkeypatch):
    monkeypatch.setenv("POST_SUPERB_CACHE", str(shared_cache))


@pytest.fixture
def make_run(tmp_path):
    """Call it as write_run without a folder; returns the folder."""
    made = iter(range(1000))

    def make(*arguments, under="runs", **options):
        folder = tmp_path / under / f"run{next(made)}"
        write_run(folder, *arguments, **options)
        return folder

    return make


@pytest.fixture(scope="session")
def published_once(tmp_path_factory, shared_cache):
    """Two heads, a backbone with its baselines and two post-trained upstreams; two of them with two seeds."""
    home = tmp_path_factory.mktemp("published")
    folder = home / "leaderboard" / "results"
    icl = {"base": "whisper_tiny", "strength": 0.8, "note": "Our extension."}
    utterance = {"base": "whisper_tiny", "strength": 0.5, "level": "utterance", "head": "cosine"}
    runs = [("whisper_tiny", {"seed": seed}) for seed in (0, 1)]
    runs += [("icl_speaker", {"seed": seed} | icl) for seed in (0, 1)]
    runs += [("whisper_tiny+dev", {"strength": 0.1}), ("whisper_tiny+dev", {"head": "cosine"}), ("icl_utt", utterance)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POST_SUPERB_CACHE", str(shared_cache))
        for number, (upstream, options) in enumerate(runs):
            write_run(home / f"run{number}", upstream, **options)
            publish.add(home / f"run{number}", folder)
        build.build([folder], folder.parent)
    return folder


@pytest.fixture
def results(published_once, tmp_path):
    shutil.copytree(published_once.parent, tmp_path / "leaderboard")
    return tmp_path / "leaderboard" / "results"


UPSTREAMS = {"whisper_tiny": 0.0, "whisper_tiny+dev": 0.5, "fbank": -0.4, "icl_speaker": 1.2, "icl_content": 0.2}
"""By name, how strong."""


@pytest.fixture(scope="session")
def three_kinds(tmp_path_factory, shared_cache):
    """Tasks of three kinds: verification, classification under two heads, and words, where one upstream is lacking.

    For reading only; a test that changes it takes `three_kinds_copy`."""
    folder = tmp_path_factory.mktemp("three_kinds") / "leaderboard" / "results"
    runs = [("ks", head, name, strength) for head in ("linear", "mlp") for name, strength in UPSTREAMS.items()]
    runs += [("asr", "ctc", name, strength) for name, strength in UPSTREAMS.items() if name != "fbank"]
    runs += [("asv", "cosine", name, strength) for name, strength in UPSTREAMS.items()]
    runs += [("asv", "xvector", name, UPSTREAMS[name]) for name in ("whisper_tiny", "fbank", "icl_speaker")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POST_SUPERB_CACHE", str(shared_cache))
        for task, head, name, strength in runs:
            # under the other head fbank is the strongest: the order depends on the head
            moved = 2.0 if (head, name) == ("mlp", "fbank") else strength
            base = {"base": "whisper_tiny"} if name.startswith("icl") else {}
            write_run(folder / f"{task}-{head}-{name}", name, task=task, head=head, strength=moved, **base)
        build.build([folder], folder.parent)
    return folder


@pytest.fixture
def three_kinds_copy(three_kinds, tmp_path):
    shutil.copytree(three_kinds.parent, tmp_path / "three_kinds" / "leaderboard")
    return tmp_path / "three_kinds" / "leaderboard" / "results"
