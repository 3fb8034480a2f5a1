"""What a test's code server serves: the definitions of the deployment, whose sensors look every second."""

from factory_assets.governor import sensors

sensors.INTERVAL = 1

from factory_assets.definitions import defs  # noqa: E402, F401 - made with the interval above
