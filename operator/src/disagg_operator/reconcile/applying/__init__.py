"""Applying: what differs from the plan is written, in order, and what nobody wants any more goes."""
