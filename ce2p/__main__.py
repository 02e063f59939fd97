"""Entry point of the `ce2p` command: status 0 done and verified, 1 failed (one line says why), 2 wrong arguments."""

from __future__ import annotations

import sys

__all__ = ["main"]

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


def main() -> None:
    """Run the command line and exit."""
    from ce2p.errors import CE2PError
    from ce2p_runtime.errors import CE2PRuntimeError

    try:
        from ce2p.cli.app import app
        from ce2p.cli.arguments import normalised

        app(args=normalised(sys.argv[1:]), prog_name="ce2p")
    except (CE2PError, CE2PRuntimeError) as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(f'this command needs the package {error.name}; pip install "ce2p[{extra}]"')
    except OSError as error:
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
