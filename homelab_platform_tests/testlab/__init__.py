"""A lab to test on: real Debian hosts and a real Kubernetes on this one machine, gone without a trace afterwards.

`lab.start()` gives a `TestLab`; tests take the fixtures `test_hosts` and `test_cluster` (fixtures.py); people say
`make test-lab`. docs/test-lab.md tells how it is built.
"""
