"""Measuring the reference engine, and the independent implementation that it is compared with."""
