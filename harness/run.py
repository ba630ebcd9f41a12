"""The command line: run cells (default), list, describe, check, score, status.

    python harness/run.py -u icl_speaker -d asv_ood
    python harness/run.py -u whisper_tiny+dev,icl_speaker_utt -d asv_ood --head cosine --seeds 0,1,2
    python harness/run.py list upstreams | list tasks
    python harness/run.py describe NAME
    python harness/run.py check -u NAME
    python harness/run.py score RUN
    python harness/run.py status
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python harness/run.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
