"""How a new revision of the workers takes over from the old one, in steps; pure, without memory or clock."""
