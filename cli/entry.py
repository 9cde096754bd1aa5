"""The command `rlbuffers`. `doctor` runs without the other commands, which may be what is broken."""

from __future__ import annotations

import sys

__all__ = ["main"]

_DOCTOR = "doctor"


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == [_DOCTOR]:
        from rlbuffers_cli.commands.doctor import doctor

        doctor.main(sys.argv[2:], prog_name=f"rlbuffers {_DOCTOR}", help_option_names=["-h", "--help"])
    try:
        from rlbuffers_cli.main import main as run

        run()
    except ImportError as error:
        sys.exit(f"Error: {error}. `rlbuffers {_DOCTOR}` says what is wrong with this installation")
