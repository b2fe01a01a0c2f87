"""One file per provider, as `server.generation.provider` describes; its name is the provider's."""
