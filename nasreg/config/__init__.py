"""From what a user asks for to a resolved spec: layers of options, references to spaces and data sets."""
