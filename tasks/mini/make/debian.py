"""Audio out of Debian packages, without installing them: fetch, unpack, identify, quote the licence.

    root = unpack("kajongg", scratch)    # scratch/debs/kajongg_*.deb -> scratch/x/kajongg
    facts(scratch, "kajongg")            # ("4:22.12.3-1", sha256 of the .deb)

Needs `dpkg-deb`, and `apt-get download PACKAGE` where the .deb is not in scratch/debs yet.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np

from tasks.mini.make.pack import Wave, resample, trim

BELOW_DB, KEEP = 30.0, 0.06
"""Home recordings have a high noise floor: what is 30 dB under the loudest frame counts as silence."""


def archive(package: str, scratch: Path) -> Path:
    """The package's .deb in scratch/debs, downloaded if need be. Raises FileNotFoundError without one."""
    folder = scratch / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
    found = sorted(folder.glob(f"{package}_*.deb"))
    if not found:
        raise FileNotFoundError(f"no {package}_*.deb in {folder}")
    return found[-1]


def unpack(package: str, scratch: Path) -> Path:
    """The root of the unpacked package."""
    root = scratch / "x" / package
    if not root.exists():
        subprocess.run(["dpkg-deb", "-x", str(archive(package, scratch)), str(root)], check=True)
    return root


def facts(scratch: Path, package: str) -> tuple[str, str]:
    """Version and sha256 of the .deb."""
    deb = archive(package, scratch)
    done = subprocess.run(["dpkg-deb", "-f", str(deb), "Version"], check=True, capture_output=True, text=True)
    return done.stdout.strip(), hashlib.sha256(deb.read_bytes()).hexdigest()


def copyright_text(package: str, scratch: Path) -> str:
    """The copyright file that the package brings."""
    path = unpack(package, scratch) / "usr/share/doc" / package / "copyright"
    return path.read_text(encoding="utf-8")


def licence(names: list[str], scratch: Path, common: str = "GPL-2", note: str = "") -> str:
    """A LICENCE file: a note, the copyright file of every package, the common licence in full."""
    parts = [note] if note else []
    parts += [f"Copyright file of the Debian package {name}\n\n{copyright_text(name, scratch)}" for name in names]
    full = Path("/usr/share/common-licenses") / common
    parts.append(full.read_text(encoding="utf-8"))
    return ("\n" + "=" * 78 + "\n\n").join(part.rstrip() + "\n" for part in parts)


def read(path: Path) -> Wave:
    """(n,) at 16 kHz, trimmed. Raises ValueError for a silent file."""
    import soundfile

    wave, rate = soundfile.read(path)
    return trim(resample(np.asarray(wave, dtype=np.float64), rate), BELOW_DB, KEEP)
