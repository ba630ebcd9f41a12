"""The heads by name. A task's YAML gives a head its options; a head knows no corpus and no model."""

from harness.registry import Registry

HEADS = Registry(
    "head",
    {
        "xvector": "downstreams.asv:XVector",
        "cosine": "downstreams.asv:Cosine",
    },
)
