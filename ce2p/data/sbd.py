"""PASCAL VOC with SBD: the 10,582 training pictures ("trainaug") that published VOC scores are trained on.

The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011) annotates 11,355 pictures of VOC 2011: 8,498 in its train
list and 2,857 in its val list, which cut across VOC's own. The rule, as in every public trainaug list:

    trainaug = VOC 2012 train, and SBD train and val, without VOC 2012 val

that is 1,464 pictures with VOC's own annotations, which are finer and mark borders with 255, and 9,118 with SBD's.

The layout read is that of `torchvision.datasets.SBDataset`, which can also download it: `cls/*.mat`, `train.txt` and
`val.txt`. The class itself is not used: it decodes every picture beside its annotation and imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.progress import Progress, without_progress

from ..errors import DataError
from ..labels import IGNORE, label_set
from .annotations import read_labels
from .id_lists import read_id_list
from .splits import voc_folder

TRAINAUG_PICTURES = 10_582
"""How many the rule above gives on the complete VOC 2012 and SBD."""

_SBD_HOMES = ("", "dataset", "benchmark_RELEASE/dataset")


@dataclass(frozen=True)
class Merged:
    """What `merge_sbd` did."""

    id_list: Path
    folder: Path
    from_voc: int
    from_sbd: int
    kept: int
    """Annotations that were there before, and stay as they were."""

    @property
    def pictures(self) -> int:
        return self.from_voc + self.from_sbd


def merge_sbd(voc: Path, sbd: Path, progress: Progress = without_progress) -> Merged:
    """Write `SegmentationClassAug/*.png` and `ImageSets/Segmentation/trainaug.txt` into a VOC 2012 folder.

    Annotations are 8-bit grey class ids, which public loaders read too. Files that are there stay untouched, each new
    one is written whole, and the list comes last: an interrupted run is continued by running again. Raises DataError:
    no VOC or SBD there, pictures missing, a damaged `.mat`, a `trainaug.txt` that lists something else, no scipy.
    """
    load = _loader()
    home, source = voc_folder(voc), _sbd_folder(sbd)
    lists, folder = home / "ImageSets/Segmentation", home / "SegmentationClassAug"
    own, held_out = (_ids(lists / f"{split}.txt") for split in ("train", "val"))
    other = (_ids(source / "train.txt") | _ids(source / "val.txt")) - held_out - own
    names = sorted(own | other)
    id_list = lists / "trainaug.txt"
    written_before = _check_list(id_list, names)
    _require_pictures(home / "JPEGImages", names)
    kept = 0
    for done, name in enumerate(names, 1):
        target = folder / f"{name}.png"
        if target.exists():
            kept += 1
        else:
            plain = home / "SegmentationClass" / f"{name}.png"
            _write(target, read_labels(plain) if name in own else _read_mat(source / "cls" / f"{name}.mat", load))
        progress("merging", done, len(names))
    if not written_before:
        with atomic_path(id_list) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), encoding="ascii")
    return Merged(id_list, folder, len(own), len(other), kept)


def _loader() -> Callable[[str], dict[str, Any]]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError("SBD's annotations are .mat files, which need the package scipy; pip install scipy") from None
    return loadmat


def _sbd_folder(root: Path) -> Path:
    for home in _SBD_HOMES:
        if (root / home / "cls").is_dir():
            return root / home
    what = "holds no folder cls" if root.is_dir() else "no such folder"
    raise DataError(
        f"{root}: {what}, expected SBD as torchvision.datasets.SBDataset stores it (cls/*.mat, train.txt, val.txt); "
        f"unpack benchmark.tgz there"
    )


def _ids(path: Path) -> set[str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected a list of picture ids; complete the data set")
    return set(read_id_list(path, "JPEGImages"))


def _check_list(id_list: Path, names: list[str]) -> bool:
    """Whether the list is there already; raise DataError if it lists something else."""
    if not id_list.exists():
        return False
    present = set(read_id_list(id_list, "JPEGImages"))
    if present != set(names):
        raise DataError(
            f"{id_list}: is there and lists {len(present)} pictures, but VOC and SBD give {len(names)} "
            f"({len(present ^ set(names))} differ); move it away, and it is written again"
        )
    return True


def _require_pictures(folder: Path, names: list[str]) -> None:
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    missing = [name for name in names if f"{name}.jpg" not in present]
    if missing:
        raise DataError(
            f"{folder / missing[0]}.jpg: no such file; {len(missing)} of the {len(names)} training pictures are "
            f"missing; complete VOC 2012"
        )


def _read_mat(path: Path, load: Callable[[str], dict[str, Any]]) -> NDArray[np.uint8]:
    """The class ids of one SBD annotation, uint8 [H, W]."""
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected an annotation of SBD; complete it")
    try:
        ids = np.asarray(load(str(path))["GTcls"][0]["Segmentation"][0])
    except Exception as error:  # scipy raises whatever the damaged part made of it
        raise DataError(
            f"{path}: cannot be read as an annotation of SBD ({type(error).__name__}); copy it again"
        ) from error
    classes = label_set("voc").num_classes
    if ids.ndim != 2 or ids.dtype != np.uint8 or ((ids >= classes) & (ids != IGNORE)).any():
        raise DataError(
            f"{path}: holds {ids.dtype} {list(ids.shape)} with values up to {ids.max(initial=0)}, expected a map of "
            f"class ids 0 to {classes - 1}; copy it again"
        )
    return ids


def _write(path: Path, ids: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", ids)
    if not done:
        raise DataError(f"{path}: cannot be encoded as PNG, expected a map of {list(ids.shape)} ids")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
