"""What a benchmark of exported models is made of; `ce2p.benchmark` puts it together.

`frames` what is parsed, `candidates` what is measured, `measuring` the rounds, `throughput` batches and streams,
`accuracy` the gate, `document` the result as plain types, `report` text and tables, `plots` pictures, `comparison` two
results.
"""
