"""The process ``nasreg``, which ``python -m nasreg`` is too.

It is short where nothing but a look-up is wanted, and hardly anything that it makes is garbage before it ends: looking
for garbage all the same would take a sixth of the time.
"""

import gc
import sys

LOOK_UPS = ("list", "describe", "plugins")


def command() -> int:
    """Run the command line of this process.

    Returns:
        The exit code.
    """
    gc.disable()
    from nasreg.cli import main

    gc.freeze()  # what was imported stays, and need not be looked at again
    if "".join(sys.argv[1:2]) not in LOOK_UPS:
        gc.enable()
    code = main()
    if "torch" not in sys.modules:  # no work was done, so that there is nothing left to close
        gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(command())
