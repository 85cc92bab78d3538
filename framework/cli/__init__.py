"""The command line.

A command is a module with `EXAMPLE` (a line for its help), `configure(parser)`, which adds its arguments, and
`run(options)`, which gives the exit code: 0; 1 for a finding (a difference, a gap, damage); 2 for wrong usage or a file
that cannot be read. Errors are raised: `main` prints them, on one line unless `--debug` is given.
"""

# command -> (module, what it does); a module is imported when its command is called
COMMANDS = {
    "demo": ("lamina.cli.demo", "train a small CNN on handwritten digits, and export it"),
    "export": ("lamina.cli.export", "write a Keras model, or one of a Python file, for another runtime"),
    "convert": ("lamina.cli.convert", "write a model of one format in another"),
    "quantize": ("lamina.cli.quantize", "write a model with smaller weights, or in integers"),
    "info": ("lamina.cli.info", "list inputs, outputs, ops, layers, sizes and costs of a model"),
    "view": ("lamina.cli.view", "draw a model as a page for the browser"),
    "diff": ("lamina.cli.diff", "compare two models: their ops, their weights, what they compute"),
    "run": ("lamina.cli.run", "run a model on data"),
    "bench": ("lamina.cli.bench", "measure latency and throughput of a model"),
    "profile": ("lamina.cli.profile", "measure the time of each op and layer of a model"),
    "check": ("lamina.cli.check", "tell whether a model can be exported, and how exactly"),
    "compat": ("lamina.cli.compat", "print which op can be exported to which format"),
    "inspect": ("lamina.cli.inspect", "list the tensors of a checkpoint or a model file"),
}
