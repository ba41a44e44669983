"""Makes what a release consists of, from one commit; `make release`, docs/releases.md.

Invariant: the files depend on the commit alone. Two runs give the same checksums, whatever the time, the
folder, the umask or the time zone.
"""
