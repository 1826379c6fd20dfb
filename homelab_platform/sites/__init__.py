"""Which adapters a site has and how it reaches them. Composition only: what an adapter does lies in layers/."""
