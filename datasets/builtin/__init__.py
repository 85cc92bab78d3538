"""Ready data sets: small ones embedded, larger ones fetched on first use.

They are used as `lamina.datasets.digits` and so on, by attribute and by `import lamina.datasets.digits`.
"""

import sys

from lamina.datasets.builtin import breast_cancer, diabetes, digits, iris, wine

MODULES = {module.__name__.rpartition(".")[2]: module for module in (breast_cancer, diabetes, digits, iris, wine)}

# One module under two names, as `os.path` is: a second copy of the file would be a second module.
sys.modules.update({f"lamina.datasets.{name}": module for name, module in MODULES.items()})
