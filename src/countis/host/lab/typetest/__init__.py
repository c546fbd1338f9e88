"""The accuracy bench of a laboratory: points as data, a stand that drives real samples, a verdict for each clause."""
