"""Documents that take their new form where they are, with the index down, and the way back."""
