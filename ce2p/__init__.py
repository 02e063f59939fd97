"""ce2p: CE2P human-parsing networks, from checkpoints to fast files that are proved, and what runs them.

    import ce2p
    net = ce2p.load("exp-schp-201908261155-lip.pth")            # or ce2p.build("lip-r101-os16")
    made = ce2p.export(net, precision="int8", calib="photos/")
    parser = ce2p.open(made.path)                               # = ce2p_runtime.HumanParser

Importing this package loads neither torch nor any runtime: every name below is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ce2p_runtime import HumanParser
    from ce2p_runtime.people import PeopleParser

    from .api.benchmark import benchmark
    from .api.data import check_data, draw_data, merge_sbd
    from .api.engine import build_engine
    from .api.export import export
    from .api.inspect import inspect
    from .api.models import build, load
    from .api.parse import parse
    from .api.people import parse_people
    from .api.score import score, score_instances
    from .api.train import train
    from .api.verify import verify

    open = HumanParser  # not in __all__: a star import leaves Python's own
    open_people = PeopleParser.open

__all__ = [
    "__version__",
    "benchmark",
    "build",
    "build_engine",
    "check_data",
    "draw_data",
    "export",
    "inspect",
    "load",
    "merge_sbd",
    "open_people",
    "parse",
    "parse_people",
    "score",
    "score_instances",
    "train",
    "verify",
]

__version__ = "0.1.0"

_WHERE = {
    "benchmark": "ce2p.api.benchmark",
    "build": "ce2p.api.models",
    "build_engine": "ce2p.api.engine",
    "check_data": "ce2p.api.data",
    "draw_data": "ce2p.api.data",
    "export": "ce2p.api.export",
    "inspect": "ce2p.api.inspect",
    "load": "ce2p.api.models",
    "merge_sbd": "ce2p.api.data",
    "parse": "ce2p.api.parse",
    "parse_people": "ce2p.api.people",
    "score": "ce2p.api.score",
    "score_instances": "ce2p.api.score",
    "train": "ce2p.api.train",
    "verify": "ce2p.api.verify",
}


def __getattr__(name: str) -> Any:
    if name == "open":
        return import_module("ce2p_runtime").HumanParser
    if name == "open_people":
        return import_module("ce2p_runtime.people").PeopleParser.open
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
