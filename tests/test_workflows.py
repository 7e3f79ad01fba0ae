"""What GitHub is told: the workflows, which do not run here, agree with what the package promises."""

import json
import re
from pathlib import Path

import pytest

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
#: Where forms and settings are, beside the workflows.
OTHERS = [
    *sorted((ROOT / ".github").rglob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]


def jobs(name):
    return yaml.safe_load(WORKFLOWS[name].read_text())["jobs"]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def minor(version):
    return tuple(map(int, version.split(".")))


def test_all_promised_pythons_are_tested_on_linux_and_macos():
    matrix = jobs("tests")["python"]["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: "
    listed = [text.removeprefix(prefix) for text in project()["classifiers"] if text.startswith(prefix + "3.")]
    assert matrix["python"] == listed
    assert len(listed) == minor(listed[-1])[1] - minor(listed[0])[1] + 1, "none is left out in between"
    assert project()["requires-python"] == f">={listed[0]}"
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["ruff"]["target-version"] == "py" + listed[0].replace(".", "")
    assert tools["mypy"]["python_version"] == listed[0]


def test_a_wheel_is_tried_on_the_oldest_and_the_newest_python():
    tested = jobs("tests")["python"]["strategy"]["matrix"]["python"]
    assert jobs("wheel")["try"]["strategy"]["matrix"]["python"] == [tested[0], tested[-1]]


def test_all_promised_julias_are_tested_and_those_that_crash_are_refused():
    """The newest of each minor version is taken: a tested version is one that juliapkg.json lets through."""
    tested = jobs("tests")["julia"]["strategy"]["matrix"]["julia"]
    assert all(isinstance(version, str) for version in tested), "1.10 without quotation marks is 1.1"
    allowed = json.loads((ROOT / "juliapkg.json").read_text())["julia"].split(", ")
    assert allowed == ["~1.10", "^1.11.5"]
    assert tested[:2] == ["1.10", "1.11"]
    assert [minor(version) for version in tested] == [(1, 10 + n) for n in range(len(tested))]
    # Elsewhere one that goes with the OpenSSL of every Python.
    steps = [step for name in ("python", "libraries", "docs") for step in jobs("tests")[name]["steps"]]
    assert {step["with"]["version"] for step in steps if "setup-julia" in step.get("uses", "")} == {"1.11"}


def test_what_is_skipped_without_a_library_is_run_with_it():
    (install,) = (step["run"] for step in jobs("tests")["libraries"]["steps"] if "pip install" in step.get("run", ""))
    installed = set(re.search(r"\.\[([\w,]+)\]", install).group(1).split(","))
    assert installed == set(project()["optional-dependencies"]) - {"dev", "docs", "lint", "notebooks"}
    (run,) = (step["run"] for step in jobs("tests")["libraries"]["steps"] if "pytest" in step.get("run", ""))
    for path in run.split()[3:]:
        assert (ROOT / path).is_file(), path
    optional = "brian2|distributed|elephant|jax|neo|pandas|pynapple|pynwb|sklearn|torch|xarray|zarr"
    skipping = re.compile(rf'importorskip\("({optional})\b')
    needed = {f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py") if skipping.search(path.read_text())}
    assert needed <= set(run.split())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_their_major_version(name):
    used = [step["uses"] for job in jobs(name).values() for step in job.get("steps", ()) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", action), action


def test_one_action_has_one_version():
    versions = {}
    for name in WORKFLOWS:
        for action in re.findall(r"uses: (\S+)@(\S+)", WORKFLOWS[name].read_text()):
            versions.setdefault(action[0], set()).add(action[1])
    assert {action: found for action, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_jobs_end_in_time_and_may_only_read(name):
    workflow = yaml.safe_load(WORKFLOWS[name].read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for title, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 180, title
    assert "secrets." not in WORKFLOWS[name].read_text()


def test_only_a_release_may_write_and_only_what_it_must():
    given = {title: job["permissions"] for title, job in jobs("release").items() if "permissions" in job}
    assert given == {"publish": {"id-token": "write"}, "announce": {"contents": "write"}}
    for name in ("tests", "wheel"):
        assert [title for title, job in jobs(name).items() if "permissions" in job] == []


def test_nothing_is_published_before_tests_wheel_and_version_agree():
    release = jobs("release")
    assert release["publish"]["needs"] == ["tests", "wheel"]
    assert release["announce"]["needs"] == "publish"
    for name in ("tests", "wheel"):
        assert release[name] == {"needs": "version", "uses": f"./.github/workflows/{name}.yml"}
        # yaml reads the key `on` as True.
        assert "workflow_call" in yaml.safe_load(WORKFLOWS[name].read_text())[True]
    assert set(yaml.safe_load(WORKFLOWS["release"].read_text())[True]) == {"push"}


def test_what_a_step_runs_is_there():
    """Targets of make, and files that are named."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = 0
    for name in WORKFLOWS:
        text = WORKFLOWS[name].read_text()
        assert set(re.findall(r"run: make (\S+)", text)) <= targets
        for path in re.findall(r"python (\S+\.py)", text):
            assert (ROOT / path).is_file(), path
            named += 1
        for parts in re.findall(r"joinpath\(pwd\(\), (.+?)\)", text):
            assert ROOT.joinpath(*(part.strip('" ') for part in parts.split(","))).is_file(), parts
            named += 1
    assert named >= 4


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_texts_for_github_parse_and_hold_no_place_that_is_to_be_filled(path):
    text = path.read_text()
    assert yaml.safe_load(text)
    assert not re.search(r"example\.(com|org)|OWNER|TODO|FIXME|your-|<.*>", text)


def test_project_addresses_are_left_out_rather_than_made_up():
    assert "urls" not in project()


def test_the_paper_is_cited_as_in_the_readme():
    (paper,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert paper["title"].lower() in readme.lower()
    assert paper["url"] in readme
    assert [author["family-names"] for author in paper["authors"]] == ["Holberg", "Salvi"]


def test_local_hooks_run_what_make_lint_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (local,) = (repo["hooks"] for repo in hooks if repo["repo"] == "local")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    commands = {line.strip().removeprefix("$(BIN)/").split()[0] for line in recipe.splitlines()}
    assert {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in local} == commands


def test_lines_are_as_long_in_julia_as_in_python():
    julia = tomllib.loads((ROOT / ".JuliaFormatter.toml").read_text())
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert julia["margin"] == python["line-length"] == 120
