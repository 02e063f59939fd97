"""What differs between the versions of PyAV that ce2p supports, in one place: 17 to 19."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..base.text import install_hint
from ..errors import MediaError


def load_av() -> Any:
    """The `av` module, imported on first use since pictures do not need it. Raises MediaError without it."""
    try:
        import av
    except ImportError as error:
        raise MediaError(f"video needs PyAV, which cannot be imported ({error}); {install_hint('cli')}") from error
    return av


def open_arguments(av: Any) -> dict[str, str]:
    """Arguments for `av.open` that keep metadata which is not UTF-8 from ending the opening."""
    # From 19 on, metadata is always read so that odd bytes survive, and the argument is gone.
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def fraction(value: Any) -> Fraction | None:
    """A rational number of PyAV as a Fraction; None where it is not set, or no number."""
    # Up to 18: Fraction or None. From 19 on: its own type, which is 0/1 when not set, and may be 0/0 or 1/0.
    if value is None or not value.denominator or not value.numerator:
        return None
    return Fraction(int(value.numerator), int(value.denominator))
