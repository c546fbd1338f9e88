"""The accuracy bench of a laboratory: limits as data, a stand of real meters, a verdict for each clause."""
