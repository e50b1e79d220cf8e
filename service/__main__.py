"""How is the `parecido` command started where it is not on the PATH? With `python -m service`."""

from service.cli import main

main(prog_name="parecido")
