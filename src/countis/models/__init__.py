"""What tells one model from another, as data: a file for each family."""

from countis.models.model import (
    E43,
    E44,
    MAX_RATE,
    MIN_RATE,
    MODELS,
    PROMISED_RATE,
    PULSE_WEIGHTS,
    Firmware,
    Model,
    pulse_weight,
)

__all__ = [
    "E43",
    "E44",
    "MAX_RATE",
    "MIN_RATE",
    "MODELS",
    "PROMISED_RATE",
    "PULSE_WEIGHTS",
    "Firmware",
    "Model",
    "pulse_weight",
]
