"""Network definitions, their exact integer form, and the trained weights."""
