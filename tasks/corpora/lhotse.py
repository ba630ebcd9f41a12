"""Any corpus that lhotse has prepared: its manifests of recordings and supervisions, as they lie in one folder.

    timit: {corpus: lhotse, root: /data/manifests/timit}
    fleurs_en: {corpus: lhotse, root: /data/manifests, options: {prefix: fleurs-en_us, language: en}}

`lhotse prepare timit …` writes timit_recordings_TEST.jsonl.gz and timit_supervisions_TEST.jsonl.gz: the split is `test`
(`all` where a name says none). Options: `prefix`, what the names begin with, where a folder holds several corpora;
`audio`, the folder at which relative paths begin; `language`, where the manifests do not say it or say it wrong;
`label`, a supervision's field or key of `custom` that is the class, and `labels`, which of its values are which of ours
(angry=ang,happy=hap: values not named have no `<split>_labelled`); `text: phones` where the text is a row of phones.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.wording import counted
from tasks.corpora.contract import Corpus, Row
from tasks.corpora.tree import File, Tree
from tasks.transcripts import DIGITS, split_of

NAMED = {"english": "en", "chinese": "zh", "mandarin": "zh", "german": "de", "french": "fr", "spanish": "es"}
"""Recipes say the language by its name or its code."""
_MANIFESTS = r"([^/]+?)[_-](recordings|supervisions)(?:[_-]([^/]+))?"


def rows(tree: Tree) -> Iterator[Row]:
    """Raises UserError where lhotse is not installed, a manifest cannot be read, or several corpora lie there."""
    prefix, splits = _manifests(tree)
    left: Counter[str] = Counter()
    for split, files in sorted(splits.items()):
        recordings = {one.id: one for one in _read(tree, files["recordings"])}
        for supervision in _read(tree, files["supervisions"]):
            row = _row(tree, prefix, split, recordings.get(supervision.recording_id), supervision)
            if isinstance(row, str):
                left[row] += 1
            else:
                yield row
    for why, count in left.items():
        tree.gap(f"{counted(count, 'supervision')} left out: {why}")


def _manifests(tree: Tree) -> tuple[str, dict[str, dict[str, File]]]:
    found: dict[str, dict[str, dict[str, File]]] = {}
    for file in tree.files:
        stem = re.sub(r"\.jsonl(\.gz)?$", "", file.path, flags=re.IGNORECASE)
        if stem != file.path and (part := re.fullmatch(rf"(?:.*/)?{_MANIFESTS}", stem, re.IGNORECASE)):
            split = re.sub(r"[^a-z0-9_.+-]", "_", (part[3] or "all").lower())
            found.setdefault(part[1], {}).setdefault(split, {}).setdefault(part[2].lower(), file)
    asked = tree.options["prefix"]
    if len(found) > 1 and not asked:
        raise UserError(
            f"{tree.root}: manifests of one corpus wanted, found {', '.join(sorted(found))}; say which in corpora.yaml "
            f"by options: {{prefix: {min(found)}}}"
        )
    prefix = asked or next(iter(found), "")
    whole = {}
    for split, files in found.get(prefix, {}).items():
        if len(files) == 2:
            whole[split] = files
        else:
            tree.gap(f"split {split}: {next(iter(files))} without the other manifest; run `lhotse prepare` again")
    return prefix, whole


def _read(tree: Tree, file: File) -> Any:
    try:
        lhotse = importlib.import_module("lhotse")
    except ImportError as error:
        raise UserError(
            f"lhotse wanted for its manifests, not installed ({error}): pip install -e '.[corpora]'"
        ) from error
    try:
        return lhotse.load_manifest(tree.root / file.path)
    except Exception as error:  # lhotse raises what its parsers and classes raise: any kind
        raise UserError(
            f"{tree.root / file.path}: a manifest that lhotse {lhotse.__version__} reads wanted, found "
            f"{type(error).__name__} ({str(error)[:80]}); prepare it again"
        ) from None


def _row(tree: Tree, prefix: str, split: str, recording: Any, supervision: Any) -> Row | str:
    """The row, or why there is none."""
    if recording is None:
        return "their recording is in no manifest; prepare again"
    channels = supervision.channel if isinstance(supervision.channel, list) else [supervision.channel]
    source = next((one for one in recording.sources if set(channels) <= set(one.channels)), None)
    if source is None or len(source.channels) > 1 or len(channels) > 1:
        return "of several channels; prepare them as one file a channel"
    if source.type != "file" or recording.transforms:
        return "their audio is no plain file (a command, an address, or changed when read); store it as files"
    path = _path(tree, source.source)
    if path is None:
        return f"no audio at {source.source} or the like; correct the option `audio`"
    text, phones = (supervision.text or "").strip(), ""
    if tree.options["text"] == "phones":
        text, phones, names = "", text, [split]
    else:
        # a set without words, of speakers or emotions, is as whole as any
        names = [split_of(split, text) or split]
    label = _label(tree, supervision)
    if label:
        names.append(f"{split}_labelled")
    whole = supervision.start < 0.02 and abs(supervision.duration - recording.duration) < 0.02
    status = path.stat()
    tree.beside.add(os.fspath(path))
    return Row(
        File(os.fspath(path), status.st_size, status.st_mtime_ns),
        id=_safe(supervision.id),
        split=" ".join(names),
        speaker=_speaker(prefix, supervision.speaker),
        label=label,
        text=text,
        phones=phones,
        language=_language(tree, supervision.language),
        start=0.0 if whole else supervision.start,
        seconds=None if whole else min(supervision.duration, recording.duration - supervision.start),
        recording=_safe(recording.id if len(recording.sources) == 1 else f"{recording.id}-{channels[0]}"),
    )


def _path(tree: Tree, source: str) -> Path | None:
    places = [Path(tree.options["audio"]).expanduser(), tree.root, Path.cwd()]
    return next((path for place in places if (path := (tree.root / place / source)).is_file()), None)


def _safe(name: str) -> str:
    """As an id may be; a name that had other characters keeps apart from its likes by a hash."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _speaker(prefix: str, speaker: str | None) -> str:
    """LibriVox readers have one number in LibriSpeech, LibriTTS and the like."""
    if not speaker:
        return "-"
    return f"ls-{speaker}" if prefix.lower().startswith("libri") else f"{prefix}-{speaker}"


def _language(tree: Tree, said: str | None) -> str:
    name = (tree.options["language"] or said or "").lower()
    return NAMED.get(name, re.split("[-_]", name)[0])


def _label(tree: Tree, supervision: Any) -> str:
    name = tree.options["label"]
    if not name:
        return ""
    value = str(getattr(supervision, name, None) or (supervision.custom or {}).get(name) or "").strip()
    pairs = [pair.partition("=") for pair in tree.options["labels"].split(",") if pair.strip()]
    return {a.strip(): b.strip() for a, _, b in pairs}.get(value, "") if pairs else value


CORPUS = Corpus(
    name="lhotse",
    title="a corpus prepared by lhotse",
    page="https://lhotse.readthedocs.io/en/latest/corpus.html (its recipes, each with where to get the corpus)",
    licence="the corpus's own",
    layout="<prefix>_recordings_<split>.jsonl.gz and <prefix>_supervisions_<split>.jsonl.gz, as `lhotse prepare` "
    "writes them",
    layout_checked="lhotse 1.33, which writes and reads the manifests; what it made them from is its recipe's matter",
    splits={
        "all": "of manifests that name no split; else as they name it, in small letters",
        f"all{DIGITS}": "those whose text has digits; likewise of other names",
        "all_labelled": "those whose label the option `labels` has; likewise of other names",
    },
    rows=rows,
    options={"prefix": "", "audio": "", "language": "", "label": "", "labels": "", "text": "words"},
    language="",
    session=lambda u: u.sha256,  # a recording
    seen_by="unknown here: say it where the results are published",
    suits=("Z", "R", "C"),
)
