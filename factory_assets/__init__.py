"""A model factory: declarations of streams, features and models become the assets that run a model's whole life."""
