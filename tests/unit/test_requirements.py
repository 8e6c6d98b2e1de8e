"""Requirements text as people write it → canonical lines."""

from __future__ import annotations

import pytest

from outhaul.environment.dependencies import pip_requirement
from outhaul.environment.requirements import parse_requirements, split_constraints
from outhaul.errors import Refused


def lines(text: str, **files: str) -> list[str]:
    """The canonical lines of `text`; `files` are the project's others, `_` for `/`."""

    def read(path: str) -> str:
        name = path.removesuffix(".txt").replace("/", "_")
        if name not in files:
            raise FileNotFoundError(path)
        return files[name]

    definition = parse_requirements(text, read)
    return definition["dependencies"][0]["pip"]  # type: ignore[index,no-any-return]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("numpy", ["numpy"]),
        ("  numpy  >= 1.2 , < 2  # fast", ["numpy>=1.2,<2"]),
        ("numpy (>=1.2)", ["numpy>=1.2"]),
        ("uvicorn [standard, x] == 0.20.*", ["uvicorn[standard,x]==0.20.*"]),
        ("tomli;python_version  <  '3.11'", ["tomli ; python_version < '3.11'"]),
        (
            "six==1.16 \\\n    --hash=sha256:aa \\\n    --hash sha256:bb",
            ["six==1.16 --hash=sha256:aa --hash=sha256:bb"],
        ),
        ("mine@https://e.org/m.whl#sha256=ab", ["mine @ https://e.org/m.whl#sha256=ab"]),
        ("git+https://e.org/m.git@v1#egg=m", ["git+https://e.org/m.git@v1#egg=m"]),
        ("-i https://e.org/simple", ["--index-url https://e.org/simple"]),
        ("--extra-index-url=https://e.org/cpu", ["--extra-index-url https://e.org/cpu"]),
        ("--extra-index-url https://${USER}:${TOKEN}@e.org", ["--extra-index-url https://${USER}:${TOKEN}@e.org"]),
        ("--pre\n--no-binary :all:", ["--pre", "--no-binary :all:"]),
        ("\ufeffnumpy\r\n\r\n# end \\\nsix", ["numpy", "six"]),
        ("", []),
    ],
)
def test_a_line_is_brought_to_its_canonical_form(written: str, canonical: list[str]) -> None:
    assert lines(written) == canonical
    assert lines("\n".join(canonical)) == canonical, "a canonical form is its own canonical form"


def test_includes_stand_where_they_were_included() -> None:
    text = "first\n-r more/base.txt\n-c limits.txt\nlast"
    found = lines(text, more_base="-r deep.txt\nmiddle", more_deep="deep", limits="-r limits2.txt\na<2", limits2="b<3")
    assert found == ["first", "deep", "middle", "--constraint b<3", "--constraint a<2", "last"]
    assert split_constraints(found) == (["first", "deep", "middle", "last"], ["b<3", "a<2"])


def test_two_files_that_include_the_same_one_are_no_cycle() -> None:
    assert lines("-r a.txt\n-r b.txt", a="-r c.txt", b="-r c.txt", c="six") == ["six", "six"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("six\naio smtpd==1", "requirements-syntax"),
        ("six\nnumpy=1.2", "requirements-syntax"),
        ("six\nnumpy>=1.2<2", "requirements-syntax"),
        ("six\n-e .", "requirements-local"),
        ("six\n--editable=git+https://e.org/m.git", "requirements-local"),
        ("six\n./own", "requirements-local"),
        ("six\nown.whl", "requirements-local"),
        ("six\nown @ file:///own.whl", "requirements-local"),
        ("six\n-f ./wheels", "requirements-local"),
        ("six\n--trusted-host e.org", "requirements-option"),
        ("six\n-r gone.txt", "requirements-include"),
        ("six\n-r ../other/r.txt", "requirements-include"),
        ("six\n-r /etc/r.txt", "requirements-include"),
        ("six\n-r https://e.org/r.txt", "requirements-include"),
        ("six\n-r requirements.txt", "requirements-cycle"),
        ("six\n--index-url https://me:secret@e.org", "requirements-credentials"),
    ],
)
def test_what_no_other_machine_could_install_is_refused_with_its_line(text: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        lines(text)
    assert caught.value.code == code
    assert caught.value.found.startswith("requirements.txt line 2: ")
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


def test_a_cycle_over_two_files_is_shown() -> None:
    with pytest.raises(Refused) as caught:
        lines("-r a.txt", a="-r b.txt", b="-r a.txt")
    assert "requirements.txt → a.txt → b.txt → a.txt" in caught.value.expected


@pytest.mark.parametrize(
    ("conda", "pip"),
    [
        ("", "pip"),
        ("=23.1", "pip==23.1.*"),
        ("=23.*", "pip==23.*"),
        ("==23.1.2", "pip==23.1.2"),
        ("<=23.1.2", "pip<=23.1.2"),
        ("23.1", "pip==23.1"),
        (">=22,<24", "pip>=22,<24"),
    ],
)
def test_condas_constraint_on_pip_in_pips_own_words(conda: str, pip: str) -> None:
    assert pip_requirement(conda) == pip


def test_alternative_versions_of_pip_are_refused() -> None:
    with pytest.raises(Refused):
        pip_requirement("=22|=24")
