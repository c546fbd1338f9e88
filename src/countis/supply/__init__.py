"""What the meter is wired to: network, loads and recordings, as sources of samples. Pure and seeded."""

from countis.supply.network import FrontEnd, Load, Network, State, Wiring
from countis.supply.source import Supply, steady, three_phase

__all__ = ["FrontEnd", "Load", "Network", "State", "Supply", "Wiring", "steady", "three_phase"]
