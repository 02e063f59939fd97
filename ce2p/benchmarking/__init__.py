"""What benchmarks are made of: `ce2p.benchmark`, and the headline run against others (benchmarks/headline.py).

`frames` what is parsed, `candidates` files on backends, `rounds` what is timed and how, `accuracy` the gate,
`machine_state` who disturbed it, `document` the result as plain types, `report` text and tables, `plots` pictures,
`comparison` two results.
"""
