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
