"""The HTML page of a comparison: its charts, its sections, and one self-contained ``index.html``."""
