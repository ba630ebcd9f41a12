"""RIRS_NOISES (Ko et al. 2017): room impulse responses, measured and simulated, for the condition `room`.

The measured ones come from AIR, the REVERB challenge and RWCP, most of several channels, of which conditions take the
first. Recorded noises lie in the same folders and are left out by their names. No T60 is given. lhotse takes what has
`rir` in its name, 218 files: those of AIR, which have not, make 325 of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

PAGE = "the corpus's page, as lhotse quotes it: 325 measured responses; 60,000 simulated ones in three sizes of room"


def rows(tree: Tree) -> Iterator[Row]:
    for file, found in tree.matching(r"(air_type\d_air_[a-z0-9_]+|(?:rvb2014|rwcp)_type\d_rir_[a-z0-9_]+)"):
        yield Row(file, id=found[1].lower(), split="real", speaker="-")
    for file, found in tree.matching(r"(small|medium|large)room/(room\d+)/(\2-\d+)"):
        size = found[1].lower()
        yield Row(file, id=f"{size}-{found[3].lower()}", split=f"simulated_{size}", speaker="-")


CORPUS = Corpus(
    name="rirs",
    title="RIRS_NOISES",
    page="https://www.openslr.org/28/",
    licence="Apache-2.0",
    layout="RIRS_NOISES/real_rirs_isotropic_noises/*.wav, RIRS_NOISES/simulated_rirs/{small,medium,large}room/*/*",
    layout_checked="lhotse 1.33 recipes/rir_noise.py (folders, counts); names of all three databases in public recipes",
    splits={
        "real": "measured responses",
        "simulated_small": "simulated, rooms of 1-10 m",
        "simulated_medium": "simulated, rooms of 10-30 m",
        "simulated_large": "simulated, rooms of 30-50 m",
    },
    rows=rows,
    seen_by="no voices; recipes that train on reverberated speech often took these",
    language="",
    expected=[
        Expected("real", files=325, evidence=PAGE),
        *(Expected(f"simulated_{size}", files=20_000, evidence=PAGE) for size in ("small", "medium", "large")),
    ],
    archives=[
        Archive(r"rirs_noises\.zip", "impulse responses and noises",
                r"(?:real_rirs_isotropic_noises|simulated_rirs/(?:small|medium|large)room/room\d+)/[^/]+",
                ("real", *(f"simulated_{size}" for size in ("small", "medium", "large"))), 60_325)
    ],  # fmt: skip
    suits=("C",),
)
