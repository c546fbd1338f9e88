"""What the meter is wired to: network, loads and recordings, as sources of samples. Pure and seeded."""

from countis.supply.network import Load, Network, Supply, three_phase

__all__ = ["Load", "Network", "Supply", "three_phase"]
