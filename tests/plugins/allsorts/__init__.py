"""A package of components that know rankcli.api alone."""
