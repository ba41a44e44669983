"""A model instance on several nodes: each rank holds some layers, the first one leads (pipeline parallelism).

The leader alone is known to the frontend. It decides which blocks a request has and what is computed next;
the other ranks do as they are told, and their pools have the same blocks under the same numbers. One step
goes through all ranks before the next one begins: what is gained is memory, not speed.

Each follower keeps two connections to the leader, which both end with the first of them: one for hidden
states, used by the threads that compute, and one for what is to be read, opened and shut meanwhile. A rank
that is gone ends all the others, so that the group starts anew as a whole.
"""
