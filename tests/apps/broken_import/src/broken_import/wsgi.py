"""The entry point, which asks for a module that nobody has."""

import module_that_nobody_has

app = module_that_nobody_has.create_app()
