"""Join an ES module and all that it imports to one text, for where no other file can be loaded."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

_IMPORT = re.compile(r'^import \{\s*(?:\w+,\s*)*(?:\w+\s*)?\} from "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function\b|const\b|class\b)", re.MULTILINE)
_OTHER = re.compile(r"^\s*(?:import\b|export\b(?! default \{)).*", re.MULTILINE)


def sources(module: Path) -> list[str]:
    """Return the text of each file that a module imports, directly or not, and last its own.

    A file comes after those that it imports. The texts have no import and export lines but for
    `export default`, so that in this order they are one module; all names share its scope. Raises
    ValueError for lines of another form than `import { a, b } from "./c.js";` and `export` before a
    function, a class or a constant, and if files import each other.
    """
    imports: dict[Path, list[Path]] = {}
    waiting = [module.resolve()]
    while waiting:
        file = waiting.pop()
        if file not in imports:
            names = _IMPORT.findall(file.read_text(encoding="utf-8"))
            imports[file] = [(file.parent / name).resolve() for name in names]
            waiting += imports[file]
    return list(map(_bare, TopologicalSorter(imports).static_order()))


def _bare(file: Path) -> str:
    """Return the text of a file without its import and export lines."""
    text = _EXPORT.sub("", _IMPORT.sub("", file.read_text(encoding="utf-8")))
    if found := _OTHER.search(text):
        raise ValueError(
            f'{file.name} cannot be joined to one module because of the line "{found[0].strip()}": '
            "it must import as in 'import { a, b } from \"./c.js\";' and export functions, classes "
            "and constants where they are defined."
        )
    return text.strip()
