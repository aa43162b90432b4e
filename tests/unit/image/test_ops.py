"""What docker-compose.yml runs beside the backend: pinned, reachable from this machine alone, showing what there is."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
OPS = ROOT / "ops"
DASHBOARD = OPS / "grafana/dashboards/maya-backend.json"
METRIC = re.compile(r"\bmaya_[a-z_]+")
#: Prometheus' own label of a histogram's buckets.
BUCKETS = "le"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the tools of some gates only")
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return document


def exposed_metrics() -> set[str]:
    """Return every name of the backend's own that a scrape of its process has."""
    program = "import app.main, app.observation.metrics as m, sys; sys.stdout.write(m.render().decode())"
    environ = {"DATABASE_URL": "postgresql://127.0.0.1:1/a", "PYTHONPATH": str(ROOT / "backend")}
    pytest.importorskip("fastapi", reason="the backend's libraries are not installed here")
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    families = re.findall(r"^# TYPE (maya_\S+) (\w+)$", done.stdout, re.MULTILINE)
    parts = {name + part for name, kind in families if kind == "histogram" for part in ("_bucket", "_sum", "_count")}
    return {name for name, _ in families} | parts


def queries() -> dict[str, str]:
    """Return every query of the dashboard, with the title of its panel."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return {target["expr"]: panel["title"] for panel in panels for target in panel["targets"]}


def shown_metrics() -> set[str]:
    return {name for query in queries() for name in METRIC.findall(query)}


def documented_metrics() -> set[str]:
    return set(re.findall(r"^\| `(maya_\w+)` \|", (ROOT / "docs/backend.md").read_text("utf-8"), re.MULTILINE))


def test_the_dashboard_asks_for_nothing_that_the_backend_does_not_tell() -> None:
    assert shown_metrics()
    assert shown_metrics() <= exposed_metrics()


def test_the_dashboard_shows_every_figure_that_is_documented() -> None:
    assert {name.removesuffix("_bucket") for name in shown_metrics()} == documented_metrics()


def documented_labels() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(maya_\w+)` \| ([^|]*)\|", (ROOT / "docs/backend.md").read_text("utf-8"), re.MULTILINE)
    return {name: set(re.findall(r"[a-z]+", re.sub(r"`[^`]*`|\([^)]*\)|:[^;]*", "", labels))) for name, labels in rows}


@pytest.mark.parametrize("query", queries())
def test_a_query_tells_apart_by_labels_that_its_figures_have(query: str) -> None:
    # A label that is not there makes no error: it puts everything into one line, or finds nothing.
    known = documented_labels()
    assert known["maya_requests_total"] == {"method", "route", "status"}
    asked = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.split(",")}
    asked |= {label for within in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)\s*[=!]", within)}
    (figures,) = {name.removesuffix("_bucket") for name in METRIC.findall(query)}
    assert asked <= known[figures] | ({BUCKETS} if "_bucket" in query else set())


def test_no_error_yet_is_none_and_not_nothing() -> None:
    # Until the first answer with 5xx there is no such figure, and a part of nothing would show as "No data".
    (query,) = (query for query, title in queries().items() if title == "Errors")
    assert re.match(r"\(sum\(rate\(maya_requests_total\{status=\"5xx\"\}\[1m\]\)\) or vector\(0\)\) / sum", query)


def test_the_panels_of_the_dashboard_do_not_lie_over_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    cells = [
        (column, row)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_everything_around_the_backend_is_there_and_what_is_waited_for_says_when_it_is_well(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    assert set(services) == {"migrate", "backend", "postgres", "redis", "prometheus", "grafana"}
    waits = [part for settings in services.values() if isinstance(part := settings.get("depends_on"), dict)]
    waited_for = {name for part in waits for name, one in part.items() if one["condition"] == "service_healthy"}
    assert waited_for == {"postgres", "redis"}
    for name in waited_for:
        assert services[name]["healthcheck"]["test"][0] == "CMD", "without a shell"


def test_every_image_is_pinned_or_built_here(compose: dict[str, Any]) -> None:
    name = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["fairlead"]["name"]
    for service, settings in compose["services"].items():
        if settings["image"].startswith("localhost/"):
            assert settings["image"] == f"localhost/{name}:local"
            assert settings["pull_policy"] == "never", service
        else:
            assert re.search(r":[^@]+@sha256:[0-9a-f]{64}$", settings["image"]), service


def test_every_port_is_open_on_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for settings in compose["services"].values() for port in settings.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_no_service_may_gain_privileges_and_the_backends_roots_are_read_only(compose: dict[str, Any]) -> None:
    for name, settings in compose["services"].items():
        assert settings["security_opt"] == ["no-new-privileges:true"], name
        if settings["image"].startswith("localhost/"):
            assert settings["read_only"] is True
            assert settings["cap_drop"] == ["ALL"]


def test_no_secret_stands_here_and_none_could_serve_elsewhere(compose: dict[str, Any]) -> None:
    for name, settings in compose["services"].items():
        given = settings.get("environment", {})
        assert not [key for key in given if re.search(r"PASSWORD|SECRET|TOKEN|KEY", key)], name
        assert not re.search(r"://[^/@]*:[^/@]*@", str(given)), name
        # Without its keys the backend makes up some, in development only.
        if settings["image"].startswith("localhost/"):
            assert given["ENVIRONMENT"] == "development"
    assert "ports" not in compose["services"]["postgres"]
    assert "ports" not in compose["services"]["redis"]


def test_what_is_mounted_is_there(compose: dict[str, Any]) -> None:
    sources = [
        volume.split(":")[0] for settings in compose["services"].values() for volume in settings.get("volumes", [])
    ]
    mounted = [source for source in sources if source.startswith("./")]
    assert len(mounted) == 3
    assert [source for source in mounted if not (ROOT / source).exists()] == []


def test_prometheus_asks_the_backend_where_it_listens(compose: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the tools of some gates only")
    (job,) = yaml.safe_load((OPS / "prometheus/prometheus.yml").read_text("utf-8"))["scrape_configs"]
    (port,) = (port.rpartition(":")[2] for port in compose["services"]["backend"]["ports"])
    assert job["static_configs"] == [{"targets": [f"backend:{port}"]}]
    assert job["metrics_path"] == "/metrics"


def test_grafana_finds_its_source_and_its_dashboard(compose: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the tools of some gates only")
    folder = OPS / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/maya.yml").read_text("utf-8"))["providers"]
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    inside = f"{provider['options']['path']}/{DASHBOARD.name}"
    grafana = compose["services"]["grafana"]
    assert f"./ops/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == inside
