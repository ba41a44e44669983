"""The operator, with time and room for many of its calls to be held at once. TEST TOOL.

Its Lease is not lost to a machine on which nothing gets on for seconds, and writes that are held keep no
others waiting.
"""

from disagg_operator.runtime import kube, leader, main

leader.DURATION_SECONDS, leader.DEADLINE_SECONDS = 300, 290.0
kube.SECONDS = 290.0
kube._WRITES_AT_ONCE = 512

if __name__ == "__main__":
    main.main()
