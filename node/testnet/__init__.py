"""A whole market on this machine: chain, contracts, oracles, utility, meters, API, on the wall clock.

    settings.py    what the command line asks for, and why a start can fail
    chain.py       the engine's chain as the market's own processes use it, and the clock it follows
    market.py      the market that is deployed, or found again in the data folder
    deployment.py  the document that tells a client all it needs
    record.py      what the data folder remembers of its market
    operator.py    who keeps the market going: slots, charges, quotes, prices, readings, settlement
    narrator.py    a line on the console for every transaction
    running.py     servers and threads, started and stopped together

`node.rpc` serves the chain, `node.api` the pages.
"""
