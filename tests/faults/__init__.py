"""The fault matrix: a deployment of real processes on real servers, under load, with each of them breaking in turn.

workload     what clients send                      clients     clients that send it until it is answered
engines      the servers, in every combination      deployment  gateways and workers on them, by clocks that can be set
judge        what is left, against the model        readers     readers, and somebody who watches the boards themselves
matrix       a case from load to judgement          cases       one fault each
stage        cases one after the other              __main__    `make faults`: rounds of all of them, and a table

The model of a community is that of tests/simulate: plain Python, fed with the log in its order. It knows nothing of
partitions, settlements or boards outside, so whatever a fault may do to them shows as a difference.
"""
