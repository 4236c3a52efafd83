"""Integer probability tables, and symbols coded with them by constriction's range coder."""
