"""How fast a run may go, and what holds it up."""
