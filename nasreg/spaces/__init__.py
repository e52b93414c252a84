"""Built-in search spaces, one family in a file; they are registered through the same hook as a plugin's."""
