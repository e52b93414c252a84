"""Makes ``python -m nasreg`` the same as the command ``nasreg``."""

import sys

from nasreg.cli import main

sys.exit(main())
