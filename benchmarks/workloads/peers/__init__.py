"""The race of xpoll and its peers: environments, jobs, runs that are watched from outside, faults, tables."""
