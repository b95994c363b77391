"""HTTP: Connexion lives in this package and nowhere else."""

import warnings

with warnings.catch_warnings():
    # Connexion imports Starlette's test client, which warns about its own HTTP library; users cannot do anything about it.
    warnings.simplefilter("ignore")
    import connexion  # noqa: F401
