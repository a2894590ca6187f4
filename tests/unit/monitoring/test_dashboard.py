from __future__ import annotations

import itertools
import json

from cluster.monitoring.dashboard import render_dashboard
from cluster.monitoring.panels import ROWS
from cluster.monitoring.scrape import ScrapedEndpoint, render_scrape

PANELS = render_dashboard()["panels"]


def test_the_dashboard_holds_every_panel_and_query_in_order() -> None:
    shown = [(panel["title"], [t["expr"] for t in panel.get("targets", ())]) for panel in PANELS]
    wanted = [
        entry
        for row in ROWS
        for entry in ((row.title, []), *((p.title, [q.expression for q in p.queries]) for p in row.panels))
    ]
    assert shown == wanted


def test_panels_have_ids_and_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_targets_of_a_panel_have_letters_of_their_own() -> None:
    letters = [[target["refId"] for target in panel.get("targets", ())] for panel in PANELS]
    assert [one for one in letters if len(set(one)) < len(one)] == []


def test_titles_are_unique_and_no_variable_is_left_once_filled_in() -> None:
    titles = [panel.title for row in ROWS for panel in row.panels]
    assert len(set(titles)) == len(titles)
    filled = [query.filled_in() for row in ROWS for panel in row.panels for query in panel.queries]
    assert [expression for expression in filled if "$" in expression] == []


def test_no_data_source_is_baked_in() -> None:
    sources = {target["datasource"]["uid"] for panel in PANELS for target in panel.get("targets", ())}
    assert sources == {"${datasource}"}
    assert "localhost" not in json.dumps(render_dashboard())


def test_without_targets_rays_own_list_is_read() -> None:
    jobs = render_scrape()["scrape_configs"]
    assert [sorted(job) for job in jobs] == [["file_sd_configs", "job_name"]]


def test_nodes_and_endpoint_are_scraped_by_two_jobs_and_the_key_comes_from_a_file() -> None:
    config = render_scrape(["b:2", "a:1"], ScrapedEndpoint("https://embed.example:8443/base/", "/run/key"), 5)
    nodes, endpoint = config["scrape_configs"]
    assert nodes["static_configs"] == [{"targets": ["a:1", "b:2"]}]
    assert endpoint["scheme"] == "https"
    assert endpoint["metrics_path"] == "/base/metrics"
    assert endpoint["static_configs"] == [{"targets": ["embed.example:8443"]}]
    assert endpoint["authorization"] == {"credentials_file": "/run/key"}
    assert config["global"]["scrape_interval"] == "5s"


def test_an_endpoint_that_asks_for_no_key_is_given_none() -> None:
    _, endpoint = render_scrape(["a:1"], ScrapedEndpoint("http://localhost:8000"))["scrape_configs"]
    assert "authorization" not in endpoint
