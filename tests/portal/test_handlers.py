"""What a page of the hub may do in a browser."""

from __future__ import annotations

from canfar_spawner.portal.handlers import page_policy


def rules(policy: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in (rule.split() for rule in policy.split("; "))}


def test_a_page_does_nothing_inline_and_asks_nobody_else() -> None:
    found = rules(page_policy(report="/hub/security/csp-report"))
    assert found["default-src"] == ["'none'"]
    assert found["frame-ancestors"] == found["base-uri"] == ["'none'"]
    assert found["report-uri"] == ["/hub/security/csp-report"]
    for name in ("script-src", "style-src", "connect-src", "form-action", "font-src"):
        assert found[name] == ["'self'"], name
    assert "unsafe" not in str(found)


def test_origins_of_users_services_and_logo_are_let_in_where_they_are_needed() -> None:
    found = rules(
        page_policy(
            users="https://hub.example.org:8443",
            manager="https://services.hub.example.org:8443",
            callbacks=["", "/services/sessions/oauth_callback", "https://wiki.example.org/in"],
            logo="https://static.example.org/logo.svg",
        )
    )
    assert found["form-action"] == [
        "'self'",
        "https://*.hub.example.org:8443",
        "https://wiki.example.org",
    ]
    assert found["connect-src"] == ["'self'", "https://services.hub.example.org:8443"]
    assert found["img-src"] == ["'self'", "data:", "https://static.example.org"]
    assert found["script-src"] == ["'self'"]
