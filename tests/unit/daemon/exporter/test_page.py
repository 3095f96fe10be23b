# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.past.past import Past
from agent.core.settings.config import Metrics
from agent.core.view.snapshot import to_json
from agent.core.view.wishes import NotifyView
from agent.daemon.exporter.exporter import Exporter
from agent.daemon.exporter.history import LONGEST, MOST, History
from agent.daemon.exporter.http_server import Request
from agent.daemon.exporter.page import FILES, POLICY, Page
from agent.host.store.store import Event, Store
from tests.browser.scenes import SCENES, past_of
from tests.given.some_gpus import some_gpus
from tests.given.some_snapshot import SNAPSHOT
from tests.given.yardstick import yardsticks
from tests.rig.paths import REPO
from tests.unit.daemon.exporter.test_exporter import PASSWORD_HASH, get

AT = 1_000_000_020.0


def page_on(store: Path) -> Page:
    past = Past()
    return Page(lambda: SNAPSHOT, lambda since: past.document(since, 0.0), History(store).read)


def asked(page: Page, path: str, query: str = "", **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = page.answer(Request("GET", path, names, query=query))
    assert answer is not None
    return answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "store.db"
    made, _ = Store.open(file)
    with made:
        events = [Event(AT + n, "vllm", "start", f"start {n}", {"secret": n}) for n in range(450)]
        made.record({}, events)
        yield file


@contextlib.contextmanager
def serving(store: Path, **metrics: Any) -> Iterator[Exporter]:
    exporter = Exporter(lambda: SNAPSHOT, Metrics(port=0, **metrics), page_on(store))
    exporter.start()
    try:
        yield exporter
    finally:
        exporter.close()


def of(body: bytes) -> Any:
    return json.loads(body)


def test_the_page_and_what_it_asks_for_are_at_the_metrics_port(store: Path) -> None:
    with serving(store) as exporter:
        for path, (_, content_type) in FILES.items():
            answer = get(exporter, path)
            assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
            assert answer.body
        assert of(get(exporter, "/past.json").body)["step_seconds"] == 60
        assert get(exporter, "/metrics").status == 200
        assert get(exporter, "/elsewhere").status == 404


def test_a_page_that_is_off_leaves_the_metrics_only(store: Path) -> None:
    with serving(store, page=False) as exporter:
        assert b"Metrics" in get(exporter, "/").body
        for path in ("/status.json", "/past.json", "/events.json", "/page.js"):
            assert get(exporter, path).status == 404


def test_it_asks_for_the_password_of_the_metrics(store: Path, tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text(
        f"basic_auth_users: {{me: '{PASSWORD_HASH}'}}\n"
        "http_server_config: {headers: {X-Content-Type-Options: nosniff}}\n"
    )
    with serving(store, web_config_file=str(config)) as exporter:
        for path in (*FILES, "/status.json", "/past.json", "/events.json"):
            assert get(exporter, path).status == 401
        answer = get(exporter, "/status.json", Authorization="Basic bWU6c2VjcmV0")
        assert answer.status == 200
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9836", 200),
        ("127.0.0.1", 200),
        ("[::1]:9836", 200),
        ("gpu1:9000", 200),
        ("vllm.localhost:1", 200),
        ("evil.example:9836", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_a_web_site_that_names_this_host_as_its_own_gets_nothing(
    store: Path, host: str, status: int
) -> None:
    with serving(store) as exporter:
        for path in ("/", "/status.json", "/events.json"):
            assert get(exporter, path, Host=host).status == status
        assert get(exporter, "/metrics", Host=host).status == 200


def test_a_name_is_no_matter_where_passwords_are_asked_for_or_others_may_come(
    store: Path, tmp_path: Path
) -> None:
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users: {{me: '{PASSWORD_HASH}'}}\n")
    host, password = "gpu.example.org", "Basic bWU6c2VjcmV0"
    with serving(store, web_config_file=str(config)) as exporter:
        assert get(exporter, "/status.json", Host=host, Authorization=password).status == 200
    with serving(store, address="0.0.0.0") as exporter:
        assert get(exporter, "/status.json", Host=host).status == 200


def test_nothing_from_elsewhere_nothing_inline_and_no_frame_around_it(store: Path) -> None:
    answer = asked(page_on(store), "/")
    headers = dict(answer.headers)
    assert headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    for name in ("index.html", "page.css", "page.js"):
        path = next(path for path, (file, _) in FILES.items() if file == name)
        text = asked(page_on(store), path).body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
        assert not any(word in text for word in ("innerHTML", "insertAdjacentHTML", "eval("))


def test_a_browser_that_has_it_already_is_told_so(store: Path) -> None:
    page = page_on(store)
    for path in ("/page.js", "/past.json", "/events.json"):
        first = asked(page, path, accept_encoding="gzip")
        headers = dict(first.headers)
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(first.body) == asked(page, path).body
        again = asked(page, path, if_none_match=headers["ETag"])
        assert (again.status, again.body) == (304, b"")


def test_the_manual_is_read_on_a_telephone_at_the_alert_s_own_entry(
    store: Path, tmp_path: Path
) -> None:
    made = subprocess.run(
        [REPO / "packaging/make-manual", tmp_path / "manual"], check=True, capture_output=True
    )
    assert made.stderr == b""
    (tmp_path / "secret.7.html").write_text("not of the manual")
    nothing: Mapping[str, Any] = {}
    page = Page(lambda: SNAPSHOT, lambda _: nothing, lambda _a, _b: nothing, tmp_path / "manual")
    alerts = asked(page, "/manual/llmagent-alerts.7.html").body.decode()
    assert 'id="LlmagentServiceHeld"' in alerts
    assert 'name="viewport"' in alerts
    assert 'href="../manual.css"' in alerts
    assert asked(page, "/manual/agent.toml.5.html").status == 200
    assert asked(page, "/manual/nothing.7.html").status == 404
    for outside in ("/manual/../secret.7.html", "/manual/%2e%2e/secret.7.html", "/manual/"):
        assert page.answer(Request("GET", outside, {})) is None


def test_a_client_that_refuses_gzip_gets_none(store: Path) -> None:
    for words in ("", "identity", "gzip;q=0", "br, gzip; q=0"):
        assert "Content-Encoding" not in dict(
            asked(page_on(store), "/page.css", accept_encoding=words).headers
        )


def test_the_state_is_that_of_status_json_with_what_needs_a_person_on_top(store: Path) -> None:
    found = of(asked(page_on(store), "/status.json").body)
    needs = found.pop("needs")
    assert found == json.loads(json.dumps(to_json(SNAPSHOT)))
    assert needs[0] == {
        "what": "embed is held: gated-repo: needs a person",
        "to_do": "ask for access at its page",
        "about": "embed",
    }
    assert [need["about"] for need in needs[1:]] == ["vllm", ""]


def test_each_need_says_what_to_do() -> None:
    gpus = some_gpus()
    lost = replace(gpus.gpus[0], gpu=replace(gpus.gpus[0].gpu, lost=True))
    silent = NotifyView(1, 0.0, "ntfy could not be reached", 0, "no answer")
    ill = replace(SNAPSHOT, config_valid=False, gpus=replace(gpus, gpus=(lost,)), notify=silent)
    page = Page(lambda: ill, lambda _since: {}, lambda _after, _before: {})
    needs = of(asked(page, "/status.json").body)["needs"]
    assert len(needs) == 7
    assert all(need["what"] and need["to_do"] for need in needs)


def test_the_history_comes_in_parts_without_what_was_recorded_beside(store: Path) -> None:
    page = page_on(store)
    newest = of(asked(page, "/events.json").body)
    assert len(newest["events"]) == MOST
    assert newest["more"]
    assert newest["events"][-1]["message"] == "start 449"
    assert "secret" not in newest["events"][0]
    first = newest["events"][0]["id"]
    older = of(asked(page, "/events.json", f"before={first}").body)
    assert [event["id"] for event in older["events"]] == list(range(first - MOST, first))
    after = of(asked(page, "/events.json", f"after={newest['events'][-2]['id']}").body)
    assert [event["message"] for event in after["events"]] == ["start 449"]


def test_an_event_says_whether_it_is_a_warning_and_whether_a_service_went_or_came(
    tmp_path: Path,
) -> None:
    made, _ = Store.open(tmp_path / "store.db")
    kinds = ("died", "failure", "held", "serving", "xid")
    with made:
        made.record({}, [Event(AT, "vllm", kind, "", {}) for kind in kinds])
        made.record({}, [Event(AT, "", "stopped", "", {})])
        found = History(tmp_path / "store.db").read(None, None)["events"]
    assert [event["edge"] for event in found] == ["down", "", "down", "over", "", ""]
    assert [event["kind"] for event in found if event["loud"]] == ["died", "failure", "held", "xid"]


def test_text_of_strangers_is_plain_short_and_without_secrets(tmp_path: Path) -> None:
    made, _ = Store.open(tmp_path / "store.db")
    text = "\x1b[31m<script>alert(1)</script> Bearer abcdef0123456789 " + "x" * 9000
    with made:
        made.record({}, [Event(AT, "vllm", "failure", text, {})])
        found = History(tmp_path / "store.db").read(None, None)["events"][0]["message"]
    assert "\x1b" not in found
    assert "abcdef0123456789" not in found
    assert len(found) <= LONGEST


def test_a_history_that_cannot_be_read_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    page = page_on(tmp_path / "nothing.db")
    answer = asked(page, "/events.json")
    assert answer.status == 503
    assert b"cannot read" in answer.body
    assert asked(page, "/status.json").status == 200


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/past.json", "since=yesterday"),
        ("/past.json", "since=inf"),
        ("/past.json", "since=1e300"),
        ("/events.json", "before=%00"),
        ("/events.json", "after=" + "9" * 400),
        ("/events.json", "&".join(f"a{n}=1" for n in range(99))),
    ],
)
def test_a_question_that_is_none_is_refused_in_one_line(store: Path, path: str, query: str) -> None:
    answer = asked(page_on(store), path, query)
    assert answer.status == 400
    assert answer.body.count(b"\n") == 1


@given(
    st.sampled_from(["/", "/past.json", "/events.json", "/status.json", "/page.js", "/../x"]),
    st.text(st.characters(max_codepoint=255), max_size=80),
    st.dictionaries(
        st.sampled_from(["accept-encoding", "if-none-match"]), st.text(max_size=30), max_size=2
    ),
)
def test_whatever_is_asked_the_answer_is_one_of_four(
    path: str, query: str, headers: Mapping[str, str]
) -> None:
    page = Page(
        lambda: SNAPSHOT,
        lambda since: Past().document(since, 0.0),
        lambda _after, _before: {"events": []},
    )
    answer = page.answer(Request("GET", path, headers, query=query))
    assert answer is None or answer.status in (200, 304, 400, 503)


def test_twelve_hours_of_eight_gpus_are_asked_for_at_a_bounded_cost() -> None:
    past = past_of(SCENES["eight-gpus"]())
    page = Page(lambda: SNAPSHOT, lambda since: past.document(since, 0.0), lambda _a, _b: {})
    answer = asked(page, "/past.json", accept_encoding="gzip")
    assert len(answer.body) < 200_000
    assert len(gzip.decompress(answer.body)) < 600_000
    assert yardsticks(lambda: asked(page, "/past.json", accept_encoding="gzip"), 30) <= 30
