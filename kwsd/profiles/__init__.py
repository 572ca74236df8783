"""Board profiles: one TOML file a board, shipped with the package; `kwsd.profile` reads them."""
