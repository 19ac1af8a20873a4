"""The defences side by side under one attacker: a study of the book's own."""
