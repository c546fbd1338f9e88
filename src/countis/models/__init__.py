"""The models as data: a file for each model or family, and this list of them.

A further model of the same maker is one file beside these, and its line here.
"""

from typing import Final

from countis.models.e43_e44 import E43, E43_E44, E44
from countis.models.model import Family, Firmware, Model

MODELS: Final = {model.name: model for model in (E43, E44)}

__all__ = ["E43", "E43_E44", "E44", "MODELS", "Family", "Firmware", "Model"]
