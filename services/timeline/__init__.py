"""Read side: where each contract and certificate stands, how long each stage takes, how much happens; rebuildable."""
