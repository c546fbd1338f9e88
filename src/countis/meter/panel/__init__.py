"""The front panel as a pure reducer over data: menus, gestures, digits, frames."""
