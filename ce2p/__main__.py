"""Entry point of the `ce2p` command.

Status 0: done and verified; 1: failed, one line says why; 2: wrong arguments; 130, 143 and 129: stopped by Ctrl-C,
SIGTERM and SIGHUP.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress

_EXTRA_OF = {
    "typer": "cpu",
    "rich": "cpu",
    "PIL": "cpu",
    "torch": "export",
    "torchvision": "export",
    "safetensors": "export",
    "pydantic": "export",
    "yaml": "export",
    "tensorboard": "export",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "skimage": "export",
}
"""Which extra brings a package that a command may find missing."""


_TRACEBACK = "CE2P_TRACEBACK"
"""Environment variable that shows where an unexpected error came from."""


def main() -> None:
    """Run the command line and exit."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:  # while modules are loaded there is nothing to clean up, and a traceback would tell nothing
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    status = 1
    try:
        from ce2p_runtime.process.interrupts import interrupt_status, unwind_on_signals

        with unwind_on_signals(), suppress(KeyboardInterrupt, SystemExit):  # they may also hit what is said at the end
            status = _status()
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    # After a signal its status, whatever became of the exception on its way: libraries turn them into others.
    sys.exit(interrupt_status() or status)


def _status() -> int:
    """Run the command line; every way it can end, as an exit status."""
    try:
        from ce2p.cli.app import app
        from ce2p.cli.arguments import normalised

        app(args=normalised(sys.argv[1:]), prog_name="ce2p")
    except SystemExit as end:
        return _flushed(end.code)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        return _failed(error)
    return _flushed(0)


def _flushed(code: object) -> int:
    """The status for `sys.exit(code)`, once standard output has taken everything."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _failed(error)
    if isinstance(code, str):
        return _said(code)
    return code if isinstance(code, int) else 0


def _failed(error: BaseException) -> int:
    """Say in one line what went wrong; with CE2P_TRACEBACK also where."""
    from ce2p_runtime.errors import CE2PError
    from ce2p_runtime.process.interrupts import failed_at_the_end, interrupt_status

    if os.environ.get(_TRACEBACK, "0") not in ("", "0"):
        traceback.print_exception(error)
    if interrupt_status() is not None and not failed_at_the_end(error):
        return 1  # what became of the interrupt on its way: torch calls it a full disk, an import a missing package
    if isinstance(error, CE2PError):
        return _said(str(error))
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has enough, as `head` does: nothing to say, and nobody to flush to any more.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return _said(_line(error))


def _line(error: BaseException) -> str:
    """What an error that is none of ours means to a user."""
    from ce2p_runtime.base.text import install_hint

    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in _EXTRA_OF:
            return f"this command needs the package {error.name}; {install_hint(_EXTRA_OF[package])}"
    if isinstance(error, OSError) and error.strerror is not None:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    what = f"{type(error).__name__} ({error!s:.500})" if str(error) else type(error).__name__
    advice = f"{_TRACEBACK}=1 shows where it came from"
    if isinstance(error, MemoryError):
        return f"{what}: not enough memory; give it smaller pictures, batches or networks, or a larger limit; {advice}"
    return f"unexpected {what}: this is a fault of ce2p, please report it with all that is printed; {advice}"


def _said(message: str) -> int:
    from ce2p_runtime.base.text import printable

    with suppress(OSError):  # nobody may be listening any more
        sys.stderr.write(f"error: {printable(' '.join(message.split()))}\n")
    return 1


if __name__ == "__main__":
    main()
