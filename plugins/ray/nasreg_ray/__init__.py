"""An executor that computes trials, and the runs of a study, on a Ray cluster, as a plugin for nasreg."""

__version__ = "0.1.0"
