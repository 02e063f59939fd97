"""Which classes a folder has: a published data set's, or those of its classes.txt.

The published ones stand in `ce2p.datasets` and are importable from here, too.
"""

from __future__ import annotations

from pathlib import Path

from ce2p_runtime.base.typed_json import is_text
from ce2p_runtime.label_conventions import IGNORE

from .data.id_lists import read_lines
from .datasets import LABEL_SETS, LabelSet, guess_dataset, label_set
from .datasets.entry import MOST_NAME
from .errors import DataError

__all__ = ["IGNORE", "LABEL_SETS", "LabelSet", "guess_dataset", "label_set", "labels_in", "read_label_set"]

_MOST_BYTES = 2**18
"""Of a classes.txt: room for 255 names of 200 characters."""


def read_label_set(root: Path) -> LabelSet:
    """The classes of a custom data set from `root/classes.txt`: one name per line, class 0 (background) first.

    Names that differ only in Left and Right are a pair that changes places when a picture is mirrored.
    Raises DataError.
    """
    path = root / "classes.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such file; a custom data set lists its classes there, one per line")
    lines = read_lines(path, "2 to 255 class names, one per line", _MOST_BYTES)
    names = tuple(line.strip() for line in lines if line.strip())
    if odd := [name for name in names if not is_text(name, most=MOST_NAME)]:
        raise DataError(f"{path}: {odd[0]!r:.60} is no name, expected up to 200 characters that can be shown")
    if not 2 <= len(names) <= IGNORE or len(set(names)) < len(names):
        raise DataError(f"{path}: {len(names)} names, {len(set(names))} different; expected 2 to 255 different ones")
    title = root.resolve().name
    return LabelSet.of("custom", title if is_text(title, most=MOST_NAME) else "custom", names)


def labels_in(dataset: str, root: Path) -> LabelSet:
    """The classes of the data set `dataset` in the folder `root`: published ones, or those of a custom classes.txt.

    Raises ConfigError for an unknown data set, DataError as `read_label_set` and where a classes.txt in the folder of a
    published data set lists other classes than that has.
    """
    if dataset == "custom":
        return read_label_set(root)
    labels = label_set(dataset)
    if (root / "classes.txt").is_file():
        own = read_label_set(root)
        if [name.casefold() for name in own.names] != [name.casefold() for name in labels.names]:
            raise DataError(
                f"{root / 'classes.txt'}: lists {own.num_classes} classes ({', '.join(own.names[:3])}, ...), "
                f"{labels.title} has {labels.num_classes} others; take `custom` as the data set (--dataset custom; the "
                "model custom-r18-os16 and the like), or remove the file"
            )
    return labels
