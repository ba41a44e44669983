"""The transport agent: what moved, over which device, by whose libraries, as kernel and engine tell it.

It runs beside an engine of any make and reads when it is asked. It decides nothing (the operator does that),
writes nothing, and imports neither NIXL nor an engine. What it may not read it reports as unreadable with the
reason; never is that the same as absent. Counters are absolute and cumulative: whoever asks subtracts.
"""
