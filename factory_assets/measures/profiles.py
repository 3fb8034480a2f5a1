from factory_assets.monitoring.drift import Profile, profile, profiles  # noqa
