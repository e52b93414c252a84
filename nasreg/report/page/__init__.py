"""The HTML page of a run: reads a run directory, draws its charts, and writes one self-contained ``index.html``."""
