"""What `ce2p benchmark` is made of.

`frames` what is parsed, `candidates` what is measured, `measuring` the rounds, `throughput` batches and streams,
`accuracy` the gate, `document` the result as plain types, `report` text and tables, `terminal` what of them is printed,
`plots` pictures, `comparison` two results. docs/BENCHMARKS.md says what the figures mean.
"""
