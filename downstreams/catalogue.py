"""The heads by name. A task's YAML gives a head its options; a head knows no corpus and no model."""

from harness.registry import Registry

HEADS = Registry(
    "head",
    {
        "xvector": "downstreams.asv:XVector",
        "cosine": "downstreams.asv:Cosine",
        "pooled_linear": "downstreams.utterance:PooledLinear",
        "pooled_mlp": "downstreams.utterance:PooledMLP",
        "line_text": "downstreams.line_text:LineText",
        "linear_ctc": "downstreams.sequence:LinearCTC",
        "blstm_ctc": "downstreams.sequence:BLSTMCTC",
        "conv_ctc": "downstreams.sequence:ConvCTC",
        "frame_linear": "downstreams.frames:FrameLinear",
        "frame_mlp": "downstreams.frames:FrameMLP",
    },
)
