"""Words about upstreams, tasks and corpora: what `list`, `describe` and `check` print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from harness.errors import UserError
from harness.paths import corpora_file
from harness.registry import resolve, unknown
from harness.wording import counted


def upstreams() -> str:
    """A line an upstream: name, family, backbone, what it is."""
    describe = resolve("upstreams.catalogue:describe")
    rows = []
    for name in resolve("upstreams.catalogue:names")():
        card = describe(name)
        rows.append([name, card["family"], card.get("backbone") or "", card["licence"], _first(card.get("note", ""))])
    tail = (
        "\nu@backbone puts a post-trained upstream on another backbone; backbone+last, +dev, +input are baselines; "
        "s3prl:NAME is s3prl's own."
    )
    return tabulate(rows, headers=["upstream", "family", "backbone", "licence", "note"], tablefmt="simple") + tail


def tasks() -> str:
    """A line a task of every suite, with its splits and their kinds."""
    names, load = resolve("tasks.catalogue:names"), resolve("tasks.catalogue:load")
    rows = []
    for suite in resolve("tasks.catalogue:suites")():
        for name in names(suite):
            task, with_ood = load(name, suite)
            splits = ["test (ID)", *(f"{s.name} ({s.kind})" for s in task.ood if with_ood)]
            rows.append([suite, name, task.title, task.metric, ", ".join(task.heads), ", ".join(splits)])
    return tabulate(
        rows,
        headers=["suite", "task", "title", "metric", "heads", "splits"],
        tablefmt="simple",
        maxcolwidths=[None, None, None, None, None, 70],
    )


def corpora() -> str:
    """A line a corpus whose layout is known, and a line each of the user's file that names one otherwise."""
    known, load = resolve("tasks.corpora.registry:names")(), resolve("tasks.corpora.registry:load")
    yours = resolve("tasks.folders:sources")()
    rows = []
    for name in sorted({*known, *yours}):
        source = yours.get(name)
        corpus = load(name) if name in known else source.corpus
        title = corpus.title if corpus else "a manifest of your own"
        licence, kinds = (corpus.licence, "".join(corpus.suits)) if corpus else ("", "")
        rows.append([name, title, kinds, licence, str(source.root) if source else ""])
    headers = ["corpus", "title", "kinds", "licence", "folder"]
    tail = f"\nfolders stand in {corpora_file()}; `describe CORPUS` says where to get one and how it is laid out"
    return tabulate(rows, headers=headers, tablefmt="simple", maxcolwidths=[None, 40, None, 40, None]) + tail


def one(name: str, suite: str) -> str:
    """Everything about an upstream, a task or a corpus, as YAML. Raises UserError for a name that is none."""
    tasks_known = resolve("tasks.catalogue:names")(suite)
    parts = resolve("tasks.catalogue:expand")(name, suite)
    if name in tasks_known:
        return _task(name, suite)
    if len(parts) > 1:
        return _folds(name, parts, suite)
    corpora_known = sorted({*resolve("tasks.corpora.registry:names")(), *resolve("tasks.folders:sources")()})
    if name in corpora_known:
        return _corpus(name)
    upstreams_known = resolve("upstreams.catalogue:names")()
    if name not in upstreams_known and not set(name) & set("@+:"):
        raise unknown("upstream, task or corpus", name, [*upstreams_known, *tasks_known, *corpora_known])
    card: dict[str, Any] = resolve("upstreams.catalogue:describe")(name)
    return _yaml(card)


def _corpus(name: str) -> str:
    """The statement of a corpus's module, and the folder that the user gave."""
    source = resolve("tasks.folders:sources")().get(name)
    where = str(source.root) if source else f"none given; add `{name}: FOLDER` under `corpora:` in {corpora_file()}"
    if source and source.corpus is None:
        return _yaml({"corpus": name, "manifest": where, **_counts(name)})
    corpus = source.corpus if source else resolve("tasks.corpora.registry:load")(name)
    said: dict[str, Any] = {
        "corpus": name,
        "title": corpus.title,
        "page": corpus.page,
        "licence": corpus.licence,
        "language": corpus.language or "of each row",
        "layout": corpus.layout,
        "layout_checked": corpus.layout_checked,
        "splits": dict(corpus.splits),
        "trials": sorted(corpus.trials),
        "archives": [f"{one.name.replace(chr(92), '')}: {one.gives}" for one in corpus.archives],
        "labels": dict(corpus.labels),
        "options": dict(corpus.options),
        "kinds of OOD split": ", ".join(corpus.suits),
        "norm_version": corpus.norm_version,
        "expected": [_expected(one) for one in corpus.expected],
        "seen_by": corpus.seen_by,
        "folder": where,
    }
    return _yaml({key: value for key, value in said.items() if value not in ("", [], {})})


def _counts(name: str) -> dict[str, Any]:
    """What a user's own CSV has. Raises UserError for a bad row."""
    got = resolve("tasks.prepared:prepared")(name)
    splits = {split: f"{counted(int(found['rows']), 'row')}, {counted(int(found['speakers']), 'speaker')}, "
              f"{found['hours']:.3g} h" for split, found in got.counts.items()}  # fmt: skip
    return {
        "columns": ", ".join(resolve("tasks.own_manifest:columns")(got.source.root)),
        "rows": len(got.rows),
        "speakers": len({u.speaker for u in got.rows} - {"", "-"}),
        "hours": float(f"{sum(u.duration for u in got.rows) / 3600:.3g}"),
        "splits": splits,
    }


def _expected(wanted: Any) -> str:
    name = f"{wanted.split} and {wanted.also}" if wanted.also else wanted.split
    about = f" within {wanted.tolerance:.1%}" if wanted.tolerance else ""
    parts = [f"{name}: {counted(wanted.files, 'row')}{about}"]
    parts += [counted(wanted.speakers, "speaker")] if wanted.speakers is not None else []
    parts += [f"{wanted.hours:g} h"] if wanted.hours is not None else []
    return f"{', '.join(parts)} ({wanted.evidence})"


def _yaml(data: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return text.rstrip()


COLUMNS = ["split", "kind", "corpus", "clips", "speakers", "minutes", "trials", "shift", "confounded"]


def _task(name: str, suite: str) -> str:
    task, rows = _splits(name, suite)
    head = (
        f"{name} ({suite}): {task.title}; metric {task.metric}; heads {', '.join(task.heads)}\n{task.note.strip()}\n\n"
    )
    return head + tabulate(rows, headers=COLUMNS, tablefmt="simple")


def _folds(name: str, parts: Sequence[str], suite: str) -> str:
    """A task that has a cell a fold: all folds in one table."""
    rows: list[list[Any]] = []
    for part in parts:
        task, own = _splits(part, suite)
        rows += [[part.removesuffix("_ood"), *row] for row in own]
    head = (
        f"{name} ({suite}): {counted(len(parts), 'fold')}, a cell each: {', '.join(parts)}; metric {task.metric}; "
        f"heads {', '.join(task.heads)}\n{task.note.strip()}\n\n"
    )
    return head + tabulate(rows, headers=["fold", *COLUMNS], tablefmt="simple")


def _splits(name: str, suite: str) -> tuple[Any, list[list[Any]]]:
    """The task, and a row of `COLUMNS` a split."""
    task, with_ood = resolve("tasks.catalogue:load")(name, suite)
    data = resolve("tasks.catalogue:Data")(task)
    rows: list[list[Any]] = []
    for split in ["train", "dev", "test", *(s.name for s in task.ood if with_ood)]:
        ood = next((s for s in task.ood if s.name == split), None)
        part = data.named(split)
        minutes = sum(u.duration for u in part.utterances) / 60
        rows.append(
            [
                split,
                ood.kind if ood else "",
                "+".join(sorted({u.corpus for u in part.utterances})),
                len(part.utterances),
                len({u.speaker for u in part.utterances}),
                f"{minutes:.1f}",
                len(part.trials) or "",
                ood.shift if ood else "",
                ood.confounded if ood else "",
            ]
        )
    return task, rows


def check(names: Sequence[str], folder: Path | None, checkpoint: Path | None, device: str) -> int:
    """Print each check of each upstream; raises UserError if one failed."""
    from harness.check import check as run_checks
    from harness.encode import base_of

    failed = []
    for name in names:
        own_folder = resolve("upstreams.catalogue:takes_folder")(name)
        upstream = resolve("upstreams.catalogue:build")(
            name, folder=folder if own_folder else None, checkpoint=checkpoint, device=device
        )
        checks = run_checks(upstream, base=base_of(upstream, folder=folder, device=device))
        rows = [[name, c.name, "ok" if c.ok else "FAILED", c.detail] for c in checks]
        print(
            tabulate(
                rows,
                headers=["upstream", "check", "", "detail"],
                tablefmt="simple",
                maxcolwidths=[None, None, None, 80],
            )
        )
        failed += [f"{name}: {c.name}" for c in checks if not c.ok]
    if failed:
        raise UserError(f"{len(failed)} checks failed: {'; '.join(failed)}")
    return 0


def _first(note: str) -> str:
    text = " ".join(note.split())
    return text if len(text) <= 60 else text[:59] + "…"
