"""ES modules joined to one, and those of the explorables."""

import re
from collections import Counter
from pathlib import Path

import pytest

from robustnb.widgets.modules import sources
from robustnb.widgets.static import HERE

ENTRY = "mount"  # what the page itself calls


def write(folder: Path, imports: dict[str, list[str]]) -> None:
    """Write modules that each export a constant of their own name, made of what they import."""
    for name, others in imports.items():
        lines = [f'import {{ {other} }} from "./{other}.js";' for other in others]
        constant = f"export const {name} = [{', '.join(others)}];"
        (folder / f"{name}.js").write_text("\n".join([*lines, "", constant, ""]))


def test_what_is_imported_stands_once_and_first(tmp_path: Path) -> None:
    write(tmp_path, {"d": ["b", "c"], "c": ["b", "a"], "b": ["a"], "a": []})
    expected = ["const a = [];", "const b = [a];", "const c = [b, a];", "const d = [b, c];"]
    assert sources(tmp_path / "d.js") == expected


def test_an_import_may_take_many_lines_and_name_another_folder(tmp_path: Path) -> None:
    write(tmp_path, {"a": []})
    folder = tmp_path / "inner"
    folder.mkdir()
    body = '// A comment.\n\nimport {\n  a,\n} from "../a.js";\n\nexport function* b() {}\n'
    (folder / "b.js").write_text(f"{body}export async function c() {{}}\n")
    first, second = sources(folder / "b.js")
    assert first == "const a = [];"
    assert " ".join(second.split()) == "// A comment. function* b() {} async function c() {}"


@pytest.mark.parametrize(
    "line",
    [
        "import d3 from 'd3';",
        'import * as controls from "./controls.js";',
        'import { say as tell } from "./controls.js";',
        'import "./controls.js";',
        "export * from './controls.js';",
        "export { render };",
        "export default render;",
    ],
)
def test_a_line_that_cannot_be_joined_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "made.js").write_text(f"{line}\nfunction render() {{}}\n")
    message = re.escape(f'made.js cannot be joined to one module because of the line "{line}": ')
    with pytest.raises(ValueError, match=f"^{message}it must import as in "):
        sources(tmp_path / "made.js")


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": ["b"], "b": ["a"]})
    with pytest.raises(ValueError, match="cycle"):
        sources(tmp_path / "a.js")


# --- the modules of the explorables, which a linter checks for what one file can show


DEFINED = r"(?:async )?(?:function\*?|const|let|class) (\w+)"


def names(pattern: str) -> list[str]:
    """Return the names that a pattern finds in the modules of the explorables."""
    texts = [file.read_text(encoding="utf-8") for file in HERE.glob("*.js")]
    found = [names for text in texts for names in re.findall(pattern, text, re.MULTILINE)]
    return re.findall(r"\w+", " ".join(found))


def test_what_is_exported_is_imported() -> None:
    exported, imported = names(f"^export {DEFINED}"), names(r"^import \{([^}]*)\}")
    assert "element" in exported
    assert set(exported) == {*imported, ENTRY}


def test_a_name_stands_for_one_thing() -> None:
    """Modules that are joined share a scope, and a reader looks a name up but once."""
    count = Counter(names(f"^(?:export )?{DEFINED}"))
    assert count["element"] == 1
    assert [name for name in count if count[name] > 1] == ["render"]
